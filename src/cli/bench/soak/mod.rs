//! `otklik bench soak`: the service under load for long, with faults, and everything that it promises held against what it does.
//!
//! Enters: how long, how much, which faults, and a seed that repeats them. Leaves: a report, and exit status 1 if a promise was broken. The
//! service is a child process of this program with a folder of its own, so that it can be killed. Never here: what calls mean; the service
//! is known by its protocol alone.

mod background;
mod calls;
mod connections;
pub mod faults;
mod ledger;
mod load;
mod memory;
mod promises;
mod reference;
mod report;
mod run;
mod tally;
mod writes;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use otklik::config::Config;
use otklik::taxonomy::Taxonomy;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use tokio::task::JoinSet;

use self::background::Taxonomies;
use self::faults::{Done, Fault, Faults};
use self::load::Load;
use self::memory::Sample;
use self::promises::Promise;
use self::report::Report;
use self::run::{KEYS, Run};
use super::TextArgs;
use super::service::Service;
use crate::cli::learning::bar;

/// Texts of the taxonomy's examples that are said if none are given.
const TEXTS: usize = 400;

/// How often memory is looked at in runs of minutes.
const MEMORY_EVERY: Duration = Duration::from_secs(5);

/// What is left out of each life of the service at most before its memory is looked at: stores fill and caches warm up.
const WARM_UP: Duration = Duration::from_secs(180);

/// Threads of the callers.
const CALLER_THREADS: usize = 2;

/// Soaks a service of its own: load, faults, and a check of everything that was promised
#[derive(Debug, Args)]
#[command(after_help = "\
The service is started as a process of its own, in a folder of its own that is removed when all went well. Its capacity is measured; then
calls of all kinds come at a share of it, whether they are answered or not, and every now and then something breaks. All the while
answers are compared with those of the start, what was acknowledged is read back, and errors must be of the kinds that are told. Exit
status 1 if a promise was broken; the evidence is listed, and the folder stays.

Examples:
  otklik bench soak --minutes 45
  otklik bench soak --minutes 10 --seed 7 --fault kill --fault drain --json
  otklik bench soak --minutes 480 --load 0.5 --fault-every 300 --texts reviews.jsonl")]
pub struct SoakArgs {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 45.0, value_parser = minutes)]
    minutes: f64,
    /// Repeats the order of faults and calls [default: another each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Share of the capacity that is asked for
    #[arg(long, value_name = "SHARE", default_value_t = 0.8, value_parser = share)]
    load: f64,
    /// Seconds from one fault to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..=86_400))]
    fault_every: u64,
    /// A kind of fault; may be given more than once [default: all]
    #[arg(long = "fault", value_name = "KIND")]
    faults: Vec<Fault>,
    /// Table of texts that are said: JSON Lines, CSV, TSV or plain lines [default: the examples of the taxonomy]
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// Folder of the service, which stays
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Draw no progress
    #[arg(short, long)]
    quiet: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse::<f64>().ok().filter(|minutes| (0.2..=10_080.0).contains(minutes));
    minutes.ok_or_else(|| "must be from 0.2 to 10080".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.01..=1.0).contains(share));
    share.ok_or_else(|| "must be from 0.01 to 1".to_owned())
}

