//! What a language model says of answers, made probabilities that hold.
//!
//! A model leans to some names whatever it reads. What it says of texts without content shows how much, and is taken off (Zhao et al.,
//! "Calibrate Before Use", 2021). How much of it, and how sure the rest is (a temperature), is fitted to texts whose topics are known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::prompts::PromptLanguage;

/// The temperature before one is fitted: above 1, as models are surer of what they say than right.
const DEFAULT_TEMPERATURE: f32 = 1.5;

/// Fewer decisions fit nothing.
const MIN_DECISIONS: usize = 10;

/// Shares of the leaning that are tried.
const LEANING_SHARES: [f32; 5] = [1.0, 0.75, 0.5, 0.25, 0.0];

/// Temperatures that are tried: eighths of octaves from 1/4 to 8.
const TEMPERATURES: std::ops::RangeInclusive<i16> = -16..=24;

/// Why a calibration can't be kept or taken from its file.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}", path = path.display())]
pub struct CalibrationError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: String,
}

/// How probabilities are made of what a model says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// By language, for each list, logarithms of what the model says of each answer whatever it reads.
    leanings: BTreeMap<PromptLanguageCode, Vec<Vec<f32>>>,
    /// How much of the leaning is taken off, 0 to 1.
    leaning_share: f32,
    /// What the rest is divided by, above 0.
    temperature: f32,
    /// Below this probability more answers would be wrong than right, 0 to 1.
    threshold: f32,
    /// Texts of known topics that it was fitted to.
    rows: usize,
}

/// `ru`, `en`.
type PromptLanguageCode = String;

/// What a model said of one list about a text, and what would have been right.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decision {
    pub language: PromptLanguage,
    pub menu: usize,
    /// Logarithms of the probabilities of the answers.
    pub said: Vec<f32>,
    /// Index of the right one.
    pub truth: usize,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    made_of: String,
    calibration: Calibration,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            leanings: BTreeMap::new(),
            leaning_share: 1.0,
            temperature: DEFAULT_TEMPERATURE,
            threshold: 0.0,
            rows: 0,
        }
    }
}

impl Calibration {
    /// One that takes these leanings off and is fitted to nothing else.
    pub fn with_leanings(leanings: impl IntoIterator<Item = (PromptLanguage, Vec<Vec<f32>>)>) -> Self {
        let leanings = leanings.into_iter().map(|(language, of)| (language.as_str().to_owned(), of)).collect();
        Self { leanings, ..Self::default() }
    }

    /// Fits to texts of known topics: those of each text stand together, as it may take two lists. With too few, nothing is fitted.
    pub(super) fn fit(&mut self, texts: &[Vec<Decision>]) {
        let decisions: Vec<&Decision> = texts.iter().flatten().collect();
        if decisions.len() < MIN_DECISIONS {
            return;
        }
        self.rows = texts.len();
        let loss = |calibration: &Self| -> f64 {
            let of = |decision: &&Decision| f64::from(calibration.of(decision).max(f32::MIN_POSITIVE).ln());
            -decisions.iter().map(of).sum::<f64>()
        };
        let tried = LEANING_SHARES.into_iter().flat_map(|share| TEMPERATURES.map(move |eighths| (share, eighths)));
        let fitted = tried.map(|(leaning_share, eighths)| {
            let temperature = 2f32.powf(f32::from(eighths) / 8.0);
            let calibration = Self { leaning_share, temperature, ..self.clone() };
            (loss(&calibration), leaning_share, temperature)
        });
        if let Some((_, share, temperature)) = fitted.min_by(|one, other| one.0.total_cmp(&other.0)) {
            (self.leaning_share, self.temperature) = (share, temperature);
        }
        self.threshold = self.least_worth_giving(texts);
    }

    /// Probability of the right answer.
    fn of(&self, decision: &Decision) -> f32 {
        let said = self.probabilities(decision.language, decision.menu, &decision.said);
        said.get(decision.truth).copied().unwrap_or(0.0)
    }

