//! `otklik bench server`: rate and latency of the service, driven over gRPC.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use otklik::assembly;
use otklik::callers::{self, KeyFile, NewKey};
use otklik::config::Config;
use otklik::inference::{ComputePool, EncodeInput, Encoder, Role};
use otklik::server;
use otklik::server::wire::v1::tagging_service_client::TaggingServiceClient;
use otklik::server::wire::v1::{self, batch_classify_result};
use serde::Serialize;
use tokio::sync::oneshot;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::{TextArgs, quantile, resident_mb};
use crate::cli::learning::bar;
use crate::cli::serve;

/// Callers that share a connection, as those of one process do.
const CALLERS_A_CONNECTION: usize = 32;

/// Texts of one batch.
const BATCH: usize = 64;

/// What passes before calls count.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long the service and the encoder alone are measured before it is the other's turn: shorter than the swings of a machine that
/// others use too.
const TURN: Duration = Duration::from_secs(1);

/// What passes before calls of a turn count.
const TURN_WARM_UP: Duration = Duration::from_millis(250);

/// Texts that the encoder alone gets at once: so many that its threads end together.
const ALONE: usize = 1024;

/// Measures the service, one that runs or one of its own
#[derive(Debug, Args)]
#[command(after_help = "\
Every caller sends one text, waits for its tags, and sends the next. Without --address a service of its own is started in this
process, and shares the processors with its callers; it keeps no vectors of texts that come again, whatever compute.cache_mb says.
With --bulk others send batches all the while, with --neighbours callers of another tenant send single texts as fast as they are answered:
the latencies are still those of the first callers' single texts.

Examples:
  otklik bench server --texts reviews.jsonl --callers 32
  otklik bench server --texts reviews.jsonl --callers 1                       the latency of a service at rest
  otklik bench server --texts reviews.jsonl --callers 1 --bulk 4              the same while it works through batches
  otklik bench server --texts reviews.jsonl --callers 1 --neighbours 32       the same beside a tenant that asks without end
  otklik bench server --texts reviews.jsonl --beside-encoder                  what share of the encoder's own rate reaches callers
  otklik bench server --texts reviews.jsonl --address 127.0.0.1:50077 --json")]
pub struct ServerArgs {
    #[command(flatten)]
    texts: TextArgs,
    /// Address of a service that runs
    #[arg(long, value_name = "ADDRESS")]
    address: Option<SocketAddr>,
    /// Callers of single texts
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    callers: u16,
    /// Callers of batches beside them
    #[arg(long, value_name = "N", default_value_t = 0)]
    bulk: u16,
    /// Callers of single texts of another tenant beside them
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "address")]
    neighbours: u16,
    /// Measure the encoder alone too, by turns with the service, and say what share of its rate the service keeps
    #[arg(long, conflicts_with = "address")]
    beside_encoder: bool,
    /// How long calls count
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Draw no progress
    #[arg(short, long)]
    quiet: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    callers: u16,
    bulk_callers: u16,
    seconds: f64,
    texts: usize,
    tokens: usize,
    texts_per_s: f64,
    tokens_per_s: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Calls refused because the queue was full.
    refused: usize,
    /// Calls that failed otherwise.
    failed: usize,
    bulk_texts_per_s: f64,
    neighbours: u16,
    neighbours_texts_per_s: f64,
    /// Of the encoder alone on the same texts, by turns with the service, if that was asked for.
    encoder_texts_per_s: Option<f64>,
    /// The service's rate over that: the middle one of all turns.
    encoder_share: Option<f64>,
    /// Of this process, service and callers, if the service runs in it.
    rss_mb: Option<f64>,
}

/// What one caller saw.
#[derive(Debug, Default)]
struct Seen {
    milliseconds: Vec<f64>,
    tokens: usize,
    refused: usize,
    failed: usize,
    /// Texts tagged in batches.
    in_bulk: usize,
    /// Texts of the other tenant.
    of_neighbours: usize,
}

