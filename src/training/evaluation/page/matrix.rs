//! The picture of which labels are taken for which.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::confusion::Pair;
use super::super::shortened::{abridge, one_line, width};
use super::super::{Evaluation, Task};
use super::colour::{GRID, INK, MUTED, ON_FULL, RIGHT, WRONG, font, upwards};

/// Labels with a line of their own at most.
const MOST_LABELS: usize = 24;
/// Lines up to which counts are written into the cells.
const MOST_COUNTED: usize = 16;
/// Columns of a label at most.
const LABEL_COLUMNS: usize = 26;
/// Pixels that a column of a label takes at most, on average, in common typefaces.
const COLUMN: i32 = 8;
/// Pixels from a label to the cells.
const GAP: i32 = 6;
/// Pixels of the totals at the end of rows.
const TOTALS: i32 = 52;
/// What stands in the corner; the labels leave it room.
const CORNER: &str = "right label ↓  given →";

/// A row or a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    Class(usize),
    Other,
    Nothing,
}

/// Counts by right and given label; the rarer labels are taken together.
pub(super) struct Matrix {
    lines: Vec<(Line, String)>,
    counts: BTreeMap<(Line, Line), usize>,
    left_out: usize,
    task: Task,
}

impl Matrix {
    pub fn of(evaluation: &Evaluation) -> Self {
        let occurring = ranked(&evaluation.pairs);
        let own_lines = if occurring.len() <= MOST_LABELS { occurring.len() } else { MOST_LABELS - 1 };
        let shown: BTreeSet<usize> = occurring.iter().take(own_lines).copied().collect();
        let line = |class: Option<usize>| match class {
            Some(class) if shown.contains(&class) => Line::Class(class),
            Some(_) => Line::Other,
            None => Line::Nothing,
        };
        let mut counts = BTreeMap::new();
        let mut used: BTreeSet<Line> = BTreeSet::new();
        for ((truth, predicted), count) in &evaluation.pairs {
            let cell = (line(*truth), line(*predicted));
            used.extend([cell.0, cell.1]);
            *counts.entry(cell).or_default() += count;
        }
        let name = |line: Line| match line {
            Line::Class(class) => {
                let label = evaluation.per_class.get(class).map_or("", |figures| figures.label.as_str());
                abridge(&one_line(label), LABEL_COLUMNS)
            }
            Line::Other => "(other labels)".to_owned(),
            Line::Nothing => "(none)".to_owned(),
        };
        let lines = used.into_iter().map(|line| (line, name(line))).collect();
        Self { lines, counts, left_out: occurring.len() - own_lines, task: evaluation.task }
    }

    /// What the picture shows, in words.
    pub fn caption(&self) -> String {
        let mut caption =
            "A row is a right label, a column the label given. The shade is the share of the row: blue where both \
                           agree, red where they differ. At the end of a row stands its total."
                .to_owned();
        if self.task == Task::MultiLabel {
            caption.push_str(" A missing label is set against each wrong one of the same row, or against none.");
        }
        if self.left_out > 0 {
            caption.push_str(&format!(
                " The {} labels that are confused least are taken together; what they share, right or wrong, is grey.",
                self.left_out
            ));
        }
        caption
    }

    pub fn draw(&self) -> Result<String, DrawingAreaErrorKind<std::io::Error>> {
        let cell = if self.lines.len() <= MOST_COUNTED { 34 } else { 22 };
        let columns = self.lines.iter().map(|(_, name)| width(name)).max().unwrap_or_default();
        let labels = COLUMN * columns.max(width(CORNER)) as i32 + 2 * GAP;
        let side = cell * self.lines.len() as i32;
        let size = ((labels + side + TOTALS) as u32, (labels + side + 2) as u32);
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            let corner = font(11.0, MUTED, HPos::Right, VPos::Bottom);
            area.draw(&Text::new(CORNER, (labels - GAP, labels - GAP), corner))?;
            for (index, (line, name)) in self.lines.iter().enumerate() {
                let start = labels + cell * index as i32;
                let middle = start + cell / 2;
                let down = upwards(font(12.0, INK, HPos::Left, VPos::Center));
                area.draw(&Text::new(name.as_str(), (middle, labels - GAP), down))?;
                area.draw(&Text::new(
                    name.as_str(),
                    (labels - GAP, middle),
                    font(12.0, INK, HPos::Right, VPos::Center),
                ))?;
                let total = self.total(*line).to_string();
                let place = (labels + side + GAP, middle);
                area.draw(&Text::new(total, place, font(11.0, MUTED, HPos::Left, VPos::Center)))?;
                for (column, (given, _)) in self.lines.iter().enumerate() {
                    self.draw_cell(&area, (*line, *given), (labels + cell * column as i32, start), cell)?;
                }
            }
            area.present()?;
        }
        Ok(svg)
    }

    fn total(&self, line: Line) -> usize {
        self.counts.iter().filter(|((truth, _), _)| *truth == line).map(|(_, count)| count).sum()
    }

    fn draw_cell(
        &self,
        area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
        at: (Line, Line),
        (left, top): (i32, i32),
        cell: i32,
    ) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let square = [(left, top), (left + cell - 1, top + cell - 1)];
        area.draw(&Rectangle::new(square, GRID.mix(0.35).filled()))?;
        let Some(&count) = self.counts.get(&at) else { return Ok(()) };
        let share = count as f64 / self.total(at.0).max(1) as f64;
        let colour = match at {
            // What is taken together may be right or wrong.
            (Line::Other, Line::Other) => MUTED,
            (truth, given) if truth == given => RIGHT,
            _ => WRONG,
        };
        // A single wrong answer among many must still be seen.
        area.draw(&Rectangle::new(square, colour.mix(0.12 + 0.88 * share).filled()))?;
        if self.lines.len() <= MOST_COUNTED {
            let ink = if share > 0.5 { ON_FULL } else { INK };
            let middle = (left + cell / 2, top + cell / 2);
            area.draw(&Text::new(count.to_string(), middle, font(11.0, ink, HPos::Center, VPos::Center)))?;
        }
        Ok(())
    }
}

/// Classes that occur, those first that are confused most often, and of those the most frequent.
fn ranked(pairs: &BTreeMap<Pair, usize>) -> Vec<usize> {
    let mut of_class: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for ((truth, predicted), count) in pairs {
        for class in [truth, predicted].into_iter().flatten() {
            let (confused, all) = of_class.entry(*class).or_default();
            *confused += if truth == predicted { 0 } else { *count };
            *all += count;
        }
    }
    let mut classes: Vec<usize> = of_class.keys().copied().collect();
    classes.sort_by_key(|class| Reverse(of_class.get(class).copied()));
    classes
}
