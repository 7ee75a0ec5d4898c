//! A run from its first step, or from its checkpoint, to the tuned encoder.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::inference::{Pooling, Weights};

use super::adamw::rate_share;
use super::checkpoint::{Checkpoint, Identity, Position};
use super::measure::HeldOut;
use super::network::{Extent, Network};
use super::options::{FineTuneOptions, Objective, Storage};
use super::order;
use super::original::Original;
use super::trainer::Trainer;
use super::tuned::Tuned;
use super::{Example, FineTuneError};

/// Weight of the past in the smoothed loss.
const SMOOTHING: f32 = 0.95;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Epochs of the whole run.
    pub epochs: usize,
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Loss, smoothed over about 20 steps.
    pub loss: f32,
    /// Learning rate of the topmost layer.
    pub learning_rate: f64,
    /// Results on the held-out rows, when an epoch has just ended.
    pub held_out: Option<HeldOut>,
    /// Tokens learned from a second, since the run was started or resumed.
    pub tokens_per_second: f64,
    /// Time to the end of the last epoch, at the speed so far.
    pub left: Duration,
}

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochResult {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Loss at its end, smoothed.
    pub loss: f32,
    /// Results on the held-out rows, if there are any.
    pub held_out: Option<HeldOut>,
}

/// A run that is ready to begin or to go on.
#[derive(Debug)]
pub struct FineTune {
    trainer: Trainer,
    rows: Vec<Example>,
    held_out: Vec<Example>,
    source: PathBuf,
    checkpoint: Option<Checkpoint>,
    position: Position,
    /// Parameters of the epoch that would be kept if the run ended now.
    best: Option<Vec<Vec<f32>>>,
}

