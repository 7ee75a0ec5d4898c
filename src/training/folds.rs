//! Rows dealt into parts for cross-validation.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::LabelledRow;

/// A stratum a row, for [`deal`]: rows of the same labels share one.
pub fn strata(rows: &[LabelledRow]) -> Vec<usize> {
    let mut sets: Vec<&[String]> = rows.iter().map(|row| row.labels.as_slice()).collect();
    sets.sort_unstable();
    sets.dedup();
    rows.iter().map(|row| sets.binary_search(&row.labels.as_slice()).unwrap_or_default()).collect()
}

/// Deals rows into `parts`, each label's rows as evenly as can be; `strata` has a label a row. The part of each row comes back.
pub fn deal(strata: &[usize], parts: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..strata.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    // Stable: within a label the shuffled order stays.
    order.sort_by_key(|row| strata.get(*row).copied());
    let mut part_of = vec![0; strata.len()];
    for (turn, row) in order.into_iter().enumerate() {
        if let Some(part) = part_of.get_mut(row) {
            *part = turn % parts;
        }
    }
    part_of
}

/// The rows that stand in a part, and those that do not.
pub fn split(part_of: &[usize], part: usize) -> (Vec<usize>, Vec<usize>) {
    (0..part_of.len()).partition(|row| part_of.get(*row) == Some(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_share_of_every_label() {
        let strata: Vec<usize> = (0..103).map(|row| row % 7).collect();
        let part_of = deal(&strata, 5, 3);
        for label in 0..7 {
            let in_part = |part| (0..103).filter(|row| strata[*row] == label && part_of[*row] == part).count();
            let counts: Vec<usize> = (0..5).map(in_part).collect();
            assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{label}: {counts:?}");
        }
        let sizes: Vec<usize> = (0..5).map(|part| split(&part_of, part).0.len()).collect();
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        assert_ne!(part_of, deal(&strata, 5, 4));
        assert_eq!(part_of, deal(&strata, 5, 3));
    }

    #[test]
    fn a_row_is_in_its_part_or_among_the_rest() {
        let part_of = deal(&[0, 0, 1, 1, 0], 2, 1);
        let (inside, outside) = split(&part_of, 1);
        let mut all = [inside.clone(), outside].concat();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
        assert!(inside.iter().all(|row| part_of[*row] == 1));
    }
}
