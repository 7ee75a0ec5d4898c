//! Sentiment from the project's own examples.

use serde::Deserialize;

use super::discriminant::{Discriminant, DiscriminantError, Example, HeldOut};
use crate::tags::{Confidence, Sentiment, SentimentLabel};

/// The sentences that the sentiment model is made from.
const EXAMPLES: &str = include_str!("sentiment_examples.toml");

/// Classes of the model, in order.
pub(super) const LABELS: [SentimentLabel; 3] =
    [SentimentLabel::Negative, SentimentLabel::Neutral, SentimentLabel::Positive];

/// Scores nearer to 0 than this are neutral; the scale goes from -1 to 1.
const NEUTRAL: f32 = 0.2;

/// Probabilities of negative, neutral and positive.
pub(super) type Polarity = [f32; 3];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExampleFile {
    negative: Texts,
    neutral: Texts,
    positive: Texts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    ru: Vec<String>,
    en: Vec<String>,
}

/// Each example with the index of its label.
pub(super) fn examples() -> Result<Vec<(String, usize)>, toml::de::Error> {
    let file: ExampleFile = toml::from_str(EXAMPLES)?;
    let texts = [file.negative, file.neutral, file.positive];
    Ok(texts
        .into_iter()
        .enumerate()
        .flat_map(|(label, texts)| texts.ru.into_iter().chain(texts.en).map(move |text| (text, label)))
        .collect())
}

/// Each example with its label.
pub(crate) fn labelled_examples() -> Result<Vec<(String, SentimentLabel)>, toml::de::Error> {
    let labelled = |(text, label): (String, usize)| Some((text, *LABELS.get(label)?));
    Ok(examples()?.into_iter().filter_map(labelled).collect())
}

/// Judges sentiment.
#[derive(Debug, Clone)]
pub(super) struct SentimentModel {
    discriminant: Discriminant,
}

impl SentimentModel {
    pub fn fit(examples: &[Example<'_>]) -> Result<Self, DiscriminantError> {
        Ok(Self { discriminant: Discriminant::fit(examples, LABELS.len())? })
    }

    pub fn polarity(&self, vector: &[f32]) -> Polarity {
        let mut polarity = Polarity::default();
        polarity.iter_mut().zip(self.discriminant.probabilities(vector)).for_each(|(to, from)| *to = from);
        polarity
    }

    pub fn held_out(&self) -> HeldOut {
        self.discriminant.held_out()
    }

    /// Examples by their index with their polarities in cross-validation. They are given away once.
    pub fn take_judged(&mut self) -> Vec<(usize, Vec<f32>)> {
        self.discriminant.take_judged()
    }
}

/// Weighted mean of polarities; `None` without any weight.
pub(super) fn mean_polarity(parts: impl Iterator<Item = (Polarity, f32)>) -> Option<Polarity> {
    let (mut sum, mut total) = (Polarity::default(), 0.0);
    for (polarity, weight) in parts {
        sum.iter_mut().zip(polarity).for_each(|(sum, value)| *sum += value * weight);
        total += weight;
    }
    (total > 0.0).then(|| sum.map(|value| value / total))
}

/// The sentiment that a polarity stands for, by its score. A complaint told calmly has much probability of being neutral; what
/// counts is to which side the rest leans.
pub(super) fn sentiment_of(polarity: Polarity) -> Sentiment {
    let [negative, neutral, positive] = polarity;
    let score = (positive - negative).clamp(-1.0, 1.0);
    let (label, probability) = if score < -NEUTRAL {
        (SentimentLabel::Negative, negative)
    } else if score > NEUTRAL {
        (SentimentLabel::Positive, positive)
    } else {
        (SentimentLabel::Neutral, neutral)
    };
    Sentiment { label, score, confidence: Confidence::new(probability) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_is_the_side_that_the_rest_leans_to() {
        let table = [
            ([0.9, 0.1, 0.0], SentimentLabel::Negative, 0.9),
            ([0.45, 0.5, 0.05], SentimentLabel::Negative, 0.45),
            ([0.4, 0.3, 0.3], SentimentLabel::Neutral, 0.3),
            ([0.15, 0.6, 0.25], SentimentLabel::Neutral, 0.6),
            ([0.0, 0.6, 0.4], SentimentLabel::Positive, 0.4),
        ];
        for (polarity, label, confidence) in table {
            let sentiment = sentiment_of(polarity);
            assert_eq!((sentiment.label, sentiment.confidence.get()), (label, confidence), "{polarity:?}");
        }
    }

    #[test]
    fn means_weigh() {
        let mean = mean_polarity([([1.0, 0.0, 0.0], 3.0), ([0.0, 0.0, 1.0], 1.0)].into_iter()).unwrap();
        assert_eq!(mean, [0.75, 0.0, 0.25]);
        assert_eq!(mean_polarity(std::iter::empty()), None);
    }
}