impl FineTune {
    /// Loads the encoder `weights` (`.gguf`, or `.safetensors` with `config.json` beside it) and, if `checkpoint_folder` holds a
    /// checkpoint of the same run, goes on from there.
    ///
    /// # Errors
    /// [`FineTuneError::Encoder`], [`FineTuneError::Option`], [`FineTuneError::NoRows`], [`FineTuneError::Row`],
    /// [`FineTuneError::File`], or [`FineTuneError::Checkpoint`] if the folder holds the checkpoint of another run.
    pub fn start(
        weights: &Path,
        pooling: Pooling,
        rows: Vec<Example>,
        held_out: Vec<Example>,
        options: FineTuneOptions,
        checkpoint_folder: Option<&Path>,
    ) -> Result<Self, FineTuneError> {
        options.check()?;
        if rows.is_empty() {
            return Err(FineTuneError::NoRows);
        }
        let loaded = Weights::read(weights)?;
        let shape = loaded.shape;
        check_rows("training", &rows, &options, &loaded)?;
        check_rows("held-out", &held_out, &options, &loaded)?;
        let every = || rows.iter().chain(&held_out);
        let mut ids: Vec<u32> = every().flat_map(|row| row.tokens.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let longest = every().map(|row| row.tokens.len()).max().unwrap_or(1);
        let FineTuneOptions { train_embeddings, products, .. } = options;
        let extent = Extent { ids: &ids, longest, pooling, train_embeddings, products };
        let mut network = Network::new(loaded, extent)?;
        if options.storage == Storage::AsSource {
            let original = Original::read(weights, &shape)?;
            network.round(|name| original.is_short(name));
        }
        let trainer = Trainer::new(network, options, &rows);
        let checkpoint = checkpoint_folder
            .map(|folder| -> Result<Checkpoint, FineTuneError> {
                let identity = Identity::new(weights, pooling, &rows, &held_out, &trainer.options)?;
                Ok(Checkpoint::new(folder, identity))
            })
            .transpose()?;
        let mut run = Self {
            trainer,
            rows,
            held_out,
            source: weights.to_owned(),
            checkpoint,
            position: Position::default(),
            best: None,
        };
        if let Some(checkpoint) = &run.checkpoint
            && let Some((position, best)) = checkpoint.load(&mut run.trainer)?
        {
            run.position = position;
            run.best = best;
        }
        Ok(run)
    }

    /// Steps done: above 0 for a run that goes on from a checkpoint.
    pub fn step(&self) -> u64 {
        self.position.step
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.steps_per_epoch() * self.trainer.options.epochs as u64
    }

    fn steps_per_epoch(&self) -> u64 {
        self.rows.len().div_ceil(self.trainer.options.batch_rows) as u64
    }

    /// Runs to the end. `progress` is called after each step; when it breaks, the run writes its checkpoint and stops.
    ///
    /// # Errors
    /// [`FineTuneError::Cancelled`], [`FineTuneError::Diverged`], [`FineTuneError::File`], [`FineTuneError::Compute`].
    pub fn run(mut self, mut progress: impl FnMut(&Progress) -> ControlFlow<()>) -> Result<Tuned, FineTuneError> {
        let mut clock = Clock::new();
        while !self.is_over() {
            self.epoch(&mut clock, &mut progress)?;
        }
        // Without held-out rows no epoch was chosen: the end counts.
        if self.best.is_none() {
            self.trainer.exchange_averages();
        }
        if let Some(best) = self.best.take() {
            for (parameter, values) in self.trainer.parameters_mut().into_iter().zip(best) {
                parameter.value.values_mut().copy_from_slice(&values);
                parameter.refresh();
            }
        }
        let storage = self.trainer.options.storage;
        Ok(Tuned::new(self.trainer.network, self.source, storage, self.position.history, self.position.best_epoch))
    }

    fn is_over(&self) -> bool {
        let best = self.highest().map_or(0, |(epoch, _)| epoch);
        let out_of_patience = match self.trainer.options.patience {
            Some(patience) if !self.held_out.is_empty() => self.position.history.len() >= best + patience.max(1),
            _ => false,
        };
        out_of_patience || self.position.step >= self.steps()
    }

    /// Runs to the end of the epoch at hand.
    fn epoch(
        &mut self,
        clock: &mut Clock,
        progress: &mut impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<(), FineTuneError> {
        let (per_epoch, steps) = (self.steps_per_epoch(), self.steps());
        let options = &self.trainer.options;
        let epoch = (self.position.step / per_epoch) as usize;
        let done = (self.position.step % per_epoch) as usize;
        let per_class = options.contrast.map_or(1, |contrast| contrast.rows_per_class);
        let batches = order::batches(&self.rows, options.batch_rows, per_class, options.seed, epoch);
        for batch in batches.iter().skip(done) {
            let step = self.position.step;
            let loss = self.trainer.step(&self.rows, batch, step, steps)? as f32;
            let past = if step == 0 { loss } else { self.position.loss };
            self.position.loss = SMOOTHING * past + (1.0 - SMOOTHING) * loss;
            self.position.step += 1;
            clock.count(batch.iter().filter_map(|index| self.rows.get(*index)).map(|row| row.tokens.len()).sum());
            let ended = self.position.step.is_multiple_of(per_epoch);
            let held_out = if ended { self.end_epoch(epoch + 1)? } else { None };
            let seconds = self.trainer.options.checkpoint_seconds;
            if ended || clock.since_save.elapsed() >= Duration::from_secs(seconds) {
                self.save()?;
                clock.since_save = Instant::now();
            }
            let report = Progress {
                epoch: epoch + 1,
                epochs: self.trainer.options.epochs,
                step: self.position.step,
                steps,
                loss: self.position.loss,
                learning_rate: self.trainer.options.learning_rate * rate_share(&self.trainer.options, step, steps),
                held_out,
                tokens_per_second: clock.tokens_per_second(),
                left: clock.left(steps - self.position.step),
            };
            if progress(&report).is_break() {
                if !ended {
                    self.save()?;
                }
                return Err(FineTuneError::Cancelled { step: self.position.step, steps });
            }
        }
        Ok(())
    }

    /// The first epoch, from 1, with the highest score on the held-out rows.
    fn highest(&self) -> Option<(usize, f32)> {
        let selection = self.trainer.options.selection;
        let scores =
            self.position.history.iter().filter_map(|epoch| Some((epoch.epoch, epoch.held_out?.score(selection))));
        scores.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }

    /// Measures the epoch that ended, and keeps its parameters unless an earlier one was better by more than chance: the rate has
    /// fallen further, and that tells more than a few rows.
    fn end_epoch(&mut self, epoch: usize) -> Result<Option<HeldOut>, FineTuneError> {
        self.trainer.exchange_averages();
        let held_out = if self.held_out.is_empty() { None } else { Some(self.trainer.measure(&self.held_out)?) };
        let selection = self.trainer.options.selection;
        if let Some(result) = held_out {
            let highest = self.highest().map(|(_, score)| score);
            if highest.is_none_or(|highest| result.score(selection) >= highest - chance(highest, self.held_out.len())) {
                self.position.best_epoch = Some(epoch);
                self.best = Some(self.trainer.parameters().iter().map(|one| one.values().to_vec()).collect());
            }
        }
        self.trainer.exchange_averages();
        self.position.history.push(EpochResult { epoch, loss: self.position.loss, held_out });
        Ok(held_out)
    }

    fn save(&self) -> Result<(), FineTuneError> {
        match &self.checkpoint {
            Some(checkpoint) => checkpoint.save(&self.trainer, &self.position, self.best.as_deref()),
            None => Ok(()),
        }
    }
}

/// Standard deviation of a share that was counted on so many rows.
fn chance(share: f32, rows: usize) -> f32 {
    (share * (1.0 - share) / rows.max(1) as f32).max(0.0).sqrt()
}

fn check_rows(
    set: &'static str,
    rows: &[Example],
    options: &FineTuneOptions,
    weights: &Weights,
) -> Result<(), FineTuneError> {
    let vocabulary = weights.rows("token_embd.weight");
    let positions = weights.shape.positions;
    for (row, example) in rows.iter().enumerate() {
        let bad = |problem: String| Err(FineTuneError::Row { set, row, problem });
        if example.tokens.is_empty() || example.tokens.len() > positions {
            return bad(format!("has {} tokens, allowed: 1 to {positions}", example.tokens.len()));
        }
        if let Some(id) = example.tokens.iter().find(|id| **id as usize >= vocabulary) {
            return bad(format!("token id {id}, allowed: 0 to below {vocabulary}"));
        }
        if let Some(label) = example.labels.iter().find(|label| **label as usize >= options.classes) {
            return bad(format!("label {label}, allowed: 0 to below {}", options.classes));
        }
        if options.objective == Objective::SingleLabel && example.labels.len() != 1 {
            return bad(format!("has {} labels, allowed: exactly 1", example.labels.len()));
        }
    }
    Ok(())
}

/// Measures the speed since the run was started or resumed.
struct Clock {
    start: Instant,
    since_save: Instant,
    tokens: usize,
    steps: u64,
}

impl Clock {
    fn new() -> Self {
        Self { start: Instant::now(), since_save: Instant::now(), tokens: 0, steps: 0 }
    }

    fn count(&mut self, tokens: usize) {
        self.tokens += tokens;
        self.steps += 1;
    }

    fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    fn left(&self, steps: u64) -> Duration {
        self.start.elapsed().mul_f64(steps as f64 / self.steps.max(1) as f64)
    }
}
