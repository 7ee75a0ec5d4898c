//! The program as its users run it: on the real model, from the command line and over the wire.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use otklik::server::wire::v1;
use otklik::server::wire::v1::case_service_client::CaseServiceClient;
use otklik::server::wire::v1::tagging_service_client::TaggingServiceClient;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The program with nothing of the caller's environment that it would listen to, working in `folder`.
fn otklik(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otklik"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTKLIK_")) {
        command.env_remove(name);
    }
    command.env("OTKLIK_MODELS_DIR", models()).env_remove("RUST_LOG").current_dir(folder);
    command
}

fn models() -> PathBuf {
    Path::new(ROOT).join("models")
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

#[test]
fn a_text_is_tagged_with_its_evidence_marked() {
    let folder = tempfile::tempdir().unwrap();
    let text = "Третий день не работает касса, банк шлёт к партнёру, партнёр в банк";
    let (code, page, errors) = run(otklik(folder.path()).args(["classify", text]));
    assert_eq!(code, 0, "{errors}");
    for part in ["^^^", "topics", "Интеграция с партнёром", "Футбол", "Партнёрства", "why:", "made by"]
    {
        assert!(page.contains(part), "no {part:?} in\n{page}");
    }

    let (code, json, errors) = run(otklik(folder.path()).args(["classify", "--json", text]));
    assert_eq!(code, 0, "{errors}");
    let tags: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(tags["team"]["team_id"], "partnerships");
    assert_eq!(tags["sentiment"]["label"], "negative");
    assert!(tags["provenance"]["encoder_sha256"].as_str().unwrap().starts_with("5e9b9644"));
    // The same text under the same versions: the same bytes.
    assert_eq!(run(otklik(folder.path()).args(["classify", "--json", text])).1, json);
}

#[test]
fn a_table_keeps_its_rows_in_order_and_tells_bad_ones_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = "id,text\n".as_bytes().to_vec();
    for index in 0..40 {
        writeln!(table, "r{index},\"Карту № {index} не привезли, курьер не приехал\"").unwrap();
    }
    table.extend(b"bad,\xff\xfe\n");
    table.extend("last,\"Спасибо, всё отлично\"\n".as_bytes());
    std::fs::write(folder.path().join("in.csv"), table).unwrap();

    let arguments = ["classify", "in.csv", "--text-column", "text", "--id-column", "id", "-o", "out.jsonl"];
    let (code, _, errors) = run(otklik(folder.path()).args(arguments));
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("row 42") && errors.contains("UTF-8"), "{errors}");
    assert!(!folder.path().join("out.jsonl").exists());

    let (code, _, errors) = run(otklik(folder.path()).args(arguments).args(["--on-error", "skip"]));
    assert_eq!(code, 0, "{errors}");
    let lines = std::fs::read_to_string(folder.path().join("out.jsonl")).unwrap();
    let ids: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<String> = (0..40).map(|index| format!("r{index}")).chain(["last".to_owned()]).collect();
    assert_eq!(ids, expected);
}

/// A models folder of links to the real files, so that one of them can be replaced.
fn linked_models(folder: &Path) -> PathBuf {
    let model = folder.join("models/e5-small-ru-en");
    std::fs::create_dir_all(&model).unwrap();
    for file in std::fs::read_dir(models().join("e5-small-ru-en")).unwrap() {
        let file = file.unwrap();
        std::os::unix::fs::symlink(file.path(), model.join(file.file_name())).unwrap();
    }
    model
}

#[test]
fn a_damaged_or_missing_model_is_refused_by_the_name_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = linked_models(folder.path());
    let refused = |parts: &[&str]| {
        let models = folder.path().join("models");
        let (code, _, errors) = run(otklik(folder.path())
            .env_remove("OTKLIK_MODELS_DIR")
            .arg("--models-dir")
            .arg(models)
            .args(["classify", "x"]));
        assert_eq!(code, 2, "{errors}");
        for part in parts {
            assert!(errors.contains(part), "no {part:?} in {errors}");
        }
    };
    for (name, at) in [("model.gguf", 9_000_000), ("tokenizer.json", 1_000), ("config.json", 20)] {
        let path = model.join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        refused(&[name, "sha256"]);
        std::fs::remove_file(&path).unwrap();
        refused(&[name, "missing", "restore the folder models/e5-small-ru-en"]);
        std::os::unix::fs::symlink(models().join("e5-small-ru-en").join(name), &path).unwrap();
    }
    let path = model.join("examples.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    refused(&["examples.safetensors", "damaged"]);
}

