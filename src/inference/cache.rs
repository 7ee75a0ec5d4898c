//! Vectors of texts that come again and again: surveys are full of one "спасибо" after the other.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use xxhash_rust::xxh3::Xxh3Builder;

use super::{Depth, EncodeInput, Encoding, Role};

/// Longest text that is kept, in bytes: longer ones hardly ever come twice.
const LONGEST: usize = 512;

/// Bytes that an entry takes beside its numbers.
const ENTRY_BYTES: usize = 128;

/// Answers of one encoder, by what was asked; as many as fit into so many bytes.
pub struct EncodingCache {
    kept: Cache<u128, Arc<Encoding>, ByBytes>,
    /// Makes keys that a text can't be written for.
    seed: u64,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// How often the cache had the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheCounts {
    /// Texts that were there.
    pub hits: u64,
    /// Texts that were not, though short enough to be kept.
    pub misses: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<u128, Arc<Encoding>> for ByBytes {
    fn weight(&self, _: &u128, encoding: &Arc<Encoding>) -> u64 {
        let numbers = encoding.vector.len()
            + encoding.span_vectors.iter().map(|vector| vector.as_ref().map_or(0, Vec::len)).sum::<usize>();
        (numbers * size_of::<f32>() + ENTRY_BYTES) as u64
    }
}

impl EncodingCache {
    /// With room for so many bytes; 0 keeps nothing.
    pub fn new(bytes: usize) -> Self {
        // A short text with a sentence or two takes some 20 kB.
        const EXPECTED_BYTES: usize = 20_000;
        Self {
            kept: Cache::with_weighter(bytes / EXPECTED_BYTES, bytes as u64, ByBytes),
            seed: RandomState::new().hash_one(()),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The answer, if it is here.
    pub fn get(&self, input: &EncodeInput<'_>, depth: Depth) -> Option<Arc<Encoding>> {
        let found = self.kept.get(&self.key(input, depth)?);
        let count = if found.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps an answer.
    pub fn insert(&self, input: &EncodeInput<'_>, depth: Depth, encoding: &Encoding) {
        if let Some(key) = self.key(input, depth) {
            self.kept.insert(key, Arc::new(encoding.clone()));
        }
    }

    /// How often it helped.
    pub fn counts(&self) -> CacheCounts {
        CacheCounts { hits: self.hits.load(Ordering::Relaxed), misses: self.misses.load(Ordering::Relaxed) }
    }

    /// `None` if the text is too long, or nothing is kept at all.
    fn key(&self, input: &EncodeInput<'_>, depth: Depth) -> Option<u128> {
        let EncodeInput { text, role, spans, max_windows } = input;
        if text.len() > LONGEST || self.kept.capacity() == 0 {
            return None;
        }
        let mut hash = Xxh3Builder::new().with_seed(self.seed).build();
        let role = match role {
            Role::Query => 0,
            Role::Passage => 1,
            Role::Plain => 2,
        };
        hash.update(&[role, u8::from(depth == Depth::Deep)]);
        hash.update(&max_windows.to_le_bytes());
        hash.update(&spans.len().to_le_bytes());
        for span in *spans {
            hash.update(&span.start.to_le_bytes());
            hash.update(&span.end.to_le_bytes());
        }
        hash.update(text.as_bytes());
        Some(hash.digest128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feedback::CharSpan;

    fn encoding(value: f32) -> Arc<Encoding> {
        let vector = vec![value; 4_000];
        Arc::new(Encoding { vector, span_vectors: Vec::new(), tokens: 3, truncated: false })
    }

    #[test]
    fn what_was_asked_differs_in_every_part() {
        let cache = EncodingCache::new(1_000_000);
        let spans = [CharSpan::new(0, 3)];
        let asked = EncodeInput::new("спасибо", Role::Query);
        cache.insert(&asked, Depth::Top, &encoding(1.0));
        assert_eq!(cache.get(&asked, Depth::Top), Some(encoding(1.0)));
        for (other, depth) in [
            (asked, Depth::Deep),
            (EncodeInput { role: Role::Passage, ..asked }, Depth::Top),
            (EncodeInput { spans: &spans, ..asked }, Depth::Top),
            (EncodeInput { max_windows: 2, ..asked }, Depth::Top),
            (EncodeInput { text: "спасиб", ..asked }, Depth::Top),
        ] {
            assert_eq!(cache.get(&other, depth), None, "{other:?}");
        }
        assert_eq!(cache.counts(), CacheCounts { hits: 1, misses: 5 });
    }

    #[test]
    fn room_is_bounded_and_long_texts_are_not_kept() {
        let cache = EncodingCache::new(200_000);
        let texts: Vec<String> = (0..100).map(|number| format!("текст {number}")).collect();
        for text in &texts {
            cache.insert(&EncodeInput::new(text, Role::Query), Depth::Top, &encoding(1.0));
        }
        let here = texts.iter().filter(|text| cache.get(&EncodeInput::new(text, Role::Query), Depth::Top).is_some());
        assert!((1..=12).contains(&here.count()));
        let long = "о".repeat(300);
        let cache_none = EncodingCache::new(0);
        for (cache, text) in [(&cache, long.as_str()), (&cache_none, "да")] {
            let asked = EncodeInput::new(text, Role::Query);
            cache.insert(&asked, Depth::Top, &encoding(1.0));
            assert_eq!(cache.get(&asked, Depth::Top), None);
        }
        assert_eq!(cache_none.counts(), CacheCounts::default());
    }
}
