//! The heads that come with the encoder: what each learns, and how.
//!
//! All learn examples written for this project: the taxonomy's own, those that the sentiment model is made from, and
//! `examples.toml` beside this file. Sentiment also learns posts that people labelled; they are not part of the project, the caller
//! brings them. Settings, calibration and figures come from the project's examples alone, held out in turn: they are feedback,
//! posts are mostly news and advertising.

mod rows;
#[cfg(test)]
mod tests;

use serde::Deserialize;

use self::rows::Rows;
use super::evaluation::TrueLabel;
use super::{Fitted, HeadOptions, HeadTrainer, LabelledRow, Stage, TrainingError};
use crate::tagging::heads::{Head, HeadCard, LabelKind, NO, SENTIMENT, TOPICS, YES};
use crate::tagging::{EncoderIdentity, ExampleVectors, Unseen, sentiment_examples, weight_beside_examples};
use crate::tags::SentimentLabel;
use crate::taxonomy::Taxonomy;

/// What the heads learn beside the examples of the taxonomy and of sentiment.
const EXAMPLES: &str = include_str!("examples.toml");

/// The signals that heads are made of.
const ABUSE: &str = "abuse";
const COMPLAINT: &str = "complaint";

/// Topics of the default taxonomy whose examples are no complaints.
const PRAISE: &str = "praise";
const OTHER: &str = "other";

/// Signals of the default taxonomy whose examples are complaints.
const COMPLAINING: [&str; 4] = ["handoff_loop", "repeat_contact", "vague", ABUSE];

/// How much more an error on one of the project's examples costs than on a post: posts are many.
const WEIGHT_OF_OWN: f32 = 8.0;

/// Terms of what was written for the project.
const OWN_LICENCE: &str = "as otklik";

/// What a head is made from.
pub struct Material<'a> {
    /// The taxonomy whose examples are learnt.
    pub taxonomy: &'a Taxonomy,
    /// Posts with sentiment, each table by itself.
    pub posts: &'a [Vec<LabelledRow>],
    /// Vectors of all [`texts`].
    pub vectors: &'a ExampleVectors,
    /// What the vectors come from.
    pub encoder: &'a EncoderIdentity,
}

/// The examples of `examples.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Examples {
    topics: NoComplaints,
    abuse: Sides,
    complaint: Sides,
}

/// Examples of topics that are not complaints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoComplaints {
    neutral: Vec<String>,
    positive: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sides {
    yes: Vec<String>,
    no: Vec<String>,
}

impl Examples {
    fn read() -> Result<Self, TrainingError> {
        toml::from_str(EXAMPLES).map_err(|error| TrainingError::Rows(format!("examples.toml: {error}")))
    }

    /// How the customer feels in an example of a topic; `None` for those that are about nothing.
    fn feeling(&self, topic: &str, text: &str) -> Option<SentimentLabel> {
        let is_in = |texts: &[String]| texts.iter().any(|known| known == text);
        match topic {
            OTHER => None,
            PRAISE => Some(SentimentLabel::Positive),
            _ if is_in(&self.topics.positive) => Some(SentimentLabel::Positive),
            _ if is_in(&self.topics.neutral) => Some(SentimentLabel::Neutral),
            _ => Some(SentimentLabel::Negative),
        }
    }
}

/// Names of the heads that come with the encoder.
pub const NAMES: [&str; 4] = [ABUSE, COMPLAINT, SENTIMENT, TOPICS];

/// Every text that a head learns, as the encoder reads it.
///
/// # Errors
/// [`TrainingError::Rows`] if the project's examples can't be read or there is no such head.
pub fn texts(name: &str, taxonomy: &Taxonomy, posts: &[Vec<LabelledRow>]) -> Result<Vec<String>, TrainingError> {
    Ok(rows_of(name, taxonomy, posts)?.rows.into_iter().map(|row| row.text).collect())
}

