//! Matrices as they are after being stored in 4 bits (Q4_0 of GGUF), so that what is learned survives the storing.
//!
//! The passes see the rounded matrix, and its gradient moves the unrounded one behind it (the straight-through estimator: Bengio
//! et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013).

use half::f16;
use rayon::prelude::*;

use crate::inference::vectorise::vectorised;

/// Numbers that share a scale.
pub(super) const BLOCK: usize = 32;

/// Numbers that one task takes.
const TASK: usize = 1024 * BLOCK;

/// Writes `values` into `into` as Q4_0 gives them back. What is left behind whole blocks stays as it is.
pub(super) fn round(values: &[f32], into: &mut [f32]) {
    values.par_chunks(TASK).zip(into.par_chunks_mut(TASK)).for_each(|(values, into)| {
        vectorised(
            #[inline(always)]
            || {
                let ((blocks, rest), (into, into_rest)) = (values.as_chunks::<BLOCK>(), into.as_chunks_mut::<BLOCK>());
                for (block, into) in blocks.iter().zip(into) {
                    round_block(block, into);
                }
                into_rest.iter_mut().zip(rest).for_each(|(into, value)| *into = *value);
            },
        );
    });
}

#[inline(always)]
fn round_block(block: &[f32; BLOCK], into: &mut [f32; BLOCK]) {
    let (mut low, mut high) = ([0.0f32; BLOCK / 2], [0.0f32; BLOCK / 2]);
    for half in block.as_chunks::<{ BLOCK / 2 }>().0 {
        for ((low, high), value) in low.iter_mut().zip(&mut high).zip(half) {
            *low = if *value < *low { *value } else { *low };
            *high = if *value > *high { *value } else { *high };
        }
    }
    let low = low.into_iter().fold(0.0f32, |low, value| if value < low { value } else { low });
    let high = high.into_iter().fold(0.0f32, |high, value| if value > high { value } else { high });
    // The largest by magnitude gets the outermost of the 16 levels; of two, the one that comes first.
    let largest = if high == -low {
        block.iter().copied().find(|value| value.abs() == high).unwrap_or_default()
    } else if high > -low {
        high
    } else {
        low
    };
    let scale = largest / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let stored = f16::from_f32(scale).to_f32();
    for (into, value) in into.iter_mut().zip(block) {
        let level = (value * inverse + 8.5).floor();
        *into = (if level < 15.0 { level } else { 15.0 } - 8.0) * stored;
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::training::finetune::check::noise;

    #[test]
    fn values_are_those_that_come_back_from_storage() {
        let mut values = noise(1, 2 * TASK + 8 * BLOCK);
        values[..BLOCK].fill(0.0);
        values[BLOCK] = 2.0;
        values[BLOCK + 20] = -2.0;
        values[2 * BLOCK + 5] = -3.0;
        values[2 * BLOCK + 31] = 3.0;
        let tensor = Tensor::from_slice(&values, values.len(), &Device::Cpu).unwrap();
        let stored = QTensor::quantize(&tensor, GgmlDType::Q4_0).unwrap();
        let expected: Vec<f32> = stored.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap();
        let mut given = vec![0.0; values.len()];
        round(&values, &mut given);
        assert!(given == expected);
        let mut again = vec![0.0; values.len()];
        round(&given, &mut again);
        assert!(given == again, "rounding twice is rounding once");
    }
}
