//! Fetches files from the model hub.
//!
//! The client resumes a file that was cut off, and keeps its own bookkeeping in the staging folder, not in the user's cache.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use super::super::entry::{HubSource, is_sha256};
use super::super::error::ModelError;
use super::super::verify::hash_file;
use super::{PullProgress, Staging};

const RETRIES: usize = 3;

/// Fetches each wanted file that has not arrived yet, all from one commit.
pub(super) fn fetch(staging: &Staging<'_>, wanted: &[&str]) -> Result<(), ModelError> {
    let Some(source) = &staging.entry.sources.hub else { return Ok(()) };
    let absolute = std::path::absolute(&staging.dir).map_err(ModelError::io("find", &staging.dir))?;
    let cache_dir = absolute.join("hub");
    let api = client(staging, source, &cache_dir)?;
    for &path in wanted {
        if staging.has(path)? {
            continue;
        }
        let commit = staging.arrivals()?.commit;
        let file = HubFile { source, path: source.files.get(path).map_or(path, String::as_str), commit };
        let (blob, commit) = file.download(&api, &cache_dir, staging.options.progress)?;
        let origin = format!("hub {} at {commit}", source.repository);
        staging.arrive(&blob, path, origin, Some(commit))?;
    }
    Ok(())
}

fn client(staging: &Staging<'_>, source: &HubSource, cache_dir: &Path) -> Result<Api, ModelError> {
    let mut builder = ApiBuilder::from_cache(Cache::new(cache_dir.to_owned()))
        .with_progress(false)
        .with_retries(RETRIES)
        .with_token(env::var("HF_TOKEN").ok().filter(|token| !token.is_empty()));
    let endpoint = staging.options.hub_endpoint.clone().or_else(|| env::var("HF_ENDPOINT").ok());
    if let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    builder
        .build()
        .map_err(|error| ModelError::Download { what: source.repository.clone(), problem: error.to_string() })
}

struct HubFile<'a> {
    source: &'a HubSource,
    path: &'a str,
    /// The commit that earlier files came from.
    commit: Option<String>,
}

impl HubFile<'_> {
    /// The downloaded file and the commit it is of.
    fn download(
        &self,
        api: &Api,
        cache_dir: &Path,
        progress: &dyn PullProgress,
    ) -> Result<(PathBuf, String), ModelError> {
        let revision = self.commit.clone().unwrap_or_else(|| self.source.revision.clone());
        let repo = Repo::with_revision(self.source.repository.clone(), RepoType::Model, revision);
        let folder = cache_dir.join(repo.folder_name());
        // Links left by an earlier run point to files that were moved away since, and the client stumbles over them.
        remove_folder(&folder.join("snapshots"))?;
        let mut got = api.repo(repo.clone()).download_with_progress(self.path, Bytes::new(progress));
        if got.as_ref().is_err_and(is_past_the_end) {
            remove_folder(&folder.join("blobs"))?;
            got = api.repo(repo).download_with_progress(self.path, Bytes::new(progress));
        }
        let link = got.map_err(|error| self.failed(&error))?;
        let blob = link.canonicalize().map_err(ModelError::io("find", &link))?;
        self.check_own_hash(&blob)?;
        let snapshot = link.strip_prefix(folder.join("snapshots")).ok();
        let commit = snapshot.and_then(|inside| inside.iter().next()).map(|name| name.to_string_lossy().into_owned());
        Ok((blob, commit.unwrap_or_else(|| self.source.revision.clone())))
    }

    /// The hub names large files by their sha256; a file that differs was damaged on its way.
    fn check_own_hash(&self, blob: &Path) -> Result<(), ModelError> {
        let Some(declared) = blob.file_name().and_then(|name| name.to_str()).filter(|name| is_sha256(name)) else {
            return Ok(());
        };
        let (found, _) = hash_file(blob)?;
        if found == declared {
            return Ok(());
        }
        fs::remove_file(blob).map_err(ModelError::io("remove", blob))?;
        let problem = format!("its sha256 is {found} and the hub declares {declared}");
        Err(ModelError::Untrusted { what: self.what(), problem })
    }

    fn what(&self) -> String {
        format!("{} of {}", self.path, self.source.repository)
    }

    fn failed(&self, error: &ApiError) -> ModelError {
        ModelError::Download { what: self.what(), problem: error.to_string() }
    }
}

/// The whole file was here already when the last run was stopped, and the hub has no byte to give after its end (HTTP 416).
fn is_past_the_end(error: &ApiError) -> bool {
    error.to_string().contains("status code 416")
}

fn remove_folder(path: &Path) -> Result<(), ModelError> {
    if path.exists() { fs::remove_dir_all(path).map_err(ModelError::io("remove", path)) } else { Ok(()) }
}

/// Hands the client's progress on.
struct Bytes<'a> {
    progress: &'a dyn PullProgress,
    begun: bool,
    bytes: u64,
}

impl<'a> Bytes<'a> {
    fn new(progress: &'a dyn PullProgress) -> Self {
        Self { progress, begun: false, bytes: 0 }
    }
}

impl Progress for Bytes<'_> {
    fn init(&mut self, size: usize, file: &str) {
        self.bytes = 0;
        if !self.begun {
            self.begun = true;
            self.progress.begin(file, Some(size as u64));
        }
    }

    fn update(&mut self, size: usize) {
        self.bytes += size as u64;
        self.progress.at(self.bytes, "downloading");
    }

    fn finish(&mut self) {
        self.progress.end();
    }
}
