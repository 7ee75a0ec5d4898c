//! `otklik worker`: tags what others put in a queue, and shows the queue's jobs.

mod page;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use otklik::assembly;
use otklik::config::Config;
use otklik::retag::continuous::{ContinuousOptions, tag_continuously};
use otklik::retag::machines::{self, Worker, WorkerOptions};
use otklik::retag::queue::{FeedSubjects, JetStreamFeed, JetStreamOptions, JetStreamQueue, QueueError};
use otklik::server::shutdown_signal;
use otklik::tables::{ColumnMap, Preparation};
use otklik::tagging::{Tagger, TaggingEngine};

use super::StartProgress;
use super::traced::traced;

/// Work for others: take chunks of files, or feedback, from a queue
///
/// Without --subject, takes chunks of files that `otklik retag --queue` on any machine published: inputs and outputs must lie in
/// folders that all machines find under the same names. A worker whose taxonomy, encoder or heads are not those of a job leaves it
/// to others, and the job says so.
///
/// With --subject, tags feedback as it comes: each message is one JSON object, as a line of JSON Lines is for `otklik classify`, and
/// is published with its tags. Its id is that of the header Nats-Msg-Id or the object's own. What can't be tagged is published on
/// SUBJECT.aside with the reason in the header Otklik-Reason.
///
/// Told to stop, by SIGTERM or ctrl-c, it ends what it is at. Killed, others do its work again.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  otklik worker --queue nats://nats:4222
  otklik worker --queue nats://nats:4222 --subject feedback.in --publish feedback.tagged
  otklik worker --queue nats://nats:4222 --jobs            where every job stands
  otklik worker --queue nats://nats:4222 --cancel 4f1f5a0c9be2

Exit status: 0 told to stop and stopped, 1 a failure of otklik or a queue that went away, 2 bad arguments or a queue that can't be
reached.")]
pub struct WorkerArgs {
    /// Where the queue is: short for --set queue.url=URL
    #[arg(long, value_name = "URL")]
    queue: Option<String>,
    /// Threads that compute: short for --set compute.threads=NUMBER; 0 is one a core
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(0..=1024))]
    threads: Option<u16>,
    /// Tag with this taxonomy: short for --set taxonomy.path=FILE
    #[arg(long, value_name = "FILE")]
    taxonomy: Option<PathBuf>,
    /// Tag feedback that comes on this subject
    #[arg(long, value_name = "SUBJECT", requires = "publish")]
    subject: Option<String>,
    /// Publish tagged feedback on this subject
    #[arg(long, value_name = "SUBJECT", requires = "subject")]
    publish: Option<String>,
    /// Publish what can't be tagged on this subject instead of SUBJECT.aside
    #[arg(long, value_name = "SUBJECT", requires = "subject")]
    aside: Option<String>,
    /// Show every job of the queue, and end
    #[arg(long, conflicts_with_all = ["subject", "cancel"])]
    jobs: bool,
    /// Cancel a job, and end
    #[arg(long, value_name = "JOB", conflicts_with = "subject")]
    cancel: Option<String>,
    /// Show jobs as JSON
    #[arg(long, requires = "jobs")]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// What stops it.
pub fn run(args: WorkerArgs, mut config: Config) -> anyhow::Result<ExitCode> {
    if let Some(url) = &args.queue {
        config.queue.url = Some(url.clone());
    }
    if let Some(threads) = args.threads {
        config.compute.threads = usize::from(threads);
    }
    if let Some(taxonomy) = &args.taxonomy {
        config.taxonomy.path = Some(taxonomy.clone());
    }
    let options = assembly::queue_options(&config).ok_or_else(|| QueueError::Setting {
        key: "queue.url",
        problem: "is not set; a worker needs a queue, as in --queue nats://nats:4222".to_owned(),
    })?;
    let runtime = tokio::runtime::Runtime::new().context("the async runtime can't be started")?;
    let code = runtime.block_on(async {
        if args.jobs {
            return show_jobs(&JetStreamQueue::connect(options).await?, args.json).await;
        }
        if let Some(job) = &args.cancel {
            return cancel(&JetStreamQueue::connect(options).await?, job).await;
        }
        match feed_subjects(&args) {
            Some(subjects) => traced(&config, tag_messages(&config, options, subjects)).await,
            None => traced(&config, tag_chunks(&config, options)).await,
        }
    });
    // A thread may still read a slow disk; what it does is for nothing by now.
    runtime.shutdown_background();
    code
}

fn feed_subjects(args: &WorkerArgs) -> Option<FeedSubjects> {
    let input = args.subject.clone()?;
    let set_aside = args.aside.clone().unwrap_or_else(|| format!("{input}.aside"));
    Some(FeedSubjects { output: args.publish.clone()?, set_aside, input })
}

