//! The choice of the next token, and of the place where an answer ends.
//!
//! Enters: a score for each token, those that may come, and how to choose. Leaves: one token. Never here: what tokens say.
//!
//! The filters follow each other as in llama.cpp: repetition, the `top_k` best, `top_p`, `min_p`, temperature. All of them keep the
//! best: so none sorts the vocabulary.

mod nucleus;
mod stops;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::grammar::TokenMask;
use crate::inference::{LanguageModelError, Sampling};
use nucleus::{Scored, Survey, keep_share, weight};

pub use stops::StopWatch;

/// How many of the last tokens a penalty for repetition looks at.
const REMEMBERED: usize = 64;

/// Chooses tokens. Same settings, same scores: same tokens.
pub struct Sampler {
    settings: Sampling,
    random: ChaCha8Rng,
    recent: VecDeque<u32>,
}

impl Sampler {
    /// A sampler that has chosen nothing.
    ///
    /// # Errors
    /// [`LanguageModelError::Invalid`] names the setting that is out of its range.
    pub fn new(sampling: &Sampling) -> Result<Self, LanguageModelError> {
        let Sampling { temperature, top_p, min_p, repetition_penalty, .. } = *sampling;
        for (field, value, least, most, allowed) in [
            ("temperature", temperature, 0.0, 100.0, "from 0 to 100"),
            ("top_p", top_p, f32::MIN_POSITIVE, 1.0, "above 0 and at most 1"),
            ("min_p", min_p, 0.0, 1.0, "from 0 to 1"),
            ("repetition_penalty", repetition_penalty, f32::MIN_POSITIVE, 100.0, "above 0 and at most 100"),
        ] {
            if !(least..=most).contains(&value) {
                let problem = format!("is {value}; must be {allowed}");
                return Err(LanguageModelError::Invalid { field: format!("sampling.{field}"), problem });
            }
        }
        let random = ChaCha8Rng::seed_from_u64(sampling.seed);
        Ok(Self { settings: *sampling, random, recent: VecDeque::with_capacity(REMEMBERED) })
    }

    /// Takes a token as said, so that it is not said again too soon: those of the answer, forced ones too.
    pub fn commit(&mut self, token: u32) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(token);
    }

    /// Chooses among the tokens that `mask` allows; without one, among all. `scores` are the model's, one for each token; what may not
    /// come is overwritten with minus infinity. The token is not committed.
    ///
    /// # Errors
    /// [`LanguageModelError::Failed`] if no token that may come has a score.
    pub fn choose(&mut self, scores: &mut [f32], mask: Option<&TokenMask>) -> Result<u32, LanguageModelError> {
        self.choose_among(scores, mask.map(TokenMask::words))
    }

    fn choose_among(&mut self, scores: &mut [f32], mask: Option<&[u32]>) -> Result<u32, LanguageModelError> {
        self.penalise(scores);
        if let Some(words) = mask {
            apply(words, scores);
        }
        let Some(survey) = Survey::new(scores) else {
            return Err(LanguageModelError::Failed("no token that may come has a score".to_owned()));
        };
        let top = survey.top;
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.settings;
        if temperature == 0.0 || top_k == 1 || min_p == 1.0 {
            return Ok(top.token);
        }
        let least = if min_p > 0.0 { top.score + min_p.ln() } else { f32::NEG_INFINITY };
        let mut kept = match top_k {
            0 if top_p >= 1.0 && min_p == 0.0 => return Ok(self.draw_among_all(&survey)),
            0 if top_p >= 1.0 => survey.above(least),
            0 => survey.heaviest(top_p),
            _ => {
                let mut kept = survey.best(top_k);
                if top_p < 1.0 {
                    keep_share(&mut kept, top.score, top_p);
                }
                kept
            }
        };
        kept.retain(|scored| scored.score >= least);
        Ok(self.draw(&kept, top))
    }

    fn penalise(&self, scores: &mut [f32]) {
        let penalty = self.settings.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        let mut recent: Vec<u32> = self.recent.iter().copied().collect();
        recent.sort_unstable();
        recent.dedup();
        for token in recent {
            if let Some(score) = scores.get_mut(token as usize) {
                // Dividing a negative score would make it better.
                *score = if *score > 0.0 { *score / penalty } else { *score * penalty };
            }
        }
    }

    fn draw(&mut self, kept: &[Scored], top: Scored) -> u32 {
        let scale = self.settings.temperature.recip();
        let weight = |scored: &Scored| weight((scored.score - top.score) * scale);
        let total: f32 = kept.iter().map(weight).sum();
        let mut left = self.random.random::<f32>() * total;
        for scored in kept {
            left -= weight(scored);
            if left < 0.0 {
                return scored.token;
            }
        }
        // What rounding leaves over.
        top.token
    }

    /// Chunk by chunk, so that only the one in which the draw ends is walked token by token.
    fn draw_among_all(&mut self, survey: &Survey) -> u32 {
        let scale = self.settings.temperature.recip();
        let weights = survey.weights(scale);
        let mut left = self.random.random::<f32>() * weights.iter().sum::<f32>();
        for (sum, chunk) in weights.iter().zip(survey.chunks()) {
            if left < *sum {
                for scored in chunk {
                    left -= weight((scored.score - survey.top.score) * scale);
                    if left < 0.0 {
                        return scored.token;
                    }
                }
                break;
            }
            left -= *sum;
        }
        // What rounding leaves over.
        survey.top.token
    }
}

/// Overwrites the scores of tokens whose bit is not set.
fn apply(words: &[u32], scores: &mut [f32]) {
    let mut words = words.iter();
    for chunk in scores.chunks_mut(32) {
        match words.next().copied().unwrap_or_default() {
            0 => chunk.fill(f32::NEG_INFINITY),
            u32::MAX => {}
            word => {
                for (bit, score) in chunk.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *score = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}
