//! A matrix of 32-bit numbers that is multiplied by candle's kernels and read and written in place by everything else.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Shape};

use crate::inference::Operand;

use super::options::Products;

/// Rows of 32-bit numbers, one behind the other.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    rows: usize,
    columns: usize,
    storage: CpuStorage,
}

impl Matrix {
    /// `values` in rows of `columns`.
    pub fn new(columns: usize, values: Vec<f32>) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        Self { rows, columns, storage: CpuStorage::F32(values) }
    }

    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self::new(columns, vec![0.0; rows * columns])
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn values(&self) -> &[f32] {
        match &self.storage {
            CpuStorage::F32(values) => values,
            _ => &[],
        }
    }

    pub fn values_mut(&mut self) -> &mut [f32] {
        match &mut self.storage {
            CpuStorage::F32(values) => values,
            _ => &mut [],
        }
    }

    pub fn into_values(self) -> Vec<f32> {
        match self.storage {
            CpuStorage::F32(values) => values,
            _ => Vec::new(),
        }
    }

    pub fn row(&self, index: usize) -> &[f32] {
        self.values().get(index * self.columns..(index + 1) * self.columns).unwrap_or_default()
    }

    fn as_is(&self) -> Layout {
        Layout::contiguous(Shape::from((self.rows, self.columns)))
    }

    fn transposed(&self) -> Layout {
        Layout::new(Shape::from((self.columns, self.rows)), vec![1, self.columns], 0)
    }

    fn product(
        &self,
        left: &Layout,
        other: &Self,
        right: &Layout,
        (rows, columns, inner): (usize, usize, usize),
    ) -> candle_core::Result<Self> {
        let storage = self.storage.matmul(&other.storage, (1, rows, columns, inner), left, right)?;
        Ok(Self { rows, columns, storage })
    }

    fn operand(&self) -> Operand<'_> {
        Operand::new(self.values(), self.columns)
    }

    /// `self · other`: `[m, k]` and `[k, n]` to `[m, n]`.
    pub fn times(&self, other: &Self, products: Products) -> candle_core::Result<Self> {
        if let Some(half) = products.half() {
            return Ok(Self::new(other.columns, half.multiply(self.operand(), other.operand())));
        }
        self.product(&self.as_is(), other, &other.as_is(), (self.rows, other.columns, self.columns))
    }

    /// `self · otherᵀ`: `[m, k]` and `[n, k]` to `[m, n]`.
    pub fn times_transposed(&self, other: &Self, products: Products) -> candle_core::Result<Self> {
        if let Some(half) = products.half() {
            return Ok(Self::new(other.rows, half.multiply(self.operand(), other.operand().turned())));
        }
        self.product(&self.as_is(), other, &other.transposed(), (self.rows, other.rows, self.columns))
    }

    /// `selfᵀ · other`: `[k, m]` and `[k, n]` to `[m, n]`.
    pub fn transposed_times(&self, other: &Self, products: Products) -> candle_core::Result<Self> {
        if let Some(half) = products.half() {
            return Ok(Self::new(other.columns, half.multiply(self.operand().turned(), other.operand())));
        }
        self.product(&self.transposed(), other, &other.as_is(), (self.columns, other.columns, self.rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_products_agree_with_sums() {
        // All of these numbers fit into 16 bits.
        for products in [Products::Exact, Products::Fast] {
            agree_with_sums(products);
        }
    }

    fn agree_with_sums(products: Products) {
        let one = Matrix::new(3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let other = Matrix::new(2, vec![1.0, -1.0, 0.5, 2.0, 3.0, 0.0]);
        assert_eq!(one.times(&other, products).unwrap().into_values(), [11.0, 3.0, 24.5, 6.0]);
        let flipped = Matrix::new(3, vec![1.0, 0.5, 3.0, -1.0, 2.0, 0.0]);
        assert_eq!(one.times_transposed(&flipped, products).unwrap().into_values(), [11.0, 3.0, 24.5, 6.0]);
        let tall = Matrix::new(2, vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(tall.transposed_times(&other, products).unwrap().into_values(), [11.0, 3.0, 24.5, 6.0]);
    }
}
