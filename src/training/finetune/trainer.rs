//! Encoder and head together: one step, one evaluation.

use super::adamw::{Step, gradient_norm, rate_share};
use super::dropout::Dropout;
use super::head::{Head, Loss, Target, contrast};
use super::matrix::Matrix;
use super::measure::{HeldOut, Tally};
use super::network::Network;
use super::options::FineTuneOptions;
use super::order;
use super::parameter::Parameter;
use super::{Example, FineTuneError};

/// What is learned, and how.
#[derive(Debug)]
pub(super) struct Trainer {
    pub network: Network,
    pub head: Head,
    pub options: FineTuneOptions,
    /// Weight of each class in the loss.
    class_weights: Vec<f32>,
}

impl Trainer {
    pub fn new(network: Network, options: FineTuneOptions, rows: &[Example]) -> Self {
        let head = Head::new(options.classes, network.hidden(), options.seed);
        let mut counts = vec![0usize; options.classes];
        for label in rows.iter().flat_map(|row| &row.labels) {
            if let Some(count) = counts.get_mut(*label as usize) {
                *count += 1;
            }
        }
        let mean = rows.len() as f64 / options.classes as f64;
        let weight = |count: &usize| (mean / (*count).max(1) as f64).powf(options.class_balance) as f32;
        let class_weights = counts.iter().map(weight).collect();
        let mut trainer = Self { class_weights, network, head, options };
        if trainer.options.average_epochs > 0.0 {
            trainer.parameters_mut().into_iter().for_each(Parameter::keep_average);
        }
        trainer
    }

