//! Jobs of a queue, for people.

use std::fmt::Write;

use jiff::Timestamp;
use otklik::retag::machines::{Job, JobState};

/// A running job whose coordinator was silent for so many seconds has none.
const SILENT_SECONDS: i64 = 30;

/// Every job with what a person should know of it.
pub fn jobs(jobs: &[Job], now: Timestamp) -> String {
    if jobs.is_empty() {
        return "no jobs".to_owned();
    }
    let mut page = String::new();
    for job in jobs {
        // Writing to a string does not fail.
        let _ = writeln!(
            page,
            "{}  {:9}  {} rows, {} of {} files, {} chunks open  {}",
            job.id, job.state, job.rows_done, job.files_done, job.files, job.chunks_open, job.output
        );
        let silent = now.as_second() - job.told_at.as_second();
        if job.state == JobState::Running && silent > SILENT_SECONDS {
            let _ = writeln!(page, "    nobody coordinates it since {silent} s: give its command again");
        }
        for (worker, reason) in &job.refusals {
            let _ = writeln!(page, "    worker {worker} leaves it alone: {reason}");
        }
        for chunk in &job.set_aside {
            let _ = writeln!(page, "    {chunk}");
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_should_know_of_a_job_is_shown() {
        let job: Job = serde_json::from_value(serde_json::json!({
            "format": 1, "id": "4f1f", "life": "l", "state": "running", "output": "out", "made_by": {
                "otklik_version": "0", "taxonomy_version": "t", "encoder_id": "e", "encoder_sha256": "ff",
                "prototypes_version": "p"},
            "rules": {"columns": otklik::tables::ColumnMap::default(), "max_row_bytes": 10, "kind": null, "channel": null,
                "product": null, "partner": null, "transcript": false, "tag_prefix": "",
                "draw": {"seed": 0, "highest": 1}},
            "files": 2, "files_done": 1, "rows_done": 30, "rows_failed": 0, "chunks_open": 3,
            "set_aside": [{"file": "a.csv", "first_row": 0, "end_row": 7, "tries": 5, "reason": "poison"}],
            "refusals": {"w": "another taxonomy"},
            "begun_at": "2026-01-01T00:00:00Z", "told_at": "2026-01-01T00:00:00Z",
        }))
        .unwrap();
        let page = jobs(&[job], "2026-01-01T00:10:00Z".parse().unwrap());
        for part in ["4f1f  running", "30 rows, 1 of 2 files", "since 600 s", "w leaves it alone: another", "poison"] {
            assert!(page.contains(part), "no {part:?} in\n{page}");
        }
        assert!(page.contains("a.csv: the data rows 1 to 7 were set aside after 5 tries"));
        assert_eq!(jobs(&[], Timestamp::now()), "no jobs");
    }
}
