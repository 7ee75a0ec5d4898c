//! What is found, in which order, and why.

use otklik::cases::{OutcomeStatus, Preferences, SearchMode, SimilarQuery, SimilarTo};

use crate::sample::*;
use crate::stores::places;

#[tokio::test(flavor = "multi_thread")]
async fn meaning_and_words_are_fused_and_each_hit_says_which_matched() {
    for place in places() {
        let store = place.open().await;
        let cases = vec![
            new(case("meaning", "никто не перезвонил"), 1.0),
            new(case("words", "верните комиссию за перевод"), 89.0),
            new(case("both", "комиссии списали дважды"), 5.0),
            new(case("neither", "погода хорошая"), 80.0),
        ];
        store.upsert(&tenant(), cases).await.unwrap();
        let query = search("комиссия за переводы", 0.0, 10);
        let found = store.find_similar(&tenant(), query.clone()).await.unwrap();
        assert_eq!(ids(&found), ["both", "words", "meaning", "neither"], "{}", place.name());
        let hit = |id: &str| found.hits.iter().find(|hit| hit.case.id == id).unwrap();
        let words = |id: &str| {
            let hit = hit(id);
            hit.matched_by.words.iter().map(|span| span.slice(&hit.case.masked_text).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(words("words"), ["комиссию", "перевод"]);
        assert_eq!(words("both"), ["комиссии"]);
        assert_eq!((words("meaning").len(), hit("meaning").matched_by.words_rank), (0, None));
        assert_eq!((hit("meaning").matched_by.meaning_rank, hit("words").matched_by.words_rank), (Some(1), Some(1)));
        for (id, degrees) in [("words", 89.0_f32), ("both", 5.0), ("neither", 80.0)] {
            assert!((hit(id).score - degrees.to_radians().cos()).abs() < 1e-4, "{id}: {}", hit(id).score);
        }
        let by = |mode| SimilarQuery { mode, ..query.clone() };
        let meaning = store.find_similar(&tenant(), by(SearchMode::Meaning)).await.unwrap();
        assert_eq!(ids(&meaning), ["meaning", "both", "neither", "words"]);
        let words = store.find_similar(&tenant(), by(SearchMode::Words)).await.unwrap();
        assert_eq!(ids(&words), ["words", "both"]);
        assert!(
            (words.hits[0].score - 89f32.to_radians().cos()).abs() < 1e-4,
            "a cosine is known without a search for it"
        );
        let near_only = SimilarQuery { min_score: Some(0.9), ..query };
        assert_eq!(ids(&store.find_similar(&tenant(), near_only).await.unwrap()), ["both", "meaning"]);
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rare_word_counts_more_than_a_common_one() {
    for place in places() {
        let store = place.open().await;
        let mut cases: Vec<_> =
            (0..30).map(|id| new(case(&format!("c{id}"), &format!("карта номер{id}")), 0.0)).collect();
        cases.push(new(case("rare", "эквайринг"), 0.0));
        store.upsert(&tenant(), cases).await.unwrap();
        let query = SimilarQuery { mode: SearchMode::Words, ..search("карта эквайринг", 0.0, 3) };
        assert_eq!(ids(&store.find_similar(&tenant(), query).await.unwrap())[0], "rare", "{}", place.name());
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_case_is_looked_for_without_itself() {
    for place in places() {
        let store = place.open().await;
        let text = "касса не печатает чеки";
        store
            .upsert(&tenant(), vec![new(case("1", text), 0.0), new(case("2", "чеки не печатаются"), 3.0)])
            .await
            .unwrap();
        let query = SimilarQuery { to: SimilarTo::CaseId("1".into()), ..search("", 0.0, 10) };
        let found = store.find_similar(&tenant(), query).await.unwrap();
        assert_eq!(ids(&found), ["2"], "{}", place.name());
        assert_eq!(found.hits[0].matched_by.words.len(), 2);
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_are_folded_and_outcomes_counted() {
    for place in places() {
        let store = place.open().await;
        let ended = |id: &str, text: &str, degrees: f32, status: OutcomeStatus, gesture: Option<&str>| {
            let mut case = case(id, text);
            case.outcome = Some(outcome(status, gesture));
            new(case, degrees)
        };
        let text = "списали комиссию за снятие наличных в чужом банкомате";
        let cases = vec![
            ended("1", text, 1.0, OutcomeStatus::Solved, Some("refund")),
            ended("2", &format!("{text}!"), 2.0, OutcomeStatus::Solved, Some("refund")),
            ended("3", "банкомат съел карту", 3.0, OutcomeStatus::Rejected, None),
            new(case("4", "долго ждал ответа оператора"), 4.0),
            ended("5", "комиссия непонятно за что", 5.0, OutcomeStatus::Solved, Some("refund")),
        ];
        store.upsert(&tenant(), cases).await.unwrap();
        let found = store.find_similar(&tenant(), search(text, 0.0, 2)).await.unwrap();
        assert_eq!((found.hits.len(), found.considered), (2, 5), "{}", place.name());
        assert_eq!(
            (found.hits[0].case.id.as_str(), found.hits[0].duplicate_ids.as_slice()),
            ("1", &["2".to_owned()][..])
        );
        let first = &found.outcomes[0];
        assert_eq!(
            (first.status, first.gesture_id.as_deref(), first.count),
            (OutcomeStatus::Solved, Some("refund"), 3)
        );
        assert_eq!(found.outcomes.iter().map(|group| group.count).sum::<usize>(), 5);
        let apart = SimilarQuery { fold_duplicates: false, ..search(text, 0.0, 2) };
        assert_eq!(ids(&store.find_similar(&tenant(), apart).await.unwrap()), ["1", "2"]);
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn solved_and_recent_cases_can_be_preferred() {
    for place in places() {
        let store = place.open().await;
        let mut solved = case("solved", "второй случай");
        solved.outcome = Some(outcome(OutcomeStatus::Solved, None));
        let mut recent = case("recent", "третья история");
        recent.occurred_at = Some(second(1_800_000_000 - 3_600));
        let cases = vec![new(case("near", "первое дело"), 1.0), new(solved, 2.0), new(recent, 3.0)];
        store.upsert(&tenant(), cases).await.unwrap();
        let with = |preferences| SimilarQuery { preferences, ..near(0.0, 10) };
        let order = async |preferences| {
            let found = store.find_similar(&tenant(), with(preferences)).await.unwrap();
            ids(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(order(Preferences::default()).await, ["near", "solved", "recent"], "{}", place.name());
        let solved = Preferences { solved: true, half_life_days: None };
        assert_eq!(order(solved).await, ["solved", "near", "recent"]);
        let recent = Preferences { solved: false, half_life_days: Some(30.0) };
        assert_eq!(order(recent).await, ["recent", "near", "solved"]);
        store.close().await.unwrap();
    }
}
