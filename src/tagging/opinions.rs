//! What heads say, and how it goes together with what the examples say.
//!
//! Both give calibrated probabilities of the same labels. They are put together as a weighted mean of logarithms (a logarithmic
//! opinion pool: Genest and Zidek, "Combining Probability Distributions", 1986), whose weight is that under which texts that
//! neither had seen get the most probable right labels.

use super::heads::{Head, HeadSet, LabelKind, NgramCounts, ServingHead};

/// Weight of a head of the user's at the least: it was trained on texts of the kind that it will be asked about, examples were not.
const LEAST_OF_OWN: f32 = 0.5;

/// Least probability that a logarithm is taken of.
const LEAST: f32 = 1e-6;

/// Steps of the weights that are tried, from 0 to 1.
const STEPS: usize = 20;

/// A head with the places of its labels among those of the examples' model.
pub(super) struct Opinion {
    serving: ServingHead,
    /// Place of each of the head's labels.
    places: Vec<usize>,
    /// Weight of the head; the examples' is the rest to 1.
    pub weight: f32,
}

/// An example with what is known of it, to measure a weight on.
pub(super) struct Measured<'a> {
    pub text: &'a str,
    pub vector: &'a [f32],
    /// What the examples' model said when it had not seen the example.
    pub examples: Vec<f32>,
    pub class: usize,
}

impl Opinion {
    /// The head of a name whose labels have a place; `None` if there is no such head.
    pub fn of(heads: &HeadSet, name: &str, place: impl Fn(&str) -> Option<usize>) -> Option<Self> {
        let serving = heads.get(name)?.clone();
        let card = serving.head.card();
        let places = card.labels.iter().map(|label| place(label)).collect::<Option<Vec<usize>>>()?;
        let weight = card.weight.unwrap_or(1.0).clamp(0.0, 1.0);
        Some(Self { serving, places, weight })
    }

