//! The curves: confidence against truth, accuracy against the share that is answered, and accuracy against corrections seen.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::super::prequential::Stretch;
use super::super::{CoveragePoint, Evaluation, ReliabilityBin, Task};
use super::colour::{GRID, INK, MUTED, RIGHT, WRONG, font};

/// Width of a picture in pixels.
const WIDTH: u32 = 460;
/// Height of the curves.
const CURVE_HEIGHT: u32 = 340;
/// Height of the counts below the reliability curve.
const COUNTS_HEIGHT: u32 = 110;
/// Room for the numbers at the axes.
const LEFT: u32 = 58;
const BOTTOM: u32 = 44;
const MARGIN: u32 = 14;
/// Bins up to which counts are written above the bars.
const MOST_COUNTED: usize = 20;
/// Share of rows at the start of the coverage curve that is not drawn: the accuracy of a handful of rows is noise.
const NOISY_COVERAGE: f64 = 0.01;

type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What came true against what was expected, over how often it was expected.
pub(super) fn reliability(evaluation: &Evaluation) -> Drawn<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, CURVE_HEIGHT + COUNTS_HEIGHT)).into_drawing_area();
        let (curve, counts) = area.split_vertically(CURVE_HEIGHT);
        let confidence = match evaluation.task {
            Task::SingleLabel => "confidence in the most probable label",
            Task::MultiLabel => "probability of a label",
        };
        draw_reliability(&curve, &evaluation.reliability, confidence)?;
        draw_counts(&counts, &evaluation.reliability, evaluation.task)?;
        area.present()?;
    }
    Ok(svg)
}

fn draw_reliability(area: &Area<'_>, bins: &[ReliabilityBin], confidence: &str) -> Drawn<()> {
    let mut chart = framed(area).build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    let small = font(11.0, MUTED, HPos::Center, VPos::Center);
    chart
        .configure_mesh()
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|value| format!("{value:.1}"))
        .y_label_formatter(&|value| format!("{value:.1}"))
        .axis_style(GRID)
        .bold_line_style(GRID.mix(0.6))
        .light_line_style(TRANSPARENT)
        .label_style(small.clone())
        .axis_desc_style(small)
        .x_desc(confidence)
        .y_desc("share that came true")
        .draw()?;
    chart.draw_series(DashedLineSeries::new([(0.0, 0.0), (1.0, 1.0)], 4, 4, MUTED.stroke_width(1)))?;
    let measured = bins.iter().filter_map(|bin| bin.confidence.zip(bin.accuracy));
    chart.draw_series(LineSeries::new(measured.clone(), RIGHT.stroke_width(2)))?;
    chart.draw_series(measured.map(|point| Circle::new(point, 3, RIGHT.filled())))?;
    Ok(())
}

/// Bars of how many decisions have each confidence; in a multi-label task, where nearly all are near 0, by their logarithm.
fn draw_counts(area: &Area<'_>, bins: &[ReliabilityBin], task: Task) -> Drawn<()> {
    let height = |count: usize| match task {
        Task::SingleLabel => count as f64,
        Task::MultiLabel => (1.0 + count as f64).log10(),
    };
    let highest = bins.iter().map(|bin| height(bin.count)).fold(1.0, f64::max);
    // A quarter of the height for the numbers above the highest bar.
    let mut chart = ChartBuilder::on(area)
        .margin_left(MARGIN)
        .margin_right(MARGIN)
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, 6)
        .build_cartesian_2d(0.0..1.0, 0.0..highest * 1.25)?;
    let bar = |bin: &ReliabilityBin| {
        let inset = (bin.high - bin.low) * 0.06;
        Rectangle::new([(bin.low + inset, 0.0), (bin.high - inset, height(bin.count))], RIGHT.mix(0.45).filled())
    };
    chart.draw_series(bins.iter().filter(|bin| bin.count > 0).map(bar))?;
    if bins.len() <= MOST_COUNTED {
        let number = |bin: &ReliabilityBin| {
            let style = font(9.0, MUTED, HPos::Center, VPos::Bottom);
            Text::new(bin.count.to_string(), ((bin.low + bin.high) / 2.0, height(bin.count)), style)
        };
        chart.draw_series(bins.iter().filter(|bin| bin.count > 0).map(number))?;
    }
    chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 0.0)], GRID))?;
    Ok(())
}