#[test]
fn bad_configuration_is_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let taxonomy = "schema = 1\nname = \"t\"\nlanguages = [\"en\"]\ntriage_team = \"a\"\n\
        [[teams]]\nid = \"a\"\nname = { en = \"A\" }\nescalates_to = \"b\"\n\
        [[teams]]\nid = \"b\"\nname = { en = \"B\" }\nescalates_to = \"a\"\n";
    std::fs::write(folder.path().join("cycle.toml"), taxonomy).unwrap();
    std::fs::write(folder.path().join("otklik.toml"), "[server]\nlisten = \"nowhere\"\nlissen = 1\n").unwrap();
    std::fs::write(folder.path().join("file"), "not a folder").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let table: [(&[&str], &[&str]); 11] = [
        (&["serve", "--set", "taxonomy.path=cycle.toml"], &["cycle.toml:8", "cycle", "a -> b"]),
        (&["serve", "--config", "otklik.toml"], &["otklik.toml:2", "server.listen", "lissen", "did you mean"]),
        (&["serve", "--set", "limits.max_turns=none"], &["limits.max_turns", "from 1 to 100000"]),
        (&["serve", "--listen", &taken], &["server.listen", &taken, "--listen"]),
        (&["serve", "--listen", "127.0.0.1:0", "--set", "cases.dir=file/cases"], &["case store", "file/cases"]),
        (&["serve", "--listen", "0.0.0.0:0"], &["others can reach", "keys add", "callers.without_keys=anywhere"]),
        (
            &["serve", "--listen", "0.0.0.0:0", "--set", "callers.without_keys=anywhere"],
            &["plain text", "tls.certificate", "server.plain_text=anywhere"],
        ),
        (
            &["serve", "--set", "tls.certificate=file", "--set", "tls.key=file"],
            &["tls.certificate: there is no certificate"],
        ),
        (
            &["serve", "--set", "telemetry.otlp_endpoint=http://collector:4317"],
            &["telemetry.otlp_endpoint", "plain text", "telemetry.plain_text=anywhere"],
        ),
        (&["serve", "--set", "telemetry.sample_ratio=2"], &["telemetry.sample_ratio", "from 0 to 1"]),
        (
            &["health", "--set", "tls.certificate=none.pem", "--set", "tls.key=none.key"],
            &["tls.certificate", "none.pem"],
        ),
    ];
    for (arguments, parts) in table {
        let (code, _, errors) = run(otklik(folder.path()).args(arguments));
        assert_eq!(code, 2, "{arguments:?}: {errors}");
        for part in parts {
            assert!(errors.contains(part), "{arguments:?}: no {part:?} in {errors}");
        }
    }
    // The key of sealed texts is no key of the configuration.
    let sealing = ["config", "show", "--set", "cases.texts=original"];
    let (code, _, errors) = run(otklik(folder.path()).args(sealing).env("OTKLIK_CASES_KEY", "5a".repeat(32)));
    assert_eq!(code, 0, "{errors}");
}

#[test]
fn a_key_is_shown_once_listed_without_its_secret_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let keys = |arguments: &[&str]| run(otklik(folder.path()).arg("keys").args(arguments));
    let (code, key, told) = keys(&["add", "--tenant", "bank", "--role", "tag", "--role", "read", "--name", "crm"]);
    assert_eq!(code, 0, "{told}");
    let key = key.trim();
    let id = key.split('_').nth(1).unwrap();
    assert!(key.starts_with("otk_") && told.contains(id) && !told.contains(key), "{told}");
    let (code, listed, errors) = keys(&["list", "--json"]);
    assert_eq!(code, 0, "{errors}");
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["id"], &listed[0]["roles"]), (&id.into(), &serde_json::json!(["tag", "read"])));
    assert!(!listed.to_string().contains(key));
    let (code, _, errors) = keys(&["revoke", key]);
    assert_eq!(code, 0, "{errors}");
    assert!(keys(&["list"]).1.contains("revoked"));
    for (arguments, part) in [
        (&["add", "--tenant", "a b", "--role", "tag"][..], "tenant: \"a b\" is not a tenant's name"),
        (&["add", "--tenant", "bank", "--role", "boss"], "allowed: tag, read, correct, assist, retag, admin"),
        (&["revoke", "none"], "no key \"none\""),
    ] {
        let (code, _, errors) = keys(arguments);
        assert_eq!(code, 2, "{arguments:?}: {errors}");
        assert!(errors.contains(part), "{arguments:?}: {errors}");
    }
}

/// A running service; killed when dropped.
struct Service {
    process: Child,
    address: String,
}

