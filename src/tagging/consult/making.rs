//! Finds out how probabilities are made of what a model says, by asking it about texts without content and about texts whose topics
//! are known.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::calibration::{Calibration, Decision, digits};
use super::chooser::Chooser;
use super::menu::Entry;
use crate::inference::LanguageModelError;
use crate::prompts::PromptLanguage;
use crate::tags::TopicId;
use crate::taxonomy::{Example, Taxonomy, Topic};
use crate::text::prepare;

/// Texts without content.
pub const CONTENT_FREE: [&str; 3] = ["N/A", "…", "-"];

/// A text whose topic is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledText {
    /// Language of the lists that it is judged under.
    pub language: PromptLanguage,
    /// The text, masked.
    pub text: String,
    /// Its topic.
    pub topic: TopicId,
    /// The group that the topic stands in.
    pub group: Option<TopicId>,
}

/// At most so many of a taxonomy's own examples, drawn by a seed. In other languages than those of the lists nothing is asked.
pub fn labelled_texts(taxonomy: &Taxonomy, most: usize, seed: u64) -> Vec<LabelledText> {
    let mut drawn: Vec<(&Topic, &Example, PromptLanguage)> = taxonomy
        .taggable_topics()
        .flat_map(|topic| topic.examples.iter().map(move |example| (topic, example)))
        .filter_map(|(topic, example)| Some((topic, example, example.language.parse().ok()?)))
        .collect();
    drawn.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    drawn.truncate(most);
    let text = |(topic, example, language): (&Topic, &Example, PromptLanguage)| LabelledText {
        language,
        text: prepare(&example.text).clean().to_owned(),
        topic: topic.id.clone(),
        group: topic.parent.clone(),
    };
    drawn.into_iter().map(text).collect()
}

/// For each list, logarithms of what a model says of each answer about texts without content: their mean. `told` hears of each
/// question that was answered.
///
/// # Errors
/// [`LanguageModelError`] of the first question without an answer.
async fn leanings(
    chooser: &Chooser,
    patience: Duration,
    mut told: impl FnMut(),
) -> Result<Vec<Vec<f32>>, LanguageModelError> {
    let mut leanings = Vec::new();
    for menu in chooser.menus().menus() {
        let mut sums = vec![0.0; menu.choices().len()];
        for text in CONTENT_FREE {
            let said = chooser.weigh(menu, text, Some(Instant::now() + patience)).await?;
            sums.iter_mut().zip(said).for_each(|(sum, said)| *sum += said / CONTENT_FREE.len() as f32);
            told();
        }
        leanings.push(sums);
    }
    Ok(leanings)
}

/// What a calibration is made of.
pub struct Making<'a> {
    /// Those that ask, one a language.
    pub choosers: &'a [Chooser],
    /// Texts of known topics.
    pub texts: &'a [LabelledText],
    /// Most time that one question may take.
    pub patience: Duration,
}

impl Making<'_> {
    /// Hash of everything that the calibration depends on, with that of the model's weights: 16 digits.
    pub fn made_of(&self, model_sha256: &str) -> String {
        let mut hasher = Sha256::new();
        let mut part = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        part(model_sha256);
        CONTENT_FREE.iter().for_each(|text| part(text));
        for chooser in self.choosers {
            for menu in chooser.menus().menus() {
                chooser.menus().messages(menu, "").iter().for_each(|message| part(&message.content));
                menu.choices().iter().for_each(|choice| part(choice));
            }
        }
        for text in self.texts {
            part(text.language.as_str());
            part(&text.text);
            part(text.topic.as_str());
        }
        digits(&hasher.finalize())
    }

    /// Questions that the model is asked, about: of a topic in a group it may be one more.
    fn questions(&self) -> usize {
        let lists: usize = self.choosers.iter().map(|chooser| chooser.menus().menus().len()).sum();
        lists * CONTENT_FREE.len() + self.texts.len()
    }

    /// Asks, and fits. `progress` is told how many questions were answered, and of how many.
    ///
    /// # Errors
    /// [`LanguageModelError`] of the first question without an answer.
    pub async fn make(&self, mut progress: impl FnMut(usize, usize)) -> Result<Calibration, LanguageModelError> {
        let (of, mut done) = (self.questions(), 0);
        let mut told = || {
            done += 1;
            progress(done, of);
        };
        let mut by_language = Vec::with_capacity(self.choosers.len());
        for chooser in self.choosers {
            by_language.push((chooser.menus().language(), leanings(chooser, self.patience, &mut told).await?));
        }
        let mut calibration = Calibration::with_leanings(by_language);
        let mut judged = Vec::with_capacity(self.texts.len());
        for text in self.texts {
            let chooser = self.choosers.iter().find(|chooser| chooser.menus().language() == text.language);
            if let Some(chooser) = chooser {
                judged.push(self.decisions(chooser, text, &calibration).await?);
            }
            told();
        }
        judged.retain(|decisions| !decisions.is_empty());
        calibration.fit(&judged);
        Ok(calibration)
    }

    /// What the model said about a text, list by list, as far as it was right.
    async fn decisions(
        &self,
        chooser: &Chooser,
        text: &LabelledText,
        calibration: &Calibration,
    ) -> Result<Vec<Decision>, LanguageModelError> {
        let (mut decisions, mut at) = (Vec::new(), 0);
        let language = text.language;
        loop {
            let menu = chooser.menu(at)?;
            let is_right = |entry: &Entry| match entry {
                Entry::Topic(id) => *id == text.topic,
                Entry::Group(id, _) => Some(id) == text.group.as_ref(),
                Entry::Nothing => false,
            };
            let Some(truth) = menu.entries().iter().position(is_right) else { return Ok(decisions) };
            let said = chooser.weigh(menu, &text.text, Some(Instant::now() + self.patience)).await?;
            let shares = calibration.probabilities(language, at, &said);
            let best = (0..shares.len()).zip(&shares).max_by(|one, other| one.1.total_cmp(other.1));
            decisions.push(Decision { language, menu: at, said, truth });
            match menu.entries().get(truth) {
                Some(Entry::Group(_, inside)) if best.is_some_and(|(best, _)| best == truth) => at = *inside,
                _ => return Ok(decisions),
            }
        }
    }
}
