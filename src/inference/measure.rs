//! Products by themselves, for benchmarks: what a kernel reaches, and what its instructions could.

use super::Kernel;
use super::kernels::{Activation, Int8Kernel, Int8Matrix, Int8Rows, Linear};

/// A product of one shape with one kernel, again and again.
pub struct Product {
    kernel: Int8Kernel,
    rows: Int8Rows,
    count: usize,
    matrix: Int8Matrix,
    output: Vec<f32>,
}

impl Product {
    /// Of `rows` rows of `inputs` numbers with a matrix of `outputs` columns; `None` if the kernel does not run in 8 bits here.
    pub fn new(kernel: Kernel, rows: usize, inputs: usize, outputs: usize) -> Option<Self> {
        let values =
            |count: usize| (0..count).map(|index| ((index * 7919) % 1009) as f32 - 504.0).collect::<Vec<f32>>();
        let mut rounded = Int8Rows::default();
        rounded.round(&values(rows * inputs), inputs);
        Some(Self {
            kernel: kernel.int8()?,
            rows: rounded,
            count: rows,
            matrix: Int8Matrix::new(&values(inputs * outputs), inputs, &values(outputs)),
            output: vec![0.0; rows * outputs],
        })
    }

    /// Computes it once, bias included.
    pub fn run(&mut self) -> &[f32] {
        let outputs = self.matrix.outputs();
        let linear = Linear {
            rows: &self.rows,
            range: 0..self.count,
            matrix: &self.matrix,
            columns: 0..outputs,
            activation: Activation::None,
        };
        self.kernel.linear(linear, &mut self.output, outputs);
        &self.output
    }

    /// Multiplications and additions of one run.
    pub fn operations(&self) -> u64 {
        2 * (self.count * self.matrix.inputs() * self.matrix.outputs()) as u64
    }
}

/// Multiplies and adds in registers alone, nothing read and nothing written, and says how many operations that were: no product can be
/// faster. `None` for kernels whose peak is not measured.
pub fn peak_operations(kernel: Kernel, rounds: u32) -> Option<u64> {
    kernel.int8()?.peak_operations(rounds)
}
