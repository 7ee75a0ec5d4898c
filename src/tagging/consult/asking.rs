//! The language model that is asked, the calibration of its answers, and how long it may take.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::{
    Calibration, Chooser, Chosen, ConsultOptions, FIRST_PATIENCE, LabelledText, Making, Menus, labelled_texts,
};
use crate::inference::{LanguageModel, LanguageModelError};
use crate::prompts::PromptLanguage;
use crate::tagging::{Lane, Urgency};
use crate::tags::Language;
use crate::taxonomy::Taxonomy;

/// Of the time that is left, the part that is kept for what follows the model's answer; at most [`MOST_KEPT`].
const KEPT_PART: u32 = 10;
const MOST_KEPT: Duration = Duration::from_millis(500);

/// How often a calibration is begun that fails.
const MAX_ATTEMPTS: usize = 3;

/// What is asked, and what makes probabilities of the answers.
pub(super) struct Consulting {
    model: Arc<dyn LanguageModel>,
    /// One a language.
    choosers: Vec<Chooser>,
    texts: Vec<LabelledText>,
    options: ConsultOptions,
    calibration: RwLock<Arc<Calibration>>,
    is_making: AtomicBool,
    attempts: AtomicUsize,
    /// One text in bulk at a time, so that single requests wait for one at most.
    in_bulk: Semaphore,
}

impl Consulting {
    /// Takes a kept calibration, if there is one. Reads a file.
    pub fn new(model: Arc<dyn LanguageModel>, taxonomy: &Taxonomy, options: ConsultOptions) -> Self {
        let chooser =
            |language: &PromptLanguage| Chooser::new(Arc::clone(&model), Menus::of_taxonomy(taxonomy, *language));
        let consulting = Self {
            choosers: PromptLanguage::ALL.iter().map(chooser).collect(),
            texts: labelled_texts(taxonomy, options.calibration_rows, options.seed),
            model,
            options,
            calibration: RwLock::default(),
            is_making: AtomicBool::new(false),
            attempts: AtomicUsize::new(0),
            in_bulk: Semaphore::new(1),
        };
        consulting.take_kept();
        consulting
    }

    pub fn model(&self) -> &dyn LanguageModel {
        &*self.model
    }

    pub fn options(&self) -> &ConsultOptions {
        &self.options
    }

    /// How probabilities are made of what the model says.
    pub fn calibration(&self) -> Arc<Calibration> {
        Arc::clone(&self.calibration.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// False until a calibration was made or taken from its file.
    pub fn is_calibrated(&self) -> bool {
        *self.calibration() != Calibration::default()
    }

    fn making(&self) -> Making<'_> {
        Making { choosers: &self.choosers, texts: &self.texts, patience: self.options.patience * FIRST_PATIENCE }
    }

    fn file(&self, made_of: &str) -> PathBuf {
        self.options.folder.join(format!("consult-{made_of}.json"))
    }

    fn take_kept(&self) {
        let made_of = self.making().made_of(self.model.sha256());
        match Calibration::load(&self.file(&made_of), &made_of) {
            Ok(Some(calibration)) => self.serve(calibration),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a kept calibration is not used; another is made"),
        }
    }

    fn serve(&self, calibration: Calibration) {
        tracing::info!(
            model = self.model.id(),
            version = calibration.version(),
            rows = calibration.rows(),
            temperature = calibration.temperature(),
            threshold = calibration.threshold(),
            "calibration of the language model's topics is ready"
        );
        *self.calibration.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(calibration);
    }

    /// Makes the calibration, keeps it, and serves by it.
    pub async fn make(&self, progress: impl FnMut(usize, usize) + Send) -> Result<(), LanguageModelError> {
        let calibration = self.making().make(progress).await?;
        let made_of = self.making().made_of(self.model.sha256());
        let (path, kept) = (self.file(&made_of), calibration.clone());
        let saved = tokio::task::spawn_blocking(move || kept.save(&path, &made_of)).await;
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the calibration can't be kept; it is made again after a restart"),
            Err(error) => tracing::warn!(%error, "the calibration was not kept"),
        }
        self.serve(calibration);
        Ok(())
    }

    /// Makes the calibration beside the work, unless it is there or being made.
    pub fn make_in_background(self: &Arc<Self>) {
        if self.is_calibrated() || self.attempts.load(Ordering::Acquire) >= MAX_ATTEMPTS {
            return;
        }
        if self.is_making.swap(true, Ordering::AcqRel) {
            return;
        }
        self.attempts.fetch_add(1, Ordering::AcqRel);
        let consulting = Arc::clone(self);
        tokio::spawn(async move {
            tracing::info!(texts = consulting.texts.len(), "the language model's topics are being calibrated");
            let told = |done: usize, of: usize| {
                if done.is_multiple_of(10) {
                    tracing::info!(done, of, "calibrating the language model's topics");
                }
            };
            if let Err(error) = consulting.make(told).await {
                tracing::warn!(%error, "the language model's topics could not be calibrated");
            }
            consulting.is_making.store(false, Ordering::Release);
        });
    }

    /// Which topic a text has.
    pub async fn ask(
        &self,
        text: &str,
        language: Language,
        calibration: &Calibration,
        urgency: Urgency,
    ) -> Result<Chosen, LanguageModelError> {
        let wanted = match language {
            Language::English => PromptLanguage::English,
            Language::Russian | Language::Mixed | Language::Other | Language::Unknown => PromptLanguage::Russian,
        };
        let chooser = self.choosers.iter().find(|chooser| chooser.menus().language() == wanted);
        let chooser = chooser.ok_or_else(|| LanguageModelError::Failed(format!("no topics are listed in {wanted}")))?;
        // Part of the caller's time is kept for what follows.
        let before = urgency.deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            deadline.checked_sub((left / KEPT_PART).min(MOST_KEPT)).unwrap_or(deadline)
        });
        let asked = async {
            let _turn = match urgency.lane {
                Lane::Interactive => None,
                Lane::Bulk => Some(self.in_bulk.acquire().await),
            };
            // The wait for others is not this text's.
            let patience = Instant::now() + self.options.patience;
            let due = before.map_or(patience, |before| before.min(patience));
            let answer = tokio::time::timeout_at(due.into(), chooser.choose(text, calibration, Some(due)));
            answer.await.unwrap_or(Err(LanguageModelError::DeadlineExceeded))
        };
        match before {
            Some(before) => {
                let in_time = tokio::time::timeout_at(before.into(), asked).await;
                in_time.unwrap_or(Err(LanguageModelError::DeadlineExceeded))
            }
            None => asked.await,
        }
    }
}
