//! What a person sees while a table is tagged, and what was done when it ended.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use otklik::tags::{Language, Tags, TopicId};

use super::super::render::NameLanguage;

/// Topics that the summary names.
const SUMMARY_TOPICS: usize = 5;

/// A progress bar on standard error; nothing is drawn if that is no terminal.
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

impl Progress {
    /// A bar over `total` bytes, or without an end if the size is not known.
    pub fn start(total: Option<u64>, quiet: bool) -> Self {
        let (bar, template) = match total {
            _ if quiet => (ProgressBar::hidden(), ""),
            Some(total) => (ProgressBar::new(total), "{bar:30} {percent:>3}%  {msg}, {eta} left"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, begun: Instant::now() }
    }

    /// Shows that the table is done up to byte `position`.
    pub fn advance(&self, position: u64, summary: &Summary) {
        if self.bar.is_hidden() {
            return;
        }
        let rate = per_second(summary.tagged, self.begun.elapsed());
        let skipped = if summary.skipped > 0 { format!(", {} skipped", summary.skipped) } else { String::new() };
        self.bar.set_message(format!("{} rows{skipped}, {rate:.0} rows/s", summary.tagged));
        self.bar.set_position(position);
    }

    /// Prints a line above the bar.
    pub fn say(&self, line: &str) {
        // Nobody is left to be told that standard error cannot be written to.
        let _ = self.bar.suspend(|| writeln!(io::stderr(), "{line}"));
    }

    /// Takes the bar away and tells the time since the start.
    pub fn end(&self) -> Duration {
        self.bar.finish_and_clear();
        self.begun.elapsed()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(1e-3)
}

/// What was done with a table.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Rows that were tagged.
    pub tagged: u64,
    /// Rows that were bad and left out.
    pub skipped: u64,
    /// Time from the first row to the last.
    pub elapsed: Duration,
    topics: BTreeMap<TopicId, u64>,
    review: u64,
    english: u64,
}

impl Summary {
    /// Counts a tagged row.
    pub fn count(&mut self, tags: &Tags) {
        self.tagged += 1;
        self.review += u64::from(tags.review.needed);
        self.english += u64::from(tags.language == Language::English);
        for topic in &tags.topics {
            *self.topics.entry(topic.topic_id.clone()).or_default() += 1;
        }
    }

    /// The language of most rows.
    pub fn language(&self) -> NameLanguage {
        if self.english * 2 > self.tagged { NameLanguage::En } else { NameLanguage::Ru }
    }

    /// The summary in words; `name` gives the name of a topic.
    pub fn in_words(&self, name: impl Fn(&TopicId) -> String) -> String {
        let percent = |count: u64| Percent(count, self.tagged);
        let rate = per_second(self.tagged, self.elapsed);
        let mut lines = vec![format!(
            "{} rows tagged, {} skipped, in {:.1} s ({rate:.1} rows/s)",
            self.tagged,
            self.skipped,
            self.elapsed.as_secs_f64()
        )];
        if self.tagged > 0 {
            let mut topics: Vec<(&TopicId, &u64)> = self.topics.iter().collect();
            topics.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let shares: Vec<String> = topics
                .iter()
                .take(SUMMARY_TOPICS)
                .map(|(topic, count)| format!("{} {}", name(topic), percent(**count)))
                .collect();
            lines.push(format!("topics: {}", if shares.is_empty() { "none".to_owned() } else { shares.join(", ") }));
            lines.push(format!("to review: {}", percent(self.review)));
        }
        lines.join("\n")
    }
}

struct Percent(u64, u64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}%", self.0 as f64 * 100.0 / self.1.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::render::tests::tags;
    use super::*;

    #[test]
    fn the_summary_counts_topics_and_reviews() {
        let topic = |id: &str| {
            json!({"topic_id": id, "confidence": 0.9, "source": "head", "evidence": [],
                   "sentiment": {"label": "neutral", "score": 0.0, "confidence": 0.5}})
        };
        let mut summary = Summary { skipped: 2, elapsed: Duration::from_millis(500), ..Summary::default() };
        summary.count(&tags(json!({"topics": [topic("cards"), topic("fees")]})));
        summary.count(&tags(json!({"topics": [topic("fees")], "language": "en"})));
        summary.count(&tags(json!({"review": {"needed": true}})));
        summary.count(&tags(json!({})));
        let expected =
            "4 rows tagged, 2 skipped, in 0.5 s (8.0 rows/s)\ntopics: FEES 50.0%, CARDS 25.0%\nto review: 25.0%";
        assert_eq!(summary.in_words(|topic| topic.as_str().to_uppercase()), expected);
        assert_eq!(summary.language(), NameLanguage::Ru);
        let nothing = Summary::default().in_words(|_| String::new());
        assert_eq!(nothing, "0 rows tagged, 0 skipped, in 0.0 s (0.0 rows/s)");
    }
}