    /// The confidence from which on right answers outnumber wrong ones by the most.
    fn least_worth_giving(&self, texts: &[Vec<Decision>]) -> f32 {
        let of_text = |decisions: &Vec<Decision>| {
            let (mut confidence, mut is_right) = (1.0, true);
            for decision in decisions {
                let said = self.probabilities(decision.language, decision.menu, &decision.said);
                let most = said.iter().copied().fold(0.0, f32::max);
                is_right &= said.get(decision.truth).is_some_and(|of_truth| *of_truth >= most);
                confidence *= most;
            }
            (confidence, is_right)
        };
        let mut judged: Vec<(f32, bool)> = texts.iter().map(of_text).collect();
        judged.sort_by(|one, other| other.0.total_cmp(&one.0));
        let (mut ahead, mut best) = (0i64, (0, 1.0));
        for (index, (confidence, is_right)) in judged.iter().enumerate() {
            ahead += if *is_right { 1 } else { -1 };
            let ends_here = judged.get(index + 1).is_none_or(|next| next.0 < *confidence);
            if ends_here && ahead >= best.0 {
                best = (ahead, *confidence);
            }
        }
        best.1
    }

    /// Probabilities of the answers to a list, of the logarithms of what a model said of them.
    pub fn probabilities(&self, language: PromptLanguage, menu: usize, said: &[f32]) -> Vec<f32> {
        let leaning = self.leanings.get(language.as_str()).and_then(|menus| menus.get(menu));
        let leaning = leaning.filter(|leaning| leaning.len() == said.len()).map(Vec::as_slice).unwrap_or_default();
        let of = |(index, said): (usize, &f32)| {
            (said - self.leaning_share * leaning.get(index).copied().unwrap_or(0.0)) / self.temperature
        };
        let mut scores: Vec<f32> = said.iter().enumerate().map(of).collect();
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        scores.iter_mut().for_each(|score| *score = (*score - most).exp());
        let sum: f32 = scores.iter().sum();
        scores.iter_mut().for_each(|score| *score /= sum);
        scores
    }

    /// Below this confidence a topic is better not given, 0 to 1.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// What the logarithms are divided by.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// Texts of known topics that it was fitted to; 0 if it was fitted to none.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Hash of all of it: `sha256:` and 16 digits; `default` if nothing was measured.
    pub fn version(&self) -> String {
        match serde_json::to_vec(self) {
            Ok(bytes) if *self != Self::default() => format!("sha256:{}", digits(&Sha256::digest(bytes))),
            _ => "default".to_owned(),
        }
    }

    /// Keeps it in a file; `made_of` says what of.
    ///
    /// # Errors
    /// [`CalibrationError`] if the file can't be written.
    pub fn save(&self, path: &Path, made_of: &str) -> Result<(), CalibrationError> {
        let failed = |problem: String| CalibrationError { path: path.to_owned(), problem };
        let kept = Kept { made_of: made_of.to_owned(), calibration: self.clone() };
        let bytes = serde_json::to_vec(&kept).map_err(|error| failed(error.to_string()))?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
        }
        // Another process may do the same: each writes a file of its own and moves it into place whole.
        let partial = path.with_extension(format!("partial-{}", std::process::id()));
        std::fs::write(&partial, bytes)
            .and_then(|()| std::fs::rename(&partial, path))
            .map_err(|error| failed(error.to_string()))
    }

    /// Takes it from its file; `None` if there is none.
    ///
    /// # Errors
    /// [`CalibrationError`] if the file can't be read, is damaged, or was made of something else.
    pub fn load(path: &Path, made_of: &str) -> Result<Option<Self>, CalibrationError> {
        let failed = |problem: String| CalibrationError { path: path.to_owned(), problem };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let kept: Kept =
            serde_json::from_slice(&bytes).map_err(|error| failed(format!("is no calibration: {error}")))?;
        let Kept { made_of: found, calibration } = kept;
        if found != made_of {
            return Err(failed(format!("was made of {found}, not of {made_of}")));
        }
        let numbers = [calibration.leaning_share, calibration.threshold];
        let is_sound = calibration.temperature.is_finite()
            && calibration.temperature > 0.0
            && numbers.iter().all(|number| (0.0..=1.0).contains(number))
            && calibration.leanings.values().flatten().flatten().all(|number| number.is_finite());
        if is_sound { Ok(Some(calibration)) } else { Err(failed("holds numbers that none can be".to_owned())) }
    }
}

