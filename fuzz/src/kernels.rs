//! The kernels of this processor against the plain ones.
//!
//! The first four bytes are the numbers of rows, inputs and outputs, and how the others become numbers.

use otklik::inference::parity::{Factors, check_attention};

/// Makes factors of the bytes and multiplies them with every kernel. True if there were enough bytes.
pub fn run(bytes: &[u8]) -> bool {
    let [rows, inputs, outputs, kind, rest @ ..] = bytes else { return false };
    if rest.is_empty() {
        return false;
    }
    let (rows, inputs, outputs) =
        (1 + usize::from(*rows) % 40, 1 + usize::from(*inputs) % 200, 1 + usize::from(*outputs) % 140);
    let byte = |at: usize| {
        let turn = (at / rest.len()) as u8;
        rest.get(at % rest.len()).map_or(0, |byte| byte ^ turn.wrapping_mul(37))
    };
    let small = |at: usize| f32::from(byte(at) as i8) / 64.0;
    let number = |at: usize| match kind % 4 {
        // Any numbers at all: infinite, none, or too small to be normal.
        0 => f32::from_le_bytes([byte(4 * at), byte(4 * at + 1), byte(4 * at + 2), byte(4 * at + 3)]),
        1 => small(at) * 10f32.powi(i32::from(*kind as i8) / 4),
        2 => f32::from(byte(at) & 1),
        _ => small(at),
    };
    let all = |count: usize, from: usize| (from..from + count).map(number).collect::<Vec<f32>>();
    let (values, weights) = (all(rows * inputs, 0), all(inputs * outputs, 7));
    let factors = Factors::new(values, weights, all(outputs, 13), inputs).expect("factors that go together");
    factors.check_int8().unwrap_or_else(|disparity| panic!("{disparity}"));
    factors.check_grouped().unwrap_or_else(|disparity| panic!("{disparity}"));
    let (heads, width) = (1 + outputs % 4, 1 + inputs % 70);
    let joined: Vec<f32> = (0..rows * 3 * heads * width).map(small).collect();
    check_attention(&joined, heads, width).unwrap_or_else(|disparity| panic!("{disparity}"));
    true
}
