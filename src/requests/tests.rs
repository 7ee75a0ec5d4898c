//! Calls that come twice, at once, after a restart, or under the name of another.

use std::sync::atomic::{AtomicU32, Ordering};

use jiff::SignedDuration;

use super::*;

const DAY: KeptLimits = KeptLimits { most: 100, time: SignedDuration::from_hours(24) };

fn named<'a>(tenant: &'a TenantId, id: &'a str, message: &'a [u8]) -> NamedRequest<'a> {
    NamedRequest { tenant, rpc: "Delete", id, message }
}

/// Acts, and answers how often it has.
async fn acted(times: &AtomicU32) -> Result<Vec<u8>, ()> {
    tokio::task::yield_now().await;
    Ok(vec![times.fetch_add(1, Ordering::SeqCst) as u8 + 1])
}

#[tokio::test]
async fn a_call_acts_once_under_its_name_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a/requests.redb");
    let (bank, shop, times) = (TenantId::new("bank"), TenantId::new("shop"), AtomicU32::new(0));
    let requests = AnsweredRequests::open(&file, DAY).unwrap();
    assert_eq!(requests.once(named(&bank, "1", b"x"), acted(&times)).await.unwrap(), Answered::Now(vec![1]));
    assert_eq!(requests.once(named(&bank, "1", b"x"), acted(&times)).await.unwrap(), Answered::Before(vec![1]));
    assert_eq!(requests.counts(), RequestCounts { kept: 1, again: 1 });
    drop(requests);
    let requests = AnsweredRequests::open(&file, DAY).unwrap();
    assert_eq!(requests.counts(), RequestCounts { kept: 1, again: 0 });
    assert_eq!(requests.once(named(&bank, "1", b"x"), acted(&times)).await.unwrap(), Answered::Before(vec![1]));
    let other = requests.once(named(&bank, "1", b"y"), acted(&times)).await;
    assert!(matches!(other, Err(OnceError::OtherRequest)), "{other:?}");
    assert_eq!(requests.once(named(&shop, "1", b"y"), acted(&times)).await.unwrap(), Answered::Now(vec![2]));
    let of_other_rpc = NamedRequest { rpc: "Publish", ..named(&bank, "1", b"y") };
    assert_eq!(requests.once(of_other_rpc, acted(&times)).await.unwrap(), Answered::Now(vec![3]));
    assert_eq!(requests.counts(), RequestCounts { kept: 3, again: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_calls_at_once_one_acts_and_a_failure_may_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let requests = Arc::new(AnsweredRequests::open(&folder.path().join("r.redb"), DAY).unwrap());
    let (bank, times) = (TenantId::new("bank"), Arc::new(AtomicU32::new(0)));
    let failed = requests.once(named(&bank, "1", b"x"), async { Err::<Vec<u8>, _>("no") }).await;
    assert!(matches!(failed, Err(OnceError::Act("no"))), "{failed:?}");
    let calls = (0..8).map(|_| {
        let (requests, times, bank) = (Arc::clone(&requests), Arc::clone(&times), bank.clone());
        tokio::spawn(async move { requests.once(named(&bank, "1", b"x"), acted(&times)).await.unwrap() })
    });
    let mut now = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            Answered::Now(answer) | Answered::Before(answer) if answer != [1] => panic!("{answer:?}"),
            Answered::Now(_) => now += 1,
            Answered::Before(_) => {}
        }
    }
    assert_eq!((now, times.load(Ordering::SeqCst)), (1, 1));
    requests.turn([0; 32]);
    assert!(requests.lock().len() <= 1, "what is done is forgotten");
}

#[test]
fn the_oldest_are_forgotten_when_there_are_too_many_or_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let limits = KeptLimits { most: 3, time: SignedDuration::from_secs(100) };
    let kept = Kept::open(&folder.path().join("r.redb"), limits).unwrap();
    let at = |second| Timestamp::from_second(second).unwrap();
    for number in 0..5 {
        kept.put(&[number; 32], &[9; 32], &[number], at(i64::from(number))).unwrap();
    }
    let known = |kept: &Kept| (0..6).filter(|number| kept.get(&[*number; 32]).unwrap().is_some()).collect::<Vec<u8>>();
    assert_eq!(known(&kept), [2, 3, 4]);
    kept.put(&[5; 32], &[9; 32], b"", at(103)).unwrap();
    assert_eq!(known(&kept), [3, 4, 5]);
    kept.put(&[5; 32], &[9; 32], b"again", at(104)).unwrap();
    assert_eq!(known(&kept), [4, 5]);
    assert_eq!(kept.get(&[5; 32]).unwrap(), Some(([9; 32], b"again".to_vec())));
}

#[tokio::test]
async fn a_file_that_is_none_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let error = AnsweredRequests::open(folder.path(), DAY).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
}
