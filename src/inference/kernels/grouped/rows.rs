//! Rows of numbers in 8 bits, in groups.

use super::GROUP;
use crate::inference::kernels::vectorise::vectorised;

/// Rows in 8 bits: number `n` of a group stands for `scale * n`.
#[derive(Debug, Default)]
pub(crate) struct GroupedRows {
    inputs: usize,
    numbers: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

impl GroupedRows {
    /// Rounds rows of `inputs` numbers, in place of the rows that were here. Behind the last number of a row stand zeros up to a
    /// whole group.
    pub fn round(&mut self, values: &[f32], inputs: usize) {
        let rows = values.len() / inputs.max(1);
        let groups = inputs.div_ceil(GROUP);
        self.inputs = inputs;
        self.numbers.clear();
        self.numbers.resize(rows * groups * GROUP, 0);
        self.scales.resize(rows * groups, 0.0);
        self.sums.resize(rows * groups, 0);
        let of_rows = self.scales.chunks_exact_mut(groups.max(1)).zip(self.sums.chunks_exact_mut(groups.max(1)));
        let numbers = self.numbers.chunks_exact_mut((groups * GROUP).max(1));
        vectorised(
            #[inline(always)]
            || {
                for ((values, numbers), (scales, sums)) in values.chunks_exact(inputs.max(1)).zip(numbers).zip(of_rows)
                {
                    let of_groups = scales.iter_mut().zip(sums);
                    let of_values = values.chunks(GROUP).zip(numbers.as_chunks_mut::<GROUP>().0);
                    for ((values, numbers), (scale, sum)) in of_values.zip(of_groups) {
                        (*scale, *sum) = match <&[f32; GROUP]>::try_from(values) {
                            Ok(values) => round(values, numbers),
                            Err(_) => {
                                let mut whole = [0.0; GROUP];
                                whole.iter_mut().zip(values).for_each(|(whole, value)| *whole = *value);
                                round(&whole, numbers)
                            }
                        };
                    }
                }
            },
        );
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    fn groups(&self) -> usize {
        self.inputs.div_ceil(GROUP)
    }

    pub(super) fn numbers_from(&self, row: usize) -> &[i8] {
        self.numbers.get(row * self.groups() * GROUP..).unwrap_or_default()
    }

    pub(super) fn scales_from(&self, row: usize) -> &[f32] {
        self.scales.get(row * self.groups()..).unwrap_or_default()
    }

    pub(super) fn sums_from(&self, row: usize) -> &[i32] {
        self.sums.get(row * self.groups()..).unwrap_or_default()
    }
}

/// Rounds a group; its scale, and the sum of what its numbers became.
#[inline(always)]
fn round(values: &[f32; GROUP], numbers: &mut [i8; GROUP]) -> (f32, i32) {
    /// Adding it rounds to a whole number and leaves that number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let largest =
        values.iter().fold(0.0f32, |largest, value| if value.abs() > largest { value.abs() } else { largest });
    let scale = largest / 127.0;
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let mut sum = 0;
    for (number, value) in numbers.iter_mut().zip(values) {
        *number = (value * inverse + ROUND).to_bits() as i8;
        sum += i32::from(*number);
    }
    (scale, sum)
}
