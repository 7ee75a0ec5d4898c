//! `otklik bench overload`: what the service still answers when many times more is asked than it can, how fast it refuses the rest, and
//! how soon it is well again.
//!
//! Callers and service share the processors, so calls are made of prepared bytes, and what both took of the processors is told.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use otklik::config::Config;
use otklik::server::wire::v1;
use otklik::taxonomy::Taxonomy;
use serde::Serialize;
use tokio::task::JoinSet;
use tonic::Code;

use super::raw_calls::{Prepared, RawConnection, RawSender};
use super::service::Service;
use super::{TextArgs, quantile};
use crate::cli::learning::bar;

/// Different calls that are prepared.
const PREPARED: usize = 4_096;

/// Connections of all callers.
const CONNECTIONS: usize = 16;

/// Calls under way at once at most; one more that is due is not made, and counted.
const UNDER_WAY: usize = 50_000;

/// What passes before calls of a measurement count.
const WARM_UP: Duration = Duration::from_secs(2);

/// How long the greatest rate is looked for.
const CLOSED: Duration = Duration::from_secs(10);

/// Light calls that make one probe, one after the other.
const PROBE: usize = 20;

/// Probes before the overload.
const PROBES: usize = 10;

/// Most time in which the service is to be well again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

/// Least share of its greatest rate that a service is wanted to keep.
const WANTED_SHARE: f64 = 0.85;

/// Longest that a refusal is wanted to take, in milliseconds.
const WANTED_REFUSAL_MS: f64 = 10.0;

/// Longest that recovery is wanted to take, in seconds.
const WANTED_RECOVERY_S: f64 = 5.0;

/// Overloads a service of its own
#[derive(Debug, Args)]
#[command(after_help = "\
First callers that wait for their answers find out how many texts a second the service tags at most. Then texts come at some times that
rate, however they are answered, each with a deadline; and then none, until the service is well again.

Examples:
  otklik bench overload
  otklik bench overload --minutes 1 --times 10 --deadline-ms 2000 --json")]
pub struct OverloadArgs {
    /// Table of texts: JSON Lines, CSV, TSV or plain lines [default: the examples of the taxonomy]
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// How long the overload lasts
    #[arg(long, value_name = "N", default_value_t = 5.0, value_parser = minutes)]
    minutes: f64,
    /// How many times the greatest rate is asked for
    #[arg(long, value_name = "N", default_value_t = 5.0, value_parser = times)]
    times: f64,
    /// Callers that find out the greatest rate
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    callers: u16,
    /// Deadline of each call, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    deadline_ms: u64,
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Draw no progress
    #[arg(short, long)]
    quiet: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse::<f64>().ok().filter(|minutes| (0.05..=1_440.0).contains(minutes));
    minutes.ok_or_else(|| "must be from 0.05 to 1440".to_owned())
}

fn times(text: &str) -> Result<f64, String> {
    let times = text.parse::<f64>().ok().filter(|times| (1.0..=100.0).contains(times));
    times.ok_or_else(|| "must be from 1 to 100".to_owned())
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    /// Texts a second that were tagged when each caller waited for its answer.
    most_texts_per_s: f64,
    asked_texts_per_s: f64,
    seconds: f64,
    /// Texts a second that were tagged in time under overload.
    texts_per_s: f64,
    /// That over the greatest.
    goodput_share: f64,
    answered_p50_ms: f64,
    answered_p99_ms: f64,
    refused: usize,
    refused_p50_ms: f64,
    refused_p99_ms: f64,
    late: usize,
    /// Calls that ended in other ways, connections that broke among them.
    failed: usize,
    /// Calls that were due and not made, as too many were under way.
    unsent: usize,
    probe_p99_before_ms: f64,
    /// From the last call of the overload until a probe was as fast as twice before, if it was in time.
    recovery_s: Option<f64>,
    /// Greatest rate afterwards over that before.
    goodput_after_share: f64,
    rss_before_mb: Option<f64>,
    rss_peak_mb: Option<f64>,
    rss_after_mb: Option<f64>,
    /// Processors that each was busy with on average under overload.
    processors_of_callers: f64,
    processors_of_service: f64,
}

