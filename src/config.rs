//! Everything that can be set, in one struct.
//!
//! Enters: a TOML file, the environment, flags; each overrides the one before it. Leaves: a [`Config`] validated whole, or a
//! [`ConfigError`] that names every problem at once, each with its key, where it came from and what is allowed. Never here:
//! anything that acts on a setting.
//!
//! The keys are declared once, in the list below; the structs, the defaults, the names of environment variables, the checks and
//! the table of [`Config::keys`] are made of it.

mod sources;
mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::feedback::named_enum;
use crate::inference::{Kernel, LanguageModelKernel};
use crate::tagging::Consult;
pub use sources::{ConfigError, Origin, Problem};
use sources::{Given, Source};
pub use value::Allowed;
use value::Allowed::{
    Address, Integer, Name, Number, OneOf, OptionalAddress, OptionalModelName, OptionalName, OptionalPath,
    OptionalQueueUrl, OptionalText, OptionalUrl,
};
use value::Value;

named_enum! {
    /// How log lines are written.
    LogFormat {
        /// For a person at a terminal.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
}

named_enum! {
    /// The least important level that is logged.
    LogLevel {
        /// Faults of the service.
        Error = "error",
        /// What somebody should look at.
        Warn = "warn",
        /// One line a call.
        Info = "info",
        /// What helps to find a fault.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

named_enum! {
    /// Which texts of cases are kept.
    KeptTexts {
        /// Personal data is masked before anything is kept.
        Masked = "masked",
        /// The originals too, sealed.
        Original = "original",
    }
}

named_enum! {
    /// How the vectors of a large archive on a server are searched.
    Quantisation {
        /// As they are.
        None = "none",
        /// In 8 bits a number first; the best again as they are.
        Int8 = "int8",
    }
}

named_enum! {
    /// From where the service can be reached under a condition that is not safe everywhere.
    Reach {
        /// From this machine alone.
        Loopback = "loopback",
        /// From wherever the address can be reached.
        Anywhere = "anywhere",
    }
}

/// A key of the configuration, for documentation and `config keys`.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Name in the file and in flags: `section.key`.
    pub name: &'static str,
    /// The default, as it would be written; empty for "not set".
    pub default: String,
    /// What is allowed.
    pub allowed: Allowed,
    /// What it means, in one or two sentences.
    pub meaning: &'static str,
}

impl Key {
    /// Name of the environment variable: `OTKLIK_SECTION_KEY`.
    pub fn environment_variable(&self) -> String {
        format!("{}{}", sources::ENVIRONMENT_PREFIX, self.name.replace('.', "_").to_ascii_uppercase())
    }
}

/// A key with the value in force and where it came from, for `config show`.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Name of the key: `section.key`.
    pub key: &'static str,
    /// The value in force; empty for "not set".
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Makes the sections, [`Config`], and the tables over them from one list of keys.
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        $section:ident: $Section:ident {
            $( $(#[doc = $meaning:literal])+ $key:ident: $kind:ty = $default:expr, $allowed:expr; )+
        }
    )+) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, PartialEq)]
            pub struct $Section { $( $(#[doc = $meaning])+ pub $key: $kind, )+ }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $( $key: $default, )+ }
                }
            }
        )+

        /// Everything that can be set.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Config { $( $(#[doc = $about])+ pub $section: $Section, )+ }

        impl Config {
            /// Every key, in order of declaration.
            pub fn keys() -> Vec<Key> {
                let defaults = Self::default().values();
                let declared = [$($(
                    (concat!(stringify!($section), ".", stringify!($key)), $allowed, concat!($($meaning),+).trim_ascii()),
                )+)+];
                let with_default = declared.into_iter().zip(defaults);
                with_default.map(|((name, allowed, meaning), default)| Key { name, default, allowed, meaning }).collect()
            }

            /// Every value as it would be written, in order of declaration.
            fn values(&self) -> Vec<String> {
                vec![$($( self.$section.$key.write(), )+)+]
            }

            /// Sets one key; false if the value is not allowed.
            fn set(&mut self, name: &str, text: &str) -> bool {
                $($(
                    if name == concat!(stringify!($section), ".", stringify!($key)) {
                        return match Value::read(text, &$allowed) {
                            Some(value) => {
                                self.$section.$key = value;
                                true
                            }
                            None => false,
                        };
                    }
                )+)+
                false
            }
        }
    };
}

