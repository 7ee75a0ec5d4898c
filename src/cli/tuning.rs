//! `otklik train --fine-tune`: the encoder learns the labels before the head does.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Context;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use otklik::assembly;
use otklik::config::Config;
use otklik::inference::{Encoder, Pooling, Role};
use otklik::models::{self, Registry, TunedSource};
use otklik::tagging::heads::LabelKind;
use otklik::training::finetune::{Example, FineTune, FineTuneOptions, Objective, Progress, Selection, Storage, Tuned};
use otklik::training::{LabelledTable, TrainingError, deal, split, strata};
use sha2::{Digest, Sha256};

use super::train::TrainArgs;

/// Rows a label, on average, from which some are held out to choose the best epoch.
const ROWS_TO_HOLD_OUT: usize = 10;

/// One row in so many is held out; of many rows fewer, because so many are enough.
const HELD_OUT_PART: usize = 10;
const HELD_OUT_ROWS: usize = 500;

/// How the encoder is tuned.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "How the encoder is tuned")]
pub struct TuningArgs {
    /// Let the encoder learn the labels first
    #[arg(long, conflicts_with = "vectors")]
    fine_tune: bool,
    /// The same, by the recipe for few rows, whatever their number
    #[arg(long, conflicts_with = "vectors")]
    few_shot: bool,
    /// Passes over the rows [default: 8; 4 for up to 16 labels; 12 for few rows]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Highest learning rate of the topmost layer [default: 0.0002; 0.00005 for up to 16 labels]
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Learn each batch a second time with its tokens moved against it, by this share of their length; 0 is not at all, a step with
    /// it takes twice as long
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    adversary: f64,
    /// Pass each text through twice, with different states dropped, and draw together what the two passes say, with this weight
    /// beside the labels; 0 is not at all, a step with it takes twice as long
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.0)]
    consistency: f64,
    /// Keep the mean of the weights over so many passes, exponentially, in place of those of the last step; 0 is the last step
    #[arg(long, value_name = "PASSES", default_value_t = 0.0)]
    average: f64,
    /// Longer texts are cut to so many tokens while the encoder learns; fewer are faster
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=512))]
    max_tokens: u32,
    /// How what was learnt is stored: 8 bits, 16 bits, or as in the encoder's own file
    #[arg(long, value_enum, default_value = "8bit")]
    storage: StorageArg,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum StorageArg {
    #[value(name = "8bit")]
    EightBit,
    #[value(name = "16bit")]
    SixteenBit,
    #[value(name = "source")]
    AsSource,
}

impl From<StorageArg> for Storage {
    fn from(storage: StorageArg) -> Self {
        match storage {
            StorageArg::EightBit => Self::EightBit,
            StorageArg::SixteenBit => Self::SixteenBit,
            StorageArg::AsSource => Self::AsSource,
        }
    }
}

/// A tuned encoder in its folder.
pub struct TunedEncoder {
    /// Its id.
    pub encoder: String,
    /// Rows of the table that it did not learn from.
    pub held_out: Vec<usize>,
}

impl TuningArgs {
    /// Tunes the encoder if that was asked for, and makes it known in the registry of the output folder.
    pub fn tune(
        &self,
        args: &TrainArgs,
        table: &LabelledTable,
        config: &Config,
    ) -> anyhow::Result<Option<TunedEncoder>> {
        if !self.fine_tune && !self.few_shot {
            return Ok(None);
        }
        let loaded = assembly::load_encoder(config)?;
        let pool = assembly::start_pool(config)?;
        let labels = table.labels();
        let examples = self.examples(table, &labels, &loaded.encoder)?;
        let held_out = held_out_rows(table, labels.len(), args.head.seed);
        let (held, kept): (Vec<_>, Vec<_>) =
            examples.into_iter().enumerate().partition(|(row, _)| held_out.binary_search(row).is_ok());
        let rows = |rows: Vec<(usize, Example)>| rows.into_iter().map(|(_, example)| example).collect::<Vec<_>>();
        let (kept, held) = (rows(kept), rows(held));
        let options = self.options(args, table.kind, labels.len(), kept.len());
        let learnt = kept.len();
        let checkpoint = args.out.join("checkpoint");
        let from = loaded.encoder.weights_path().to_owned();
        let failed = assembly::AssemblyError::Model;
        let models_dir = models::find_models_dir(config.models.dir.as_deref()).map_err(failed)?;
        let registry = Registry::load(&models_dir).map_err(failed)?;
        let entry = registry.get(&loaded.identity.id).map_err(failed)?;
        let pooling = entry.pooling.unwrap_or(Pooling::Mean);
        let run =
            FineTune::start(&from, pooling, kept, held, options, Some(&checkpoint)).map_err(TrainingError::from)?;
        let tuned = self.watch(args, run, &pool)?;

        let encoder = encoder_id(&args.labels.label);
        tuned.save(&args.out.join(&encoder)).map_err(TrainingError::from)?;
        let source = TunedSource {
            from: loaded.identity.id.clone(),
            from_sha256: loaded.identity.sha256.clone(),
            label: args.labels.label.clone(),
            rows: learnt as u64,
        };
        models::register_tuned(&args.out, &encoder, entry, source).map_err(failed)?;
        std::fs::remove_dir_all(&checkpoint).with_context(|| format!("{} can't be removed", checkpoint.display()))?;
        anstream::println!(
            "{encoder}: epoch {} of {} kept, in {}",
            tuned.epoch(),
            tuned.history().len(),
            args.out.display()
        );
        Ok(Some(TunedEncoder { encoder, held_out }))
    }