/// The tagger. The queue was reached before: a mistake in its address is told before a model is read.
async fn tagger(config: &Config) -> anyhow::Result<Arc<TaggingEngine>> {
    let config = config.clone();
    let make = move || assembly::tagger(&config, &mut StartProgress::default()).map_err(anyhow::Error::from);
    let made = tokio::task::spawn_blocking(make);
    Ok(Arc::new(made.await.context("the start was interrupted")??))
}

fn drain(config: &Config) -> Duration {
    Duration::from_millis(config.server.drain_timeout_ms)
}

/// Resolves when the process is told to stop; that is heeded from now on, also while models are read.
fn stop() -> impl Future<Output = ()> {
    let told = tokio::spawn(shutdown_signal());
    // It ends early only with the runtime.
    async move { drop(told.await) }
}

async fn tag_chunks(config: &Config, options: JetStreamOptions) -> anyhow::Result<ExitCode> {
    let stop = stop();
    let queue = Arc::new(JetStreamQueue::connect(options).await?);
    let tagger: Arc<dyn Tagger> = tagger(config).await?;
    let options = WorkerOptions {
        name: name(),
        side_by_side: config.queue.worker_chunks,
        max_tries: config.queue.max_tries as u64,
        drain: drain(config),
        split_turns: otklik::text::parse_transcript,
    };
    tracing::info!(worker = options.name, "ready for chunks of files");
    let done = Worker::new(queue, tagger, options).run(stop).await?;
    tracing::info!(chunks = done.chunks, rows = done.rows, failed_tries = done.failed_tries, "stopped");
    Ok(ExitCode::SUCCESS)
}

async fn tag_messages(config: &Config, options: JetStreamOptions, subjects: FeedSubjects) -> anyhow::Result<ExitCode> {
    let (input, output) = (subjects.input.clone(), subjects.output.clone());
    let stop = stop();
    let feed = Arc::new(JetStreamFeed::connect(options, subjects).await?);
    let tagger: Arc<dyn Tagger> = tagger(config).await?;
    let options = ContinuousOptions {
        side_by_side: config.queue.worker_messages,
        max_tries: config.queue.max_tries as u64,
        drain: drain(config),
        columns: ColumnMap::default(),
        preparation: Preparation {
            kind: None,
            channel: None,
            product: None,
            partner: None,
            transcript: false,
            split_turns: otklik::text::parse_transcript,
        },
    };
    tracing::info!(input, output, "ready for feedback");
    let done = tag_continuously(feed, tagger, options, stop).await?;
    tracing::info!(tagged = done.tagged, set_aside = done.set_aside, "stopped");
    Ok(ExitCode::SUCCESS)
}

/// A name that no other worker has, and that people can tell by its beginning.
fn name() -> String {
    let host = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/etc/hostname").ok());
    let host: String =
        host.unwrap_or_default().trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let host = if host.is_empty() { "worker" } else { &host };
    format!("{host}-{}-{}", std::process::id(), unique.get(..6).unwrap_or(&unique))
}

async fn show_jobs(queue: &JetStreamQueue, json: bool) -> anyhow::Result<ExitCode> {
    let jobs = machines::jobs(queue).await?;
    let page = if json { serde_json::to_string_pretty(&jobs)? } else { page::jobs(&jobs, jiff::Timestamp::now()) };
    match writeln!(io::stdout(), "{}", page.trim_end()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.context("standard output")?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn cancel(queue: &JetStreamQueue, job: &str) -> anyhow::Result<ExitCode> {
    if machines::cancel(queue, job).await? {
        return Ok(ExitCode::SUCCESS);
    }
    anstream::eprintln!("error: {job}: the queue knows of no such job; --jobs lists them");
    Ok(ExitCode::from(super::BAD_INPUT))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        worker: WorkerArgs,
    }

    #[test]
    fn arguments_are_checked() {
        let parse = |arguments: &[&str]| {
            Command::try_parse_from(["worker"].iter().chain(arguments)).map(|command| command.worker)
        };
        assert!(parse(&["--subject", "a"]).is_err(), "an output is wanted");
        assert!(parse(&["--publish", "a"]).is_err(), "an input is wanted");
        assert!(parse(&["--json"]).is_err() && parse(&["--jobs", "--cancel", "a"]).is_err());
        let subjects = feed_subjects(&parse(&["--subject", "a", "--publish", "b"]).unwrap()).unwrap();
        assert_eq!(subjects.set_aside, "a.aside");
        assert_eq!(feed_subjects(&parse(&[]).unwrap()), None);
        let error = run(parse(&[]).unwrap(), Config::default()).unwrap_err();
        assert!(error.to_string().starts_with("queue.url: is not set"), "{error}");
    }

    #[test]
    fn names_of_workers_can_be_keys_and_differ() {
        let (first, second) = (name(), name());
        assert_ne!(first, second);
        assert!(first.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{first}");
    }
}
