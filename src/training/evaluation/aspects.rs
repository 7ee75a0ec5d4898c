//! How well sentiment is told topic by topic, beside what the sentiment of the whole text would have said.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::score::{ClassCount, share};
use crate::tags::SentimentLabel;

/// The classes, in the order of the figures.
const LABELS: [SentimentLabel; 3] = [SentimentLabel::Negative, SentimentLabel::Neutral, SentimentLabel::Positive];

/// A mention with what is true of it and what was said.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedMention {
    /// Number of the row in its table.
    pub row: u64,
    /// The topic it belongs to.
    pub topic: String,
    /// What people said of it; `None` for praise and blame at once.
    pub truth: Option<SentimentLabel>,
    /// From its own sentences: P(positive) minus P(negative), and the label; `None` if no sentence was found.
    pub own: Option<(f32, SentimentLabel)>,
    /// From the whole text.
    pub whole: Option<SentimentLabel>,
}

/// Figures of one way to tell sentiment. Shares are 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SentimentFigures {
    /// Share told rightly.
    pub accuracy: f64,
    /// Mean F1 over negative, neutral and positive.
    pub macro_f1: f64,
    /// F1 of each.
    pub f1: BTreeMap<String, f64>,
}

/// The same mentions or topics, told from their own sentences and from the whole text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AspectComparison {
    /// How many were judged.
    pub rows: usize,
    /// From their own sentences.
    pub own_sentences: SentimentFigures,
    /// From the whole text.
    pub whole_text: SentimentFigures,
    /// How often each sentiment is true.
    pub support: BTreeMap<String, usize>,
}

/// How well sentiment is told topic by topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AspectEvaluation {
    /// Texts.
    pub texts: usize,
    /// Each mention by itself.
    pub mentions: AspectComparison,
    /// Each topic of a text, over its mentions; only those that are not praised and blamed at once.
    pub topics: AspectComparison,
    /// Topics of a text that are praised and blamed at once.
    pub mixed_topics: usize,
    /// Mentions with praise and blame at once: they count towards their topic only.
    pub mixed_mentions: usize,
    /// Mentions left out because their words are not in the text.
    pub not_found: usize,
}

impl AspectEvaluation {
    /// Measures what was said of mentions.
    pub fn of(mentions: &[JudgedMention]) -> Self {
        let mut rows: Vec<u64> = mentions.iter().map(|mention| mention.row).collect();
        rows.sort_unstable();
        rows.dedup();
        let found: Vec<&JudgedMention> = mentions.iter().filter(|mention| mention.own.is_some()).collect();
        let single = found.iter().filter_map(|mention| Some((mention.truth?, mention.own?.1, mention.whole?)));
        let mut of_topics: BTreeMap<(u64, &str), Vec<&JudgedMention>> = BTreeMap::new();
        for mention in &found {
            of_topics.entry((mention.row, mention.topic.as_str())).or_default().push(mention);
        }
        let mixed_topics = of_topics.values().filter(|mentions| truth_of(mentions).is_none()).count();
        let by_topic = of_topics.values().filter_map(|mentions| {
            Some((truth_of(mentions)?, said_of(mentions)?, mentions.first().and_then(|mention| mention.whole)?))
        });
        Self {
            texts: rows.len(),
            mentions: AspectComparison::of(single),
            topics: AspectComparison::of(by_topic),
            mixed_topics,
            mixed_mentions: found.iter().filter(|mention| mention.truth.is_none()).count(),
            not_found: mentions.len() - found.len(),
        }
    }

    /// A print for a terminal.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{} texts; {} mentions, {} topics of texts\n",
            self.texts, self.mentions.rows, self.topics.rows
        );
        let _ = writeln!(
            text,
            "{:<12}{:<18}{:>9}{:>10}{:>10}{:>9}{:>10}",
            "", "told from", "accuracy", "macro F1", "negative", "neutral", "positive"
        );
        for (what, comparison) in [("mentions", &self.mentions), ("topics", &self.topics)] {
            let ways = [("own sentences", &comparison.own_sentences), ("whole text", &comparison.whole_text)];
            for (way, figures) in ways {
                let f1 = |label: SentimentLabel| figures.f1.get(label.as_str()).copied().unwrap_or(0.0);
                let [negative, neutral, positive] = LABELS.map(f1);
                let _ = writeln!(
                    text,
                    "{what:<12}{way:<18}{:>9.3}{:>10.3}{negative:>10.3}{neutral:>9.3}{positive:>10.3}",
                    figures.accuracy, figures.macro_f1
                );
            }
        }
        let _ = writeln!(
            text,
            "\nnot judged: {} topics and {} mentions praised and blamed at once, {} mentions whose words are not in the text",
            self.mixed_topics, self.mixed_mentions, self.not_found
        );
        text
    }
}