impl Measured {
    fn print(&self, times: f64) {
        let met = |met: bool| if met { "as wanted" } else { "NOT as wanted" };
        let mb = |mb: Option<f64>| mb.map_or("-".to_owned(), |mb| format!("{mb:.0}"));
        anstream::println!(
            "{:.0} texts/s at most; asked for {:.0} texts/s ({times} times) for {:.0} s",
            self.most_texts_per_s,
            self.asked_texts_per_s,
            self.seconds
        );
        let share = self.goodput_share;
        anstream::println!(
            "  tagged    {:>8.1} texts/s, {:.0} % of the most (wanted {:.0} %: {}), {:.0} ms p50, {:.0} ms p99",
            self.texts_per_s,
            100.0 * share,
            100.0 * WANTED_SHARE,
            met(share >= WANTED_SHARE),
            self.answered_p50_ms,
            self.answered_p99_ms
        );
        anstream::println!(
            "  refused   {:>8} calls, {:.2} ms p50, {:.2} ms p99 (wanted {WANTED_REFUSAL_MS} ms: {})",
            self.refused,
            self.refused_p50_ms,
            self.refused_p99_ms,
            met(self.refused_p99_ms <= WANTED_REFUSAL_MS)
        );
        anstream::println!(
            "  late      {:>8} calls, {} failed otherwise, {} not made",
            self.late,
            self.failed,
            self.unsent
        );
        let recovery = self.recovery_s.map_or("not in time".to_owned(), |recovery| format!("{recovery:.1} s"));
        anstream::println!(
            "  recovery  {recovery:>8} (wanted {WANTED_RECOVERY_S} s: {}), then {:.0} % of the rate of before",
            met(self.recovery_s.is_some_and(|recovery| recovery <= WANTED_RECOVERY_S)),
            100.0 * self.goodput_after_share
        );
        anstream::println!(
            "  memory    {:>8} MB before, {} at most, {} after",
            mb(self.rss_before_mb),
            mb(self.rss_peak_mb),
            mb(self.rss_after_mb)
        );
        anstream::println!(
            "  busy      {:>8.2} processors with the service, {:.2} with its callers",
            self.processors_of_service,
            self.processors_of_callers
        );
    }
}

/// Measures and prints.
pub fn run(args: &OverloadArgs, config: Config) -> anyhow::Result<ExitCode> {
    let texts = match &args.texts {
        Some(file) => TextArgs { texts: file.clone(), text_column: None, limit: PREPARED as u64 }.read()?,
        None => example_texts()?,
    };
    let folder = std::env::temp_dir().join(format!("otklik-overload-{}", std::process::id()));
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().context("no async runtime")?;
    // Nothing is remembered of a text that comes again, so that each costs what a new one does.
    let set = [("compute.cache_mb".to_owned(), "0".to_owned())];
    let service = Arc::new(Service::new(folder.clone(), &config, &set)?);
    let measured = runtime.block_on(measure(args, &texts, &service))?;
    drop(service);
    std::fs::remove_dir_all(&folder).with_context(|| format!("{} can't be removed", folder.display()))?;
    if args.json {
        anstream::println!("{}", serde_json::to_string(&measured)?);
    } else {
        measured.print(args.times);
    }
    Ok(ExitCode::SUCCESS)
}

/// The examples of the taxonomy that comes with the program.
fn example_texts() -> anyhow::Result<Vec<String>> {
    let taxonomy = Taxonomy::default_taxonomy()?;
    let examples = taxonomy.topics().iter().flat_map(|topic| &topic.examples);
    Ok(examples.map(|example| example.text.clone()).take(PREPARED).collect())
}

