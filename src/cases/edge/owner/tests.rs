//! The owner thread, command by command, without its thread.

use std::sync::mpsc::{SyncSender, sync_channel};

use tempfile::TempDir;

use super::reopening::REOPEN_FIRST;
use super::*;
use crate::cases::CaseFilter;
use crate::cases::NewCase;
use crate::cases::edge::mapping::engine_filter;
use crate::cases::edge::sample;

type Answer<T> = oneshot::Receiver<Result<T, CaseStoreError>>;

struct Fixture {
    _parent: TempDir,
    commands: SyncSender<Command>,
    owner: Owner,
}

/// An owner that is not running yet.
fn fixture() -> Fixture {
    let parent = tempfile::tempdir().unwrap();
    let folder = StoreFolder::lock(&parent.path().join("cases"), 2, "ab").unwrap();
    let shape = Shape { dimension: 2, index_from_kb: 10_000 };
    let engine = Engine::create(&folder.shard(), shape).unwrap();
    let journal = Journal::create(&folder.journal()).unwrap();
    let (commands, receiver) = sync_channel(100);
    let shared = Arc::new(Shared::new(engine));
    let hour = Duration::from_secs(3_600);
    let never = Rhythm { flush_every: hour, flush_after_ops: usize::MAX, index_after_ops: usize::MAX };
    let room = Room::new(folder.path(), 0);
    let owner = Owner::new(shared, receiver, journal, folder, room, shape, never);
    Fixture { _parent: parent, commands, owner }
}

impl Fixture {
    fn upsert(&self, id: &str, vector: &[f32]) -> Answer<Vec<UpsertOutcome>> {
        let new = NewCase { case: sample::case(id), vector: vector.to_vec(), request_id: None };
        let cases = vec![StoredCase::new(&TenantId::default(), new).unwrap()];
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Upsert { cases, reply }).unwrap();
        answer
    }

    fn delete(&self, ids: &[&str]) -> Answer<u64> {
        let filter = CaseFilter { ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..CaseFilter::default() };
        let (reply, answer) = oneshot::channel();
        let filter = Box::new(engine_filter(&TenantId::default(), &filter));
        self.commands.send(Command::Delete { filter, reply }).unwrap();
        answer
    }

    fn close(&self) -> Answer<()> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Close { reply }).unwrap();
        answer
    }
}

fn answered<T>(mut answer: Answer<T>) -> Result<T, CaseStoreError> {
    answer.try_recv().expect("an answer was given")
}

#[test]
fn each_command_sees_what_those_before_it_did_whether_grouped_or_not() {
    let fixture = fixture();
    let unit = [1.0, 0.0];
    let first = fixture.upsert("1", &unit);
    let again = fixture.upsert("1", &unit);
    let deleted = fixture.delete(&["1", "2"]);
    let deleted_twice = fixture.delete(&["1", "2"]);
    let restored = fixture.upsert("1", &unit);
    let second = fixture.upsert("2", &unit);
    let both = fixture.delete(&["1", "2"]);
    let closed = fixture.close();
    fixture.owner.run();
    assert_eq!(answered(first).unwrap(), [UpsertOutcome::Created]);
    assert_eq!(answered(again).unwrap(), [UpsertOutcome::Replaced]);
    assert_eq!(answered(deleted).unwrap(), 1);
    assert_eq!(answered(deleted_twice).unwrap(), 0);
    assert_eq!(answered(restored).unwrap(), [UpsertOutcome::Created]);
    assert_eq!(answered(second).unwrap(), [UpsertOutcome::Created]);
    assert_eq!(answered(both).unwrap(), 2);
    answered(closed).unwrap();
}

#[test]
fn a_write_whose_caller_left_is_not_made() {
    let fixture = fixture();
    drop(fixture.upsert("1", &[1.0, 0.0]));
    let deleted = fixture.delete(&["1"]);
    let closed = fixture.close();
    fixture.owner.run();
    assert_eq!(answered(deleted).unwrap(), 0);
    answered(closed).unwrap();
}

#[test]
fn a_write_that_the_engine_refuses_breaks_the_store_and_stays_in_the_journal() {
    let fixture = fixture();
    let sound = fixture.upsert("1", &[1.0, 0.0]);
    // A deletion after an upsert begins a group, which the refused write then fails with it.
    let grouped = fixture.delete(&["1"]);
    let refused = fixture.upsert("2", &[1.0, 0.0, 0.0]);
    let late = fixture.delete(&["1"]);
    let closed = fixture.close();
    let shared = fixture.owner.shared.clone();
    let journal = fixture.owner.folder.journal();
    fixture.owner.run();

    assert_eq!(answered(sound).unwrap(), [UpsertOutcome::Created]);
    assert!(matches!(answered(closed), Err(CaseStoreError::Unavailable(_))));
    for reason in [answered(grouped).err(), answered(refused).err(), answered(late).err()] {
        let reason = reason.unwrap();
        assert!(matches!(&reason, CaseStoreError::Unavailable(_)), "{reason:?}");
        assert!(reason.to_string().contains("could not store cases"), "{reason}");
    }
    let read = shared.read(Engine::probe).unwrap_err();
    assert!(read.to_string().ends_with("the store is opened again as soon as it can be"), "{read}");
    assert!(!Journal::open(&journal).unwrap().is_empty());
}

#[test]
fn a_broken_store_is_opened_again_with_all_that_was_acknowledged() {
    let mut fixture = fixture();
    let shared = fixture.owner.shared.clone();
    let serve_next = |owner: &mut Owner| {
        let command = owner.commands.recv().unwrap();
        owner.serve(vec![command]);
    };
    let first = fixture.upsert("1", &[1.0, 0.0]);
    serve_next(&mut fixture.owner);
    assert_eq!(answered(first).unwrap(), [UpsertOutcome::Created]);

    // As where the disk does not take what is to be written: the journal can't be written any more, nor can the files be opened.
    fixture.owner.journal = None;
    let (shard, away) = (fixture.owner.folder.shard(), fixture.owner.folder.beside("away"));
    std::fs::rename(&shard, &away).unwrap();
    let refused = fixture.upsert("2", &[1.0, 0.0]);
    serve_next(&mut fixture.owner);
    assert!(matches!(answered(refused), Err(CaseStoreError::Unavailable(_))));
    let now = Instant::now();
    fixture.owner.reopening = Some(Reopening { due: now, pause: REOPEN_FIRST });
    fixture.owner.reopen_if_due();
    let again = fixture.owner.reopening.unwrap();
    assert!(again.due > now + REOPEN_FIRST && again.pause == REOPEN_FIRST * 2);
    assert!(matches!(shared.read(Engine::probe), Err(CaseStoreError::Unavailable(_))));

    let _ = std::fs::remove_dir_all(&shard);
    std::fs::rename(&away, &shard).unwrap();
    fixture.owner.reopening = Some(Reopening { due: now, pause: REOPEN_FIRST });
    fixture.owner.reopen_if_due();
    assert!(fixture.owner.reopening.is_none() && shared.broken().is_none());
    assert_eq!(shared.read(Engine::probe).unwrap(), 1);
    let (replaced, deleted) = (fixture.upsert("1", &[0.0, 1.0]), fixture.delete(&["1"]));
    let closed = fixture.close();
    fixture.owner.run();
    assert_eq!(answered(replaced).unwrap(), [UpsertOutcome::Replaced]);
    assert_eq!(answered(deleted).unwrap(), 1);
    answered(closed).unwrap();
}
