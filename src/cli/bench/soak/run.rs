//! What everything of one run shares: the service, who calls it, and what is known of its answers.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use otklik::callers::{KeyFile, NewKey, Role};
use otklik::server::wire::v1::assist_service_client::AssistServiceClient;
use otklik::server::wire::v1::case_service_client::CaseServiceClient;
use otklik::server::wire::v1::retag_service_client::RetagServiceClient;
use otklik::server::wire::v1::tagging_service_client::TaggingServiceClient;
use otklik::server::wire::v1::taxonomy_service_client::TaxonomyServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::super::service::Service;
use super::ledger::Ledger;
use super::promises::{Promise, Promises};
use super::reference::Reference;
use super::tally::{Phase, Phases, Tally};

/// Connections of the callers.
const CONNECTIONS: usize = 4;

/// The deadline of ordinary calls.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// How long after its deadline a call is given up whatever happens.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tenants that store and correct; the one after them only asks.
pub(super) const WRITERS: usize = 2;

/// The tenant that only asks: what it is told depends on no correction.
pub(super) const WITNESS: usize = WRITERS;

/// The file of keys in the folder of the service.
pub(super) const KEYS: &str = "keys.toml";

/// A tenant and its key.
pub(super) struct Tenant {
    pub name: &'static str,
    pub key: MetadataValue<Ascii>,
}

/// One run.
pub(super) struct Run {
    pub service: Service,
    pub tenants: Vec<Tenant>,
    pub promises: Promises,
    pub phases: Phases,
    pub tally: Tally,
    pub ledger: Ledger,
    pub reference: Reference,
    /// What callers say, each time with other words behind it.
    pub texts: Vec<String>,
    /// Topics that texts can be given.
    pub topics: Mutex<Vec<String>>,
    /// True while nobody may rely on named calls being remembered: the disk was full.
    pub forgets_names: std::sync::atomic::AtomicBool,
    channel: Channel,
    more_channels: Vec<Channel>,
    next_channel: AtomicUsize,
    number: AtomicU64,
}

impl Run {
    /// Makes the keys of the tenants and prepares the connections.
    ///
    /// # Errors
    /// The keys can't be written.
    pub fn new(service: Service, texts: Vec<String>) -> anyhow::Result<Self> {
        let tenants = ["north", "south", "witness"].into_iter();
        let tenants = tenants.map(|name| Tenant::new(name, &service.folder().join(KEYS)));
        let tenants = tenants.collect::<anyhow::Result<_>>()?;
        let channel = service.channel()?;
        let more_channels = (1..CONNECTIONS).map(|_| service.channel()).collect::<anyhow::Result<_>>()?;
        let reference: Vec<String> = texts.iter().take(24).cloned().collect();
        Ok(Self {
            service,
            tenants,
            promises: Promises::new(),
            phases: Phases::default(),
            tally: Tally::default(),
            ledger: Ledger::default(),
            reference: Reference::new(&reference),
            texts,
            topics: Mutex::default(),
            forgets_names: false.into(),
            channel,
            more_channels,
            next_channel: AtomicUsize::new(0),
            number: AtomicU64::new(1),
        })
    }