async fn measure(args: &OverloadArgs, texts: &[String], service: &Arc<Service>) -> anyhow::Result<Measured> {
    let lasts = Duration::from_secs_f64(args.minutes * 60.0);
    let steps = bar("starting", lasts.as_secs().max(1), args.quiet);
    service.start().await?;
    let calls = Arc::new(Calls::prepare(args, texts, service).await?);
    steps.set_message("looking for the greatest rate");
    let most = calls.closed(usize::from(args.callers)).await;
    let mut probes = Vec::new();
    for _ in 0..PROBES {
        probes.extend(calls.probe().await);
    }
    probes.sort_by(f64::total_cmp);
    let probe_p99 = quantile(&probes, 0.99);
    let rss_before_mb = service.resident_mb();
    let asked = most * args.times;
    let before = (busy("self"), busy_of(service));
    steps.set_message("overloading");
    let began = Instant::now();
    let over = calls.open(asked, lasts, || {
        steps.set_position(began.elapsed().as_secs());
        service.resident_mb()
    });
    let (seen, rss_peak_mb) = over.await;
    let seconds = began.elapsed().as_secs_f64();
    let after = (busy("self"), busy_of(service));
    steps.set_message("waiting for recovery");
    let recovery_s = calls.recovery(probe_p99).await;
    let again = calls.closed(usize::from(args.callers)).await;
    steps.finish_and_clear();
    let counted = (lasts.saturating_sub(WARM_UP)).as_secs_f64().max(f64::MIN_POSITIVE);
    let share = |before: Option<f64>, after: Option<f64>| {
        before.zip(after).map_or(0.0, |(before, after)| (after - before) / seconds)
    };
    let Seen { mut answered, mut refused, late, failed, unsent } = seen;
    answered.sort_by(f64::total_cmp);
    refused.sort_by(f64::total_cmp);
    let texts_per_s = answered.len() as f64 / counted;
    Ok(Measured {
        most_texts_per_s: most,
        asked_texts_per_s: asked,
        seconds: lasts.as_secs_f64(),
        texts_per_s,
        goodput_share: texts_per_s / most.max(f64::MIN_POSITIVE),
        answered_p50_ms: quantile(&answered, 0.5),
        answered_p99_ms: quantile(&answered, 0.99),
        refused: refused.len(),
        refused_p50_ms: quantile(&refused, 0.5),
        refused_p99_ms: quantile(&refused, 0.99),
        late,
        failed,
        unsent,
        probe_p99_before_ms: probe_p99,
        recovery_s,
        goodput_after_share: again / most.max(f64::MIN_POSITIVE),
        rss_before_mb,
        rss_peak_mb,
        rss_after_mb: service.resident_mb(),
        processors_of_callers: share(before.0, after.0),
        processors_of_service: share(before.1, after.1),
    })
}

/// How the calls of an overload ended; latencies are in milliseconds.
#[derive(Debug, Default)]
struct Seen {
    answered: Vec<f64>,
    refused: Vec<f64>,
    late: usize,
    failed: usize,
    unsent: usize,
}

/// Prepared calls, and connections to make them on.
struct Calls {
    prepared: Vec<Prepared>,
    connections: Vec<RawConnection>,
    next: AtomicUsize,
}