/// Soaks and prints.
pub fn run(args: &SoakArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let texts = match &args.texts {
        Some(file) => TextArgs { texts: file.clone(), text_column: None, limit: 10_000 }.read()?,
        None => example_texts()?,
    };
    let stays = args.folder.is_some();
    let folder = args.folder.clone();
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join(format!("otklik-soak-{}", std::process::id())));
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(CALLER_THREADS).enable_all().build().context("no async runtime")?;
    let report = runtime.block_on(soak(args, config, texts, folder.clone()))?;
    if args.json {
        anstream::println!("{}", serde_json::to_string(&report)?);
    } else {
        report.print();
    }
    if report.held() && !stays {
        std::fs::remove_dir_all(&folder).with_context(|| format!("{} can't be removed", folder.display()))?;
    } else {
        anstream::eprintln!("what the service left is in {}", folder.display());
    }
    Ok(if report.held() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn example_texts() -> anyhow::Result<Vec<String>> {
    let taxonomy = Taxonomy::default_taxonomy()?;
    let examples = taxonomy.topics().iter().flat_map(|topic| &topic.examples);
    Ok(examples.map(|example| example.text.clone()).take(TEXTS).collect())
}

async fn soak(args: &SoakArgs, config: &Config, texts: Vec<String>, folder: PathBuf) -> anyhow::Result<Report> {
    let seed = args.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let whole = Duration::from_secs_f64(args.minutes * 60.0);
    let keys = folder.join(KEYS);
    let set = [
        ("callers.keys_file", keys.display().to_string()),
        ("server.reload_ms", "200".to_owned()),
        ("server.probe_interval_ms", "1000".to_owned()),
        ("server.drain_delay_ms", "200".to_owned()),
        ("taxonomy.max_versions", "10".to_owned()),
    ];
    let set = set.map(|(key, value)| (key.to_owned(), value));
    let service = Service::new(folder, config, &set)?;
    let run = Arc::new(Run::new(service, texts)?);
    let steps = bar("preparing", whole.as_secs().max(1), args.quiet);
    run.service.start().await?;
    let taxonomies = Taxonomies::prepare(&run).await?;
    run.store_anchors().await?;
    steps.set_message("filling the store");
    load::fill(&run, seed, (whole / 10).clamp(Duration::from_secs(2), Duration::from_secs(60))).await;
    steps.set_message("measuring the capacity");
    let capacity =
        load::capacity(&run, seed, (whole / 10).clamp(Duration::from_secs(2), Duration::from_secs(15))).await;
    let rate = capacity * args.load;
    anstream::eprintln!("seed {seed}, capacity {capacity:.0} calls/s");
    let load = Arc::new(Load::new());
    load.set_rate(rate);
    let began = Instant::now();
    let mut callers = JoinSet::new();
    callers.spawn({
        let (run, load) = (Arc::clone(&run), Arc::clone(&load));
        async move { load.make(run, seed).await }
    });
    callers.spawn(now_and_then(Arc::clone(&run), Arc::clone(&load), taxonomies, whole));
    let samples = Arc::new(Mutex::new(Vec::new()));
    let looking = tokio::spawn(look_at_memory(Arc::clone(&run), Arc::clone(&samples), whole));
    let mut faults = Faults {
        run: Arc::clone(&run),
        load: Arc::clone(&load),
        capacity,
        random: ChaCha8Rng::seed_from_u64(seed),
        lasts: Duration::from_secs(args.fault_every)
            .div_f64(6.0)
            .clamp(Duration::from_secs(1), Duration::from_secs(10)),
    };
    let (done, broke_off) = break_things(args, seed, whole, began, &mut faults, &steps).await;
    load.stop();
    looking.abort();
    steps.set_message("waiting for calls under way");
    while callers.join_next().await.is_some() {}
    steps.set_message("reading everything back");
    let audit_records = match &broke_off {
        None => finish(&run).await?,
        Some(_) => 0,
    };
    steps.finish_and_clear();
    if let Some(error) = &broke_off {
        run.promises.check(Promise::LivesAgain, false, || format!("{error:#}"));
    }
    let samples = samples.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Report {
        seed,
        minutes: began.elapsed().as_secs_f64() / 60.0,
        capacity_calls_per_s: capacity,
        rate_calls_per_s: rate,
        promises: run.promises.checked(),
        breaches: run.promises.breaches(),
        faults: done,
        ended: run.tally.ended(),
        latencies: run.tally.latencies(),
        unsent: run.tally.unsent(),
        memory: memory::growth(&samples, WARM_UP.min(whole / 10)),
        cases: run.ledger.places().len(),
        audit_records,
        whole: broke_off.is_none(),
    })
}

