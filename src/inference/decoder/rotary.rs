//! Rotary positions: pairs of a head's numbers turned by angles that grow with the position.

use super::shape::{RotaryPairs, Shape};

/// Angles of a layer's kind.
pub(super) struct Rotary {
    /// Of one position, for each pair.
    angles: Vec<f64>,
    pairs: RotaryPairs,
    head_width: usize,
}

/// Sine and cosine of the angles of some positions.
pub(super) struct Turns {
    /// By position, by pair.
    turns: Vec<(f32, f32)>,
    of_position: usize,
    pairs: RotaryPairs,
    head_width: usize,
}

impl Rotary {
    /// `factors` divide the angles, pair by pair.
    pub fn new(shape: &Shape, base: f32, factor: f32, factors: Option<&[f32]>) -> Self {
        let width = shape.rotary_width;
        let angles = (0..width / 2).map(|pair| {
            let angle = f64::from(base).powf(-(2.0 * pair as f64) / width as f64) / f64::from(factor);
            angle / factors.and_then(|factors| factors.get(pair)).map_or(1.0, |factor| f64::from(*factor))
        });
        Self { angles: angles.collect(), pairs: shape.rotary_pairs, head_width: shape.head_width }
    }

    /// Of these positions.
    pub fn turns_at(&self, positions: impl IntoIterator<Item = usize>) -> Turns {
        let of_position = |position: usize| {
            self.angles.iter().map(move |angle| {
                let (sine, cosine) = (angle * position as f64).sin_cos();
                (sine as f32, cosine as f32)
            })
        };
        Turns {
            turns: positions.into_iter().flat_map(of_position).collect(),
            of_position: self.angles.len(),
            pairs: self.pairs,
            head_width: self.head_width,
        }
    }
}

impl Turns {
    /// Positions.
    pub fn positions(&self) -> usize {
        self.turns.len() / self.of_position.max(1)
    }

    /// Pairs of numbers that a position turns.
    pub fn pairs_of_position(&self) -> usize {
        self.of_position
    }

    /// Which numbers are a pair.
    pub fn pairs(&self) -> RotaryPairs {
        self.pairs
    }

    /// All sines and all cosines, by position, by pair.
    pub fn columns(&self) -> (Vec<f32>, Vec<f32>) {
        self.turns.iter().copied().unzip()
    }

    /// Turns rows of heads, those of the positions from `from` on.
    pub fn apply(&self, rows: &mut [f32], row_width: usize, from: usize) {
        let turns = self.turns.get(from * self.of_position..).unwrap_or_default();
        for (row, turns) in rows.chunks_exact_mut(row_width.max(1)).zip(turns.chunks_exact(self.of_position.max(1))) {
            for head in row.chunks_exact_mut(self.head_width.max(1)) {
                turn(head, turns, self.pairs);
            }
        }
    }
}

fn turn(head: &mut [f32], turns: &[(f32, f32)], pairs: RotaryPairs) {
    let turned = |one: &mut f32, other: &mut f32, (sine, cosine): (f32, f32)| {
        (*one, *other) = (*one * cosine - *other * sine, *one * sine + *other * cosine);
    };
    match pairs {
        RotaryPairs::Halves => {
            // What lies beyond the turned numbers stays.
            let Some((ones, rest)) = head.split_at_mut_checked(turns.len()) else { return };
            for ((one, other), turn) in ones.iter_mut().zip(rest).zip(turns) {
                turned(one, other, *turn);
            }
        }
        RotaryPairs::Neighbours => {
            for ([one, other], turn) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                turned(one, other, *turn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_turned_by_their_angle() {
        for (pairs, at) in [(RotaryPairs::Halves, [0, 2]), (RotaryPairs::Neighbours, [0, 1])] {
            let rotary = Rotary { angles: vec![0.5, 0.01], pairs, head_width: 4 };
            let mut rows = vec![0.0; 8];
            rows[4 + at[0]] = 1.0;
            rotary.turns_at(6..8).apply(&mut rows, 4, 0);
            let expected = (7.0f32 * 0.5).sin_cos();
            assert!((rows[4 + at[1]] - expected.0).abs() < 1e-6 && (rows[4 + at[0]] - expected.1).abs() < 1e-6);
            assert_eq!(rows[..4], [0.0; 4]);
        }
    }
}
