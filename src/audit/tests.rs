//! Logs that go on, that are tampered with, and that a crash cut off.

use std::path::Path;

use jiff::Timestamp;

use super::*;

fn event(number: i64) -> Event {
    Event {
        at: Timestamp::from_second(1_700_000_000 + number).unwrap(),
        tenant: "bank".into(),
        caller: "4f1d".into(),
        rpc: "CaseService/CorrectTags".into(),
        request_id: number.to_string(),
        code: "OK".into(),
        cases: Vec::new(),
        case_count: 0,
        subject: String::new(),
    }
    .about(vec![format!("case-{number}")])
}

async fn write(folder: &Path, numbers: std::ops::Range<i64>) {
    let log = AuditLog::open(folder, 600).unwrap();
    for number in numbers {
        log.note(event(number)).await.unwrap();
    }
    log.note_soon(event(99)).await.unwrap();
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_log_goes_on_over_files_and_restarts_and_is_found_whole() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("audit");
    write(&folder, 0..5).await;
    let first = verify(&folder, None).unwrap();
    assert_eq!(first.records, 6);
    assert!(first.files > 1, "{first:?}");
    write(&folder, 5..9).await;
    let all = verify(&folder, Some(&first.last_hash)).unwrap();
    assert_eq!(all.records, 11);
    assert_ne!(all.last_hash, first.last_hash);
    let line = std::fs::read_to_string(&files(&folder)[0]).unwrap().lines().next().unwrap().to_owned();
    let record: AuditRecord = serde_json::from_str(&line).unwrap();
    assert_eq!((record.number, &record.event), (1, &event(0)));
}

#[tokio::test]
async fn what_was_changed_taken_out_put_in_or_cut_off_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("audit");
    write(&folder, 0..5).await;
    let Verified { last_hash, records, .. } = verify(&folder, None).unwrap();
    let file = files(&folder)[0].clone();
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let spoilt = |text: String| {
        std::fs::write(&file, text).unwrap();
        verify(&folder, None).map(|_| ()).unwrap_err().to_string()
    };
    let changed = spoilt(text.replacen("case-0", "case-9", 1));
    assert!(changed.contains(":1: record 1 was changed"), "{changed}");
    let taken_out = spoilt(format!("{}\n", lines[1..].join("\n")));
    assert!(taken_out.contains(":1: record 2 does not follow record 0"), "{taken_out}");
    let twice = spoilt(format!("{}\n{text}", lines[0]));
    assert!(twice.contains(":2: record 1 does not follow record 1"), "{twice}");
    let garbage = spoilt(format!("{text}x\n"));
    assert!(garbage.contains("is no record"), "{garbage}");
    std::fs::write(&file, &text).unwrap();

    let last = files(&folder).pop().unwrap();
    std::fs::remove_file(last).unwrap();
    assert!(verify(&folder, None).unwrap().records < records, "the end is missed only by who knows it");
    let missed = verify(&folder, Some(&last_hash)).unwrap_err().to_string();
    assert!(missed.contains("taken away from the end"), "{missed}");
}

#[tokio::test]
async fn a_record_that_a_crash_cut_off_is_taken_away_and_the_log_goes_on() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("audit");
    write(&folder, 0..1).await;
    let last = files(&folder).pop().unwrap();
    let mut text = std::fs::read_to_string(&last).unwrap();
    text.push_str("{\"number\":3,\"at\":\"2023-");
    std::fs::write(&last, &text).unwrap();
    write(&folder, 1..2).await;
    assert_eq!(verify(&folder, None).unwrap().records, 4);
}

#[test]
fn a_folder_that_can_t_be_one_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = AuditLog::open(file.path(), 100).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    assert!(matches!(verify(file.path(), None), Err(Break::Unreadable { .. })));
}
