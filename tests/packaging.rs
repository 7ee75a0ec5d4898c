//! What lies in `packaging/` names only settings, variables and numbers that there are, and leaves the service the time that it takes to
//! stop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use otklik::config::Config;
use regex::Regex;

/// Where the numbers are registered.
const TELEMETRY: &str =
    concat!(include_str!("../src/telemetry/metrics.rs"), include_str!("../src/telemetry/at_scrape.rs"));

/// Where those of drift have their names.
const DRIFT: &str = include_str!("../src/telemetry/drift.rs");

/// Variables of the environment that are no keys of the configuration.
const OTHER_VARIABLES: [&str; 4] = ["OTKLIK_CASES_KEY", "OTKLIK_CONFIG", "OTKLIK_OFFLINE", "OTKLIK_QDRANT_API_KEY"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

fn read(name: &str) -> String {
    let path = folder().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file with its text.
fn files() -> Vec<(PathBuf, String)> {
    let mut folders = vec![folder()];
    let mut files = Vec::new();
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    files.sort();
    files
}

/// The files whose names end so.
fn files_of(endings: &[&str]) -> Vec<(PathBuf, String)> {
    let ends_so = |path: &Path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| endings.contains(&ending))
    };
    let found: Vec<_> = files().into_iter().filter(|(path, _)| ends_so(path)).collect();
    assert!(!found.is_empty(), "no file ends in {endings:?}");
    found
}

fn load(path: &Path) -> Config {
    let loaded = Config::load(Some(path), std::iter::empty(), &[]);
    loaded.unwrap_or_else(|error| panic!("{}: {error}", path.display())).config
}

