//! Keys and values of the tokens that a decoder has read: what it need not compute again.

use super::shape::Shape;
use super::tensor_layer::TensorCache;

/// Positions whose keys lie together, number by number: a query meets so many keys at a time.
pub(super) const BLOCK: usize = 16;

/// Those of one sequence, in all layers.
pub(super) struct Cache {
    layers: Layers,
    tokens: Vec<u32>,
}

/// Keys and values of each layer, where its model computes.
enum Layers {
    Grouped(Vec<LayerCache>),
    Tensors(Vec<TensorCache>),
}

/// Those of one layer.
#[derive(Clone)]
pub(super) struct LayerCache {
    /// By head, by [`BLOCK`] positions, by number of the head: the numbers of those positions.
    keys: Vec<f32>,
    /// By head, by position.
    values: Vec<f32>,
    heads: usize,
    width: usize,
    capacity: usize,
}

impl Cache {
    /// Room for so many tokens. Memory is taken as it is used.
    pub fn new(shape: &Shape, tokens: usize) -> Self {
        let capacity = tokens.next_multiple_of(BLOCK);
        let numbers = shape.value_width() * capacity;
        let layer = || LayerCache {
            keys: vec![0.0; numbers],
            values: vec![0.0; numbers],
            heads: shape.value_heads,
            width: shape.head_width,
            capacity,
        };
        Self { layers: Layers::Grouped((0..shape.layers).map(|_| layer()).collect()), tokens: Vec::new() }
    }

    /// With tensors for each layer.
    pub fn on_tensors(layers: Vec<TensorCache>) -> Self {
        Self { layers: Layers::Tensors(layers), tokens: Vec::new() }
    }

    /// Tokens that were read.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many of the first of these tokens were read already.
    pub fn common(&self, tokens: &[u32]) -> usize {
        self.tokens.iter().zip(tokens).take_while(|(known, token)| known == token).count()
    }

    /// Forgets all but the first tokens.
    pub fn truncate(&mut self, tokens: usize) {
        self.tokens.truncate(tokens);
    }

    /// Takes over the first tokens of another sequence, and forgets its own.
    ///
    /// # Errors
    /// That of the device that holds them.
    pub fn copy_from(&mut self, other: &Self, tokens: usize) -> candle_core::Result<()> {
        self.tokens.clear();
        match (&mut self.layers, &other.layers) {
            (Layers::Grouped(layers), Layers::Grouped(others)) => {
                layers.iter_mut().zip(others).for_each(|(layer, other)| layer.copy_from(other, tokens));
            }
            (Layers::Tensors(layers), Layers::Tensors(others)) => {
                layers.iter_mut().zip(others).try_for_each(|(layer, other)| layer.copy_from(other, tokens))?;
            }
            _ => candle_core::bail!("caches of different kinds"),
        }
        self.tokens.extend(other.tokens.iter().take(tokens));
        Ok(())
    }

    /// Notes tokens whose keys and values are in all layers.
    pub fn note(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }

    pub fn layer_mut(&mut self, layer: usize) -> Option<&mut LayerCache> {
        match &mut self.layers {
            Layers::Grouped(layers) => layers.get_mut(layer),
            Layers::Tensors(_) => None,
        }
    }

    pub fn tensors_mut(&mut self, layer: usize) -> Option<&mut TensorCache> {
        match &mut self.layers {
            Layers::Grouped(_) => None,
            Layers::Tensors(layers) => layers.get_mut(layer),
        }
    }
}

impl LayerCache {
    /// Takes over the keys and values of the first positions of another of the same shape.
    fn copy_from(&mut self, other: &Self, positions: usize) {
        let size = (self.capacity * self.width).max(1);
        let copy = |into: &mut [f32], from: &[f32], numbers: usize| {
            if let (Some(into), Some(from)) = (into.get_mut(..numbers), from.get(..numbers)) {
                into.copy_from_slice(from);
            }
        };
        for (into, from) in self.keys.chunks_exact_mut(size).zip(other.keys.chunks_exact(size)) {
            copy(into, from, positions.next_multiple_of(BLOCK) * self.width);
        }
        for (into, from) in self.values.chunks_exact_mut(size).zip(other.values.chunks_exact(size)) {
            copy(into, from, positions * self.width);
        }
    }

    /// Puts the keys and values of one position, `heads * width` numbers each, in their place.
    pub fn put(&mut self, position: usize, keys: &[f32], values: &[f32]) {
        let (width, capacity) = (self.width, self.capacity);
        for head in 0..self.heads {
            let start = head * capacity * width;
            let of_head = head * width..(head + 1) * width;
            let block = start + position / BLOCK * BLOCK * width + position % BLOCK;
            let places = self.keys.get_mut(block..).unwrap_or_default().iter_mut().step_by(BLOCK);
            places.zip(keys.get(of_head.clone()).unwrap_or_default()).for_each(|(place, key)| *place = *key);
            let place = start + position * width;
            if let (Some(into), Some(values)) = (self.values.get_mut(place..place + width), values.get(of_head)) {
                into.copy_from_slice(values);
            }
        }
    }

    /// Keys of a head, by blocks of positions.
    pub fn keys(&self, head: usize) -> &[f32] {
        let size = self.capacity * self.width;
        self.keys.get(head * size..(head + 1) * size).unwrap_or_default()
    }

    /// Values of a head, by position.
    pub fn values(&self, head: usize) -> &[f32] {
        let size = self.capacity * self.width;
        self.values.get(head * size..(head + 1) * size).unwrap_or_default()
    }
}
