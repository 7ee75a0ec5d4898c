//! Cases carried from one store to another by files, page by page.

use std::collections::BTreeMap;

use otklik::cases::transfer::{CaseReader, CaseWriter, TransferFormat};
use otklik::cases::{Amendment, Case, CaseFilter, CaseStore, NewCase, OutcomeStatus, VectoredCase};

use crate::sample::*;
use crate::stores::places;

async fn everything(store: &dyn CaseStore, page: usize) -> BTreeMap<String, VectoredCase> {
    let (mut all, mut from) = (BTreeMap::new(), None::<String>);
    loop {
        let part = store.page(&tenant(), &CaseFilter::default(), from.as_deref(), page).await.unwrap();
        assert!(part.cases.len() <= page);
        for stored in part.cases {
            let id = stored.case.id.clone();
            assert!(all.insert(id.clone(), stored).is_none(), "{id} came twice");
        }
        from = part.next;
        if from.is_none() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_are_the_same_after_a_journey_through_either_format() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in places().into_iter().zip(places()) {
        let store = from.open().await;
        let cases = (0..57).map(|id| new(case(&id.to_string(), &format!("случай номер {id}")), id as f32)).collect();
        store.upsert(&tenant(), cases).await.unwrap();
        let amendment = Amendment::Outcome { outcome: outcome(OutcomeStatus::Solved, Some("refund")), links: None };
        store.amend(&tenant(), "7", amendment).await.unwrap();
        let all = everything(&*store, 10).await;
        assert_eq!(all.len(), 57);
        assert_eq!(everything(&*store, 1_000).await, all, "{}", from.name());

        let other = to.open().await;
        for (name, format) in [("a.jsonl", TransferFormat::JsonLines), ("a.parquet", TransferFormat::Parquet)] {
            let path = folder.path().join(name);
            let mut writer = CaseWriter::create(&path, format, DIMENSION, "ab").unwrap();
            writer.write(all.values().cloned().collect()).unwrap();
            writer.finish().unwrap();
            let read = CaseReader::open(&path, format, "ab").unwrap().map(Result::unwrap);
            let cases: Vec<NewCase> =
                read.map(|row| NewCase { case: row.case, vector: row.vector.unwrap(), request_id: None }).collect();
            other.upsert(&tenant(), cases).await.unwrap();
            let carried = everything(&*other, 100).await;
            assert!(same(&carried, &all), "{} {name}", to.name());
            other.delete(&tenant(), &by_ids(&all.keys().map(String::as_str).collect::<Vec<_>>())).await.unwrap();
        }
        store.close().await.unwrap();
        other.close().await.unwrap();
    }
}

/// Vectors are normalised anew when they are stored, which may move their last bit.
fn same(one: &BTreeMap<String, VectoredCase>, other: &BTreeMap<String, VectoredCase>) -> bool {
    let cases = |all: &BTreeMap<String, VectoredCase>| -> Vec<Case> {
        all.values().map(|stored| stored.case.clone()).collect()
    };
    let close = |one: &VectoredCase, other: &VectoredCase| {
        one.vector.iter().zip(&other.vector).all(|(one, other)| (one - other).abs() < 1e-6)
    };
    cases(one) == cases(other) && one.values().zip(other.values()).all(|(one, other)| close(one, other))
}
