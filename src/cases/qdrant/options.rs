//! How a store on a server is opened.

use std::fmt;
use std::time::Duration;

use http::Uri;

use crate::cases::CaseStoreError;

/// The most numbers that Qdrant lets a vector have.
const MOST_DIMENSIONS: usize = 65_536;

/// How a store on a Qdrant server or cluster is opened.
#[derive(Clone, PartialEq, Eq)]
pub struct QdrantOptions {
    /// Where the server answers gRPC, such as `http://127.0.0.1:6334`; `https` for TLS with the roots of the system.
    pub url: String,
    /// The key that the server asks for, if it does. It is never logged.
    pub api_key: Option<String>,
    /// Name of the store: an alias on the server, and the beginning of the names of its collections. ASCII letters, digits, `-`
    /// and `_`.
    pub collection: String,
    /// Length of the encoder's vectors, 1 to 65,536.
    pub dimension: usize,
    /// SHA-256 of the encoder's weights, hexadecimal: vectors of different encoders can't be compared.
    pub encoder_sha256: String,
    /// Shards of a collection that is made, 1 or more.
    pub shards: u32,
    /// Copies of each shard of a collection that is made, 1 or more.
    pub replicas: u32,
    /// Copies that must have a write before it is acknowledged, 1 to `replicas`. With fewer than all, a read may miss a write that
    /// has just been acknowledged.
    pub write_consistency: u32,
    /// Whether a collection that is made searches vectors of 8 bits a number first, and the full ones of the best of them after.
    pub quantised: bool,
    /// How long one call to the server may take, with all its retries. A call to the store makes one call to the server or a few;
    /// one a page or a batch where there is much to read or to write.
    pub timeout: Duration,
    /// How often a call to the server is made again that found it unreachable or overloaded; 0 or more.
    pub retries: u32,
    /// Calls to the store that may be under way, 1 or more; one more is refused as `Busy`.
    pub queue_limit: usize,
}

impl QdrantOptions {
    /// The usual options for an encoder: the store `otklik_cases`, one shard, one copy, full vectors, 10 seconds and 3 retries a call,
    /// 256 calls under way.
    pub fn new(url: impl Into<String>, dimension: usize, encoder_sha256: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            api_key: None,
            collection: "otklik_cases".to_owned(),
            dimension,
            encoder_sha256: encoder_sha256.into(),
            shards: 1,
            replicas: 1,
            write_consistency: 1,
            quantised: false,
            timeout: Duration::from_secs(10),
            retries: 3,
            queue_limit: 256,
        }
    }

    /// The address of the server.
    ///
    /// # Errors
    /// `Open` for options that are not allowed.
    pub(super) fn checked(&self) -> Result<Uri, CaseStoreError> {
        let uri = self.uri().map_err(|problem| self.open_error(problem))?;
        let name_is_plain =
            self.collection.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        let problem = if self.collection.is_empty() || !name_is_plain {
            format!("the name {:?} is not allowed; ASCII letters, digits, \"-\" and \"_\" are", self.collection)
        } else if !(1..=MOST_DIMENSIONS).contains(&self.dimension) {
            format!("vectors of {} numbers are not allowed; 1 to {MOST_DIMENSIONS} numbers are", self.dimension)
        } else if self.encoder_sha256.is_empty() || !self.encoder_sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            format!("the encoder's hash {:?} is not hexadecimal", self.encoder_sha256)
        } else if self.shards == 0 || self.replicas == 0 {
            "a collection needs a shard and a copy of it at least".to_owned()
        } else if !(1..=self.replicas).contains(&self.write_consistency) {
            format!("{} of {} copies can't acknowledge a write", self.write_consistency, self.replicas)
        } else if self.timeout.is_zero() || self.queue_limit == 0 {
            "the time for a call and the number of calls under way must not be 0".to_owned()
        } else {
            return Ok(uri);
        };
        Err(self.open_error(problem))
    }

    fn uri(&self) -> Result<Uri, String> {
        let uri: Uri = self.url.parse().map_err(|error| format!("the address is not one: {error}"))?;
        match uri.scheme_str() {
            Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
            _ => Err("the address must begin with http:// or https:// and name a host".to_owned()),
        }
    }

    /// Why the store can't be opened.
    pub(super) fn open_error(&self, problem: impl fmt::Display) -> CaseStoreError {
        CaseStoreError::Open { folder: self.place(), problem: problem.to_string() }
    }

    /// Where the store is, without what an address may hold of credentials.
    fn place(&self) -> String {
        let uri = self.uri().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or("an unknown host");
        let port = uri.as_ref().and_then(Uri::port_u16).map(|port| format!(":{port}")).unwrap_or_default();
        format!("{} on {host}{port}", self.collection)
    }
}

impl fmt::Debug for QdrantOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("QdrantOptions")
            .field("place", &self.place())
            .field("has_api_key", &self.api_key.is_some())
            .field("dimension", &self.dimension)
            .field("encoder_sha256", &self.encoder_sha256)
            .field("shards", &self.shards)
            .field("replicas", &self.replicas)
            .field("write_consistency", &self.write_consistency)
            .field("quantised", &self.quantised)
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .field("queue_limit", &self.queue_limit)
            .finish()
    }
}