/// Accuracy among the answered rows as more are answered, with the wanted one.
pub(super) fn coverage(evaluation: &Evaluation) -> Drawn<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, CURVE_HEIGHT)).into_drawing_area();
        let wanted = f64::from(evaluation.precision);
        let drawn: Vec<&CoveragePoint> =
            evaluation.coverage_curve.iter().filter(|point| point.coverage >= NOISY_COVERAGE).collect();
        let least = drawn.iter().map(|point| point.precision).fold(wanted, f64::min);
        // The next tenth below, so that the axis has round numbers.
        let floor = (((least - 0.02) * 10.0).floor() / 10.0).max(0.0);
        let mut chart = framed(&area).build_cartesian_2d(0.0..1.0, floor..1.0)?;
        let small = font(11.0, MUTED, HPos::Center, VPos::Center);
        chart
            .configure_mesh()
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|value| format!("{value:.1}"))
            .y_label_formatter(&|value| format!("{value:.2}"))
            .axis_style(GRID)
            .bold_line_style(GRID.mix(0.6))
            .light_line_style(TRANSPARENT)
            .label_style(small.clone())
            .axis_desc_style(small)
            .x_desc("share of rows answered, the surest first")
            .y_desc("accuracy among them")
            .draw()?;
        chart.draw_series(DashedLineSeries::new([(0.0, wanted), (1.0, wanted)], 4, 4, WRONG.stroke_width(1)))?;
        let mut curve = drawn.iter().map(|point| (point.coverage, point.precision));
        chart.draw_series(LineSeries::new(curve.clone(), RIGHT.stroke_width(2)))?;
        chart.draw_series(curve.next_back().map(|point| Circle::new(point, 3, RIGHT.filled())))?;
        let reached = drawn.iter().find(|point| Some(point.threshold) == evaluation.threshold);
        if let Some(point) = reached {
            let place = (point.coverage, point.precision);
            // The curve mostly falls to the right: above it on the right there is room, and below it on the left.
            let (horizontal, vertical, shift) = match point.coverage {
                0.6.. => (HPos::Right, VPos::Top, (-8, 8)),
                _ => (HPos::Left, VPos::Bottom, (8, -6)),
            };
            let note = format!("{:.1} % at {}", 100.0 * point.coverage, evaluation.precision);
            chart.draw_series([EmptyElement::at(place)
                + Circle::new((0, 0), 4, INK.filled())
                + Text::new(note, shift, font(12.0, INK, horizontal, vertical))])?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// Accuracy as corrections come in: by the corrections, and dashed by heads trained anew, where there are any.
pub(super) fn corrections(curve: &[Stretch]) -> Drawn<String> {
    let middle = |stretch: &Stretch| stretch.seen as f64 + stretch.rows as f64 / 2.0;
    let corrected: Vec<(f64, f64)> = curve.iter().map(|stretch| (middle(stretch), stretch.corrected)).collect();
    let retrained: Vec<(f64, f64)> =
        curve.iter().filter_map(|stretch| Some((middle(stretch), stretch.retrained?))).collect();
    let rows = curve.last().map_or(1.0, |stretch| (stretch.seen + stretch.rows) as f64).max(1.0);
    let highest = corrected.iter().chain(&retrained).map(|(_, share)| *share).fold(0.0, f64::max);
    // The next tenth above, so that the axis has round numbers.
    let ceiling = (((highest + 0.02) * 10.0).ceil() / 10.0).min(1.0);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (2 * WIDTH, CURVE_HEIGHT)).into_drawing_area();
        let mut chart = framed(&area).build_cartesian_2d(0.0..rows, 0.0..ceiling)?;
        let small = font(11.0, MUTED, HPos::Center, VPos::Center);
        chart
            .configure_mesh()
            .x_labels(10)
            .y_labels(6)
            .x_label_formatter(&|value| format!("{value:.0}"))
            .y_label_formatter(&|value| format!("{value:.1}"))
            .axis_style(GRID)
            .bold_line_style(GRID.mix(0.6))
            .light_line_style(TRANSPARENT)
            .label_style(small.clone())
            .axis_desc_style(small)
            .x_desc("corrections seen")
            .y_desc("share of rows right")
            .draw()?;
        chart.draw_series(DashedLineSeries::new(retrained.iter().copied(), 6, 4, WRONG.stroke_width(2)))?;
        chart.draw_series(retrained.into_iter().map(|point| Circle::new(point, 3, WRONG.filled())))?;
        chart.draw_series(LineSeries::new(corrected.iter().copied(), RIGHT.stroke_width(2)))?;
        chart.draw_series(corrected.into_iter().map(|point| Circle::new(point, 3, RIGHT.filled())))?;
        area.present()?;
    }
    Ok(svg)
}

fn framed<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder
        .margin(MARGIN)
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, BOTTOM);
    builder
}