/// Makes a head of topics from the examples of any taxonomy, with the settings that serve the default one best: fewer trials, so
/// that a service can do it when it starts. Its card has no weight, or 0, if too few examples are there to tell whether it helps,
/// or it does not.
///
/// # Errors
/// [`TrainingError::Rows`] if a text of [`texts`] has no vector.
pub fn topics_of_examples(
    taxonomy: &Taxonomy,
    vectors: &ExampleVectors,
    encoder: &EncoderIdentity,
) -> Result<Head, TrainingError> {
    let options = HeadOptions { costs: vec![0.3], ngram_scales: vec![0.7], ..options_of(TOPICS) };
    let material = Material { taxonomy, posts: &[], vectors, encoder };
    let Fitted { head, .. } = fit(TOPICS, &material, options, &|_, _, _| true)?;
    let card =
        HeadCard { trained_on: Some("the examples of the taxonomy".to_owned()), licence: None, ..head.card().clone() };
    Head::new(card, head.parts().clone()).map_err(TrainingError::Head)
}

/// Makes a head. `progress` is told what is done of the work, in parts of it, and ends it by answering false.
///
/// # Errors
/// [`TrainingError::Rows`] if there is no such head or a text has no vector, [`TrainingError::Interrupted`].
pub fn make(
    name: &str,
    material: &Material<'_>,
    progress: &(dyn Fn(Stage, usize, usize) -> bool + Sync),
) -> Result<Fitted, TrainingError> {
    fit(name, material, options_of(name), progress)
}

fn fit(
    name: &str,
    material: &Material<'_>,
    options: HeadOptions,
    progress: &(dyn Fn(Stage, usize, usize) -> bool + Sync),
) -> Result<Fitted, TrainingError> {
    let Material { taxonomy, posts, vectors, encoder } = *material;
    let rows = rows_of(name, taxonomy, posts)?;
    let options = HeadOptions { aside: rows.aside, weights: rows.weights, ..options };
    let trainer = HeadTrainer::new(name, LabelKind::Single, &rows.rows, vectors, options.ngrams)?;
    let all: Vec<usize> = (0..rows.rows.len()).collect();
    let Fitted { head, held_out } = trainer.fit(&all, &options, encoder, progress)?;
    let unseen: Vec<Unseen<'_>> = held_out
        .iter()
        .filter_map(|judged| match judged.truth.first()? {
            TrueLabel::Known(label) => {
                Some(Unseen { text: &judged.text, probabilities: &judged.probabilities, label: *label })
            }
            TrueLabel::Unknown(_) => None,
        })
        .collect();
    let weight = weight_beside_examples(taxonomy, vectors, name, &head.card().labels, &unseen)
        .map_err(|error| TrainingError::Rows(error.to_string()))?;
    let (trained_on, licence) = terms(name, rows.own, posts);
    let card = HeadCard {
        trained_on: Some(trained_on),
        licence: Some(licence),
        taxonomy_version: (name == TOPICS).then(|| taxonomy.version().to_string()),
        weight,
        ..head.card().clone()
    };
    let head = Head::new(card, head.parts().clone()).map_err(TrainingError::Head)?;
    Ok(Fitted { head, held_out })
}

fn options_of(name: &str) -> HeadOptions {
    // The examples' own discriminant speaks beside these heads: within them it would speak twice.
    let plain = HeadOptions { names: false, prototypes: vec![0.0], ..HeadOptions::default() };
    match name {
        TOPICS => {
            HeadOptions { costs: vec![0.3, 1.0, 3.0], ngram_scales: vec![0.3, 0.5, 0.7], most_ngrams: 24_000, ..plain }
        }
        SENTIMENT => HeadOptions {
            balanced: true,
            costs: vec![0.03, 0.1, 0.3],
            ngram_scales: vec![0.5, 1.0],
            most_ngrams: 80_000,
            ..plain
        },
        _ => HeadOptions { balanced: true, ngram_scales: vec![0.5, 1.0, 1.5], most_ngrams: 60_000, ..plain },
    }
}

fn rows_of(name: &str, taxonomy: &Taxonomy, posts: &[Vec<LabelledRow>]) -> Result<Rows, TrainingError> {
    match name {
        TOPICS => Ok(topics(taxonomy)),
        SENTIMENT => sentiment(taxonomy, posts),
        ABUSE => abuse(taxonomy),
        COMPLAINT => complaint(taxonomy),
        _ => Err(TrainingError::Rows(format!("there is no head {name:?} to make; there are {}", NAMES.join(", ")))),
    }
}

/// Topics by their examples, and by their names and descriptions, which are learnt and never held out.
fn topics(taxonomy: &Taxonomy) -> Rows {
    let mut rows = Rows::default();
    for topic in taxonomy.taggable_topics() {
        for example in &topic.examples {
            rows.add(&example.text, topic.id.as_str(), 1.0);
        }
    }
    for topic in taxonomy.taggable_topics() {
        for (_, text) in topic.names.iter().chain(topic.descriptions.iter()) {
            rows.add_aside(text, topic.id.as_str(), 1.0);
        }
    }
    rows
}

