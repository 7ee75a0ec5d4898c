//! Prints an evaluation for a terminal.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::shortened::{abridge, one_line, shorten, width};
use super::wording::{Headline, INTERVALS, by_support, confused, coverage_sentence, headline, unknown_sentence};
use super::{Evaluation, Interval};

/// How the print looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns of the terminal; at least 72 are taken.
    pub width: usize,
    /// Classes to list, those with the most rows first; `None` for all.
    pub classes: Option<usize>,
}

/// Columns below which the table has no room.
const LEAST_WIDTH: usize = 72;
/// Columns of the names of the headline figures.
const NAME_WIDTH: usize = 11;
/// Columns of the headline figures, with the gap before them.
const VALUE_WIDTH: usize = 8;
/// Columns of an interval and the gap behind it.
const RANGE_WIDTH: usize = 16;
/// What stands behind a class that the model does not know.
const UNKNOWN: &str = "  unknown";
const BOLD: Style = Style::new().bold();
const DIMMED: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default();

/// Headings of the columns behind the label.
const HEADINGS: [&str; 6] = ["rows", "given", "precision", "recall", "f1", "avg prec"];

/// The headline figures, each class and the worst confusions. Holds ANSI codes for styles; a caller whose output takes none
/// strips them.
pub fn render(evaluation: &Evaluation, look: &Look) -> String {
    let look = Look { width: look.width.max(LEAST_WIDTH), ..*look };
    let mut out = headlines(evaluation, look.width);
    out.push_str(&paragraph(&coverage_sentence(evaluation), look.width));
    if evaluation.rows_with_unknown_labels > 0 {
        out.push_str(&paragraph(&unknown_sentence(evaluation), look.width));
    }
    out.push('\n');
    out.push_str(&class_table(evaluation, &look));
    out.push('\n');
    out.push_str(&confusions(evaluation, look.width));
    out
}