settings! {
    /// The listening side.
    server: ServerConfig {
        /// Address and port that the service listens on.
        listen: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50051), Address;
        /// Address and port where operators are answered over HTTP: /livez, /readyz (of one service: /readyz/otklik.v1.TaggingService) and /metrics for Prometheus; not set, nobody is.
        admin_listen: Option<SocketAddr> = None, OptionalAddress;
        /// Longest message read from a caller, in bytes, after decompression.
        max_message_bytes: usize = 16 * 1024 * 1024, Integer(1_024, 256 * 1024 * 1024);
        /// Calls in work at once; a stream counts as one. More are refused at once with RESOURCE_EXHAUSTED.
        max_concurrent_requests: usize = 256, Integer(1, 100_000);
        /// Threads that talk with callers; 0 is one for every four processors. They share the processors with those that compute, and a few keep up with many of those.
        async_threads: usize = 0, Integer(0, 1_024);
        /// Time a call may take if its caller set no deadline, in milliseconds; also the time for each request of a stream.
        default_deadline_ms: u64 = 10_000, Integer(1, 86_400_000);
        /// Most time that any call of one response may take, in milliseconds, whatever its caller asked for.
        max_deadline_ms: u64 = 300_000, Integer(1, 86_400_000);
        /// Requests of one stream in work at once.
        stream_in_flight: usize = 32, Integer(1, 10_000);
        /// A stream without a request for this long is ended, in milliseconds.
        stream_idle_ms: u64 = 300_000, Integer(100, 86_400_000);
        /// Items of one batch in work at once.
        batch_in_flight: usize = 32, Integer(1, 10_000);
        /// When told to stop: how long calls are still accepted after readiness turned false, in milliseconds.
        drain_delay_ms: u64 = 500, Integer(0, 600_000);
        /// When told to stop: how long calls in work may take to finish, in milliseconds; after it they are aborted.
        drain_timeout_ms: u64 = 30_000, Integer(0, 3_600_000);
        /// How often the model (until it answered once) and the case store are asked for a sign of life, in milliseconds.
        probe_interval_ms: u64 = 5_000, Integer(10, 600_000);
        /// File of the calls that changed something and named themselves (`request_id`), so that they act once when they come again.
        requests_file: PathBuf = PathBuf::from("./data/requests.redb"), Allowed::Path;
        /// How many of those are kept at most.
        kept_requests: u64 = 100_000, Integer(1, 100_000_000);
        /// How long they are kept, in milliseconds.
        kept_requests_ms: u64 = 86_400_000, Integer(1_000, 31_536_000_000);
        /// Where plain text, without TLS, is spoken: "loopback" lets the service listen on this machine's own addresses alone; "anywhere" is for a network where something else encrypts.
        plain_text: Reach = Reach::Loopback, OneOf(&["loopback", "anywhere"]);
        /// How often the files of keys and certificates are looked at, in milliseconds. What changed comes into force; what is not valid is refused and told, and what was in force before stays.
        reload_ms: u64 = 2_000, Integer(10, 3_600_000);
    }

    /// Encryption of the listening side.
    tls: TlsConfig {
        /// PEM file of the service's certificate, with those between it and its authority behind it; not set, plain text is spoken.
        certificate: Option<PathBuf> = None, OptionalPath;
        /// PEM file of the certificate's private key.
        key: Option<PathBuf> = None, OptionalPath;
        /// PEM file of the authorities whose certificates callers must show (mutual TLS); not set, callers need none.
        client_ca: Option<PathBuf> = None, OptionalPath;
        /// Most time of one handshake, in milliseconds.
        handshake_ms: u64 = 5_000, Integer(10, 600_000);
        /// Most handshakes at once; for one more the oldest is given up, so that slow callers keep nobody out.
        max_handshakes: usize = 256, Integer(1, 100_000);
    }

    /// Who may ask, and how much.
    callers: CallersConfig {
        /// File of the API keys, which `otklik keys` writes. As long as it is not there and no tokens are trusted, nobody is asked for a key.
        keys_file: PathBuf = PathBuf::from("./data/keys.toml"), Allowed::Path;
        /// Where the service may listen while nobody is asked for a key: "loopback" is this machine alone.
        without_keys: Reach = Reach::Loopback, OneOf(&["loopback", "anywhere"]);
        /// File of the public keys that tokens (JWT) are signed with: a JWK set, or PEM; not set, no token is trusted.
        jwt_keys_file: Option<PathBuf> = None, OptionalPath;
        /// Who must have issued a token: its claim "iss".
        jwt_issuer: Option<String> = None, OptionalText;
        /// Whom a token must be for: its claim "aud", or one of its values.
        jwt_audience: Option<String> = None, OptionalText;
        /// The claim that names the tenant of a token; with dots, the path to it.
        jwt_tenant_claim: String = "tenant".to_owned(), Name;
        /// The claim that lists the roles of a token; with dots, the path to it.
        jwt_roles_claim: String = "roles".to_owned(), Name;
        /// Model tokens that each tenant may ask for a second; 0 is as many as it likes. A key may have a limit of its own beside it.
        tokens_per_second: u64 = 0, Integer(0, 1_000_000_000);
        /// Model tokens that a tenant may ask for at once after a rest; 0 is those of ten seconds.
        burst_tokens: u64 = 0, Integer(0, 1_000_000_000);
        /// Share of the calls in work (server.max_concurrent_requests) and of the queue (limits.queue_tokens) that one tenant may have, so that there is room for others; a service that asks for no keys has one tenant, which has all.
        max_share: f32 = 0.75, Number(0.01, 1.0);
    }

    /// Who did what to which case.
    audit: AuditConfig {
        /// Folder of the audit log, whose records are bound to one another by hashes (`otklik audit verify`); empty, nothing is noted.
        dir: Option<PathBuf> = Some(PathBuf::from("./data/audit")), OptionalPath;
        /// A file of more bytes is followed by another.
        file_bytes: u64 = 67_108_864, Integer(1_024, 1_099_511_627_776);
    }

    /// What one request may hold.
    limits: LimitsConfig {
        /// Longest text, or turns together, in characters.
        max_text_chars: usize = 100_000, Integer(1, 10_000_000);
        /// Most turns of one conversation.
        max_turns: usize = 2_000, Integer(1, 100_000);
        /// Most items of one batch.
        max_batch_items: usize = 1_000, Integer(1, 100_000);
        /// Most attributes of one piece of feedback.
        max_attributes: usize = 64, Integer(0, 10_000);
        /// Longest value of an attribute, in characters.
        max_attribute_chars: usize = 2_000, Integer(1, 100_000);
        /// Longest id, name of a channel, product and the like, and key of an attribute, in characters.
        max_id_chars: usize = 128, Integer(8, 1_024);
        /// Most values in one list of a case filter.
        max_filter_values: usize = 1_000, Integer(1, 100_000);
        /// Most similar cases that one call may ask for.
        max_similar: usize = 100, Integer(1, 10_000);
        /// Tokens that may wait to be computed; what does not fit is refused with RESOURCE_EXHAUSTED.
        queue_tokens: usize = 262_144, Integer(512, 1_000_000_000);
    }

    /// Which models serve.
    models: ModelsConfig {
        /// Folder of the models; not set, the model that comes with the program is used.
        dir: Option<PathBuf> = None, OptionalPath;
        /// Id of the encoder.
        encoder: String = "e5-small-ru-en".to_owned(), Name;
        /// Id of the language model, which answers prompts; not set, what needs one says so, and everything else works.
        language_model: Option<String> = None, OptionalName;
    }

    /// The taxonomy.
    taxonomy: TaxonomyConfig {
        /// File of the taxonomy; not set, the taxonomy that comes with the program is used. It serves until a version is published in taxonomy.dir; from then on what was published there wins.
        path: Option<PathBuf> = None, OptionalPath;
        /// Folder of the versions that were published; its newest publication serves.
        dir: PathBuf = PathBuf::from("./data/taxonomy"), Allowed::Path;
        /// Most publications that are kept; older ones are forgotten with the next.
        max_versions: usize = 100, Integer(2, 1_000);
    }

    /// Ready-made prompts.
    prompts: PromptsConfig {
        /// Folder of your own prompts, laid over those that come with the program.
        dir: Option<PathBuf> = None, OptionalPath;
        /// How often the service looks whether files of that folder changed, in milliseconds; 0 is never. Files that are not valid are refused, and the prompts of before stay.
        reload_ms: u64 = 5_000, Integer(0, 86_400_000);
        /// Longest input of a prompt: characters of all its texts, and one for each other value.
        max_input_chars: usize = 100_000, Integer(1, 10_000_000);
        /// Longest text of the company's own in an input, in characters; it stands among instructions.
        max_trusted_chars: usize = 10_000, Integer(1, 1_000_000);
        /// Longest message that a prompt may render to, in characters.
        max_message_chars: usize = 200_000, Integer(1_000, 20_000_000);
        /// Longest answer of free text, in characters.
        max_answer_chars: usize = 20_000, Integer(100, 1_000_000);
    }

    /// The case store.
    cases: CasesConfig {
        /// Folder of the embedded case store; a server's is not in it.
        dir: PathBuf = PathBuf::from("./data/cases"), Allowed::Path;
        /// Which texts are kept: the masked ones alone, or the originals too, sealed with the key in the environment's OTKLIK_CASES_KEY.
        texts: KeptTexts = KeptTexts::Masked, OneOf(&["masked", "original"]);
        /// Megabytes of its disk that stay free: nothing is stored in the embedded store that would leave less. Reading and deleting go on.
        reserve_mb: usize = 128, Integer(0, 1_048_576);
        /// Where a Qdrant server or cluster answers gRPC, as in http://qdrant:6334; not set, the embedded store is used. A key that it asks for is in the environment's OTKLIK_QDRANT_API_KEY.
        server_url: Option<String> = None, OptionalUrl;
        /// Name of the store on the server.
        collection: String = "otklik_cases".to_owned(), Name;
        /// Shards of a collection that is made on the server.
        shards: usize = 1, Integer(1, 1_024);
        /// Copies of each shard.
        replicas: usize = 1, Integer(1, 64);
        /// Copies that must have a write before it is acknowledged; not more than there are.
        write_consistency: usize = 1, Integer(1, 64);
        /// Whether a large archive on the server is searched in 8 bits first and the best again in full.
        quantisation: Quantisation = Quantisation::None, OneOf(&["none", "int8"]);
        /// Milliseconds that one call to the server may take, tries again included.
        timeout_ms: u64 = 10_000, Integer(10, 600_000);
        /// How often a call that found the server unreachable is tried again.
        retries: usize = 3, Integer(0, 20);
        /// Calls that may wait for the case store; more are refused with RESOURCE_EXHAUSTED.
        queue_limit: usize = 256, Integer(1, 100_000);
        /// Most cases that one call looks at to find those that a person should review.
        review_scan: usize = 2_000, Integer(1, 100_000);
        /// Most bytes that are kept beside a case of what the encoder made of its sentences, so that a new taxonomy or head can re-tag it without the encoder: some 1,100 a sentence. A case with more is read anew then; 0 keeps none.
        kept_reading_bytes: usize = 65_536, Integer(0, 1_000_000);
    }

    /// Help for operators.
    assist: AssistConfig {
        /// File of the playbook; not set, the playbook that comes with the program is used, without what names a topic, signal or team that the taxonomy does not have.
        playbook: Option<PathBuf> = None, OptionalPath;
        /// Folder where it is kept what operators did with suggestions.
        dir: PathBuf = PathBuf::from("./data/assist"), Allowed::Path;
        /// Most similar cases of one suggestion.
        similar_cases: usize = 5, Integer(1, 100);
        /// Most pairs of gesture and topic that uses are counted for.
        max_use_pairs: usize = 100_000, Integer(1, 10_000_000);
    }

    /// How long cases are kept, in days since they were stored; 0 is for ever. The service deletes what is over once an hour.
    retention: RetentionConfig {
        /// Complaints.
        complaint_days: usize = 0, Integer(0, 36_500);
        /// Comments of surveys.
        comment_days: usize = 0, Integer(0, 36_500);
        /// Public reviews.
        review_days: usize = 0, Integer(0, 36_500);
        /// Conversations with operators.
        transcript_days: usize = 0, Integer(0, 36_500);
        /// Interviews of customers who leave.
        exit_interview_days: usize = 0, Integer(0, 36_500);
        /// Feedback of employees.
        employee_days: usize = 0, Integer(0, 36_500);
        /// Questions and ideas.
        question_days: usize = 0, Integer(0, 36_500);
        /// Cases whose kind is not known.
        unknown_days: usize = 0, Integer(0, 36_500);
    }

    /// The processors.
    compute: ComputeConfig {
        /// Threads that compute; 0 is one a core.
        threads: usize = 0, Integer(0, 1_024);
        /// Share of the time that work in bulk (batches, streams, tables) is promised while single requests wait, which go first.
        bulk_share: f32 = 0.1, Number(0.0, 0.9);
        /// Microseconds that a text waits for others to go through the encoder with when nothing else waits. More texts a second for a slower answer; while the threads are busy texts gather by themselves.
        batch_wait_us: u64 = 0, Integer(0, 1_000_000);
        /// Memory for the vectors of short texts that come again, in MB; 0 keeps none.
        cache_mb: usize = 32, Integer(0, 100_000);
        /// How the encoder computes: "auto" is the fastest way that the machine has, in 8 bits unless on a GPU; "f32" in 32 bits, "cuda" on a GPU, the others name instructions.
        kernel: Kernel = Kernel::Auto, OneOf(&["auto", "f32", "cuda", "amx-int8", "avx512-vnni", "avx-vnni", "avx2", "neon-dotprod", "plain"]);
    }

    /// The language model, where one is configured.
    language_model: LanguageModelConfig {
        /// How it computes: "auto" is on a GPU where this build and machine have one, else "cpu", the processor's 8-bit instructions; "cuda" on a GPU; "f32" in 32 bits, the slow reference.
        kernel: LanguageModelKernel = LanguageModelKernel::Auto, OneOf(&["auto", "cpu", "f32", "cuda"]);
        /// Threads that compute for it; 0 is one a core.
        threads: usize = 0, Integer(0, 1_024);
        /// Most tokens of a prompt and its answer together; a model that reads fewer sets the limit. Memory grows with it.
        context: usize = 4_096, Integer(64, 1_048_576);
        /// Calls that may wait for it; more are refused with RESOURCE_EXHAUSTED.
        queue_limit: usize = 16, Integer(1, 10_000);
        /// Prompts whose beginnings are remembered, so that the next call with the same one reads only what is new in it. Each
        /// takes the memory of a context.
        remembered: usize = 4, Integer(1, 64);
    }

    /// A language model of your own behind an HTTP endpoint, in place of one that runs here.
    endpoint: EndpointConfig {
        /// Where its API begins, as in http://127.0.0.1:8000/v1: chat completions as OpenAI, vLLM and llama-server have them. What prompts are given leaves this process and goes there; not set, nothing does.
        url: Option<String> = None, OptionalUrl;
        /// Name of the model there.
        model: Option<String> = None, OptionalModelName;
        /// File that holds the key that it asks for; not set, none is sent.
        api_key_file: Option<PathBuf> = None, OptionalPath;
        /// PEM file of certificates that are trusted for https beside the system's, as of a company's own authority.
        ca_file: Option<PathBuf> = None, OptionalPath;
        /// Time that one answer may take, in milliseconds; a caller's deadline may end it sooner.
        timeout_ms: u64 = 120_000, Integer(100, 3_600_000);
        /// Tokens that the model reads, its answer included, as its server is set.
        context: usize = 8_192, Integer(64, 10_000_000);
        /// Most calls at once; more are refused with RESOURCE_EXHAUSTED.
        concurrent: usize = 8, Integer(1, 10_000);
    }

    /// Decisions of tagging.
    tagging: TaggingConfig {
        /// Least probability of a topic that is reported.
        topic_threshold: f32 = 0.4, Number(0.0, 1.0);
        /// Most topics of one text.
        max_topics: usize = 5, Integer(1, 100);
        /// Most corrections that are remembered; the newest are kept. One takes 5 kB of memory, with long texts more; 0 is none.
        max_corrections: usize = 50_000, Integer(0, 1_000_000);
        /// Folder where vectors of a taxonomy's own examples are kept, so that the next start need not compute them.
        examples_dir: PathBuf = PathBuf::from("./data/examples"), Allowed::Path;
        /// Folder of your own heads: files or folders named sentiment, topics, team or after a signal; each serves instead of the one that comes with the encoder.
        heads_dir: Option<PathBuf> = None, OptionalPath;
        /// When the language model is asked which topic a text has, in streams and batches that do not say themselves. Single requests ask it only if they say so.
        consult: Consult = Consult::Never, OneOf(&["never", "abstaining", "always"]);
        /// Most time that the language model may take for one text, in milliseconds; after it the tags are those without it.
        consult_timeout_ms: u64 = 60_000, Integer(100, 3_600_000);
        /// Characters of a text that the language model reads; of a longer one, its beginning.
        consult_chars: usize = 2_000, Integer(50, 100_000);
        /// Examples of the taxonomy that the language model's probabilities are fitted to, once for each model and taxonomy; 0 fits none.
        consult_rows: usize = 60, Integer(0, 10_000);
    }

    /// Work that many machines share, on NATS with JetStream.
    queue: QueueConfig {
        /// Where the servers answer, parted by commas, as in nats://nats:4222; not set, files are tagged by the process that is told to, with a queue of its own.
        url: Option<String> = None, OptionalQueueUrl;
        /// What the names of streams, buckets and subjects begin with; without '.'. Machines that work together have the same.
        prefix: String = "otklik".to_owned(), Name;
        /// File of credentials for the server, as nsc writes them; not set, none are sent.
        credentials_file: Option<PathBuf> = None, OptionalPath;
        /// File that holds the token that the server asks for; not set, none is sent.
        token_file: Option<PathBuf> = None, OptionalPath;
        /// How often a chunk or message is tried before it is set aside with the reason.
        max_tries: usize = 5, Integer(1, 1_000);
        /// Seconds of silence after which a worker counts as lost and its work goes to another.
        ack_wait_seconds: u64 = 30, Integer(1, 3_600);
        /// Chunks that one worker works on side by side.
        worker_chunks: usize = 2, Integer(1, 64);
        /// Messages that one worker tags side by side.
        worker_messages: usize = 32, Integer(1, 1_000);
        /// Most chunks of one run that wait or are worked on at once.
        max_chunks: usize = 10_000, Integer(1, 1_000_000);
        /// Most work that all workers together hold at once.
        max_leased: usize = 10_000, Integer(1, 1_000_000);
        /// Most messages of each stream; a full stream of work or input refuses more.
        max_messages: usize = 1_000_000, Integer(1, 1_000_000_000);
        /// Copies of streams and buckets in a cluster of servers.
        replicas: usize = 1, Integer(1, 5);
        /// Seconds that the server may be away before a run or a worker gives up.
        patience_seconds: u64 = 300, Integer(1, 86_400);
    }

    /// Re-tagging of the cases in the store.
    retag: RetagConfig {
        /// Folder where its jobs are kept.
        dir: PathBuf = PathBuf::from("./data/retag"), Allowed::Path;
        /// Most jobs that may wait; more are refused with RESOURCE_EXHAUSTED.
        max_waiting: usize = 16, Integer(1, 10_000);
        /// Most jobs that are over and remembered; the oldest are forgotten.
        kept_jobs: usize = 100, Integer(1, 100_000);
        /// Cases that are read, tagged and written together: what is held in memory, and done again after a crash.
        page_cases: usize = 500, Integer(1, 10_000);
        /// Most cases that a preview may look at.
        max_preview_cases: usize = 10_000, Integer(1, 10_000_000);
        /// Cases that are tagged to foretell how long a job takes.
        measured_cases: usize = 64, Integer(1, 1_000);
    }

    /// Traces of calls, for a collector that speaks OTLP over gRPC.
    telemetry: TelemetryConfig {
        /// Where the collector answers, as in http://127.0.0.1:4317; not set, no trace is made and nothing is sent. Traces hold ids, counts and times, and nothing that a customer wrote. Headers that it asks for are in the environment's OTEL_EXPORTER_OTLP_HEADERS.
        otlp_endpoint: Option<String> = None, OptionalUrl;
        /// Where traces may go in plain text (http): "loopback" is a collector on this machine; "anywhere" is for a network where something else encrypts.
        plain_text: Reach = Reach::Loopback, OneOf(&["loopback", "anywhere"]);
        /// PEM file of certificates that are trusted for https beside the system's.
        ca_file: Option<PathBuf> = None, OptionalPath;
        /// Share of the calls that are traced. A caller that sends a traceparent has decided it for its calls.
        sample_ratio: f32 = 1.0, Number(0.0, 1.0);
        /// Time that one message to the collector may take, and sending the last ones when the service stops, in milliseconds.
        timeout_ms: u64 = 5_000, Integer(10, 60_000);
        /// Most spans that wait to be sent; what is more is dropped, and no call waits.
        queue_spans: usize = 8_192, Integer(16, 1_000_000);
    }

    /// The log.
    log: LogConfig {
        /// How log lines are written.
        format: LogFormat = LogFormat::Human, OneOf(&["human", "json"]);
        /// The least important level that is logged.
        level: LogLevel = LogLevel::Info, OneOf(&["error", "warn", "info", "debug", "trace"]);
    }
}

