//! From two lists of hits, by meaning and by words, to one: fused, weighed by preferences, duplicates folded, outcomes counted.
//!
//! Pure: the stores fetch, this decides, so that every store decides alike.

use std::collections::HashMap;

use uuid::Uuid;

use super::OutcomeStatus;
use super::lexical::overlap;
use super::point::Brief;
use super::search::{OutcomeGroup, SearchMode, SimilarQuery};

/// Keeps high ranks from counting for everything (Cormack et al., "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
/// Learning Methods", 2009).
const RANK_OFFSET: f32 = 60.0;
/// Cases that are considered at least: what outcomes are counted over.
const LEAST_CONSIDERED: usize = 50;
/// A solved case counts as much more, where those are preferred: about as much as fifteen places.
const SOLVED_FACTOR: f32 = 1.25;
/// The part of the score that age can take.
const AGE_PART: f32 = 0.5;
/// From this share of common stems on, two cases say nearly the same.
const NEARLY_THE_SAME: f32 = 0.8;
/// Examples that an outcome names.
const EXAMPLES: usize = 3;

/// How many hits each list should have.
pub(super) fn list_length(query: &SimilarQuery) -> usize {
    considered(query.limit) * 2
}

/// How many cases are looked at closely.
fn considered(limit: usize) -> usize {
    limit.saturating_mul(2).max(LEAST_CONSIDERED)
}

/// A point that stands in one of the lists or in both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fused {
    pub point: Uuid,
    pub score: f32,
    pub meaning_rank: Option<u32>,
    pub words_rank: Option<u32>,
    /// Where it is known.
    pub cosine: Option<f32>,
}

/// Fuses the lists, best first, each with its score; gives the best that are worth a closer look.
pub(super) fn fuse(query: &SimilarQuery, meaning: &[(Uuid, f32)], words: &[(Uuid, f32)]) -> Vec<Fused> {
    let mut fused: HashMap<Uuid, Fused> = HashMap::new();
    let empty = |point| Fused { point, score: 0.0, meaning_rank: None, words_rank: None, cosine: None };
    for (rank, (point, cosine)) in (1u32..).zip(meaning) {
        let entry = fused.entry(*point).or_insert_with(|| empty(*point));
        // Rounding may carry a cosine a little past its ends.
        entry.cosine = Some(cosine.clamp(-1.0, 1.0));
        entry.meaning_rank = Some(rank);
        if query.mode != SearchMode::Words {
            entry.score += 1.0 / (RANK_OFFSET + rank as f32);
        }
    }
    for (rank, (point, _)) in (1u32..).zip(words) {
        let entry = fused.entry(*point).or_insert_with(|| empty(*point));
        entry.words_rank = Some(rank);
        if query.mode != SearchMode::Meaning {
            entry.score += 1.0 / (RANK_OFFSET + rank as f32);
        }
    }
    let mut fused: Vec<Fused> = fused.into_values().filter(|fused| fused.score > 0.0).collect();
    fused.sort_by(|one, other| other.score.total_cmp(&one.score).then_with(|| one.tie(other)));
    fused.truncate(considered(query.limit));
    fused
}

impl Fused {
    /// Of equal scores the nearer in meaning goes first, then the one with the lower id.
    fn tie(&self, other: &Self) -> std::cmp::Ordering {
        let rank = |one: &Self| one.meaning_rank.unwrap_or(u32::MAX);
        rank(self).cmp(&rank(other)).then_with(|| self.point.cmp(&other.point))
    }
}

/// The cosine of two unit vectors, within its ends.
pub(super) fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum::<f32>().clamp(-1.0, 1.0)
}

/// A fused point with what ranking has to know of its case.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub fused: Fused,
    pub brief: Brief,
    pub id: String,
    pub cosine: f32,
    /// Its stems, rising.
    pub stems: Vec<u32>,
}

/// A hit, before the store fetches its case.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ranked {
    pub fused: Fused,
    pub cosine: f32,
    pub duplicate_ids: Vec<String>,
}

/// What ranking comes to.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Ranking {
    pub hits: Vec<Ranked>,
    pub outcomes: Vec<OutcomeGroup>,
    pub considered: usize,
}