/// The first 16 hexadecimal digits of a hash.
pub(super) fn digits(hash: &[u8]) -> String {
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANGUAGE: PromptLanguage = PromptLanguage::Russian;

    fn decision(said: &[f32], truth: usize) -> Vec<Decision> {
        let said = said.iter().map(|share| share.ln()).collect();
        vec![Decision { language: LANGUAGE, menu: 0, said, truth }]
    }

    fn leaning() -> Calibration {
        let of = [0.8f32, 0.1, 0.1].map(f32::ln).to_vec();
        Calibration::with_leanings([(LANGUAGE, vec![of])])
    }

    #[test]
    fn what_a_model_says_whatever_it_reads_says_nothing() {
        let calibration = leaning();
        let said = [0.8f32, 0.1, 0.1].map(f32::ln);
        for share in calibration.probabilities(LANGUAGE, 0, &said) {
            assert!((share - 1.0 / 3.0).abs() < 1e-5, "{share}");
        }
        let said = [0.7f32, 0.25, 0.05].map(f32::ln);
        let shares = calibration.probabilities(LANGUAGE, 0, &said);
        assert!(shares[1] > shares[0] && shares[0] > shares[2], "{shares:?}");
        // Another list has no leaning known.
        let shares = calibration.probabilities(LANGUAGE, 1, &said);
        assert!(shares[0] > shares[1] && (shares.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{shares:?}");
    }

    #[test]
    fn it_is_as_sure_as_it_is_right_and_gives_what_is_more_often_right_than_wrong() {
        let mut calibration = Calibration::default();
        // Said with 0.99 and right three times in four; said with 0.6 and right one time in four.
        let rows: Vec<Vec<Decision>> = (0..80)
            .map(|row| match row % 2 {
                0 => decision(&[0.99, 0.01], usize::from(row % 8 == 0)),
                _ => decision(&[0.6, 0.4], usize::from(row % 8 != 1)),
            })
            .collect();
        calibration.fit(&rows);
        assert!(calibration.temperature() > 2.0, "{calibration:?}");
        let sure = calibration.probabilities(LANGUAGE, 0, &[0.99f32.ln(), 0.01f32.ln()])[0];
        let unsure = calibration.probabilities(LANGUAGE, 0, &[0.6f32.ln(), 0.4f32.ln()])[0];
        assert!((0.6..0.9).contains(&sure), "{sure}");
        assert!(unsure < calibration.threshold() && calibration.threshold() <= sure, "{calibration:?}");
        assert_eq!(calibration.rows(), 80);
        let before = leaning();
        let mut few = before.clone();
        few.fit(&rows[..5]);
        assert_eq!(few, before);
    }

    #[test]
    fn a_leaning_that_helps_nobody_is_not_taken_off() {
        let mut calibration = leaning();
        let rows: Vec<Vec<Decision>> = (0..40)
            .map(|row| if row < 32 { decision(&[0.8, 0.1, 0.1], 0) } else { decision(&[0.1, 0.8, 0.1], 1) })
            .collect();
        calibration.fit(&rows);
        assert_eq!(calibration.leaning_share, 0.0);
    }

    #[test]
    fn what_is_saved_is_loaded_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept/consult.json");
        assert_eq!(Calibration::load(&path, "aa").unwrap(), None);
        let calibration = leaning();
        calibration.save(&path, "aa").unwrap();
        let loaded = Calibration::load(&path, "aa").unwrap().unwrap();
        assert_eq!((&loaded, loaded.version()), (&calibration, calibration.version()));
        assert_ne!(calibration.version(), "default");
        let error = Calibration::load(&path, "bb").unwrap_err().to_string();
        assert!(error.contains("was made of aa, not of bb"), "{error}");
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to, part) in
            [("\"temperature\":1.5", "\"temperature\":0.0", "none can be"), ("{", "[", "is no calibration")]
        {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let error = Calibration::load(&path, "aa").unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
