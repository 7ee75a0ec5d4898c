//! What a search for similar cases asks, and what it answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Case, CaseFilter, OutcomeStatus};
use crate::feedback::{CharSpan, named_enum};

/// What to look for.
#[derive(Debug, Clone, PartialEq)]
pub enum SimilarTo {
    /// Cases like this text.
    Text {
        /// Its unit vector.
        vector: Vec<f32>,
        /// Its words, with personal data masked.
        masked_text: String,
    },
    /// Cases like this stored case, which itself is left out.
    CaseId(String),
}

named_enum! {
    /// By what cases are compared.
    SearchMode {
        /// By meaning and by words, fused by reciprocal rank.
        Hybrid = "hybrid",
        /// By meaning alone: cosines of the encoder's vectors.
        Meaning = "meaning",
        /// By words alone: stems weighed by how rare they are.
        Words = "words",
    }
}

/// What else makes a case worth finding. A preference moves cases up and down; it leaves none out.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Preferences {
    /// Solved cases before others.
    pub solved: bool,
    /// Recent cases before old ones: every so many days halve the part of the score that age takes, which is half of it.
    pub half_life_days: Option<f64>,
}

/// A search for similar cases.
#[derive(Debug, Clone, PartialEq)]
pub struct SimilarQuery {
    /// What to look for.
    pub to: SimilarTo,
    /// By what to compare.
    pub mode: SearchMode,
    /// Which cases may be found.
    pub filter: CaseFilter,
    /// At most this many, 1 or more.
    pub limit: usize,
    /// Only hits with at least this cosine, -1 to 1.
    pub min_score: Option<f32>,
    /// What else counts.
    pub preferences: Preferences,
    /// Whether cases that say nearly the same are one hit.
    pub fold_duplicates: bool,
    /// The time that ages are counted from.
    pub now: Timestamp,
}

impl SimilarQuery {
    /// The usual search: by meaning and words, duplicates folded, no preferences.
    pub fn new(to: SimilarTo, limit: usize) -> Self {
        Self {
            to,
            mode: SearchMode::Hybrid,
            filter: CaseFilter::default(),
            limit,
            min_score: None,
            preferences: Preferences::default(),
            fold_duplicates: true,
            now: Timestamp::now(),
        }
    }
}

/// What made a case a hit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MatchedBy {
    /// Its place among all cases by meaning, from 1; `None` if it is not among the nearest.
    pub meaning_rank: Option<u32>,
    /// Its place among all cases by words, from 1; `None` if it is not among the best.
    pub words_rank: Option<u32>,
    /// Where words of its masked text stand that are words of what was looked for, in characters.
    pub words: Vec<CharSpan>,
}

/// One case found.
#[derive(Debug, Clone, PartialEq)]
pub struct SimilarCase {
    /// The case.
    pub case: Case,
    /// Cosine to what was looked for, -1 to 1.
    pub score: f32,
    /// What hits are ordered by: reciprocal ranks added up, and preferences multiplied in. Comparable within one answer only.
    pub rank_score: f32,
    /// What made it a hit.
    pub matched_by: MatchedBy,
    /// Ids of the cases that say nearly the same and were folded into this one, best first.
    pub duplicate_ids: Vec<String>,
}

/// Cases that came to the same end.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeGroup {
    /// Where they stand.
    pub status: OutcomeStatus,
    /// The gesture that was made.
    pub gesture_id: Option<String>,
    /// How many they are.
    pub count: usize,
    /// Mean of the costs that are known.
    pub mean_cost: Option<f64>,
    /// Ids of the best of them, at most three.
    pub case_ids: Vec<String>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SimilarCases {
    /// The hits, best first.
    pub hits: Vec<SimilarCase>,
    /// How the cases that were considered ended, most frequent first.
    pub outcomes: Vec<OutcomeGroup>,
    /// How many cases were considered: the hits, those folded into them, and the next best.
    pub considered: usize,
}
