//! Asks a language model about one text.

use std::sync::Arc;
use std::time::Instant;

use super::calibration::Calibration;
use super::menu::{Entry, Menu, Menus};
use crate::inference::{LanguageModel, LanguageModelError};
use crate::tags::TopicId;

/// The least probability that counts: less is told by no model.
const LEAST: f32 = 1e-9;

/// Asks about texts under one set of lists.
pub struct Chooser {
    model: Arc<dyn LanguageModel>,
    menus: Menus,
}

/// What a model chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Probability of each topic of the list that was asked last, most probable first.
    pub topics: Vec<(TopicId, f32)>,
    /// Probability that it is none of those.
    pub nothing: f32,
}

impl Chosen {
    /// The topic that is more probable than any other and than none, and how probable it is.
    pub fn best(&self) -> Option<(&TopicId, f32)> {
        self.topics.first().filter(|(_, probability)| *probability > self.nothing).map(|(id, share)| (id, *share))
    }
}

impl Chooser {
    /// Asks this model under these lists.
    pub fn new(model: Arc<dyn LanguageModel>, menus: Menus) -> Self {
        Self { model, menus }
    }

    /// The lists.
    pub fn menus(&self) -> &Menus {
        &self.menus
    }

    /// Which topic a text has.
    ///
    /// # Errors
    /// [`LanguageModelError`]; [`LanguageModelError::Failed`] also for an answer that is none.
    pub async fn choose(
        &self,
        text: &str,
        calibration: &Calibration,
        deadline: Option<Instant>,
    ) -> Result<Chosen, LanguageModelError> {
        let (mut at, mut share) = (0, 1.0);
        let mut nothing = 0.0;
        loop {
            let menu = self.menu(at)?;
            let said = self.weigh(menu, text, deadline).await?;
            let said = calibration.probabilities(self.menus.language(), at, &said);
            let best = menu.entries().iter().zip(&said).max_by(|one, other| one.1.total_cmp(other.1));
            let of_nothing = menu.entries().iter().zip(&said).filter(|(entry, _)| **entry == Entry::Nothing);
            nothing += share * of_nothing.map(|(_, probability)| probability).sum::<f32>();
            if let Some((Entry::Group(_, inside), probability)) = best {
                (at, share) = (*inside, share * probability);
                continue;
            }
            let topics = menu.entries().iter().zip(&said).filter_map(|(entry, probability)| match entry {
                Entry::Topic(id) => Some((id.clone(), share * probability)),
                Entry::Group(..) | Entry::Nothing => None,
            });
            let mut topics: Vec<(TopicId, f32)> = topics.collect();
            topics.sort_by(|one, other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
            return Ok(Chosen { topics, nothing });
        }
    }

    /// One of the lists.
    pub(super) fn menu(&self, index: usize) -> Result<&Menu, LanguageModelError> {
        let missing = || LanguageModelError::Failed(format!("there is no list {index} to choose from"));
        self.menus.menus().get(index).ok_or_else(missing)
    }

    /// Logarithm of the probability of each answer to a list.
    pub(super) async fn weigh(
        &self,
        menu: &Menu,
        text: &str,
        deadline: Option<Instant>,
    ) -> Result<Vec<f32>, LanguageModelError> {
        let messages = self.menus.messages(menu, text);
        let said = self.model.choose(messages, menu.choices().to_vec(), deadline).await?;
        let (wanted, given) = (menu.choices().len(), said.len());
        if wanted != given || said.iter().any(|share| !(0.0..=1.0).contains(share)) {
            let problem = format!("{wanted} probabilities from 0 to 1 were wanted, and {given} numbers came");
            return Err(LanguageModelError::Failed(problem));
        }
        Ok(said.into_iter().map(|share| share.max(LEAST).ln()).collect())
    }
}