fn sentiment(taxonomy: &Taxonomy, posts: &[Vec<LabelledRow>]) -> Result<Rows, TrainingError> {
    let examples = Examples::read()?;
    let mut rows = Rows::default();
    let own = sentiment_examples().map_err(|error| TrainingError::Rows(error.to_string()))?;
    for (text, label) in &own {
        rows.add(text, label.as_str(), WEIGHT_OF_OWN);
    }
    let (mut complaints, mut gratitude) = (Vec::new(), Vec::new());
    for signal in taxonomy.signals() {
        let texts = signal.examples.iter().map(|example| example.text.as_str());
        match signal.id.as_str() {
            id if COMPLAINING.contains(&id) => complaints.extend(texts),
            "gratitude" => gratitude.extend(texts),
            _ => {}
        }
    }
    complaints.extend(examples.complaint.yes.iter().chain(&examples.abuse.yes).map(String::as_str));
    for text in complaints {
        rows.add(text, SentimentLabel::Negative.as_str(), WEIGHT_OF_OWN);
    }
    for text in gratitude {
        rows.add(text, SentimentLabel::Positive.as_str(), WEIGHT_OF_OWN);
    }
    for topic in taxonomy.taggable_topics() {
        for example in &topic.examples {
            if let Some(label) = examples.feeling(topic.id.as_str(), &example.text) {
                rows.add(&example.text, label.as_str(), WEIGHT_OF_OWN);
            }
        }
    }
    for posts in posts {
        rows.add_posts(posts, SentimentLabel::Neutral.as_str());
    }
    Ok(rows)
}

fn abuse(taxonomy: &Taxonomy) -> Result<Rows, TrainingError> {
    let examples = Examples::read()?;
    let mut rows = Rows::default();
    for signal in taxonomy.signals() {
        let side = if signal.id.as_str() == ABUSE { YES } else { NO };
        signal.examples.iter().for_each(|example| rows.add(&example.text, side, 1.0));
    }
    let Sides { yes, no } = &examples.abuse;
    yes.iter().for_each(|text| rows.add(text, YES, 1.0));
    no.iter().chain(&examples.complaint.yes).chain(&examples.complaint.no).for_each(|text| rows.add(text, NO, 1.0));
    for example in taxonomy.taggable_topics().flat_map(|topic| &topic.examples) {
        rows.add(&example.text, NO, 1.0);
    }
    Ok(rows)
}

fn complaint(taxonomy: &Taxonomy) -> Result<Rows, TrainingError> {
    let examples = Examples::read()?;
    let mut rows = Rows::default();
    let side = |label: SentimentLabel| if label == SentimentLabel::Negative { YES } else { NO };
    let Sides { yes, no } = &examples.complaint;
    yes.iter().for_each(|text| rows.add(text, YES, 1.0));
    no.iter().for_each(|text| rows.add(text, NO, 1.0));
    let own = sentiment_examples().map_err(|error| TrainingError::Rows(error.to_string()))?;
    own.iter().for_each(|(text, label)| rows.add(text, side(*label), 1.0));
    for signal in taxonomy.signals() {
        let side = match signal.id.as_str() {
            id if COMPLAINING.contains(&id) => YES,
            "gratitude" | "idea" => NO,
            _ => continue,
        };
        signal.examples.iter().for_each(|example| rows.add(&example.text, side, 1.0));
    }
    for topic in taxonomy.taggable_topics() {
        for example in &topic.examples {
            let label = examples.feeling(topic.id.as_str(), &example.text);
            rows.add(&example.text, label.map_or(NO, side), 1.0);
        }
    }
    Ok(rows)
}

/// What a card says of where the rows come from.
fn terms(name: &str, own: usize, posts: &[Vec<LabelledRow>]) -> (String, String) {
    let examples = format!("{own} examples written for otklik");
    if name != SENTIMENT || posts.is_empty() {
        return (examples, OWN_LICENCE.to_owned());
    }
    (
        format!("{examples}, and posts of SentiRuEval-2016 about telecom operators and banks"),
        format!("{OWN_LICENCE}; SentiRuEval-2016: MIT"),
    )
}
