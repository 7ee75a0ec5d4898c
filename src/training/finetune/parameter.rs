//! A matrix that is learned: its values, its gradient, and what the optimiser keeps about it.

use rayon::prelude::*;

use super::adamw::BLOCK;
use super::matrix::Matrix;
use super::rounding;
use crate::inference::vectorise::{add, add_scaled, vectorised};

/// How a parameter is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Treatment {
    /// Layers above it; the learning rate shrinks with them.
    pub depth: usize,
    /// Whether weight decay applies: to matrices of products, not to biases, norms and tables.
    pub decays: bool,
    /// Whether it belongs to the classification head.
    pub head: bool,
}

/// One learned matrix (a vector is a matrix of one row).
#[derive(Debug)]
pub(super) struct Parameter {
    pub name: String,
    pub value: Matrix,
    pub treatment: Treatment,
    /// Mean of gradients; empty for a frozen parameter.
    pub first_moment: Vec<f32>,
    /// Mean of squared gradients.
    pub second_moment: Vec<f32>,
    /// Mean of the values over the last steps; empty where none is kept.
    pub average: Vec<f32>,
    gradient: Option<Matrix>,
    /// What the passes see in place of `value`, for a parameter that is learned as it will be stored.
    rounded: Option<Matrix>,
}

impl Parameter {
    pub fn new(name: impl Into<String>, value: Matrix, treatment: Treatment) -> Self {
        let size = value.values().len();
        Self {
            name: name.into(),
            value,
            treatment,
            first_moment: vec![0.0; size],
            second_moment: vec![0.0; size],
            average: Vec::new(),
            gradient: None,
            rounded: None,
        }
    }

    /// A parameter that keeps its values.
    pub fn frozen(name: impl Into<String>, value: Matrix) -> Self {
        let treatment = Treatment { depth: 0, decays: false, head: false };
        Self {
            name: name.into(),
            value,
            treatment,
            first_moment: Vec::new(),
            second_moment: Vec::new(),
            average: Vec::new(),
            gradient: None,
            rounded: None,
        }
    }

    /// From now on the passes see the values as 4 bits hold them.
    pub fn round(&mut self) {
        if !self.is_frozen() && self.value.columns().is_multiple_of(rounding::BLOCK) {
            self.rounded = Some(self.value.clone());
            self.refresh();
        }
    }

    /// Rounds anew, after the values have changed.
    pub fn refresh(&mut self) {
        if let Some(rounded) = &mut self.rounded {
            rounding::round(self.value.values(), rounded.values_mut());
        }
    }

    /// What the passes see.
    pub fn seen(&self) -> &Matrix {
        self.rounded.as_ref().unwrap_or(&self.value)
    }

    /// Moves what the passes see along the gradient, by a share of the mean length of the rows; gives what they saw before.
    pub fn disturb(&mut self, share: f64) -> Option<Matrix> {
        let gradient = self.gradient.as_ref()?;
        let length = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let steepness = length(gradient.values());
        if steepness <= f64::MIN_POSITIVE {
            return None;
        }
        let seen = self.rounded.as_mut().unwrap_or(&mut self.value);
        let before = seen.clone();
        let rows = (seen.values().len() / seen.columns().max(1)).max(1);
        // The root of the mean square, which the mean length of rows of about one length is.
        let row = length(seen.values()) / (rows as f64).sqrt();
        let scale = (share * row / steepness) as f32;
        vectorised(
            #[inline(always)]
            || add_scaled(seen.values_mut(), scale, gradient.values()),
        );
        Some(before)
    }

    /// Takes a disturbance back.
    pub fn settle(&mut self, before: Matrix) {
        *self.rounded.as_mut().unwrap_or(&mut self.value) = before;
    }

    /// From now on a mean of the values is kept, unless they never change.
    pub fn keep_average(&mut self) {
        if !self.is_frozen() {
            self.average = self.value.values().to_vec();
        }
    }

    /// Moves the mean towards the values by a share of the way.
    pub fn follow(&mut self, share: f32) {
        let Self { value, average, .. } = self;
        average.par_chunks_mut(BLOCK).zip(value.values().par_chunks(BLOCK)).for_each(|(average, values)| {
            for (average, value) in average.iter_mut().zip(values) {
                *average += share * (value - *average);
            }
        });
    }

    /// Puts the mean in the place of the values, and the values in its place; nothing where no mean is kept.
    pub fn exchange_average(&mut self) {
        if !self.average.is_empty() {
            self.value.values_mut().swap_with_slice(&mut self.average);
            self.refresh();
        }
    }

    pub fn is_frozen(&self) -> bool {
        self.first_moment.is_empty()
    }

    pub fn values(&self) -> &[f32] {
        self.value.values()
    }

    /// Adds to the gradient; nothing for a frozen parameter.
    pub fn add_gradient(&mut self, gradient: Matrix) {
        if self.is_frozen() {
            return;
        }
        match &mut self.gradient {
            Some(sum) => vectorised(
                #[inline(always)]
                || add(sum.values_mut(), gradient.values()),
            ),
            None => self.gradient = Some(gradient),
        }
    }

    pub fn add_gradient_row(&mut self, gradient: Vec<f32>) {
        self.add_gradient(Matrix::new(gradient.len(), gradient));
    }

    pub fn gradient(&self) -> Option<&Matrix> {
        self.gradient.as_ref()
    }

    pub fn take_gradient(&mut self) -> Option<Matrix> {
        self.gradient.take()
    }
}
