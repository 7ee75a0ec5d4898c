//! The products as one would write them down: the reference for all other kernels, and the way on processors that have none of them.

use super::{Block, COLUMNS, DEPTH, Group, PANEL, Sums};
use crate::inference::kernels::vectorise::vectorised;

pub(super) fn product(block: Block<'_>, sums: &mut Sums) {
    vectorised(
        #[inline(always)]
        || {
            for (row, sums) in block.rows.chunks_exact(block.stride).take(block.count).zip(&mut sums.0) {
                *sums = [0; COLUMNS];
                let panels = block.panels.chunks_exact(block.groups());
                for (panel, sums) in panels.zip(sums.chunks_exact_mut(PANEL)) {
                    for (Group(weights), numbers) in panel.iter().zip(row.chunks_exact(DEPTH)) {
                        for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(DEPTH)) {
                            let terms = numbers.iter().zip(weights);
                            *sum += terms.map(|(number, weight)| i32::from(*number) * i32::from(*weight)).sum::<i32>();
                        }
                    }
                }
            }
        },
    );
}