/// The names under which a scrape has the numbers, from how the source registers them.
fn exported_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut add = |name: &str, kind: &str| {
        let endings: &[&str] = match kind {
            _ if kind.contains("Histogram") || kind.contains("ByStage") || kind.contains("ByLane") => {
                &["_bucket", "_sum", "_count"]
            }
            _ if kind.contains("Counter") => &["_total"],
            _ if kind.contains("Info") => &["_info"],
            _ if kind.contains("Gauge") || kind.contains("gauge(") => &[""],
            _ => panic!("{name} is of an unknown kind: {kind}"),
        };
        names.extend(endings.iter().map(|ending| format!("otklik_{name}{ending}")));
    };
    // What follows the first `beginning` of a line: a field of the struct, or a variable.
    let declared = |beginning: &str| {
        let kind = TELEMETRY.lines().find_map(|line| line.trim_start().strip_prefix(beginning));
        kind.unwrap_or_else(|| panic!("no line begins with {beginning:?}"))
    };
    let registered =
        Regex::new(r#"registry\.register\(\s*"(\w+)",\s*(?:"[^"]*"|help),\s*metrics\.(\w+)\.clone\(\)"#).unwrap();
    for found in registered.captures_iter(TELEMETRY) {
        add(&found[1], declared(&format!("{}: ", &found[2])));
    }
    let described = Regex::new(r#"encode_descriptor\(\s*"(\w+)",[^;]*?(\w+)\.metric_type\(\)"#).unwrap();
    for found in described.captures_iter(TELEMETRY) {
        add(&found[1], declared(&format!("let {} = ", &found[2])));
    }
    // Name, help and value of each counter of what computes.
    let counted = Regex::new(r#"\("(\w+)",\s*"[^"]*",\s*\w+\)"#).unwrap();
    for found in counted.captures_iter(TELEMETRY) {
        add(&found[1], "Counter");
    }
    let drifting = Regex::new(r#""(\w+_drift)","#).unwrap();
    for found in drifting.captures_iter(DRIFT) {
        add(&found[1], "Gauge");
    }
    names
}

#[test]
fn dashboards_and_alerts_ask_for_numbers_that_are_told() {
    let told = exported_names();
    for name in [
        "calls_total",
        "call_duration_seconds_bucket",
        "ready",
        "program_info",
        "queue_tokens",
        "batches_total",
        "stage_duration_seconds_bucket",
        "topic_drift",
        "store_up",
        "retag_jobs_running",
        "language_model_prompt_tokens_total",
    ] {
        let name = format!("otklik_{name}");
        assert!(told.contains(&name), "{name} is not found in the source any more: {told:?}");
    }
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana/otklik.json")).unwrap();
    assert_eq!(dashboard["uid"], "otklik");
    let named = Regex::new(r"\botklik_[a-z_]+").unwrap();
    let mut asked = BTreeSet::new();
    for (path, text) in files_of(&["json", "yaml", "yml"]) {
        for name in named.find_iter(&text) {
            assert!(told.contains(name.as_str()), "{}: {} is told by nobody", path.display(), name.as_str());
            asked.insert(name.as_str().to_owned());
        }
    }
    assert!(asked.len() > 10, "only {asked:?} are asked for");
}

#[test]
fn the_operator_of_prometheus_gets_the_same_rules() {
    let rules = read("prometheus/rules.yml");
    let indented = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
    let wanted: String = rules.lines().skip_while(|line| *line != "groups:").map(indented).collect();
    let resource = read("kubernetes/monitoring/prometheusrule.yaml");
    let (_, given) = resource.split_once("spec:\n").unwrap();
    assert!(wanted.contains("alert: "));
    assert_eq!(given, wanted);
}

/// A line that begins with `#` and a key, without a space, is a setting that is not made; its key must be one too.
#[test]
fn settings_in_files_are_known_and_allowed() {
    let keys = Config::keys();
    let known: BTreeSet<&str> = keys.iter().map(|key| key.name).collect();
    let not_made = Regex::new(r"(?m)^#([a-z])").unwrap();
    for (path, text) in files_of(&["toml"]) {
        load(&path);
        let all: toml::Table = toml::from_str(&not_made.replace_all(&text, "$1")).unwrap();
        for (section, settings) in &all {
            for key in settings.as_table().unwrap().keys() {
                let name = format!("{section}.{key}");
                assert!(known.contains(name.as_str()), "{}: there is no key {name}", path.display());
            }
        }
    }
}

#[test]
fn variables_of_the_environment_are_known() {
    let keys = Config::keys();
    let variables = keys.iter().map(|key| key.environment_variable());
    let known: BTreeSet<String> = variables.chain(OTHER_VARIABLES.map(str::to_owned)).collect();
    let named = Regex::new(r"\bOTKLIK_[A-Z0-9_]+").unwrap();
    for (path, text) in files() {
        for variable in named.find_iter(&text) {
            let variable = variable.as_str();
            assert!(known.contains(variable), "{}: {variable} sets nothing", path.display());
        }
    }
}

/// The root file system is read-only: what the program would write beside its working folder goes to the volume.
#[test]
fn the_image_has_every_folder_that_is_written_in_its_volume() {
    let image = read("Dockerfile");
    let written: Vec<_> = Config::keys().into_iter().filter(|key| key.default.starts_with("./")).collect();
    assert!(!written.is_empty());
    for key in written {
        let set = format!("{}=/var/lib/otklik/", key.environment_variable());
        assert!(image.contains(&set), "the Dockerfile does not set {}, which is {} by default", key.name, key.default);
    }
}

#[test]
fn whoever_stops_the_service_waits_until_it_has_drained() {
    for (settings, manifest, key) in [
        ("otklik.toml", "otklik.service", "TimeoutStopSec="),
        ("kubernetes/store/otklik.toml", "kubernetes/store/statefulset.yaml", "terminationGracePeriodSeconds: "),
        ("kubernetes/taggers/otklik.toml", "kubernetes/taggers/deployment.yaml", "terminationGracePeriodSeconds: "),
    ] {
        let Config { server, telemetry, .. } = load(&folder().join(settings));
        // Calls are taken, calls finish, connections close for a second, the case store closes, the last traces are sent.
        let most_ms = server.drain_delay_ms
            + server.drain_timeout_ms
            + 1_000
            + server.drain_timeout_ms.max(1_000)
            + telemetry.timeout_ms;
        let manifest_text = read(manifest);
        let seconds = manifest_text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
        let seconds: u64 = seconds.parse().unwrap();
        assert!(seconds * 1_000 > most_ms, "{manifest} waits {seconds} s, stopping takes up to {most_ms} ms");
    }
}