/// Measures and prints.
pub fn run(args: &ServerArgs, config: Config) -> anyhow::Result<ExitCode> {
    let texts = Arc::new(args.texts.read()?);
    let runtime = serve::runtime(&config)?;
    let measured = runtime.block_on(async {
        match args.address {
            Some(address) => {
                let period = Period::whole(args);
                let seen = drive(args, &texts, address, &Tenants::default(), period).await?;
                Ok(Measured::of(args, seen, period.lasts))
            }
            None => drive_own(args, texts, config).await,
        }
    })?;
    if args.json {
        anstream::println!("{}", serde_json::to_string(&measured)?);
    } else {
        print(&measured);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(measured: &Measured) {
    let Measured { callers, texts, seconds, refused, failed, .. } = measured;
    anstream::println!("{texts} texts from {callers} callers in {seconds:.1} s, {refused} refused, {failed} failed");
    anstream::println!("  rate     {:>9.1} texts/s  {:>9.0} tokens/s", measured.texts_per_s, measured.tokens_per_s);
    anstream::println!(
        "  latency  {:>9.2} ms p50   {:>9.2} ms p95  {:>9.2} ms p99  {:>9.2} ms at most",
        measured.p50_ms,
        measured.p95_ms,
        measured.p99_ms,
        measured.max_ms
    );
    if measured.bulk_callers > 0 {
        anstream::println!("  in bulk  {:>9.1} texts/s beside", measured.bulk_texts_per_s);
    }
    if measured.neighbours > 0 {
        let rate = measured.neighbours_texts_per_s;
        anstream::println!("  others   {rate:>9.1} texts/s of {} callers of another tenant", measured.neighbours);
    }
    if let (Some(alone), Some(share)) = (measured.encoder_texts_per_s, measured.encoder_share) {
        anstream::println!("  encoder  {alone:>9.1} texts/s alone, of which the service keeps {:.0} %", 100.0 * share);
    }
    if let Some(rss) = measured.rss_mb {
        anstream::println!("  memory   {rss:>9.0} MB resident, callers included");
    }
}

/// Starts a service, drives it, and stops it.
async fn drive_own(args: &ServerArgs, texts: Arc<Vec<String>>, mut config: Config) -> anyhow::Result<Measured> {
    config.compute.cache_mb = 0;
    let folder = std::env::temp_dir().join(format!("otklik-bench-{}", std::process::id()));
    config.cases.dir = folder.clone();
    config.cases.server_url = None;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("no port on the loopback")?;
    let address = listener.local_addr().context("the listening socket has no address")?;
    let alone = match args.beside_encoder {
        true => {
            let config = config.clone();
            Some(Arc::new(tokio::task::spawn_blocking(move || Alone::start(&config)).await??))
        }
        false => None,
    };
    config.assist.dir = folder.join("assist");
    config.taxonomy.dir = folder.join("taxonomy");
    let (publisher, cases) = serve::publisher(&config).await?;
    let prompts = Arc::new(assembly::open_prompts(&config)?);
    let prompt_limits = assembly::prompt_limits(&config);
    config.retag.dir = folder.join("retag");
    let retag_jobs = assembly::retag_jobs(&config)?;
    // Nobody needs a key to measure a service that this process alone can reach, unless there are two who have to be told apart.
    config.callers = otklik::config::CallersConfig { keys_file: folder.join("keys.toml"), ..Default::default() };
    let tenants = if args.neighbours > 0 { Tenants::new(&config.callers.keys_file)? } else { Tenants::default() };
    let callers = assembly::callers(&config)?;
    config.server.requests_file = folder.join("requests.redb");
    let requests = assembly::answered_requests(&config)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let service = tokio::spawn({
        let cases = Arc::clone(&cases);
        async move {
            // An end of the channel is as good as a word.
            let told = async { stopped.await.unwrap_or(()) };
            let served = server::Served {
                publisher,
                cases,
                sealer: None,
                prompts,
                prompt_limits,
                language_model: None,
                retag_jobs,
                callers,
                requests,
                audit: None,
            };
            server::serve(&config, served, listener, told).await
        }
    });
    let measured = match &alone {
        None => {
            let period = Period::whole(args);
            let seen = drive(args, &texts, address, &tenants, period).await;
            seen.map(|seen| Measured::of(args, seen, period.lasts))
        }
        Some(alone) => by_turns(args, &texts, address, &tenants, alone).await,
    };
    let _ = stop.send(());
    service.await.context("the service was interrupted")?.context("the service ended")?;
    cases.close().await.context("the case store was not closed in order")?;
    std::fs::remove_dir_all(&folder).with_context(|| format!("{} can't be removed", folder.display()))?;
    measured.map(|measured| Measured { rss_mb: resident_mb(), ..measured })
}

/// An encoder of its own, with as many threads as the service's.
struct Alone {
    encoder: Arc<Encoder>,
    pool: Arc<ComputePool>,
}

impl Alone {
    fn start(config: &Config) -> anyhow::Result<Self> {
        Ok(Self { encoder: assembly::load_encoder(config)?.encoder, pool: assembly::start_pool(config)? })
    }

    /// Encodes texts for a turn, from the one with this number on.
    fn work(&self, texts: &[String], first: usize) -> anyhow::Result<Rate> {
        let mut next = texts.iter().cycle().skip(first % texts.len().max(1));
        let (mut done, mut tokens, began) = (0, 0, Instant::now());
        while began.elapsed() < TURN {
            let inputs: Vec<EncodeInput<'_>> =
                next.by_ref().take(ALONE).map(|text| EncodeInput::new(text, Role::Query)).collect();
            let encoded = self.pool.run_blocking(|| self.encoder.encode(&inputs))?;
            done += encoded.len();
            tokens += encoded.iter().map(|encoding| encoding.tokens).sum::<usize>();
        }
        let seconds = began.elapsed().as_secs_f64();
        Ok(Rate { texts: done as f64 / seconds, tokens: tokens as f64 / seconds })
    }
}

/// What an encoder does in a second.
struct Rate {
    texts: f64,
    tokens: f64,
}

/// The service and the encoder alone, one after the other, so that whatever else the machine does slows down both.
async fn by_turns(
    args: &ServerArgs,
    texts: &Arc<Vec<String>>,
    address: SocketAddr,
    tenants: &Tenants,
    alone: &Arc<Alone>,
) -> anyhow::Result<Measured> {
    let turns = args.seconds;
    let (mut seen, mut rates, mut shares) = (Seen::default(), Vec::new(), Vec::new());
    let bar = bar("measuring by turns", turns, args.quiet);
    for turn in 0..turns as usize {
        let first = turn * ALONE;
        let (alone, of_alone) = (Arc::clone(alone), Arc::clone(texts));
        let rate = tokio::task::spawn_blocking(move || alone.work(&of_alone, first)).await??;
        let of_turn =
            drive(args, texts, address, tenants, Period { first, warm_up: TURN_WARM_UP, lasts: TURN }).await?;
        // Texts differ in length, and the two don't get through the same number.
        shares.push(of_turn.tokens as f64 / TURN.as_secs_f64() / rate.tokens);
        rates.push(rate.texts);
        seen.add(of_turn);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let measured = Measured::of(args, seen, TURN * u32::try_from(turns).unwrap_or(u32::MAX));
    rates.sort_by(f64::total_cmp);
    shares.sort_by(f64::total_cmp);
    let (alone, share) = (quantile(&rates, 0.5), quantile(&shares, 0.5));
    Ok(Measured { encoder_texts_per_s: Some(alone), encoder_share: Some(share), ..measured })
}

/// When calls are made, and with which texts.
#[derive(Clone, Copy)]
struct Period {
    /// Number of the text that is sent first.
    first: usize,
    /// What passes before calls count.
    warm_up: Duration,
    lasts: Duration,
}

impl Period {
    fn whole(args: &ServerArgs) -> Self {
        Self { first: 0, warm_up: WARM_UP, lasts: Duration::from_secs(args.seconds) }
    }
}

async fn drive(
    args: &ServerArgs,
    texts: &Arc<Vec<String>>,
    address: SocketAddr,
    tenants: &Tenants,
    period: Period,
) -> anyhow::Result<Seen> {
    let begins = Instant::now() + period.warm_up;
    let ends = begins + period.lasts;
    let next = Arc::new(AtomicUsize::new(period.first));
    let mut channels = Vec::new();
    for _ in 0..(usize::from(args.callers) + usize::from(args.bulk)).div_ceil(CALLERS_A_CONNECTION) {
        channels.push(connect(address).await?);
    }
    let shared = channels.clone();
    let mut of_caller = shared.iter().cycle().cloned();
    let caller = |channel, key: &Option<Key>| {
        let (texts, next) = (Arc::clone(texts), Arc::clone(&next));
        Caller { client: client(channel), key: key.clone(), texts, next, begins, ends }
    };
    let own = &tenants.own;
    let singles =
        of_caller.by_ref().take(usize::from(args.callers)).map(|channel| tokio::spawn(caller(channel, own).call()));
    let singles: Vec<_> = singles.collect();
    let bulk = of_caller.take(usize::from(args.bulk)).map(|channel| tokio::spawn(caller(channel, own).call_in_bulk()));
    let bulk: Vec<_> = bulk.collect();
    let mut neighbours = Vec::new();
    for number in 0..usize::from(args.neighbours) {
        if number % CALLERS_A_CONNECTION == 0 {
            channels.push(connect(address).await?);
        }
        let channel = channels.last().cloned().context("there is no connection")?;
        neighbours.push(tokio::spawn(caller(channel, &tenants.neighbour).call()));
    }
    let bar = bar("measuring", period.lasts.as_secs(), args.quiet || args.beside_encoder);
    while Instant::now() < ends {
        tokio::time::sleep(Duration::from_millis(250).min(ends.saturating_duration_since(Instant::now()))).await;
        bar.set_position(begins.elapsed().as_secs());
    }
    bar.finish_and_clear();
    let mut all = Seen::default();
    for caller in singles {
        all.add(caller.await.context("a caller was interrupted")?);
    }
    for caller in bulk {
        all.in_bulk += caller.await.context("a caller was interrupted")?;
    }
    for caller in neighbours {
        all.of_neighbours += caller.await.context("a caller was interrupted")?.milliseconds.len();
    }
    Ok(all)
}

impl Measured {
    fn of(args: &ServerArgs, mut seen: Seen, lasted: Duration) -> Self {
        seen.milliseconds.sort_by(f64::total_cmp);
        let seconds = lasted.as_secs_f64();
        Self {
            callers: args.callers,
            bulk_callers: args.bulk,
            seconds,
            texts: seen.milliseconds.len(),
            tokens: seen.tokens,
            texts_per_s: seen.milliseconds.len() as f64 / seconds,
            tokens_per_s: seen.tokens as f64 / seconds,
            p50_ms: quantile(&seen.milliseconds, 0.5),
            p95_ms: quantile(&seen.milliseconds, 0.95),
            p99_ms: quantile(&seen.milliseconds, 0.99),
            max_ms: quantile(&seen.milliseconds, 1.0),
            refused: seen.refused,
            failed: seen.failed,
            bulk_texts_per_s: seen.in_bulk as f64 / seconds,
            neighbours: args.neighbours,
            neighbours_texts_per_s: seen.of_neighbours as f64 / seconds,
            encoder_texts_per_s: None,
            encoder_share: None,
            rss_mb: None,
        }
    }
}

fn client(channel: Channel) -> TaggingServiceClient<Channel> {
    TaggingServiceClient::new(channel)
}

async fn connect(address: SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).context("--address")?;
    endpoint.connect().await.with_context(|| format!("nobody answers at {address} (--address)"))
}

/// An API key as it is sent.
type Key = MetadataValue<Ascii>;

/// The keys of those who call; none for a service that asks for none.
#[derive(Default)]
struct Tenants {
    own: Option<Key>,
    neighbour: Option<Key>,
}

impl Tenants {
    /// Makes both keys.
    fn new(file: &Path) -> anyhow::Result<Self> {
        let key = |tenant: &str| -> anyhow::Result<Option<Key>> {
            let roles = [callers::Role::Tag].into_iter().collect();
            let wanted =
                NewKey { name: None, tenant: tenant.to_owned(), roles, tokens_per_second: None, burst_tokens: None };
            let (key, _) = KeyFile::add(file, wanted, Timestamp::now())?;
            Ok(Some(key.reveal().parse().context("a key that can't be sent")?))
        };
        Ok(Self { own: key("own")?, neighbour: key("neighbour")? })
    }
}

/// Somebody who sends texts one after the other.
struct Caller {
    client: TaggingServiceClient<Channel>,
    key: Option<Key>,
    texts: Arc<Vec<String>>,
    /// Number of the text that is sent next, by whom ever.
    next: Arc<AtomicUsize>,
    begins: Instant,
    ends: Instant,
}

impl Caller {
    fn feedback(&self) -> v1::Feedback {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let text = self.texts.get(number % self.texts.len().max(1)).cloned().unwrap_or_default();
        v1::Feedback { id: number.to_string(), text, ..Default::default() }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(key) = &self.key {
            request.metadata_mut().insert("x-api-key", key.clone());
        }
        request
    }

    fn counts_now(&self) -> bool {
        (self.begins..=self.ends).contains(&Instant::now())
    }

    async fn call(mut self) -> Seen {
        let mut seen = Seen::default();
        while Instant::now() < self.ends {
            let request = v1::ClassifyRequest {
                feedback: Some(self.feedback()),
                request_id: String::new(),
                ..Default::default()
            };
            let began = Instant::now();
            let request = self.request(request);
            let answer = self.client.classify(request).await;
            // As many calls are under way when counting begins as when it ends: each is counted where it ends.
            if !self.counts_now() {
                continue;
            }
            match answer {
                Ok(answer) => {
                    seen.milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
                    seen.tokens += answer.into_inner().tags.map_or(0, |tags| tags.tokens as usize);
                }
                Err(status) => seen.note(&status),
            }
        }
        seen
    }

    /// Texts tagged while calls counted.
    async fn call_in_bulk(mut self) -> usize {
        let mut tagged = 0;
        while Instant::now() < self.ends {
            let items = (0..BATCH).map(|_| v1::BatchClassifyItem { feedback: Some(self.feedback()) }).collect();
            let request = v1::BatchClassifyRequest { items, request_id: String::new(), ..Default::default() };
            let request = self.request(request);
            let Ok(answer) = self.client.batch_classify(request).await else { continue };
            if self.counts_now() {
                let is_tagged = |result: &&v1::BatchClassifyResult| {
                    matches!(result.result, Some(batch_classify_result::Result::Tags(_)))
                };
                tagged += answer.into_inner().results.iter().filter(is_tagged).count();
            }
        }
        tagged
    }
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.milliseconds.extend(other.milliseconds);
        self.tokens += other.tokens;
        self.refused += other.refused;
        self.failed += other.failed;
        self.in_bulk += other.in_bulk;
        self.of_neighbours += other.of_neighbours;
    }

    fn note(&mut self, status: &Status) {
        match status.code() {
            Code::ResourceExhausted => self.refused += 1,
            _ => self.failed += 1,
        }
    }
}
