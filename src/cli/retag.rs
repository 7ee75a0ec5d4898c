//! `otklik retag`: tags files again, and goes on where it was stopped.

mod args;
mod page;
mod progress;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use otklik::config::Config;
use otklik::retag::machines::MachinesOptions;
use otklik::retag::queue::{JetStreamOptions, JetStreamQueue};
use otklik::retag::{Outputs, Plan, PlanError, RetagError, RetagRun, Summary, Watch, preview};
use otklik::tagging::{Tagger, TaggingEngine};
use otklik::tags::TopicId;

use self::progress::{Progress, say};
use super::render::Names;
use super::{StartProgress, TaxonomyNames};

pub use self::args::RetagArgs;

const EXIT_FAILURE: u8 = 1;
const EXIT_INTERRUPTED: u8 = 130;

/// Runs the command.
///
/// # Errors
/// What stops it before a row is tagged, and what breaks on our side; bad input is told here and answered by the exit code.
pub fn run(args: RetagArgs, mut config: Config) -> anyhow::Result<ExitCode> {
    let planned = Plan::new(&args.inputs).and_then(|plan| {
        let outputs = args.out.as_deref().filter(|_| !args.dry_run).map(|out| plan.outputs(out)).transpose()?;
        Ok((plan, outputs))
    });
    let (plan, outputs) = match planned {
        Ok(planned) => planned,
        Err(error) => return Ok(refuse(&error)),
    };
    if let Some(taxonomy) = &args.taxonomy {
        config.taxonomy.path = Some(taxonomy.clone());
    }
    if let Some(url) = &args.queue {
        config.queue.url = Some(url.clone());
    }
    if let Some(threads) = args.threads {
        config.compute.threads = usize::from(threads);
    }
    let engine = Arc::new(otklik::assembly::tagger(&config, &mut StartProgress::default())?);
    let runtime = tokio::runtime::Runtime::new().context("the async runtime can't be started")?;
    match outputs {
        None => runtime.block_on(show(&args, &plan, &engine)),
        Some(outputs) => {
            let code = tag(&args, &config, plan, outputs, &engine, &runtime);
            // A thread may still read a slow disk; what is done is on the disk already.
            runtime.shutdown_background();
            code
        }
    }
}

fn refuse(error: &PlanError) -> ExitCode {
    say(&format!("error: {error}"));
    ExitCode::from(super::BAD_INPUT)
}

/// Tells an error that came before or while rows were tagged.
fn stopped(error: &RetagError, outputs: Option<&Outputs>) -> ExitCode {
    say(&format!("error: {error}"));
    if let Some(outputs) = outputs {
        say(&format!("what is done is kept in {}; the same command goes on where it was", outputs.parts.display()));
    }
    ExitCode::from(if error.is_bad_input() { super::BAD_INPUT } else { EXIT_FAILURE })
}

fn tag(
    args: &RetagArgs,
    config: &Config,
    plan: Plan,
    outputs: Outputs,
    engine: &Arc<TaggingEngine>,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<ExitCode> {
    let made_by = engine.provenance();
    let names = TaxonomyNames(Arc::clone(engine.taxonomy()));
    let name = |topic: &str| names.topic(&TopicId::new(topic), args.language);
    let options = args.options(otklik::text::parse_transcript);
    let prepared =
        RetagRun::prepare(plan.clone(), outputs.clone(), options, args.settings(), made_by.clone(), args.restart);
    let queue = otklik::assembly::queue_options(config);
    let run = match prepared {
        Ok(run) => run,
        Err(error) => return Ok(stopped(&error, None)),
    };
    if !args.quiet {
        let taxonomy = engine.taxonomy().name();
        say(page::intention(&plan, Some(&outputs), Some(run.start()), &made_by, taxonomy).trim_end());
    }
    let mut progress = Progress::start(plan.bytes(), args.quiet, name);
    let ended = runtime.block_on(async {
        let tagger: Arc<dyn Tagger> = Arc::clone(engine) as Arc<dyn Tagger>;
        let ended = async {
            match &queue {
                Some(options) => on_machines(run, options.clone(), config, &mut progress).await,
                None => run.run(tagger, &mut progress).await,
            }
        };
        tokio::select! {
            ended = ended => Some(ended),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    let elapsed = progress.end();
    let summary = match ended {
        None => {
            say("interrupted; the same command goes on where it was");
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
        Some(Err(error)) => return Ok(stopped(&error, Some(&outputs))),
        Some(Ok(summary)) => summary,
    };
    if !args.quiet {
        say(&page::summary_in_words(&summary, elapsed, &outputs, name));
    }
    if args.json {
        print(&page::summary_as_json(&summary, elapsed, &made_by)?)?;
    }
    if args.max_errors.is_exceeded(summary.counts.failed, summary.counts.rows_read) {
        let (failed, read, max) = (summary.counts.failed, summary.counts.rows_read, args.max_errors);
        say(&format!("error: {failed} of {read} rows could not be tagged, more than --max-errors {max}"));
        return Ok(ExitCode::from(super::BAD_INPUT));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets workers do the tagging.
async fn on_machines(
    run: RetagRun,
    options: JetStreamOptions,
    config: &Config,
    progress: &mut dyn Watch,
) -> Result<Summary, RetagError> {
    let queue = Arc::new(JetStreamQueue::connect(options).await?);
    run.run_on_machines(queue, MachinesOptions { max_chunks: config.queue.max_chunks }, progress).await
}

async fn show(args: &RetagArgs, plan: &Plan, engine: &Arc<TaggingEngine>) -> anyhow::Result<ExitCode> {
    let names = TaxonomyNames(Arc::clone(engine.taxonomy()));
    let name = |topic: &str| names.topic(&TopicId::new(topic), args.language);
    if !args.quiet {
        let taxonomy = engine.taxonomy().name();
        say(page::intention(plan, None, None, &engine.provenance(), taxonomy).trim_end());
    }
    let options = args.options(otklik::text::parse_transcript);
    let mut progress = Progress::start(plan.bytes(), args.quiet, name);
    let tagger: Arc<dyn Tagger> = Arc::clone(engine) as Arc<dyn Tagger>;
    let shown = tokio::select! {
        shown = preview(plan, &options, tagger, &mut progress) => shown,
        _ = tokio::signal::ctrl_c() => {
            say("interrupted");
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
    };
    progress.end();
    let shown = match shown {
        Ok(shown) => shown,
        Err(error) => return Ok(stopped(&error, None)),
    };
    if args.json {
        print(&serde_json::to_string_pretty(&shown)?)?;
    } else {
        print(page::preview_in_words(&shown, &names, args.language).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(page: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{page}") {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("standard output"),
    }
}