    /// A number that was not given before.
    pub fn number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// Name of a tenant.
    pub fn name(&self, tenant: usize) -> &'static str {
        self.tenants.get(tenant).map_or("", |tenant| tenant.name)
    }

    /// A text that was not said before, so that it is computed and not remembered.
    pub fn new_text(&self) -> String {
        let number = self.number();
        let text = usize::try_from(number).ok().and_then(|number| self.texts.get(number % self.texts.len().max(1)));
        format!("{} {}", text.map_or("", String::as_str), words(number))
    }

    /// Topics that texts can be given.
    pub fn topics(&self) -> Vec<String> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request of a tenant with its deadline.
    pub fn request<T>(&self, tenant: usize, deadline: Duration, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(tenant) = self.tenants.get(tenant) {
            request.metadata_mut().insert("x-api-key", tenant.key.clone());
        }
        request.set_timeout(deadline);
        request
    }

    /// The connection whose turn it is.
    fn channel(&self) -> Channel {
        let number = self.next_channel.fetch_add(1, Ordering::Relaxed);
        self.more_channels.get(number % CONNECTIONS).unwrap_or(&self.channel).clone()
    }

    pub fn tagging(&self) -> TaggingServiceClient<Channel> {
        TaggingServiceClient::new(self.channel())
    }

    pub fn cases(&self) -> CaseServiceClient<Channel> {
        CaseServiceClient::new(self.channel())
    }

    pub fn assist(&self) -> AssistServiceClient<Channel> {
        AssistServiceClient::new(self.channel())
    }

    pub fn retag(&self) -> RetagServiceClient<Channel> {
        RetagServiceClient::new(self.channel())
    }

    pub fn taxonomies(&self) -> TaxonomyServiceClient<Channel> {
        TaxonomyServiceClient::new(self.channel()).accept_compressed(tonic::codec::CompressionEncoding::Gzip)
    }

    /// Makes a call, notes how it ended, and holds that against what is promised; `provoked` are codes that the caller asked for.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn observe<T>(
        &self,
        rpc: &'static str,
        deadline: Duration,
        provoked: &[Code],
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let (then, began) = (self.phases.now(), Instant::now());
        let outcome = match tokio::time::timeout(deadline + PATIENCE, call).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Status::cancelled("there was no answer long after the deadline, and the caller left")),
        };
        let phase = self.phases.since(then);
        let code = match &outcome {
            Ok(_) => "Ok".to_owned(),
            Err(status) if provoked.contains(&status.code()) => "Ok".to_owned(),
            Err(status) if is_connection(status) => "connection".to_owned(),
            Err(status) => format!("{:?}", status.code()),
        };
        self.tally.note(rpc, phase, code, began.elapsed());
        if let Err(status) = &outcome {
            self.judge(rpc, phase, provoked, status);
        } else {
            self.promises.check(Promise::KnownErrors, true, String::new);
        }
        outcome
    }

    /// Holds an error against those that are promised.
    pub fn judge(&self, rpc: &str, phase: Phase, provoked: &[Code], status: &Status) {
        let promised = [Code::Unavailable, Code::ResourceExhausted, Code::DeadlineExceeded, Code::Cancelled]
            .contains(&status.code());
        let is_known = provoked.contains(&status.code())
            || (promised && !is_connection(status))
            // A connection may break when the service is killed; it must not by itself.
            || (phase == Phase::Fault && is_connection(status));
        self.promises.check(Promise::KnownErrors, is_known, || {
            format!("{rpc} in a {phase:?} time: {:?}: {}", status.code(), status.message())
        });
    }

    /// Holds an error of one item against those that are promised.
    pub fn judge_item(&self, rpc: &str, code: i32, message: &str) {
        let status = Status::new(Code::from_i32(code), message);
        self.judge(rpc, Phase::Quiet, &[], &status);
    }
}

/// True for what the service did not say itself: the connection broke, or was never made.
pub(super) fn is_connection(status: &Status) -> bool {
    let is_timeout = status.code() == Code::Cancelled && status.message().contains("Timeout expired");
    std::error::Error::source(status).is_some() && !is_timeout
}

/// Words that stand for a number: unlike digits and names, nothing masks them.
pub(super) fn words(number: u64) -> String {
    const SYLLABLES: [&str; 16] =
        ["ба", "во", "ги", "ду", "же", "зо", "ка", "лу", "ми", "но", "пе", "ро", "су", "та", "фи", "хо"];
    let mut words = "метка ".to_owned();
    let mut rest = number;
    for _ in 0..6 {
        let syllable = SYLLABLES.get((rest % 16) as usize).copied().unwrap_or_default();
        // Writing to memory does not fail.
        let _ = words.write_str(syllable);
        rest /= 16;
    }
    words
}

impl Tenant {
    fn new(name: &'static str, file: &Path) -> anyhow::Result<Self> {
        let wanted = NewKey {
            name: None,
            tenant: name.to_owned(),
            roles: Role::ALL.iter().copied().collect(),
            tokens_per_second: None,
            burst_tokens: None,
        };
        let (key, _) = KeyFile::add(file, wanted, Timestamp::now())?;
        Ok(Self { name, key: key.reveal().parse().context("a key that can't be sent")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_words_of_their_own() {
        let all: std::collections::BTreeSet<String> = (0..10_000).map(words).collect();
        assert_eq!(all.len(), 10_000);
    }
}