/// Orders candidates by preferences, counts their outcomes, folds duplicates, and keeps the best.
pub(super) fn rank(query: &SimilarQuery, mut candidates: Vec<Candidate>) -> Ranking {
    if let Some(least) = query.min_score {
        candidates.retain(|candidate| candidate.cosine >= least);
    }
    for candidate in &mut candidates {
        candidate.fused.score *= preference(query, &candidate.brief);
    }
    candidates
        .sort_by(|one, other| other.fused.score.total_cmp(&one.fused.score).then_with(|| one.fused.tie(&other.fused)));
    let considered = candidates.len();
    let outcomes = outcomes(&candidates);
    let mut kept: Vec<(Ranked, Vec<u32>)> = Vec::new();
    for candidate in candidates {
        let same = |stems: &[u32]| overlap(stems, &candidate.stems).is_some_and(|share| share >= NEARLY_THE_SAME);
        let first = if query.fold_duplicates { kept.iter().position(|(_, stems)| same(stems)) } else { None };
        let full = kept.len() >= query.limit;
        match first.and_then(|first| kept.get_mut(first)) {
            Some((first, _)) => first.duplicate_ids.push(candidate.id),
            None if !full => {
                let Candidate { fused, cosine, stems, .. } = candidate;
                kept.push((Ranked { fused, cosine, duplicate_ids: Vec::new() }, stems));
            }
            None => {}
        }
    }
    Ranking { hits: kept.into_iter().map(|(ranked, _)| ranked).collect(), outcomes, considered }
}

/// What preferences make of a score.
fn preference(query: &SimilarQuery, brief: &Brief) -> f32 {
    let solved = if query.preferences.solved && brief.status == OutcomeStatus::Solved { SOLVED_FACTOR } else { 1.0 };
    let recent = query.preferences.half_life_days.map_or(1.0, |half_life| {
        // A case of an unknown time counts as old.
        let fresh = brief.occurred_at.map_or(0.0, |at| {
            let days = query.now.duration_since(at).as_secs_f64() / 86_400.0;
            0.5f64.powf(days.max(0.0) / half_life)
        });
        1.0 - AGE_PART + AGE_PART * fresh as f32
    });
    solved * recent
}