impl Service {
    fn start(folder: &Path) -> Self {
        Self::start_with(otklik(folder))
    }

    fn start_with(mut otklik: Command) -> Self {
        let mut process = otklik.args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let said = lines.map(Result::unwrap).find(|line| line.contains("listens on")).expect("the service ended");
        let address = said.rsplit(' ').next().unwrap().to_owned();
        Self { process, address: format!("http://{address}") }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text(id: &str, text: &str) -> v1::Feedback {
    v1::Feedback { id: id.to_owned(), text: text.to_owned(), ..v1::Feedback::default() }
}

#[tokio::test]
async fn the_service_tags_keeps_cases_through_a_kill_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(folder.path());
    let mut tagging = TaggingServiceClient::connect(service.address.clone()).await.unwrap();
    let feedback = text("1", "Карту заблокировали за границей, денег нет");
    let request = v1::ClassifyRequest { feedback: Some(feedback), ..v1::ClassifyRequest::default() };
    let tags = tagging.classify(request).await.unwrap().into_inner().tags.unwrap();
    assert!(tags.topics.iter().any(|topic| topic.topic_id == "cards"), "{tags:?}");

    let mut cases = CaseServiceClient::connect(service.address.clone()).await.unwrap();
    let items = [
        ("card", "Карту заблокировали в поездке, платить нечем"),
        ("parcel", "Посылку везут вторую неделю, курьер не звонит"),
        ("net", "Интернет по вечерам еле ползёт"),
    ]
    .map(|(id, words)| v1::UpsertCasesItem { feedback: Some(text(id, words)), ..Default::default() });
    let request = v1::UpsertCasesRequest { items: items.to_vec(), ..v1::UpsertCasesRequest::default() };
    assert_eq!(cases.upsert_cases(request).await.unwrap().into_inner().results.len(), 3);
    service.process.kill().unwrap();
    service.process.wait().unwrap();
    drop(service);

    let mut service = Service::start(folder.path());
    let mut cases = CaseServiceClient::connect(service.address.clone()).await.unwrap();
    let request = v1::GetCaseRequest { id: "parcel".to_owned(), ..v1::GetCaseRequest::default() };
    assert_eq!(
        cases.get_case(request).await.unwrap().into_inner().masked_text,
        "Посылку везут вторую неделю, курьер не звонит"
    );
    let address = service.address.trim_start_matches("http://").to_owned();
    let health = |service: &str| {
        let (code, said, _) = run(otklik(folder.path()).args(["health", "--address", &address, "--service", service]));
        (code, said.trim().to_owned())
    };
    let waited = std::time::Instant::now();
    while health("").0 != 0 {
        assert!(waited.elapsed() < Duration::from_secs(60), "{:?}", health(""));
    }
    assert_eq!(health("otklik.v1.CaseService"), (0, "serving".to_owned()));
    assert_eq!(health("no.such.Service").0, 2);
    let request = v1::FindSimilarRequest {
        query: Some(v1::find_similar_request::Query::Text("курьер так и не привёз заказ".to_owned())),
        limit: 2,
        ..v1::FindSimilarRequest::default()
    };
    let found = cases.find_similar(request).await.unwrap().into_inner().cases;
    assert_eq!(found[0].case.as_ref().unwrap().id, "parcel");

    let pid = service.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Some(status) = service.process.try_wait().unwrap() {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(ended.await.expect("the service did not stop").code(), Some(0));
    assert_eq!(health("").0, 1, "nobody answers");
}

#[tokio::test]
async fn a_model_that_is_replaced_under_a_running_service_changes_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let model = linked_models(folder.path());
    // Cut short in place, as by a copy over it that a full disk ended.
    let names = ["model.gguf", "tokenizer.json", "heads/topics.safetensors"];
    std::fs::remove_file(model.join("heads")).unwrap();
    std::fs::create_dir(model.join("heads")).unwrap();
    for name in names {
        let _ = std::fs::remove_file(model.join(name));
        std::fs::copy(models().join("e5-small-ru-en").join(name), model.join(name)).unwrap();
    }
    let otklik = || {
        let mut command = otklik(folder.path());
        // Every text is read by the encoder, also one that comes again.
        command.env("OTKLIK_MODELS_DIR", folder.path().join("models")).env("OTKLIK_COMPUTE_CACHE_MB", "0");
        command
    };
    let service = Service::start_with(otklik());
    let mut tagging = TaggingServiceClient::connect(service.address.clone()).await.unwrap();
    let mut tags = async |words: &str| {
        let feedback = text("1", words);
        let request = v1::ClassifyRequest { feedback: Some(feedback), ..v1::ClassifyRequest::default() };
        tagging.classify(request).await.unwrap().into_inner().tags.unwrap()
    };
    let before = tags("Карту заблокировали за границей, денег нет").await;
    for name in names {
        std::fs::OpenOptions::new().write(true).open(model.join(name)).unwrap().set_len(1_000).unwrap();
    }
    let after = tags("Карту заблокировали за границей, денег нет").await;
    assert_eq!((after.topics, after.team, after.sentiment), (before.topics, before.team, before.sentiment));
    assert!(
        tags("Посылку везут вторую неделю, курьер не звонит").await.topics.iter().any(|tag| tag.topic_id == "delivery")
    );
    drop(service);
    let (code, _, errors) = run(otklik().args(["serve", "--listen", "127.0.0.1:0"]));
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("model.gguf") && errors.contains("damaged"), "{errors}");
}

