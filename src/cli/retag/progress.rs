//! What a person sees while files are tagged again: a bar on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use otklik::retag::{BadFile, Counts, Watch};

use super::page::{share, top_topics};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Topics shown.
const TOPICS: usize = 3;

/// Shows how far a run is.
pub struct Progress<N> {
    bar: Option<ProgressBar>,
    total: u64,
    begun: Instant,
    /// Bytes and rows that were done before the first row of this start.
    before: Option<(u64, u64)>,
    last_line: Instant,
    quiet: bool,
    name: N,
}

impl<N: Fn(&str) -> String> Progress<N> {
    /// Progress over `total` bytes; `name` gives the name of a topic.
    pub fn start(total: u64, quiet: bool, name: N) -> Self {
        let on_terminal = !quiet && io::stderr().is_terminal();
        let bar = on_terminal.then(|| {
            let bar = ProgressBar::new(total);
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}%  {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        let now = Instant::now();
        Self { bar, total, begun: now, before: None, last_line: now, quiet, name }
    }

    /// Takes the bar away and tells the time since the start.
    pub fn end(&self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.begun.elapsed()
    }

    fn message(&self, file: &str, bytes: u64, counts: &Counts, before: (u64, u64)) -> String {
        let seconds = self.begun.elapsed().as_secs_f64().max(1e-3);
        let rate = counts.rows_read.saturating_sub(before.1) as f64 / seconds;
        let done_now = bytes.saturating_sub(before.0) as f64;
        let left = match done_now > 0.0 {
            true => in_words(self.total.saturating_sub(bytes) as f64 * seconds / done_now),
            false => "?".to_owned(),
        };
        let failed = if counts.failed > 0 { format!(", {} failed", counts.failed) } else { String::new() };
        let abstained = share(counts.abstained, counts.tagged);
        let topics = top_topics(counts, TOPICS, &self.name);
        format!("{} rows{failed}, {rate:.1} rows/s, {left} left; {topics}, none {abstained}; {file}", counts.rows_read)
    }
}

impl<N: Fn(&str) -> String + Send> Watch for Progress<N> {
    fn advanced(&mut self, file: &str, bytes: u64, counts: &Counts) {
        let before = *self.before.get_or_insert((bytes, counts.rows_read));
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            bar.set_message(self.message(file, bytes, counts, before));
        } else if !self.quiet && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let percent = bytes as f64 * 100.0 / self.total.max(1) as f64;
            say(&format!("{percent:.0}%  {}", self.message(file, bytes, counts, before)));
        }
    }

    fn told(&mut self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    fn passed_over(&mut self, file: &BadFile) {
        let line = format!("warning: {} is passed over: {}", file.name, file.reason);
        match &self.bar {
            Some(bar) => bar.suspend(|| say(&line)),
            None => say(&line),
        }
    }
}

/// A line on standard error.
pub fn say(line: &str) {
    // Nobody is left to be told that standard error cannot be written to.
    let _ = writeln!(io::stderr(), "{line}");
}

fn in_words(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match minutes {
        0 => format!("{seconds:.0} s"),
        1..=99 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_fitting_units() {
        assert_eq!([12.4, 90.0, 6_000.0, 9_000.0].map(in_words), ["12 s", "2 min", "1 h 40 min", "2 h 30 min"]);
    }
}
