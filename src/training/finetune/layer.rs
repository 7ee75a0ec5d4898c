//! One layer of the encoder, forward and backward: attention, then the feed-forward part, each with a residual and a norm behind.

use super::attention::{self, Heads};
use super::dropout::Dropout;
use super::gelu;
use super::matrix::Matrix;
use super::norm::{self, Normalised, Scale, ScaleGradient, column_sums};
use super::options::Products;
use super::parameter::Parameter;

/// A linear layer: `weight` is `[outputs, inputs]`, `bias` `[1, outputs]`.
#[derive(Debug)]
pub(super) struct Linear {
    pub weight: Parameter,
    pub bias: Parameter,
}

impl Linear {
    /// The product with an input, without the bias.
    fn product(&self, input: &Matrix, products: Products) -> candle_core::Result<Matrix> {
        input.times_transposed(self.weight.seen(), products)
    }

    /// Takes the gradient of the output and what went in; adds up its own gradients and gives that of the input.
    pub fn backward(&mut self, gradient: &Matrix, input: &Matrix, products: Products) -> candle_core::Result<Matrix> {
        self.bias.add_gradient_row(column_sums(gradient));
        self.weight.add_gradient(gradient.transposed_times(input, products)?);
        gradient.times(self.weight.seen(), products)
    }
}

/// Scale and shift of a norm, `[1, hidden]` each.
#[derive(Debug)]
pub(super) struct Norm {
    pub weight: Parameter,
    pub bias: Parameter,
}

impl Norm {
    pub fn scale(&self, epsilon: f32) -> Scale<'_> {
        Scale { weight: self.weight.values(), bias: self.bias.values(), epsilon }
    }

    pub fn backward(&mut self, normalised: &Normalised, gradient: &mut Matrix) {
        let ScaleGradient { weight, bias } = norm::backward(normalised, self.weight.values(), gradient);
        self.weight.add_gradient_row(weight);
        self.bias.add_gradient_row(bias);
    }
}

/// One layer.
#[derive(Debug)]
pub(super) struct Layer {
    /// Query, key and value side by side.
    pub joined: Linear,
    pub mix: Linear,
    pub mix_norm: Norm,
    pub up: Linear,
    pub down: Linear,
    pub output_norm: Norm,
}

/// What is the same for all layers of a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass<'a> {
    /// Tokens of each sequence.
    pub lengths: &'a [usize],
    pub heads: Heads,
    pub epsilon: f32,
    pub dropout: Dropout,
    pub products: Products,
}

/// What the backward pass needs, all `[tokens, …]`.
#[derive(Debug)]
pub(super) struct LayerCache {
    input: Matrix,
    joined: Matrix,
    attended: Matrix,
    mix_norm: Normalised,
    middle: Matrix,
    widened: Matrix,
    activated: Matrix,
    output_norm: Normalised,
}

impl Layer {
    pub fn forward(&self, input: Matrix, pass: Pass<'_>) -> candle_core::Result<(Matrix, LayerCache)> {
        let mut joined = self.joined.product(&input, pass.products)?;
        norm::add_to_rows(&mut joined, self.joined.bias.values());
        let attended = attention::forward(&joined, pass.lengths, pass.heads, pass.products);
        let mixed = self.mix.product(&attended, pass.products)?;
        let bias = Some(self.mix.bias.values());
        let scale = self.mix_norm.scale(pass.epsilon);
        let (middle, mix_norm) = norm::forward(mixed, bias, Some(&input), pass.dropout.at(1), scale);
        let mut widened = self.up.product(&middle, pass.products)?;
        let activated = gelu::forward(&mut widened, self.up.bias.values());
        let narrowed = self.down.product(&activated, pass.products)?;
        let bias = Some(self.down.bias.values());
        let scale = self.output_norm.scale(pass.epsilon);
        let (output, output_norm) = norm::forward(narrowed, bias, Some(&middle), pass.dropout.at(2), scale);
        let cache = LayerCache { input, joined, attended, mix_norm, middle, widened, activated, output_norm };
        Ok((output, cache))
    }

    /// Adds up the layer's gradients; gives the gradient of its input.
    pub fn backward(&mut self, mut gradient: Matrix, cache: LayerCache, pass: Pass<'_>) -> candle_core::Result<Matrix> {
        self.output_norm.backward(&cache.output_norm, &mut gradient);
        let narrowed = norm::dropped(&gradient, pass.dropout.at(2));
        let mut widened = self.down.backward(&narrowed, &cache.activated, pass.products)?;
        gelu::backward(&cache.widened, &mut widened);
        let mut middle = self.up.backward(&widened, &cache.middle, pass.products)?;
        norm::add_matrix(&mut middle, &gradient);

        self.mix_norm.backward(&cache.mix_norm, &mut middle);
        let mixed = norm::dropped(&middle, pass.dropout.at(1));
        let attended = self.mix.backward(&mixed, &cache.attended, pass.products)?;
        let joined = attention::backward(&cache.joined, pass.lengths, pass.heads, &attended, pass.products);
        let mut input = self.joined.backward(&joined, &cache.input, pass.products)?;
        norm::add_matrix(&mut input, &middle);
        Ok(input)
    }

    pub fn parameters(&self) -> Vec<&Parameter> {
        let Self { joined, mix, mix_norm, up, down, output_norm } = self;
        let mut all = Vec::with_capacity(12);
        for linear in [joined, mix, up, down] {
            all.extend([&linear.weight, &linear.bias]);
        }
        for norm in [mix_norm, output_norm] {
            all.extend([&norm.weight, &norm.bias]);
        }
        all
    }

    /// In the order of [`Self::parameters`].
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let Self { joined, mix, mix_norm, up, down, output_norm } = self;
        let mut all = Vec::with_capacity(12);
        for linear in [joined, mix, up, down] {
            all.extend([&mut linear.weight, &mut linear.bias]);
        }
        for norm in [mix_norm, output_norm] {
            all.extend([&mut norm.weight, &mut norm.bias]);
        }
        all
    }
}