/// A table of labelled texts whose labels stand in their words.
fn labelled_table(path: &Path, rows: usize) {
    let mut table = "text,topic,part\n".as_bytes().to_vec();
    let kinds = [
        ("cards", "Карту не привезли, курьер не приехал"),
        ("cash", "Касса не печатает чеки"),
        ("app", "Приложение вылетает"),
    ];
    for row in 0..rows {
        let (topic, text) = kinds[row % kinds.len()];
        let part = if row % 5 == 0 { "test" } else { "train" };
        writeln!(table, "\"{text}, обращение {row}\",{topic},{part}").unwrap();
    }
    std::fs::write(path, table).unwrap();
}

#[test]
fn a_head_is_trained_kept_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    labelled_table(&folder.path().join("rows.csv"), 60);
    let train = ["train", "--data", "rows.csv", "--only", "part=train", "--label", "topic", "--out", "heads/topic"];
    let (code, page, errors) = run(otklik(folder.path()).args(train).args(["--vectors", "kept.vectors"]));
    assert_eq!(code, 0, "{errors}");
    assert!(page.contains("3 labels of \"topic\" from 48 rows"), "{page}");
    let card = std::fs::read_to_string(folder.path().join("heads/topic/card.json")).unwrap();
    let card: serde_json::Value = serde_json::from_str(&card).unwrap();
    assert_eq!((&card["labels"][0], &card["kind"]), (&"app".into(), &"single".into()));

    let eval =
        ["eval", "--data", "rows.csv", "--only", "part=test", "--label", "topic", "--head", "heads/topic", "--json"];
    let (code, json, errors) = run(otklik(folder.path()).args(eval).args(["--report", "page.html"]));
    assert_eq!(code, 0, "{errors}");
    let figures: serde_json::Value = serde_json::from_str(&json).unwrap();
    let keys = ["rows", "accuracy", "top3", "macro_f1", "weighted_f1", "ece", "coverage_at_precision", "per_class"];
    assert!(keys.iter().all(|key| !figures[key].is_null()), "{json}");
    assert_eq!((&figures["rows"], &figures["accuracy"]), (&12.into(), &1.0.into()));
    let page = std::fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("rows.csv: topic"));

    // The same rows, the same seed: the same head, byte for byte; and the kept vectors are as good as fresh ones.
    let again = ["train", "--data", "rows.csv", "--only", "part=train", "--label", "topic", "--out", "again"];
    assert_eq!(run(otklik(folder.path()).args(again).args(["--vectors", "kept.vectors"])).0, 0);
    let bytes = |name: &str| std::fs::read(folder.path().join(name).join("head.safetensors")).unwrap();
    assert!(bytes("heads/topic") == bytes("again"));
}

#[test]
fn labels_are_told_from_rows_of_their_own_table() {
    let folder = tempfile::tempdir().unwrap();
    labelled_table(&folder.path().join("rows.csv"), 30);
    let eval = ["eval", "--data", "rows.csv", "--label", "topic", "--folds", "3"];
    let (code, page, errors) = run(otklik(folder.path()).args(eval));
    assert_eq!(code, 0, "{errors}");
    assert!(page.contains("accuracy"), "{page}");

    let refused = |arguments: &[&str], parts: &[&str]| {
        let (code, _, errors) = run(otklik(folder.path()).arg("eval").args(arguments));
        assert_eq!(code, 2, "{errors}");
        for part in parts {
            assert!(errors.contains(part), "no {part:?} in {errors}");
        }
    };
    refused(&["--data", "rows.csv", "--label", "owner"], &["no row has a label \"owner\"", "part, text, topic"]);
    refused(&["--data", "none.csv", "--label", "owner"], &["none.csv"]);
    refused(&["--data", "rows.csv", "--label", "topic", "--head", "nowhere"], &["nowhere"]);
    refused(&["--data", "rows.csv", "--label", "topic", "--precision", "2"], &["precision"]);
    refused(&["--data", "rows.csv", "--label", "topic", "--folds", "90"], &["30 rows", "90 parts"]);
    std::fs::write(folder.path().join("head.safetensors"), "no head").unwrap();
    refused(
        &["--data", "rows.csv", "--label", "topic", "--head", "head.safetensors"],
        &["head.safetensors", "not a head"],
    );
}