    /// Measures the weight where the card does not say it. Without examples to measure on, a head counts as much as they; so does
    /// one that looks at deep vectors, which examples do not have.
    pub fn weigh(&mut self, judged: &[Measured<'_>]) {
        let card = self.serving.head.card();
        if card.weight.is_some() {
            return;
        }
        if card.vector_parts > 1 {
            self.weight = LEAST_OF_OWN;
            return;
        }
        let probabilities = |one: &Measured<'_>| self.probabilities(one.vector, one.text);
        let pairs: Vec<(Vec<f32>, &Measured<'_>)> = judged.iter().map(|one| (probabilities(one), one)).collect();
        let best = match card.kind {
            LabelKind::Single => best_weight(
                pairs.iter().map(|(head, one)| (head.as_slice(), one.examples.as_slice(), one.class)),
                &self.places,
            ),
            LabelKind::Multi => None,
        };
        let least = if self.serving.own { LEAST_OF_OWN } else { 0.0 };
        self.weight = best.unwrap_or(LEAST_OF_OWN).max(least);
    }

    /// The head itself.
    pub fn head(&self) -> &Head {
        &self.serving.head
    }

    /// Probability of each of the head's labels.
    pub fn probabilities(&self, vector: &[f32], text: &str) -> Vec<f32> {
        self.head().probabilities(vector, &NgramCounts::of(text, self.head().card().ngrams))
    }

    /// True if the head has a label at this place.
    pub fn knows(&self, place: usize) -> bool {
        self.places.contains(&place)
    }

    /// The probabilities of the examples' model together with what the head says; `of_words` are its margins by the words alone. A
    /// head that looks at deep vectors says nothing of a stored one, which is not deep.
    pub fn blend(&self, examples: &mut [f32], vector: &[f32], of_words: &[f32]) {
        if self.serving.head.parts().mean.len() > vector.len() {
            return;
        }
        let head = self.head().probabilities_beside(vector, of_words.to_vec());
        match self.serving.head.card().kind {
            LabelKind::Single => blend(examples, &head, &self.places, self.weight),
            LabelKind::Multi => {
                for (place, head) in self.places.iter().zip(&head) {
                    if let Some(slot) = examples.get_mut(*place) {
                        *slot = blend_one(*slot, *head, self.weight);
                    }
                }
            }
        }
    }
}

/// Puts probabilities of several labels together. Labels that the head does not know keep theirs; the others share what is left.
pub(super) fn blend(examples: &mut [f32], head: &[f32], places: &[usize], weight: f32) {
    let at = |values: &[f32], place: usize| values.get(place).copied().unwrap_or(0.0);
    let share: f32 = places.iter().map(|place| at(examples, *place)).sum();
    let logarithms: Vec<f32> = places
        .iter()
        .zip(head)
        .map(|(place, head)| {
            let examples = at(examples, *place) / share.max(LEAST);
            weight * head.max(LEAST).ln() + (1.0 - weight) * examples.max(LEAST).ln()
        })
        .collect();
    let most = logarithms.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logarithms.iter().map(|value| (value - most).exp()).sum();
    for (place, value) in places.iter().zip(logarithms) {
        if let Some(slot) = examples.get_mut(*place) {
            *slot = share * (value - most).exp() / sum;
        }
    }
}

/// Puts two probabilities of the same yes together.
pub(super) fn blend_one(examples: f32, head: f32, weight: f32) -> f32 {
    let odds = |probability: f32| (probability.clamp(LEAST, 1.0 - LEAST) / (1.0 - probability).max(LEAST)).ln();
    1.0 / (1.0 + (-(weight * odds(head) + (1.0 - weight) * odds(examples))).exp())
}

/// The weight of the head under which the right classes are most probable; rows are what the head says, what the examples say and
/// the right class. Only classes that the head knows count. `None` without rows.
pub(super) fn best_weight<'a>(
    rows: impl Iterator<Item = (&'a [f32], &'a [f32], usize)>,
    places: &[usize],
) -> Option<f32> {
    let rows: Vec<_> = rows.filter(|(_, _, class)| places.contains(class)).collect();
    let loss = |weight: f32| {
        let one = |(head, examples, class): &(&[f32], &[f32], usize)| {
            let mut blended = examples.to_vec();
            blend(&mut blended, head, places, weight);
            -f64::from(blended.get(*class).copied().unwrap_or(0.0).max(LEAST)).ln()
        };
        rows.iter().map(one).sum::<f64>()
    };
    let tried = (0..=STEPS).map(|step| step as f32 / STEPS as f32).map(|weight| (weight, loss(weight)));
    let best = tried.min_by(|one, other| one.1.total_cmp(&other.1));
    best.filter(|_| !rows.is_empty()).map(|(weight, _)| weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: &[f32], other: &[f32]) {
        assert!(
            one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-4) && one.len() == other.len(),
            "{one:?} {other:?}"
        );
    }

    #[test]
    fn opinions_go_together_by_their_weight_and_unknown_labels_keep_theirs() {
        let blended = |weight: f32| {
            let mut examples = vec![0.2, 0.6, 0.2];
            blend(&mut examples, &[0.9, 0.1], &[0, 1], weight);
            examples
        };
        near(&blended(0.0), &[0.2, 0.6, 0.2]);
        near(&blended(1.0), &[0.72, 0.08, 0.2]);
        // sqrt(0.25 * 0.9) against sqrt(0.75 * 0.1), sharing 0.8.
        near(&blended(0.5), &[0.8 * 0.474_342 / 0.748_203, 0.8 * 0.273_861 / 0.748_203, 0.2]);
        near(&[blend_one(0.5, 0.9, 0.0), blend_one(0.5, 0.9, 1.0), blend_one(0.1, 0.9, 0.5)], &[0.5, 0.9, 0.5]);
        assert!(blend_one(0.0, 1.0, 0.3).is_finite());
    }

    #[test]
    fn the_weight_goes_to_whom_held_out_texts_prove_right() {
        let right: &[f32] = &[0.9, 0.1];
        let wrong: &[f32] = &[0.2, 0.8];
        let of = |head, examples| best_weight([(head, examples, 0)].into_iter(), &[0, 1]);
        assert_eq!(of(right, wrong), Some(1.0));
        assert_eq!(of(wrong, right), Some(0.0));
        assert_eq!(best_weight(std::iter::empty(), &[0, 1]), None);
    }
}