/// Brings about the faults of the plan, one after the other; with the reason if the service could not be brought back.
async fn break_things(
    args: &SoakArgs,
    seed: u64,
    whole: Duration,
    began: Instant,
    faults: &mut Faults,
    steps: &ProgressBar,
) -> (Vec<Done>, Option<anyhow::Error>) {
    let every = Duration::from_secs(args.fault_every);
    let count = (whole.as_secs_f64() / every.as_secs_f64()) as usize;
    let mut done = Vec::new();
    for (number, fault) in faults::plan(seed, count, &args.faults).into_iter().enumerate() {
        let at = every.mul_f64(number as f64 + 0.5);
        wait_until(began, at.min(whole), "quiet", faults, steps).await;
        if began.elapsed() >= whole {
            break;
        }
        tell(began, &format!("{fault:?}"), faults, steps);
        match faults.bring(fault, began.elapsed().as_secs_f64()).await {
            Ok(one) => done.push(one),
            Err(error) => return (done, Some(error)),
        }
    }
    wait_until(began, whole, "quiet", faults, steps).await;
    (done, None)
}

async fn wait_until(began: Instant, at: Duration, words: &str, faults: &Faults, steps: &ProgressBar) {
    while let Some(left) = at.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        tell(began, words, faults, steps);
        tokio::time::sleep(left.min(Duration::from_secs(1))).await;
    }
}

fn tell(began: Instant, words: &str, faults: &Faults, steps: &ProgressBar) {
    let run = &faults.run;
    let rss = run.service.resident_mb().map_or("-".to_owned(), |rss| format!("{rss:.0} MB"));
    let (answered, broken) = (run.tally.answered(), run.promises.broken());
    let rate = answered as f64 / began.elapsed().as_secs_f64().max(1.0);
    steps.set_position(began.elapsed().as_secs());
    steps.set_message(format!("{words}, {rate:.0} calls/s, {rss}, {broken} broken"));
}

/// Exchanges the taxonomy and tags the archive anew, a few times in a short run and every few minutes in a long one.
async fn now_and_then(run: Arc<Run>, load: Arc<Load>, taxonomies: Taxonomies, whole: Duration) {
    let every = (whole / 5).clamp(Duration::from_secs(3), Duration::from_secs(150));
    loop {
        let due = Instant::now() + every;
        while Instant::now() < due {
            if load.is_stopped() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        taxonomies.exchange(&run).await;
        let load = Arc::clone(&load);
        background::retag(Arc::clone(&run), move || load.is_stopped()).await;
    }
}

async fn look_at_memory(run: Arc<Run>, samples: Arc<Mutex<Vec<Sample>>>, whole: Duration) {
    let mut every = tokio::time::interval(MEMORY_EVERY.min(whole / 60));
    loop {
        every.tick().await;
        let (life, age) = run.service.life();
        if let Some(rss_mb) = run.service.resident_mb() {
            let sample = Sample { life, age_s: age.as_secs_f64(), rss_mb };
            samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
        }
    }
}

/// Reads everything back, stops the service in order, and verifies its audit log.
async fn finish(run: &Arc<Run>) -> anyhow::Result<u64> {
    run.read_all_back(true).await;
    run.service.signal(Signal::TERM)?;
    let ended = run.service.ends_within(Duration::from_secs(60)).await?;
    run.promises.check(Promise::LivesAgain, ended.is_some_and(|status| status.success()), || {
        format!("told to stop at the end, it ended with {ended:?}: {}", run.service.log_tail())
    });
    let audit = run.service.folder().join("data").join("audit");
    let verified = tokio::task::spawn_blocking(move || otklik::audit::verify(&audit, None)).await;
    let verified = verified.context("the verification was interrupted")?;
    run.promises
        .check(Promise::WriteKept, verified.is_ok(), || format!("the audit log: {:?}", verified.as_ref().err()));
    Ok(verified.map_or(0, |verified| verified.records))
}
