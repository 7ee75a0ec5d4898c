//! In what order rows are learned: new in each epoch, the same for the same seed.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Example;

/// Indices of the rows of each step of an epoch. Every row comes once. With `rows_per_class` above 1, rows of one class come in
/// groups of that size, as a contrastive loss wants them.
pub(super) fn batches(
    rows: &[Example],
    batch_rows: usize,
    rows_per_class: usize,
    seed: u64,
    epoch: usize,
) -> Vec<Vec<usize>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(epoch as u64);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.shuffle(&mut random);
    if rows_per_class > 1 {
        // A stable sort keeps the shuffled order within each class.
        order.sort_by(|one, other| rows.get(*one).map(|row| &row.labels).cmp(&rows.get(*other).map(|row| &row.labels)));
        let mut groups: Vec<Vec<usize>> = order
            .chunk_by(|one, other| rows.get(*one).map(|row| &row.labels) == rows.get(*other).map(|row| &row.labels))
            .flat_map(|class| class.chunks(rows_per_class).map(<[usize]>::to_vec))
            .collect();
        groups.shuffle(&mut random);
        order = groups.concat();
    }
    order.chunks(batch_rows).map(<[usize]>::to_vec).collect()
}

/// Splits the rows of a step into parts of at most `limit` tokens, each at least one row.
pub(super) fn parts<'a>(batch: &'a [usize], rows: &[Example], limit: usize) -> Vec<&'a [usize]> {
    let mut parts = Vec::new();
    let mut rest = batch;
    while !rest.is_empty() {
        let mut tokens = 0;
        let fits = |index: &&usize| {
            tokens += rows.get(**index).map_or(0, |row| row.tokens.len());
            tokens <= limit
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (part, tail) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        parts.push(part);
        rest = tail;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Example> {
        (0..50u32).map(|index| Example { tokens: vec![0; 1 + index as usize % 9], labels: vec![index % 7] }).collect()
    }

    #[test]
    fn every_row_comes_once_and_epochs_and_seeds_differ() {
        let rows = rows();
        for rows_per_class in [1, 2, 3] {
            let order = |seed, epoch| batches(&rows, 8, rows_per_class, seed, epoch);
            let mut all = order(5, 0).concat();
            assert_eq!(order(5, 0), order(5, 0));
            assert_ne!(order(5, 0), order(5, 1));
            assert_ne!(order(5, 0), order(6, 0));
            assert!(order(5, 0).iter().rev().skip(1).all(|batch| batch.len() == 8));
            all.sort_unstable();
            assert_eq!(all, (0..50).collect::<Vec<_>>());
        }
    }

    #[test]
    fn likes_come_together() {
        let rows = rows();
        let order = batches(&rows, 8, 2, 5, 0).concat();
        let pairs = order.windows(2).filter(|pair| rows[pair[0]].labels == rows[pair[1]].labels).count();
        assert!(pairs >= 21, "{pairs}");
    }

    #[test]
    fn parts_keep_the_order_and_the_limit() {
        let rows = rows();
        let batch: Vec<usize> = (0..50).rev().collect();
        for limit in [1, 10, 13, 1000] {
            let parts = parts(&batch, &rows, limit);
            assert_eq!(parts.concat(), batch);
            let tokens = |part: &[usize]| part.iter().map(|index| rows[*index].tokens.len()).sum::<usize>();
            for (part, next) in parts.iter().zip(parts.iter().skip(1)) {
                assert!(part.len() == 1 || tokens(part) <= limit, "{part:?}");
                assert!(tokens(part) + rows[next[0]].tokens.len() > limit, "{part:?} could take more");
            }
        }
    }
}
