//! `otklik bench soak` in short: every promise is looked at, under every fault, and none is broken.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::process::Command;

#[test]
fn a_short_soak_looks_at_every_promise_and_finds_none_broken() {
    let folder = tempfile::tempdir().unwrap();
    let service = folder.path().join("service");
    let mut command = Command::new(env!("CARGO_BIN_EXE_otklik"));
    // Little load: whoever runs the test may have little time to spare.
    command.args(["bench", "soak", "--minutes", "0.5", "--load", "0.3", "--fault-every", "4", "--json", "--quiet"]);
    command.arg("--folder").arg(&service);
    let ended = command.output().unwrap();
    let (out, told) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{told}"));
    assert!(ended.status.success(), "{told}\n{:#}", report["breaches"]);
    for checked in report["promises"].as_array().unwrap() {
        let is_looked_at = checked["checks"].as_u64().unwrap() > 0;
        // That files and a disk come up depends on which faults fit into the time.
        assert!(
            is_looked_at || checked["promise"] == "former_kept" || checked["promise"] == "nothing_left",
            "{checked}"
        );
    }
    assert!(report["faults"].as_array().unwrap().len() >= 3, "{report:#}");
    assert!(report["audit_records"].as_u64().unwrap() > 0);
    assert!(report["cases"].as_u64().unwrap() > 0);
}