    fn target<'a>(&self, row: &'a Example) -> Target<'a> {
        let weight_of = |label: &u32| self.class_weights.get(*label as usize).copied().unwrap_or(1.0);
        // A row of several labels counts as its rarest.
        let weight = row
            .labels
            .iter()
            .map(weight_of)
            .fold(None, |most: Option<f32>, weight| Some(most.map_or(weight, |most| most.max(weight))));
        Target { labels: &row.labels, weight: weight.unwrap_or(1.0) }
    }

    /// Learns from one batch; gives the loss before the update.
    pub fn step(&mut self, rows: &[Example], batch: &[usize], step: u64, steps: u64) -> Result<f64, FineTuneError> {
        let loss = self.gradients(rows, batch, step)?;
        if !loss.is_finite() {
            return Err(FineTuneError::Diverged { step });
        }
        let Self { network, head, options, .. } = self;
        let mut parameters = network.parameters_mut();
        parameters.extend(head.parameters_mut());
        let norm = gradient_norm(&parameters);
        if !norm.is_finite() {
            return Err(FineTuneError::Diverged { step });
        }
        let gradient_scale = if norm > options.clip_norm { options.clip_norm / norm } else { 1.0 };
        let update = Step { options, step, rate_share: rate_share(options, step, steps), gradient_scale };
        let share = average_share(options, step, rows.len());
        for parameter in parameters {
            update.apply(parameter);
            parameter.follow(share);
        }
        Ok(loss)
    }

    /// Adds up the gradients of a batch; gives its loss.
    pub fn gradients(&mut self, rows: &[Example], batch: &[usize], step: u64) -> candle_core::Result<f64> {
        // Twins stand side by side, each with states of its own dropped.
        let twins = if self.options.consistency > 0.0 { 2 } else { 1 };
        let parts = order::parts(batch, rows, self.options.memory_tokens / twins);
        let sizes: Vec<usize> = parts.iter().map(|part| part.len() * twins).collect();
        let dropout = Dropout::new(self.options.dropout, self.options.seed, step);
        let examples: Vec<&Example> =
            batch.iter().filter_map(|index| rows.get(*index)).flat_map(|row| std::iter::repeat_n(row, twins)).collect();
        let targets: Vec<Target<'_>> = examples.iter().map(|row| self.target(row)).collect();
        let total: f32 = targets.iter().map(|target| target.weight).sum();
        let spans: Vec<Span<'_>> = spans(&sizes, &examples, &targets, dropout);
        let loss = Self::pass(&mut self.network, &mut self.head, &self.options, &spans, &targets, total)?;
        if self.options.adversary > 0.0
            && let Some(before) = self.network.tokens_mut().disturb(self.options.adversary)
        {
            let passed = Self::pass(&mut self.network, &mut self.head, &self.options, &spans, &targets, total);
            self.network.tokens_mut().settle(before);
            passed?;
        }
        Ok(loss)
    }

    /// One pass there and back: adds up gradients, gives the loss.
    fn pass(
        network: &mut Network,
        head: &mut Head,
        options: &FineTuneOptions,
        spans: &[Span<'_>],
        targets: &[Target<'_>],
        total: f32,
    ) -> candle_core::Result<f64> {
        match options.contrast {
            // The contrastive loss needs the vectors of all parts before any of them can go back.
            Some(contrasting) if spans.len() > 1 => {
                let mut vectors = Vec::new();
                for span in spans {
                    vectors.extend(network.vectors(&span.texts, span.dropout)?.into_values());
                }
                let vectors = Matrix::new(network.hidden(), vectors);
                let mut loss = head.classify(&vectors, targets, total, options)?;
                loss.add(contrast(&vectors, targets, contrasting)?);
                let mut slopes = loss.gradient.values();
                for span in spans {
                    let (here, later) =
                        slopes.split_at_checked(span.texts.len() * vectors.columns()).unwrap_or_default();
                    slopes = later;
                    let (_, cache) = network.forward(&span.texts, span.dropout)?;
                    let gradient = Matrix::new(vectors.columns(), here.to_vec());
                    network.backward(&span.texts, &gradient, cache, span.dropout)?;
                }
                Ok(loss.value)
            }
            contrasting => {
                let mut value = 0.0;
                for span in spans {
                    let (vectors, cache) = network.forward(&span.texts, span.dropout)?;
                    let mut loss = head.classify(&vectors, span.targets, total, options)?;
                    if let Some(contrasting) = contrasting {
                        loss.add(contrast(&vectors, span.targets, contrasting)?);
                    }
                    network.backward(&span.texts, &loss.gradient, cache, span.dropout)?;
                    value += loss.value;
                }
                Ok(value)
            }
        }
    }

    /// Results on some rows.
    pub fn measure(&self, rows: &[Example]) -> candle_core::Result<HeldOut> {
        let all: Vec<usize> = (0..rows.len()).collect();
        let mut tally = Tally::new(self.options.objective, self.options.classes);
        for part in order::parts(&all, rows, self.options.memory_tokens) {
            let examples: Vec<&Example> = part.iter().filter_map(|index| rows.get(*index)).collect();
            let texts: Vec<&[u32]> = examples.iter().map(|row| row.tokens.as_slice()).collect();
            let logits = self.head.logits(&self.network.vectors(&texts, Dropout::NONE)?)?;
            tally.add(&logits, examples.iter().map(|row| row.labels.as_slice()));
        }
        Ok(tally.finish())
    }

    /// Puts the means of the weights in the place of the weights, or takes that back.
    pub fn exchange_averages(&mut self) {
        self.parameters_mut().into_iter().for_each(Parameter::exchange_average);
    }

    /// All parameters, in a fixed order.
    pub fn parameters(&self) -> Vec<&Parameter> {
        let mut all = self.network.parameters();
        all.extend(self.head.parameters());
        all
    }

    /// In the order of [`Self::parameters`].
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let mut all = self.network.parameters_mut();
        all.extend(self.head.parameters_mut());
        all
    }
}

impl Loss {
    fn add(&mut self, other: Loss) {
        self.value += other.value;
        super::norm::add_matrix(&mut self.gradient, &other.gradient);
    }
}

/// How far the means of the weights move at a step: over as many steps as the options say, and over fewer while fewer were done.
fn average_share(options: &FineTuneOptions, step: u64, rows: usize) -> f32 {
    let steps_per_epoch = rows.div_ceil(options.batch_rows) as f64;
    let window = (options.average_epochs * steps_per_epoch).max(1.0);
    (1.0 / window.min(1.0 + step as f64 / 4.0)) as f32
}

/// Rows of a batch that go through the encoder together.
struct Span<'a> {
    texts: Vec<&'a [u32]>,
    targets: &'a [Target<'a>],
    dropout: Dropout,
}

fn spans<'a>(sizes: &[usize], examples: &[&'a Example], targets: &'a [Target<'a>], dropout: Dropout) -> Vec<Span<'a>> {
    let mut start = 0;
    let mut spans = Vec::with_capacity(sizes.len());
    for (place, size) in (0u32..).zip(sizes) {
        let range = start..start + size;
        start = range.end;
        spans.push(Span {
            texts: examples.get(range.clone()).unwrap_or_default().iter().map(|row| row.tokens.as_slice()).collect(),
            targets: targets.get(range).unwrap_or_default(),
            dropout: dropout.at(place),
        });
    }
    spans
}