/// What is true of a topic: neutral mentions say nothing beside others.
fn truth_of(mentions: &[&JudgedMention]) -> Option<SentimentLabel> {
    let has = |label: SentimentLabel| mentions.iter().any(|mention| mention.truth == Some(label));
    if mentions.iter().any(|mention| mention.truth.is_none()) {
        return None;
    }
    match (has(SentimentLabel::Negative), has(SentimentLabel::Positive)) {
        (true, true) => None,
        (true, false) => Some(SentimentLabel::Negative),
        (false, true) => Some(SentimentLabel::Positive),
        (false, false) => Some(SentimentLabel::Neutral),
    }
}

/// What was said of a topic: the label of the strongest mention.
fn said_of(mentions: &[&JudgedMention]) -> Option<SentimentLabel> {
    let said = mentions.iter().filter_map(|mention| mention.own);
    said.max_by(|one, other| one.0.abs().total_cmp(&other.0.abs())).map(|(_, label)| label)
}

impl AspectComparison {
    fn of(triples: impl Iterator<Item = (SentimentLabel, SentimentLabel, SentimentLabel)>) -> Self {
        let triples: Vec<_> = triples.collect();
        let mut support: BTreeMap<String, usize> = BTreeMap::new();
        for (truth, _, _) in &triples {
            *support.entry(truth.as_str().to_owned()).or_default() += 1;
        }
        Self {
            rows: triples.len(),
            own_sentences: SentimentFigures::of(triples.iter().map(|(truth, own, _)| (*truth, *own))),
            whole_text: SentimentFigures::of(triples.iter().map(|(truth, _, whole)| (*truth, *whole))),
            support,
        }
    }
}

impl SentimentFigures {
    fn of(pairs: impl Iterator<Item = (SentimentLabel, SentimentLabel)>) -> Self {
        let mut counts = [ClassCount::default(); LABELS.len()];
        let (mut right, mut rows) = (0, 0);
        for (truth, said) in pairs {
            rows += 1;
            right += usize::from(truth == said);
            for (label, count) in LABELS.iter().zip(&mut counts) {
                count.support += usize::from(truth == *label);
                count.predicted += usize::from(said == *label);
                count.hits += usize::from(truth == *label && said == *label);
            }
        }
        let f1 = LABELS.iter().zip(&counts).map(|(label, count)| (label.as_str().to_owned(), count.f1())).collect();
        Self {
            accuracy: share(right, rows),
            macro_f1: counts.iter().map(|count| count.f1()).sum::<f64>() / LABELS.len() as f64,
            f1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SentimentLabel::{Negative, Neutral, Positive};

    fn mention(row: u64, truth: Option<SentimentLabel>, own: (f32, SentimentLabel)) -> JudgedMention {
        JudgedMention { row, topic: "food".to_owned(), truth, own: Some(own), whole: Some(Positive) }
    }

    #[test]
    fn mentions_and_topics_are_compared_with_the_whole() {
        let mentions = [
            mention(1, Some(Positive), (0.5, Positive)),
            mention(1, Some(Neutral), (-0.1, Neutral)),
            mention(2, Some(Negative), (-0.9, Negative)),
            mention(3, Some(Negative), (0.1, Neutral)),
            mention(3, None, (0.0, Neutral)),
            JudgedMention { own: None, ..mention(4, Some(Positive), (0.0, Neutral)) },
        ];
        let figures = AspectEvaluation::of(&mentions);
        assert_eq!((figures.texts, figures.mixed_mentions, figures.mixed_topics, figures.not_found), (4, 1, 1, 1));
        assert_eq!((figures.mentions.rows, figures.topics.rows), (4, 2));
        assert_eq!(figures.mentions.own_sentences.accuracy, 0.75);
        assert_eq!(figures.mentions.whole_text.accuracy, 0.25);
        assert_eq!(figures.topics.own_sentences.accuracy, 1.0);
        assert_eq!(figures.mentions.own_sentences.f1.get("negative"), Some(&(2.0 / 3.0)));
        assert!(figures.to_text().contains("own sentences"));
    }
}