impl Calls {
    async fn prepare(args: &OverloadArgs, texts: &[String], service: &Service) -> anyhow::Result<Self> {
        let one = |number: usize| {
            let text = texts.get(number % texts.len().max(1)).cloned().unwrap_or_default();
            let feedback = v1::Feedback { id: number.to_string(), text, ..Default::default() };
            let message = v1::ClassifyRequest { feedback: Some(feedback), ..Default::default() };
            let path = "/otklik.v1.TaggingService/Classify";
            Prepared::new(service.address(), path, None, args.deadline_ms, &message)
        };
        let prepared = (0..PREPARED).map(one).collect::<anyhow::Result<_>>()?;
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(RawConnection::open(service.address()).await?);
        }
        Ok(Self { prepared, connections, next: AtomicUsize::new(0) })
    }

    /// The call whose turn it is, and something to make it with.
    fn next(&self) -> Option<(RawSender, Prepared)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let connection = self.connections.get(number % self.connections.len().max(1))?;
        Some((connection.sender(), self.prepared.get(number % self.prepared.len().max(1))?.clone()))
    }

    /// Texts a second that are tagged when so many callers wait for their answers.
    async fn closed(self: &Arc<Self>, callers: usize) -> f64 {
        let begins = Instant::now() + WARM_UP;
        let ends = begins + CLOSED;
        let mut waiting = JoinSet::new();
        for _ in 0..callers {
            let calls = Arc::clone(self);
            waiting.spawn(async move {
                let mut answered = 0;
                while Instant::now() < ends {
                    let Some((sender, call)) = calls.next() else { break };
                    let ended = sender.call(&call).await;
                    let now = Instant::now();
                    answered += usize::from(matches!(ended, Ok(Code::Ok)) && now >= begins && now <= ends);
                }
                answered
            });
        }
        let mut answered = 0;
        while let Some(caller) = waiting.join_next().await {
            answered += caller.unwrap_or(0);
        }
        answered as f64 / CLOSED.as_secs_f64()
    }

    /// Some calls one after the other: how long each took, in milliseconds; one that failed took for ever.
    async fn probe(&self) -> Vec<f64> {
        let mut took = Vec::with_capacity(PROBE);
        for _ in 0..PROBE {
            let Some((sender, call)) = self.next() else { break };
            let began = Instant::now();
            let ended = sender.call(&call).await;
            took.push(if matches!(ended, Ok(Code::Ok)) { began.elapsed().as_secs_f64() * 1e3 } else { f64::INFINITY });
        }
        took
    }

    /// Seconds until a probe is as fast as twice before.
    async fn recovery(&self, before_ms: f64) -> Option<f64> {
        let began = Instant::now();
        while began.elapsed() < RECOVERY_LIMIT {
            let mut took = self.probe().await;
            took.sort_by(f64::total_cmp);
            if quantile(&took, 0.99) <= 2.0 * before_ms {
                return Some(began.elapsed().as_secs_f64());
            }
        }
        None
    }

    /// Calls at a rate, however they are answered; `look` is asked for memory now and then, of which the most is given back.
    async fn open(self: &Arc<Self>, rate: f64, lasts: Duration, look: impl Fn() -> Option<f64>) -> (Seen, Option<f64>) {
        const TICK: Duration = Duration::from_millis(1);
        const LOOK: Duration = Duration::from_millis(500);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let under_way = Arc::new(AtomicUsize::new(0));
        let (began, mut made, mut looked, mut most) = (Instant::now(), 0_u64, Instant::now(), None::<f64>);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while began.elapsed() < lasts {
            ticks.tick().await;
            let due = (began.elapsed().as_secs_f64() * rate) as u64;
            let counts = began.elapsed() >= WARM_UP;
            while made < due {
                made += 1;
                if under_way.load(Ordering::Relaxed) >= UNDER_WAY {
                    lock(&seen).unsent += 1;
                    continue;
                }
                let Some((sender, call)) = self.next() else { continue };
                let (seen, under_way) = (Arc::clone(&seen), Arc::clone(&under_way));
                under_way.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let began = Instant::now();
                    let ended = sender.call(&call).await;
                    let ms = began.elapsed().as_secs_f64() * 1e3;
                    under_way.fetch_sub(1, Ordering::Relaxed);
                    if counts {
                        lock(&seen).note(ended, ms);
                    }
                });
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                most = most.into_iter().chain(look()).reduce(f64::max);
            }
        }
        let seen = std::mem::take(&mut *lock(&seen));
        (seen, most)
    }
}

impl Seen {
    fn note(&mut self, ended: Result<Code, h2::Error>, ms: f64) {
        match ended {
            Ok(Code::Ok) => self.answered.push(ms),
            Ok(Code::ResourceExhausted) => self.refused.push(ms),
            Ok(Code::DeadlineExceeded) => self.late += 1,
            Ok(_) | Err(_) => self.failed += 1,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn busy_of(service: &Service) -> Option<f64> {
    busy(&service.process_id()?.to_string())
}

/// Seconds of processors that a process, given by its id, was busy with so far.
fn busy(process: &str) -> Option<f64> {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything; what is wanted are the 12th and 13th words behind it.
    let (_, behind) = line.rsplit_once(')')?;
    let words: Vec<&str> = behind.split_whitespace().collect();
    let ticks = |place: usize| words.get(place).and_then(|word| word.parse::<f64>().ok());
    Some((ticks(11)? + ticks(12)?) / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_busy_this_process_is_can_be_told() {
        let before = busy("self").unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        assert!(busy("self").unwrap() >= before);
    }
}