/// A configuration and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every key with its value and origin, in order of declaration.
    pub settings: Vec<Setting>,
}

impl Config {
    /// Reads the file, if there is one, the environment (variables that begin with `OTKLIK_` and a section), and the flags
    /// (`section.key` and value), each overriding the one before it, and checks the whole.
    ///
    /// `OTKLIK_CONFIG` is left to the caller, who finds the file by it. Relative paths stay relative to the working directory.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem: a file that can't be read or parsed, unknown keys, values that are not allowed, and
    /// values that contradict each other.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Loaded, ConfigError> {
        let keys = Self::keys();
        let mut source = Source::new(&keys);
        if let Some(path) = file {
            source.read_file(path);
        }
        source.read_environment(environment);
        source.read_flags(flags);
        let (given, mut problems) = source.finish();

        let mut config = Self::default();
        let mut origins = vec![Origin::Default; keys.len()];
        for Given { key, text, origin } in given {
            let declared = keys.iter().zip(&mut origins).find(|(declared, _)| declared.name == key);
            let Some((declared, origin_in_force)) = declared else { continue };
            if config.set(key, &text) {
                *origin_in_force = origin;
            } else {
                problems.push(Problem::not_allowed(key, &text, origin, &declared.allowed));
            }
        }
        let origin_of = |name: &str| {
            let declared = keys.iter().zip(&origins).find(|(declared, _)| declared.name == name);
            declared.map_or(Origin::Default, |(_, origin)| origin.clone())
        };
        problems.extend(config.contradictions(origin_of));
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let settings = keys.iter().zip(config.values()).zip(origins);
        let settings = settings.map(|((key, value), origin)| Setting { key: key.name, value, origin }).collect();
        Ok(Loaded { config, settings })
    }

    /// Values that are allowed alone but not together.
    fn contradictions(&self, origin_of: impl Fn(&str) -> Origin) -> Vec<Problem> {
        let (default, most) = (self.server.default_deadline_ms, self.server.max_deadline_ms);
        let mut problems = Vec::new();
        if default > most {
            // The value that somebody wrote is the one to name.
            let (key, value, rule) = match origin_of("server.default_deadline_ms") {
                Origin::Default => {
                    ("server.max_deadline_ms", most, format!("at least server.default_deadline_ms, {default}"))
                }
                _ => ("server.default_deadline_ms", default, format!("at most server.max_deadline_ms, {most}")),
            };
            problems.push(Problem::contradiction(key, &value.to_string(), origin_of(key), &rule));
        }
        let mut contradicts = |key: &str, value: &Option<String>, rule: &str| {
            let value = value.as_deref().unwrap_or_default();
            problems.push(Problem::contradiction(key, value, origin_of(key), rule));
        };
        if self.endpoint.url.is_some() && self.models.language_model.is_some() {
            let rule = "empty when endpoint.url is set: one language model serves";
            contradicts("models.language_model", &self.models.language_model, rule);
        }
        if self.endpoint.url.is_some() && self.endpoint.model.is_none() {
            let rule = "set when endpoint.url is: the name of the model there";
            contradicts("endpoint.model", &self.endpoint.model, rule);
        }
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let (certificate, key) = (path(&self.tls.certificate), path(&self.tls.key));
        if certificate.is_some() && key.is_none() {
            contradicts("tls.key", &key, "set when tls.certificate is: its private key");
        }
        if certificate.is_none() && key.is_some() {
            contradicts("tls.certificate", &certificate, "set when tls.key is");
        }
        if certificate.is_none() && self.tls.client_ca.is_some() {
            contradicts(
                "tls.certificate",
                &certificate,
                "set when tls.client_ca is: callers show theirs to a service that has one",
            );
        }
        let callers = &self.callers;
        if callers.jwt_keys_file.is_some() {
            for (key, value) in
                [("callers.jwt_issuer", &callers.jwt_issuer), ("callers.jwt_audience", &callers.jwt_audience)]
            {
                if value.is_none() {
                    contradicts(key, value, "set when callers.jwt_keys_file is");
                }
            }
        } else {
            for (key, value) in
                [("callers.jwt_issuer", &callers.jwt_issuer), ("callers.jwt_audience", &callers.jwt_audience)]
            {
                if value.is_some() {
                    contradicts(key, value, "empty unless callers.jwt_keys_file is set");
                }
            }
        }
        if self.queue.prefix.contains('.') {
            let rule = "a name without '.', which parts subjects";
            problems.push(Problem::contradiction("queue.prefix", &self.queue.prefix, origin_of("queue.prefix"), rule));
        }
        if self.queue.max_messages < self.queue.max_chunks {
            let (most, least) = (self.queue.max_messages.to_string(), self.queue.max_chunks);
            let rule = format!("at least queue.max_chunks, {least}");
            problems.push(Problem::contradiction("queue.max_messages", &most, origin_of("queue.max_messages"), &rule));
        }
        if self.tagging.consult != Consult::Never && self.models.language_model.is_none() {
            let (key, value) = ("tagging.consult", self.tagging.consult.as_str());
            let rule = "\"never\" unless models.language_model is set";
            problems.push(Problem::contradiction(key, value, origin_of(key), rule));
        }
        problems
    }
}

#[cfg(test)]
mod tests;
