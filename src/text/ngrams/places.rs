//! Hashes looked up fast.

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

    /// Place of a hash; `hashes` are those that the places were made of.
    pub fn find(&self, hashes: &[u32], hash: u32) -> Option<usize> {
        if !self.may_be_known(hash) {
            return None;
        }
        let start = (hash >> self.below_start) as usize;
        let (first, end) = (*self.starts.get(start)? as usize, *self.starts.get(start + 1)? as usize);
        hashes.get(first..end)?.iter().position(|known| *known == hash).map(|at| first + at)
    }
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
            for (at, hash) in hashes.iter().enumerate() {
                assert!(places.may_be_known(*hash));
                assert_eq!(places.find(&hashes, *hash), Some(at));
            }
            let others = || (known..known + 10_000).map(spread);
            assert!(others().all(|hash| places.find(&hashes, hash).is_none()));
            let passed = others().filter(|hash| places.may_be_known(*hash)).count();
            assert!(passed < 2_000, "{passed} of 10000 beside {known}");
        }
    }
}
