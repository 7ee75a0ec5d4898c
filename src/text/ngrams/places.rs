//! Hashes looked up fast.

use std::hint::black_box;

/// Where each hash stands among rising hashes.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// One bit for each hash of [`Places::SPACE`] that could be: most n-grams of a text are not known, and a look here costs less
    /// than one in the list, which lies further away.
    sieve: Vec<u64>,
    /// For each start of a hash, the place of the first that begins so or later; and one more.
    starts: Vec<u32>,
    /// Bits of a hash behind those that number its bit in the sieve.
    below_sieve: u32,
    /// Bits of a hash behind its start.
    below_start: u32,
}

impl Places {
    /// Bits of the sieve for each hash, at least: one in nine of the unknown passes.
    const SPACE: usize = 8;

    /// Of rising hashes.
    pub fn of(hashes: &[u32]) -> Self {
        let bits = |count: usize| count.next_power_of_two().clamp(64, 1 << 30).trailing_zeros();
        let (of_sieve, of_starts) = (bits(hashes.len() * Self::SPACE), bits(hashes.len()));
        let (below_sieve, below_start) = (u32::BITS - of_sieve, u32::BITS - of_starts);
        let mut sieve = vec![0u64; (1 << of_sieve) / 64];
        for hash in hashes {
            let number = hash >> below_sieve;
            if let Some(word) = sieve.get_mut((number / 64) as usize) {
                *word |= 1 << (number % 64);
            }
        }
        let starts = 0..=1u64 << of_starts;
        let first = |start: u64| hashes.partition_point(|hash| u64::from(hash >> below_start) < start) as u32;
        Self { sieve, starts: starts.map(first).collect(), below_sieve, below_start }
    }

    /// False for most of the unknown.
    pub fn may_be_known(&self, hash: u32) -> bool {
        let number = hash >> self.below_sieve;
        self.sieve.get((number / 64) as usize).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Places of those n-grams that are known, each with its count; `hashes` are those that the places were made of.
    ///
    /// What is read lies scattered, and a text's n-grams are looked up when it has left the caches. So all of it is asked for before any
    /// of it is waited for.
    pub fn find(&self, hashes: &[u32], ngrams: &[(u32, u32)]) -> Vec<(usize, u32)> {
        let of_start = |at: usize| self.starts.get(at).map_or(0, |first| *first as usize);
        let bounds = ngrams.iter().map(|(hash, _)| (hash >> self.below_start) as usize);
        let bounds: Vec<(usize, usize)> = bounds.map(|start| (of_start(start), of_start(start + 1))).collect();
        ask_for(bounds.iter().filter_map(|(first, _)| hashes.get(*first)));
        let place = |((hash, count), (first, end)): (&(u32, u32), &(usize, usize))| {
            let at = hashes.get(*first..*end)?.iter().position(|known| known == hash)?;
            Some((first + at, *count))
        };
        ngrams.iter().zip(&bounds).filter_map(place).collect()
    }
}

/// Has memory brought nearer that is read soon: loads that nothing waits for run side by side.
pub(crate) fn ask_for<'a, T: Copy + 'a>(values: impl Iterator<Item = &'a T>) {
    values.for_each(|value| {
        black_box(*value);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_hash_is_found_at_its_place_and_no_other() {
        let spread = |at: u32| at.wrapping_mul(0x9e37_79b9);
        for known in [0, 1, 7, 64, 65, 5_000] {
            let mut hashes: Vec<u32> = (0..known).map(spread).chain([u32::MAX]).collect();
            hashes.sort_unstable();
            let places = Places::of(&hashes);
            assert!(hashes.iter().all(|hash| places.may_be_known(*hash)));
            let ngrams: Vec<(u32, u32)> = hashes.iter().map(|hash| (*hash, hash % 5)).collect();
            let found: Vec<(usize, u32)> = hashes.iter().map(|hash| hash % 5).enumerate().collect();
            assert_eq!(places.find(&hashes, &ngrams), found);
            let others = || (known..known + 10_000).map(spread);
            assert_eq!(places.find(&hashes, &others().map(|hash| (hash, 1)).collect::<Vec<_>>()), []);
            let passed = others().filter(|hash| places.may_be_known(*hash)).count();
            assert!(passed < 2_000, "{passed} of 10000 beside {known}");
        }
    }
}
