//! The n-grams of several heads in one list, so that each n-gram of a text is looked up once for all of them.

use pulp::Arch;

use super::{Head, NgramCounts, NgramSpec};
use crate::text::{Places, ask_for, dampened};

/// Numbers that come from memory together.
const CACHE_LINE: usize = 16;

/// The n-grams that any of some heads knows; the heads count them alike.
#[derive(Debug, Clone)]
pub(in crate::tagging) struct Lexicon {
    spec: NgramSpec,
    /// Rising.
    hashes: Vec<u32>,
    places: Places,
    /// Where the values of each n-gram begin; and one more.
    starts: Vec<u32>,
    /// What the heads know of each n-gram, side by side: the number of the head, the rarity, and the weights of its labels.
    values: Vec<f32>,
    /// Labels of each head.
    labels: Vec<usize>,
}

impl Lexicon {
    /// Of the heads that count n-grams so.
    pub fn of(spec: NgramSpec, heads: &[&Head]) -> Self {
        let mut hashes: Vec<u32> = heads.iter().flat_map(|head| &head.parts().hashes).copied().collect();
        hashes.sort_unstable();
        hashes.dedup();
        let mut known: Vec<_> =
            heads.iter().map(|head| head.parts().hashes.iter().zip(head.by_ngram()).peekable()).collect();
        let (mut starts, mut values) = (vec![0], Vec::new());
        for hash in &hashes {
            for (number, known) in known.iter_mut().enumerate() {
                if let Some((_, row)) = known.next_if(|(known, _)| *known == hash) {
                    values.push(number as f32);
                    values.extend_from_slice(row);
                }
            }
            starts.push(values.len() as u32);
        }
        let labels = heads.iter().map(|head| head.parts().bias.len()).collect();
        Self { spec, places: Places::of(&hashes), hashes, starts, values, labels }
    }

    /// How n-grams are counted.
    pub fn spec(&self) -> NgramSpec {
        self.spec
    }

    /// What the words of a text say to each of the heads: margins of its labels. `heads` are those that the lexicon was made of.
    pub fn word_margins(&self, heads: &[&Head], text: &str) -> Vec<Vec<f32>> {
        let ngrams = NgramCounts::of_those(text, self.spec, |hash| self.places.may_be_known(hash));
        let known = |(at, count): (usize, u32)| {
            let values = self.values.get(*self.starts.get(at)? as usize..*self.starts.get(at + 1)? as usize)?;
            Some((dampened(count), values))
        };
        let places = self.places.find(&self.hashes, ngrams.counts());
        let known: Vec<(f32, &[f32])> = places.into_iter().filter_map(known).collect();
        ask_for(known.iter().flat_map(|(_, values)| values.iter().step_by(CACHE_LINE)));
        let mut margins: Vec<Vec<f32>> = heads.iter().map(|head| head.parts().bias.clone()).collect();
        Arch::new().dispatch(
            #[inline(always)]
            || self.add(&known, &mut margins),
        );
        margins
    }

    /// Adds to margins what known n-grams, with their dampened counts, weigh in a text of that length.
    #[inline(always)]
    fn add(&self, known: &[(f32, &[f32])], margins: &mut [Vec<f32>]) {
        let mut lengths = vec![0.0f32; margins.len()];
        for (count, values) in known {
            for (head, rarity, _) in self.of_heads(values) {
                if let Some(length) = lengths.get_mut(head) {
                    *length += (count * rarity) * (count * rarity);
                }
            }
        }
        lengths.iter_mut().for_each(|length| *length = length.sqrt());
        for (count, values) in known {
            for (head, rarity, weights) in self.of_heads(values) {
                let (Some(margins), Some(length)) = (margins.get_mut(head), lengths.get(head)) else { continue };
                let value = count * rarity / length;
                margins.iter_mut().zip(weights).for_each(|(margin, weight)| *margin += value * weight);
            }
        }
    }

    /// What each head knows of an n-gram: its number, the rarity, and the weights.
    #[inline(always)]
    fn of_heads<'a>(&self, values: &'a [f32]) -> impl Iterator<Item = (usize, f32, &'a [f32])> {
        let mut rest = values;
        std::iter::from_fn(move || {
            let [head, rarity, behind @ ..] = rest else { return None };
            let head = *head as usize;
            let (weights, behind) = behind.split_at_checked(*self.labels.get(head)?)?;
            rest = behind;
            Some((head, *rarity, weights))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tagging::heads::set_tests::card;
    use crate::tagging::heads::{Calibration, HeadCard, HeadParts, TopCurve};

    fn head(texts: &[&str], labels: &[&str]) -> Head {
        let spec = NgramSpec::default();
        let mut hashes: Vec<u32> =
            texts.iter().flat_map(|text| NgramCounts::of(text, spec).counts().to_vec()).map(|(hash, _)| hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let features = hashes.len();
        let parts = HeadParts {
            mean: vec![0.25, -0.5],
            dense: (0..2 * labels.len()).map(|at| at as f32 - 1.5).collect(),
            rarity: (0..features).map(|at| 1.0 + (at % 7) as f32).collect(),
            sparse: (0..features * labels.len()).map(|at| (at * 37 % 101) as f32 / 50.0 - 1.0).collect(),
            hashes,
            bias: (0..labels.len()).map(|label| label as f32 / 8.0).collect(),
            calibration: Calibration::Softmax { slope: 1.0, top: TopCurve::STRAIGHT },
        };
        Head::new(HeadCard { features, ..card(labels) }, parts).unwrap()
    }

    #[test]
    fn together_heads_say_what_each_says_alone() {
        let one = head(&["не работает касса", "card is blocked"], &["a", "b", "c"]);
        let other = head(&["касса не приняла карту"], &["yes", "no"]);
        let heads = [&one, &other];
        let lexicon = Lexicon::of(NgramSpec::default(), &heads);
        let vector = [0.6, -0.8];
        for text in ["касса не работает, касса!", "my card was blocked", "", "ю", "совсем о другом"]
        {
            let together = lexicon.word_margins(&heads, text);
            let ngrams = NgramCounts::of(text, NgramSpec::default());
            for (head, margins) in heads.iter().zip(together) {
                assert_eq!(head.probabilities_beside(&vector, margins), head.probabilities(&vector, &ngrams), "{text}");
            }
        }
        assert!(Lexicon::of(NgramSpec::default(), &[]).word_margins(&[], "текст").is_empty());
    }
}
