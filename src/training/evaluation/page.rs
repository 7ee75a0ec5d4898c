//! Makes one page of an evaluation that needs nothing else: no network, no script, pictures as SVG within it.
//!
//! The same evaluation gives the same bytes. Everything that comes from rows and labels is escaped.

mod colour;
mod curves;
mod matrix;
mod stream;

pub use stream::render_stream;

use minijinja::Environment;
use plotters::prelude::DrawingAreaErrorKind;
use serde::Serialize;

use super::shortened::one_line;
use super::wording::{INTERVALS, by_support, confused, coverage_sentence, headline, unknown_sentence};
use super::{ClassFigures, Confusion, Evaluation, EvaluationError, Task};

/// The end of its name is what makes the template engine escape.
const TEMPLATE_NAME: &str = "page.html";
const TEMPLATE: &str = include_str!("page/page.html");
const STYLE_NAME: &str = "style.css";
const STYLE: &str = include_str!("page/style.css");

/// What the template is filled with.
#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    is_multi_label: bool,
    rows: usize,
    labels: usize,
    figures: Vec<Figure>,
    intervals: Option<&'static str>,
    coverage: String,
    unknown: Option<String>,
    matrix: String,
    matrix_caption: String,
    reliability: String,
    coverage_curve: String,
    classes: Vec<ClassRow>,
    confusions: Vec<ConfusionRow>,
    colours: colour::Names,
}

#[derive(Serialize)]
struct Figure {
    name: &'static str,
    value: String,
    interval: Option<String>,
    meaning: &'static str,
}

#[derive(Serialize)]
struct ClassRow {
    label: String,
    support: usize,
    predicted: usize,
    precision: String,
    recall: String,
    f1: String,
    average_precision: Option<String>,
    known: bool,
}

#[derive(Serialize)]
struct ConfusionRow {
    truth: String,
    predicted: String,
    count: usize,
    examples: Vec<ExampleRow>,
}

#[derive(Serialize)]
struct ExampleRow {
    row: usize,
    text: String,
    confidence: String,
}

/// The page as HTML, under this title.
pub fn render(evaluation: &Evaluation, title: &str) -> Result<String, EvaluationError> {
    let matrix = matrix::Matrix::of(evaluation);
    let page = Page {
        title,
        is_multi_label: evaluation.task == Task::MultiLabel,
        rows: evaluation.rows,
        labels: evaluation.per_class.iter().filter(|class| class.known).count(),
        figures: figures(evaluation),
        intervals: evaluation.intervals.map(|_| INTERVALS),
        coverage: coverage_sentence(evaluation),
        unknown: (evaluation.rows_with_unknown_labels > 0).then(|| unknown_sentence(evaluation)),
        matrix: matrix.draw().map_err(not_drawn)?,
        matrix_caption: matrix.caption(),
        reliability: curves::reliability(evaluation).map_err(not_drawn)?,
        coverage_curve: curves::coverage(evaluation).map_err(not_drawn)?,
        classes: by_support(evaluation).into_iter().map(class_row).collect(),
        confusions: evaluation.confusions.iter().map(confusion_row).collect(),
        colours: colour::names(),
    };
    filled(TEMPLATE, page)
}

/// A template, filled, with the style that all pages share.
fn filled(template: &str, values: impl Serialize) -> Result<String, EvaluationError> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    let filled = environment
        .add_template(STYLE_NAME, STYLE)
        .and_then(|()| environment.add_template(TEMPLATE_NAME, template))
        .and_then(|()| environment.get_template(TEMPLATE_NAME)?.render(values));
    filled.map_err(|error| EvaluationError::Page { problem: error.to_string() })
}

fn not_drawn<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> EvaluationError {
    EvaluationError::Page { problem: error.to_string() }
}

fn three_digits(value: f64) -> String {
    format!("{value:.3}")
}

fn figures(evaluation: &Evaluation) -> Vec<Figure> {
    let figure = |headline: super::wording::Headline| Figure {
        name: headline.name,
        value: three_digits(headline.value),
        interval: headline.interval.map(|interval| format!("{:.3} to {:.3}", interval.low, interval.high)),
        meaning: headline.meaning,
    };
    headline(evaluation).into_iter().map(figure).collect()
}

fn class_row(class: &ClassFigures) -> ClassRow {
    ClassRow {
        label: one_line(&class.label),
        support: class.support,
        predicted: class.predicted,
        precision: three_digits(class.precision),
        recall: three_digits(class.recall),
        f1: three_digits(class.f1),
        average_precision: class.average_precision.map(three_digits),
        known: class.known,
    }
}