fn outcomes(candidates: &[Candidate]) -> Vec<OutcomeGroup> {
    let mut groups: Vec<(OutcomeGroup, Vec<f64>)> = Vec::new();
    for Candidate { brief, id, .. } in candidates {
        let at =
            groups.iter().position(|(group, _)| (group.status, &group.gesture_id) == (brief.status, &brief.gesture_id));
        let at = at.unwrap_or_else(|| {
            let gesture_id = brief.gesture_id.clone();
            let group =
                OutcomeGroup { status: brief.status, gesture_id, count: 0, mean_cost: None, case_ids: Vec::new() };
            groups.push((group, Vec::new()));
            groups.len() - 1
        });
        if let Some((group, costs)) = groups.get_mut(at) {
            group.count += 1;
            costs.extend(brief.cost);
            if group.case_ids.len() < EXAMPLES {
                group.case_ids.push(id.clone());
            }
        }
    }
    let mut groups: Vec<OutcomeGroup> = groups
        .into_iter()
        .map(|(group, costs)| {
            let mean = costs.iter().sum::<f64>() / costs.len().max(1) as f64;
            OutcomeGroup { mean_cost: (!costs.is_empty()).then_some(mean), ..group }
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::cases::{Preferences, SimilarTo};

    const NOW: i64 = 1_800_000_000;

    fn query(limit: usize) -> SimilarQuery {
        let now = Timestamp::from_second(NOW).unwrap();
        SimilarQuery { now, ..SimilarQuery::new(SimilarTo::CaseId("1".to_owned()), limit) }
    }

    fn point(id: u128) -> Uuid {
        Uuid::from_u128(id)
    }

    fn list(ids: &[u128]) -> Vec<(Uuid, f32)> {
        ids.iter().zip(1..).map(|(id, rank)| (point(*id), 1.0 - rank as f32 / 100.0)).collect()
    }

    fn numbers(fused: &[Fused]) -> Vec<u128> {
        fused.iter().map(|fused| fused.point.as_u128()).collect()
    }

    #[test]
    fn what_stands_in_both_lists_goes_before_what_leads_one() {
        let fused = fuse(&query(10), &list(&[1, 2, 3]), &list(&[4, 2, 5]));
        assert_eq!(numbers(&fused), [2, 1, 4, 3, 5]);
        assert_eq!((fused[0].meaning_rank, fused[0].words_rank), (Some(2), Some(2)));
        assert!((fused[0].score - 2.0 / 62.0).abs() < 1e-6 && (fused[1].score - 1.0 / 61.0).abs() < 1e-6);
        assert_eq!((fused[2].cosine, fused[2].words_rank), (None, Some(1)));
        let by = |mode| numbers(&fuse(&SimilarQuery { mode, ..query(10) }, &list(&[1, 2, 3]), &list(&[4, 2, 5])));
        assert_eq!(by(SearchMode::Meaning), [1, 2, 3]);
        assert_eq!(by(SearchMode::Words), [4, 2, 5]);
        assert_eq!(fuse(&query(10), &list(&(0..200).collect::<Vec<_>>()), &[]).len(), LEAST_CONSIDERED);
    }

    /// A candidate at a place, with stems of its own.
    fn candidate(place: u32, id: &str) -> Candidate {
        let score = 1.0 / (RANK_OFFSET + place as f32);
        let cosine = 1.0 - place as f32 / 100.0;
        let fused = Fused {
            point: point(u128::from(place)),
            score,
            meaning_rank: Some(place),
            words_rank: None,
            cosine: Some(cosine),
        };
        let brief = Brief { status: OutcomeStatus::Open, gesture_id: None, cost: None, occurred_at: None };
        Candidate { fused, brief, id: id.to_owned(), cosine, stems: (place * 100..place * 100 + 10).collect() }
    }

    fn order(ranking: &Ranking) -> Vec<u128> {
        ranking.hits.iter().map(|hit| hit.fused.point.as_u128()).collect()
    }

    #[test]
    fn duplicates_are_folded_into_the_best_and_leave_room_for_others() {
        let mut again = candidate(2, "again");
        again.stems = candidate(1, "").stems[1..].to_vec();
        let mut bare = [candidate(4, "bare"), candidate(5, "bare too")];
        bare.iter_mut().for_each(|bare| bare.stems.clear());
        let [bare, bare_too] = bare;
        let all = vec![candidate(1, "first"), again, candidate(3, "other"), bare, bare_too];
        let ranking = rank(&query(4), all.clone());
        assert_eq!(order(&ranking), [1, 3, 4, 5]);
        assert_eq!(ranking.hits[0].duplicate_ids, ["again"]);
        assert_eq!(ranking.considered, 5);
        let apart = rank(&SimilarQuery { fold_duplicates: false, ..query(2) }, all);
        assert_eq!(order(&apart), [1, 2]);
    }

    #[test]
    fn preferences_move_cases_and_leave_none_out() {
        let mut solved = candidate(8, "solved");
        solved.brief.status = OutcomeStatus::Solved;
        let mut recent = candidate(20, "recent");
        recent.brief.occurred_at = Timestamp::from_second(NOW - 86_400).ok();
        let all = vec![candidate(1, "first"), solved, recent];
        let with = |preferences| order(&rank(&SimilarQuery { preferences, ..query(10) }, all.clone()));
        assert_eq!(with(Preferences::default()), [1, 8, 20]);
        assert_eq!(with(Preferences { solved: true, half_life_days: None }), [8, 1, 20]);
        assert_eq!(with(Preferences { solved: false, half_life_days: Some(30.0) }), [20, 1, 8]);
    }

    #[test]
    fn outcomes_are_counted_over_all_that_was_considered() {
        let ended = |place: u32, status, gesture: Option<&str>, cost| {
            let mut candidate = candidate(place, &place.to_string());
            candidate.brief = Brief { status, gesture_id: gesture.map(str::to_owned), cost, occurred_at: None };
            candidate
        };
        let all = vec![
            ended(1, OutcomeStatus::Open, None, None),
            ended(2, OutcomeStatus::Solved, Some("refund"), Some(100.0)),
            ended(3, OutcomeStatus::Solved, Some("refund"), Some(200.0)),
            ended(4, OutcomeStatus::Solved, None, None),
            ended(5, OutcomeStatus::Solved, Some("refund"), None),
        ];
        let ranking = rank(&SimilarQuery { min_score: Some(0.945), ..query(1) }, all.clone());
        assert_eq!((ranking.hits.len(), ranking.considered), (1, 5));
        let group = &ranking.outcomes[0];
        assert_eq!(
            (group.status, group.gesture_id.as_deref(), group.count),
            (OutcomeStatus::Solved, Some("refund"), 3)
        );
        assert_eq!(
            (group.mean_cost, group.case_ids.as_slice()),
            (Some(150.0), &["2", "3", "5"].map(str::to_owned)[..])
        );
        assert_eq!(ranking.outcomes.len(), 3);
        assert_eq!(rank(&SimilarQuery { min_score: Some(0.975), ..query(1) }, all).considered, 2);
    }
}
