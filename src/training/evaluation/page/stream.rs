//! The page of a stream of corrections: the curve of accuracy by corrections seen, and its table.

use serde::Serialize;

use super::super::super::prequential::{Prequential, Stretch};
use super::super::EvaluationError;
use super::{colour, curves, filled, not_drawn, three_digits};

const TEMPLATE: &str = include_str!("stream.html");

/// What the template is filled with.
#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    rows: usize,
    labels: usize,
    retrain_every: usize,
    figures: Vec<Line>,
    lines: Vec<Line>,
    picture: String,
    colours: colour::Names,
}

#[derive(Serialize)]
struct Line {
    name: String,
    rows: usize,
    new_labels: String,
    corrected: String,
    corrected_top3: String,
    retrained: Option<String>,
    retrained_top3: Option<String>,
}

impl Line {
    fn of(name: String, stretch: &Stretch) -> Self {
        Self {
            name,
            rows: stretch.rows,
            new_labels: three_digits(stretch.new_labels),
            corrected: three_digits(stretch.corrected),
            corrected_top3: three_digits(stretch.corrected_top3),
            retrained: stretch.retrained.map(three_digits),
            retrained_top3: stretch.retrained_top3.map(three_digits),
        }
    }
}

/// The page as HTML, under this title.
///
/// # Errors
/// [`EvaluationError::Page`] if it can't be drawn.
pub fn render_stream(found: &Prequential, title: &str) -> Result<String, EvaluationError> {
    let of_stretch =
        |stretch: &Stretch| Line::of(format!("{} to {}", stretch.seen, stretch.seen + stretch.rows), stretch);
    filled(
        TEMPLATE,
        Page {
            title,
            rows: found.rows,
            labels: found.labels,
            retrain_every: found.retrain_every,
            figures: vec![
                Line::of(format!("Last {} rows", found.last.rows), &found.last),
                Line::of("All rows".to_owned(), &found.all),
            ],
            lines: found.curve.iter().map(of_stretch).collect(),
            picture: curves::corrections(&found.curve).map_err(not_drawn)?,
            colours: colour::names(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(seen: usize, corrected: f64, retrained: Option<f64>) -> Stretch {
        Stretch {
            seen,
            rows: 100,
            new_labels: 0.02,
            corrected,
            corrected_top3: corrected + 0.1,
            retrained,
            retrained_top3: retrained.map(|share| share + 0.1),
        }
    }

    #[test]
    fn the_page_shows_both_lines_and_escapes_its_title() {
        let of = |retrain_every: usize| {
            let retrained = |share| (retrain_every > 0).then_some(share);
            Prequential {
                rows: 200,
                labels: 7,
                retrain_every,
                curve: vec![stretch(0, 0.25, retrained(0.0)), stretch(100, 0.5, retrained(0.625))],
                last: stretch(100, 0.5, retrained(0.625)),
                all: stretch(0, 0.375, retrained(0.3125)),
            }
        };
        let both = render_stream(&of(50), "<b> & co").unwrap();
        assert!(both.contains("<title>&lt;b&gt; &amp; co</title>") && !both.contains("<b>"));
        for part in
            ["0.500", "0.625", "100 to 200", "Last 100 rows", "Trained anew", "every 50 rows", "corrections seen"]
        {
            assert!(both.contains(part), "{part}");
        }
        assert_eq!((both.matches("</svg>").count(), both.matches("<circle").count()), (1, 4));
        let alone = render_stream(&of(0), "x").unwrap();
        assert!(!alone.contains("Trained anew") && alone.matches("<circle").count() == 2);
    }
}