fn styled(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

fn headlines(evaluation: &Evaluation, max_width: usize) -> String {
    let mut out = format!("{}{:>VALUE_WIDTH$}\n", styled(&pad("rows", NAME_WIDTH), BOLD), evaluation.rows);
    for Headline { name, value, interval, meaning } in headline(evaluation) {
        let range = match (interval, evaluation.intervals) {
            (Some(Interval { low, high }), _) => format!("{low:.3} to {high:.3}  "),
            (None, Some(_)) => " ".repeat(RANGE_WIDTH),
            (None, None) => String::new(),
        };
        let room = max_width.saturating_sub(NAME_WIDTH + VALUE_WIDTH + 2 + width(&range));
        let meaning = styled(&shorten(meaning, room), DIMMED);
        _ = writeln!(out, "{}{value:>VALUE_WIDTH$.3}  {range}{meaning}", styled(&pad(name, NAME_WIDTH), BOLD));
    }
    if evaluation.intervals.is_some() {
        _ = writeln!(out, "{}", styled(INTERVALS, DIMMED));
    }
    out.push('\n');
    out
}

/// Words in lines of at most `max_width` columns.
fn paragraph(text: &str, max_width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if width(line) + 1 + width(word) <= max_width => _ = write!(line, " {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

fn class_table(evaluation: &Evaluation, look: &Look) -> String {
    let classes = by_support(evaluation);
    let shown = classes.get(..look.classes.unwrap_or(classes.len())).unwrap_or(&classes);
    let note_width = if shown.iter().all(|class| class.known) { 0 } else { width(UNKNOWN) };
    let numbers_width: usize = HEADINGS.iter().map(|heading| 2 + column_width(heading)).sum();
    let labels: Vec<String> = shown.iter().map(|class| one_line(&class.label)).collect();
    let widest = labels.iter().map(|label| width(label)).max().unwrap_or_default();
    let label_width = widest.max("label".len()).min(look.width.saturating_sub(numbers_width + note_width));
    let headings: String =
        HEADINGS.iter().map(|heading| format!("  {heading:>columns$}", columns = column_width(heading))).collect();
    let mut out = format!("{}\n", styled(&format!("{:<label_width$}{headings}", "label"), BOLD));
    for (class, label) in shown.iter().zip(&labels) {
        let numbers = [
            class.support.to_string(),
            class.predicted.to_string(),
            format!("{:.3}", class.precision),
            format!("{:.3}", class.recall),
            format!("{:.3}", class.f1),
            class.average_precision.map_or_else(|| "–".to_owned(), |area| format!("{area:.3}")),
        ];
        let numbers: String = numbers
            .iter()
            .zip(HEADINGS)
            .map(|(number, heading)| format!("  {number:>columns$}", columns = column_width(heading)))
            .collect();
        let line = format!("{}{numbers}", pad(&abridge(label, label_width), label_width));
        let line = if class.known { line } else { format!("{line}{}", styled(UNKNOWN, RED)) };
        _ = writeln!(out, "{line}");
    }
    if let more @ 1.. = classes.len().saturating_sub(shown.len()) {
        _ = writeln!(out, "{}", styled(&format!("and {more} more"), DIMMED));
    }
    out
}

fn column_width(heading: &str) -> usize {
    width(heading).max(5)
}

fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

fn confusions(evaluation: &Evaluation, max_width: usize) -> String {
    if evaluation.confusions.is_empty() {
        return "No label was taken for another.\n".to_owned();
    }
    let mut out = format!("{}\n", styled("most frequent confusions: right label → label given", BOLD));
    let counts = evaluation.confusions.iter().map(|confusion| confusion.count.to_string().len());
    let count_width = counts.max().unwrap_or_default();
    for confusion in &evaluation.confusions {
        let (truth, predicted) = confused(confusion);
        let room = max_width.saturating_sub(count_width + 5);
        // A short name leaves its room to the other.
        let half = room / 2;
        let truth_room = half.max(room.saturating_sub(width(&predicted)));
        let truth = abridge(&truth, truth_room);
        let predicted = abridge(&predicted, room.saturating_sub(width(&truth)));
        _ = writeln!(out, "{}  {truth} → {predicted}", styled(&format!("{:>count_width$}", confusion.count), RED));
        for example in &confusion.examples {
            let place = format!("{}row {}: ", " ".repeat(count_width + 2), example.row);
            let text = shorten(&one_line(&example.text), max_width.saturating_sub(width(&place)));
            _ = writeln!(out, "{}", styled(&format!("{place}{text}"), DIMMED));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{EvaluationOptions, Judged, Task, TrueLabel};
    use super::*;

    const LABELS: [&str; 3] = ["Касса не работает", "Мобильное приложение не открывается после обновления", "Карта"];

    fn evaluation(bootstrap_rounds: usize) -> Evaluation {
        let row = |row: usize, truth: TrueLabel, probabilities: [f32; 3], text: &str| Judged {
            row,
            text: text.to_owned(),
            truth: vec![truth],
            probabilities: probabilities.to_vec(),
            predicted: Vec::new(),
        };
        let rows = [
            row(2, TrueLabel::Known(0), [0.75, 0.25, 0.0], "касса"),
            row(3, TrueLabel::Known(1), [0.125, 0.875, 0.0], "приложение"),
            row(4, TrueLabel::Known(1), [0.0, 1.0, 0.0], "обновление"),
            row(5, TrueLabel::Known(1), [0.625, 0.375, 0.0], "Третий день\nне открывается \u{1b}[2J"),
            row(6, TrueLabel::Unknown("Ёлка".to_owned()), [0.0, 0.5, 0.5], "с праздником"),
        ];
        let options = EvaluationOptions { bootstrap_rounds, ..EvaluationOptions::default() };
        Evaluation::of(&LABELS.map(str::to_owned), Task::SingleLabel, &rows, &options).unwrap()
    }

    /// Without ANSI codes and spaces at the ends of lines.
    fn bare(print: &str) -> String {
        let parts = print.split('\u{1b}').enumerate();
        let bare: String = parts
            .map(|(index, part)| if index == 0 { part } else { part.split_once('m').map_or("", |(_, text)| text) })
            .collect();
        bare.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    const PRINT: &str = "\
rows              5
accuracy      0.600  share of rows answered rightly
top 3         0.800  right label among the three most probable
macro F1      0.444  mean over labels
weighted F1   0.533  mean by rows of the label
ECE           0.300  calibration error, 0 is best
chance ECE    0.279  what it would be if all confidences were right
log loss      3.469  of the probabilities, 0 is best

At a precision of 0.9 the model can answer 60.0 % of rows: those with a
confidence of at least 0.750.
1 row has a label that the model does not know; it counts as an error.

label                   rows  given  precision  recall     f1  avg prec
Мобильное при…овления      3      3      0.667   0.667  0.667     0.917
Ёлка                       1      0      0.000   0.000  0.000         –  unknown
Касса не работает          1      2      0.500   1.000  0.667     1.000
and 1 more

most frequent confusions: right label → label given
1  Мобильное приложение не открывается после обновления → Касса не работает
   row 5: Третий день не открывается ␛[2J
1  Ёлка → Мобильное приложение не открывается после обновления
   row 6: с праздником
";

    #[test]
    fn a_print_with_everything() {
        let print = bare(&render(&evaluation(0), &Look { width: 80, classes: Some(3) }));
        assert_eq!(print, PRINT, "\n{print}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for max_width in LEAST_WIDTH..120 {
            let print = bare(&render(&evaluation(50), &Look { width: max_width, classes: None }));
            assert!(print.contains(INTERVALS));
            for line in print.lines() {
                assert!(width(line) <= max_width, "{max_width}: {line}");
            }
        }
    }
}