fn confusion_row(confusion: &Confusion) -> ConfusionRow {
    let (truth, predicted) = confused(confusion);
    let example = |example: &super::ConfusionExample| ExampleRow {
        row: example.row,
        text: example.text.clone(),
        confidence: format!("{:.2}", example.confidence),
    };
    let examples = confusion.examples.iter().map(example).collect();
    ConfusionRow { truth, predicted, count: confusion.count, examples }
}

#[cfg(test)]
mod tests {
    use super::super::{EvaluationOptions, Judged, TrueLabel};
    use super::*;

    fn judged(row: usize, truth: TrueLabel, probabilities: Vec<f32>) -> Judged {
        let text = "<script>alert('да')</script> & всё".to_owned();
        Judged { row, text, truth: vec![truth], predicted: vec![row % probabilities.len()], probabilities }
    }

    fn page(labels: &[String], task: Task, rows: &[Judged], precision: f32) -> String {
        let options = EvaluationOptions { precision, bootstrap_rounds: 10, ..EvaluationOptions::default() };
        render(&Evaluation::of(labels, task, rows, &options).unwrap(), "Оценка <b> & co").unwrap()
    }

    fn one_hot(labels: usize, label: usize) -> Vec<f32> {
        (0..labels).map(|other| f32::from(u8::from(other == label))).collect()
    }

    #[test]
    fn what_others_wrote_is_escaped_in_text_and_pictures() {
        let labels = ["Перевод <не> дошёл & \"завис\"".to_owned(), "</svg><img src=x>".to_owned()];
        let unknown = TrueLabel::Unknown("<i>новая</i>".to_owned());
        let rows = [
            judged(1, TrueLabel::Known(0), vec![0.25, 0.75]),
            judged(2, TrueLabel::Known(1), vec![0.25, 0.75]),
            judged(3, unknown, vec![0.75, 0.25]),
        ];
        for task in [Task::SingleLabel, Task::MultiLabel] {
            let page = page(&labels, task, &rows, 0.9);
            for raw in ["<script", "<img", "<i>", "<b>", "<не>", "& co", "& всё"] {
                assert!(!page.contains(raw), "{raw} in {page}");
            }
            assert_eq!(page.matches("</svg>").count(), 3);
            let (_, picture) = page.rsplit_once("<svg").unwrap();
            let (picture, _) = picture.split_once("</svg>").unwrap();
            assert!(picture.contains("Перевод &lt;не&gt;"), "{picture}");
            assert!(picture.contains("&lt;i&gt;новая&lt;/i&gt;"), "{picture}");
            assert!(page.contains("<title>Оценка &lt;b&gt; &amp; co</title>"));
        }
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let labels = ["a".to_owned(), "b".to_owned()];
        let page = page(&labels, Task::SingleLabel, &[judged(1, TrueLabel::Known(0), one_hot(2, 0))], 0.9);
        let namespace = "http://www.w3.org/2000/svg";
        let page = page.replace(namespace, "");
        for outside in ["http:", "https:", "<script", "<link", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        for colour in [colour::INK, colour::GRID, colour::RIGHT] {
            let plotters::style::RGBColor(red, green, blue) = colour;
            let drawn = format!("=\"#{red:02X}{green:02X}{blue:02X}\"");
            assert!(page.matches(&drawn).count() > 2, "the style sheet and the pictures name {drawn}");
        }
    }

    #[test]
    fn of_many_labels_the_most_confused_have_lines_of_their_own() {
        let labels: Vec<String> = (0..60).map(|label| format!("label-{label:02}")).collect();
        let mut rows: Vec<Judged> =
            (0..60).map(|label| judged(label + 1, TrueLabel::Known(label), one_hot(60, label))).collect();
        rows.push(judged(61, TrueLabel::Known(57), one_hot(60, 58)));
        let page = page(&labels, Task::SingleLabel, &rows, 0.9);
        let (_, picture) = page.rsplit_once("<svg").unwrap();
        let (picture, _) = picture.split_once("</svg>").unwrap();
        let lines = |name: &str| picture.matches(name).count();
        assert_eq!((lines("label-57"), lines("label-58"), lines("(other labels)")), (2, 2, 2));
        assert_eq!(lines("label-"), 2 * 23);
        assert!(page.contains("The 37 labels that are confused least are taken together"));
    }

    #[test]
    fn a_precision_that_is_never_reached_still_makes_a_page() {
        let labels = ["a".to_owned(), "b".to_owned()];
        let wrong = [judged(1, TrueLabel::Known(1), one_hot(2, 0))];
        let never = page(&labels, Task::SingleLabel, &wrong, 1.0);
        assert!(never.contains("it is never reached"));
        assert!(!never.contains(" % at 1"));
        let right = [judged(1, TrueLabel::Known(0), one_hot(2, 0))];
        assert!(page(&labels, Task::SingleLabel, &right, 1.0).contains("100.0 % at 1"));
    }
}
