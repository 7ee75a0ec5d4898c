//! Tags made anew: written where the case is still as they were made for it, and nowhere else.

use otklik::cases::{
    Amendment, Case, CaseFilter, CaseReading, Correction, NewTags, OutcomeStatus, RetagOutcome, Retagging, TagPart,
    TenantId,
};
use otklik::tags::{Tags, TaxonomyVersion, TeamId};

use crate::sample::*;
use crate::stores::places;

fn newer(case: &Case) -> Tags {
    let mut tags = case.tags.clone();
    tags.team.team_id = TeamId::new("mobile");
    tags.provenance.taxonomy_version = TaxonomyVersion::new("sha256:ffff");
    tags
}

fn retagging(case: &Case, parts: &[TagPart]) -> Retagging {
    let reading = CaseReading { encoder_sha256: "ab".repeat(32), packed: "AA".into() };
    let new = NewTags { tags: newer(case), encoded: true, reading: Some(reading) };
    Retagging { seen: case.state(), case: case.clone().retagged(new, parts, "job-1") }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_tags_are_written_for_good_where_nothing_changed_meanwhile() {
    for place in places() {
        let store = place.open().await;
        let ids = ["plain", "corrected", "solved", "replaced", "gone"];
        store.upsert(&tenant(), ids.map(|id| new(case(id, "текст"), 10.0)).into()).await.unwrap();
        let seen: Vec<Case> = store.get_many(&tenant(), &ids.map(str::to_owned)).await.unwrap();
        let seen = |id: &str| seen.iter().find(|case| case.id == id).unwrap();
        let correction = Correction {
            topics: None,
            team: Some(TeamId::new("cards")),
            sentiment: None,
            corrected_by: None,
            corrected_at: second(1_770_000_000),
            note: None,
        };
        store.amend(&tenant(), "corrected", Amendment::Correction(correction)).await.unwrap();
        let solved = Amendment::Outcome { outcome: outcome(OutcomeStatus::Solved, None), links: None };
        store.amend(&tenant(), "solved", solved).await.unwrap();
        store.upsert(&tenant(), vec![new(case("replaced", "другой текст"), 50.0)]).await.unwrap();
        store.delete(&tenant(), &by_ids(&["gone"])).await.unwrap();

        let retaggings = ids.map(|id| retagging(seen(id), TagPart::ALL)).to_vec();
        let outcomes = store.retag(&tenant(), retaggings).await.unwrap();
        use RetagOutcome::{Gone, Outdated, Written};
        assert_eq!(outcomes, [Written, Outdated, Written, Outdated, Gone], "{}", place.name());
        let others = store.retag(&TenantId::new("other"), vec![retagging(seen("plain"), TagPart::ALL)]).await.unwrap();
        assert_eq!(others, [Gone]);
        assert_eq!(store.retag(&tenant(), vec![]).await.unwrap(), []);
        let twice = vec![retagging(seen("plain"), TagPart::ALL), retagging(seen("plain"), TagPart::ALL)];
        let refused = store.retag(&tenant(), twice).await.unwrap_err();
        assert!(refused.to_string().starts_with("cases[1].id: \"plain\" stands twice"), "{refused}");

        store.close().await.unwrap();
        drop(store);
        let store = place.open().await;
        let team = async |id: &str| store.get(&tenant(), id).await.unwrap().tags.team.team_id.to_string();
        for (id, expected) in
            [("plain", "mobile"), ("corrected", "support"), ("solved", "mobile"), ("replaced", "support")]
        {
            assert_eq!(team(id).await, expected, "{id}, {}", place.name());
        }
        let solved = store.get(&tenant(), "solved").await.unwrap();
        assert_eq!((solved.status(), solved.retagged.unwrap().changed), (OutcomeStatus::Solved, true));
        // The filters see it, and the vector is as it was.
        let mobile = CaseFilter { teams: vec![TeamId::new("mobile")], ..CaseFilter::default() };
        let page = store.page(&tenant(), &mobile, None, 10).await.unwrap().cases;
        assert_eq!(page.len(), 2);
        let same: f32 = page[0].vector.iter().zip(at(10.0)).map(|(one, other)| one * other).sum();
        assert!(same > 0.999, "{same}");
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_tell_what_made_tags_and_what_is_kept() {
    for place in places() {
        let store = place.open().await;
        store.upsert(&tenant(), ["1", "2", "3"].map(|id| new(case(id, "текст"), 0.0)).into()).await.unwrap();
        let (one, two) = (store.get(&tenant(), "1").await.unwrap(), store.get(&tenant(), "2").await.unwrap());
        let new_tags = vec![retagging(&one, TagPart::ALL), retagging(&two, &[TagPart::Topics])];
        store.retag(&tenant(), new_tags).await.unwrap();
        let count = async |filter: CaseFilter| store.count(&tenant(), &filter).await.unwrap();
        let not_made_by = |version: String| CaseFilter { not_made_by: Some(version), ..CaseFilter::default() };
        let read_by = |encoder: String| CaseFilter { read_by: Some(encoder), ..CaseFilter::default() };
        // The second is of both versions, and so wholly of neither.
        assert_eq!(count(not_made_by(newer(&one).provenance.version())).await, 2, "{}", place.name());
        assert_eq!(count(not_made_by(one.tags.provenance.version())).await, 2);
        assert_eq!(count(not_made_by("sha256:other".into())).await, 3);
        assert_eq!((count(read_by("ab".repeat(32))).await, count(read_by("cd".repeat(32))).await), (2, 0));
        store.close().await.unwrap();
    }
}