#[test]
fn a_tuned_encoder_serves_its_head_from_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    labelled_table(&folder.path().join("rows.csv"), 30);
    let train =
        ["train", "--data", "rows.csv", "--only", "part=train", "--label", "topic", "--fine-tune", "--epochs", "1"];
    let (code, page, errors) = run(otklik(folder.path()).args(train).args(["--out", "tuned"]));
    assert_eq!(code, 0, "{errors}");
    assert!(page.contains("topic-tuned: epoch 1 of 1 kept"), "{page}");
    assert!(!folder.path().join("tuned/checkpoint").exists());

    let measure = ["eval", "--data", "rows.csv", "--only", "part=test", "--label", "topic", "--json"];
    let (code, json, errors) = run(otklik(folder.path()).args(measure).args(["--head", "tuned"]));
    assert_eq!(code, 0, "{errors}");
    let figures: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(figures["rows"], 6);
    // With the encoder that it was tuned from, its head is refused.
    let head = "tuned/head.safetensors";
    let (code, _, errors) = run(otklik(folder.path()).args(measure).args(["--head", head]));
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("made for encoder topic-tuned"), "{errors}");
    let tuned = ["--models-dir", "tuned", "--set", "models.encoder=topic-tuned"];
    let (code, again, errors) =
        run(otklik(folder.path()).env_remove("OTKLIK_MODELS_DIR").args(tuned).args(measure).args(["--head", head]));
    assert_eq!((code, again), (0, json), "{errors}");
}

#[test]
fn a_benchmark_says_what_it_measured() {
    let folder = tempfile::tempdir().unwrap();
    let texts = "{\"text\":\"Карту не привезли\"}\n{\"text\":\"Спасибо\"}\n{\"text\":\"The app crashes every time\"}\n";
    std::fs::write(folder.path().join("in.jsonl"), texts).unwrap();
    let measured = |arguments: &[&str]| -> serde_json::Value {
        let (code, json, errors) = run(otklik(folder.path()).arg("bench").args(arguments));
        assert_eq!(code, 0, "{errors}");
        serde_json::from_str(&json).unwrap()
    };
    let encoder = measured(&["encoder", "--texts", "in.jsonl", "--limit", "2", "--threads", "1", "--json"]);
    assert_eq!((encoder["texts"].as_u64(), encoder["threads"].as_u64()), (Some(2), Some(1)));
    for key in ["tokens", "texts_per_s", "tokens_per_s", "single_p50_ms", "single_p95_ms"] {
        assert!(encoder[key].as_f64().unwrap() > 0.0, "{key} in {encoder}");
    }
    for (key, least) in [("cosine_mean", 0.997), ("cosine_min", 0.99)] {
        assert!((least..1.000_01).contains(&encoder[key].as_f64().unwrap()), "{key} in {encoder}");
    }
    assert_ne!(encoder["kernel"], "f32");

    let load = ["--callers", "2", "--bulk", "1", "--seconds", "1", "--beside-encoder", "--json"];
    let server = measured(&[&["server", "--texts", "in.jsonl"], &load[..]].concat());
    for key in ["texts", "tokens", "texts_per_s", "p50_ms", "p99_ms", "encoder_texts_per_s", "encoder_share"] {
        assert!(server[key].as_f64().unwrap() > 0.0, "{key} in {server}");
    }
    assert_eq!((server["failed"].as_u64(), server["refused"].as_u64()), (Some(0), Some(0)), "{server}");

    let (code, _, errors) = run(otklik(folder.path()).args(["bench", "encoder", "--texts", "none.jsonl"]));
    assert!(code == 2 && errors.contains("none.jsonl"), "{code}: {errors}");
    let (code, _, errors) =
        run(otklik(folder.path()).args(["classify", "Спасибо", "--set", "compute.kernel=neon-dotprod"]));
    if cfg!(target_arch = "x86_64") {
        assert!(code == 2 && errors.contains("neon-dotprod") && errors.contains("plain"), "{code}: {errors}");
    }
}