    fn options(&self, args: &TrainArgs, kind: LabelKind, labels: usize, rows: usize) -> FineTuneOptions {
        let default =
            if self.few_shot { FineTuneOptions::few_shot(labels) } else { FineTuneOptions::for_rows(labels, rows) };
        let balanced = args.head.balanced;
        FineTuneOptions {
            objective: match kind {
                LabelKind::Single => Objective::SingleLabel,
                LabelKind::Multi => Objective::MultiLabel,
            },
            epochs: self.epochs.unwrap_or(default.epochs),
            learning_rate: self.learning_rate.unwrap_or(default.learning_rate),
            class_balance: if balanced { 1.0 } else { default.class_balance },
            selection: if balanced { Selection::MacroF1 } else { Selection::Accuracy },
            contrast: default.contrast.filter(|_| kind == LabelKind::Single),
            adversary: self.adversary,
            consistency: self.consistency,
            average_epochs: self.average,
            storage: self.storage.into(),
            seed: args.head.seed,
            ..default
        }
    }

    fn examples(&self, table: &LabelledTable, labels: &[String], encoder: &Encoder) -> anyhow::Result<Vec<Example>> {
        let most = self.max_tokens as usize;
        let example = |row: &otklik::training::LabelledRow| {
            let mut tokens = encoder.token_ids(&row.text, Role::Query)?;
            if let (true, Some(last)) = (tokens.len() > most, tokens.last().copied()) {
                tokens.truncate(most - 1);
                tokens.push(last);
            }
            let labels = row.labels.iter().filter_map(|label| labels.binary_search(label).ok());
            Ok(Example { tokens, labels: labels.map(|label| label as u32).collect() })
        };
        table.rows.iter().map(example).collect()
    }

    fn watch(
        &self,
        args: &TrainArgs,
        run: FineTune,
        pool: &otklik::inference::ComputePool,
    ) -> Result<Tuned, TrainingError> {
        let bar = if args.labels.quiet { ProgressBar::hidden() } else { ProgressBar::new(run.steps()) };
        if let Ok(style) = ProgressStyle::with_template("tuning {bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        if run.step() > 0 {
            bar.println(format!("going on after step {} of {}", run.step(), run.steps()));
        }
        let told = |progress: &Progress| {
            bar.set_position(progress.step);
            let left = HumanDuration(Duration::from_secs(progress.left.as_secs()));
            bar.set_message(format!(
                "epoch {}/{}, loss {:.3}, {:.0} tokens/s, {left} left",
                progress.epoch, progress.epochs, progress.loss, progress.tokens_per_second
            ));
            if let Some(held_out) = progress.held_out {
                let line = format!(
                    "epoch {}: loss {:.3}, held-out accuracy {:.3}, macro F1 {:.3}",
                    progress.epoch, progress.loss, held_out.accuracy, held_out.macro_f1
                );
                // A pipe has no bar to print above.
                if bar.is_hidden() && !args.labels.quiet { anstream::eprintln!("{line}") } else { bar.println(line) }
            }
            ControlFlow::Continue(())
        };
        let tuned = pool.run_blocking(|| run.run(told))?;
        bar.finish_and_clear();
        Ok(tuned)
    }
}

/// Rows to choose the best epoch and to calibrate on; none where rows are few.
fn held_out_rows(table: &LabelledTable, labels: usize, seed: u64) -> Vec<usize> {
    if table.rows.len() < ROWS_TO_HOLD_OUT * labels {
        return Vec::new();
    }
    let parts = HELD_OUT_PART.max(table.rows.len() / HELD_OUT_ROWS);
    split(&deal(&strata(&table.rows), parts, seed), 0).0
}

/// An id of the registry for the encoder that learnt a label: of other alphabets only a hash stays.
fn encoder_id(label: &str) -> String {
    let plain: String =
        label.to_lowercase().chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    if plain.starts_with(|c: char| c.is_ascii_alphanumeric()) && plain.chars().count() == label.chars().count() {
        return format!("{plain}-tuned");
    }
    let digits: String = Sha256::digest(label).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("label-{digits}-tuned")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_such_as_the_registry_allows() {
        assert_eq!(encoder_id("Intent_2"), "intent_2-tuned");
        assert!(encoder_id("тема").starts_with("label-") && encoder_id("тема") != encoder_id("владелец"));
        assert!(encoder_id("a b").starts_with("label-"));
    }
}
