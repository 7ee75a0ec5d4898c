//! The faults: what is done to the service, and what it must be like afterwards.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use otklik::server::wire::v1;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use serde::Serialize;

use super::connections;
use super::load::Load;
use super::promises::Promise;
use super::run::{DEADLINE, KEYS, Run, WITNESS};

/// Most time in which a service that was told to stop may end.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// Most time in which a service that runs must be ready again when a fault is over.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);

/// What passes after a fault before times are quiet again.
const SETTLING: Duration = Duration::from_secs(2);

/// Most time in which a service must store again after its disk was full.
const FULL_DISK_LIMIT: Duration = Duration::from_secs(20);

/// How long files may be while the disk is full, in bytes.
const FULL_BYTES: u64 = 1_024;

/// How many times the capacity a flood is.
const FLOOD_TIMES: f64 = 5.0;

/// Faults of which one restarts the service.
const RESTART_ONE_OF: usize = 10;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The process is killed, and started again
    Kill,
    /// It is told to stop, drains, and is started again
    Drain,
    /// It stands still for some seconds
    Pause,
    /// A hundred connections break in the middle of their calls
    Cut,
    /// Five times as many calls come as it can answer
    Flood,
    /// Bytes without sense, wrong keys, messages that are too long
    Malformed,
    /// No file may grow
    FullDisk,
    /// The file of keys is replaced by one that is not valid
    BrokenFiles,
}

/// What was done when.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Done {
    pub fault: Fault,
    pub at_s: f64,
    pub lasted_s: f64,
    /// What came of it, in words.
    pub came_of_it: String,
}

/// Which faults come one after the other: all kinds in turn, in an order that depends on the seed. Those that restart the service are
/// rarer in long runs, so that it lives long enough for its memory to be looked at.
pub(super) fn plan(seed: u64, count: usize, only: &[Fault]) -> Vec<Fault> {
    let allowed = |fault: &Fault| only.is_empty() || only.contains(fault);
    let (restarts, others): (Vec<Fault>, Vec<Fault>) = Fault::value_variants()
        .iter()
        .copied()
        .filter(allowed)
        .partition(|fault| matches!(fault, Fault::Kill | Fault::Drain));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let kinds = restarts.len() + others.len();
    let mut plan: Vec<Fault> = Vec::with_capacity(count);
    if count <= kinds || others.is_empty() {
        let mut all = [restarts, others].concat();
        all.shuffle(&mut random);
        return all.into_iter().cycle().take(count).collect();
    }
    let (mut bag, mut restart) = (Vec::new(), restarts.iter().cycle());
    for number in 1..=count {
        if number % RESTART_ONE_OF == RESTART_ONE_OF / 2
            && let Some(fault) = restart.next()
        {
            plan.push(*fault);
            continue;
        }
        if bag.is_empty() {
            bag.clone_from(&others);
            bag.shuffle(&mut random);
        }
        plan.extend(bag.pop());
    }
    plan
}

/// What faults need to know.
pub(super) struct Faults {
    pub run: Arc<Run>,
    pub load: Arc<Load>,
    /// Calls a second that the service can answer.
    pub capacity: f64,
    pub random: ChaCha8Rng,
    /// How long a fault lasts that lasts.
    pub lasts: Duration,
}

impl Faults {
    /// Brings about a fault, ends it, and looks at what is left.
    ///
    /// # Errors
    /// The service could not be brought back, so nothing more can be learnt of it.
    pub async fn bring(&mut self, fault: Fault, at_s: f64) -> anyhow::Result<Done> {
        let began = Instant::now();
        let run = Arc::clone(&self.run);
        run.phases.turn();
        let came_of_it = match fault {
            Fault::Kill => self.kill().await,
            Fault::Drain => self.drain().await,
            Fault::Pause => self.pause().await,
            Fault::Cut => connections::cut(&run, &mut self.random).await,
            Fault::Flood => self.flood().await,
            Fault::Malformed => connections::malformed(&run, &mut self.random).await,
            Fault::FullDisk => self.full_disk().await,
            Fault::BrokenFiles => self.broken_files().await,
        }
        .with_context(|| format!("{fault:?}"))?;
        let ready = run.service.ready_within(RECOVERY_LIMIT).await;
        run.promises.check(Promise::LivesAgain, ready, || {
            format!("{fault:?}: not ready {} s after it: {}", RECOVERY_LIMIT.as_secs(), run.service.log_tail())
        });
        tokio::time::sleep(SETTLING).await;
        run.phases.turn();
        Ok(Done { fault, at_s, lasted_s: began.elapsed().as_secs_f64(), came_of_it })
    }

    async fn kill(&self) -> anyhow::Result<String> {
        let run = &self.run;
        run.service.signal(Signal::KILL)?;
        run.service.ends_within(DRAIN_LIMIT).await?.context("a killed process does not end")?;
        let started = run.service.start().await?;
        run.read_all_back(true).await;
        Ok(format!("ready after {:.1} s, everything read back", started.as_secs_f64()))
    }

    async fn drain(&self) -> anyhow::Result<String> {
        let (run, began) = (&self.run, Instant::now());
        run.service.signal(Signal::TERM)?;
        let Some(status) = run.service.ends_within(DRAIN_LIMIT).await? else {
            bail!("it did not stop within {} s", DRAIN_LIMIT.as_secs());
        };
        let drained = began.elapsed();
        run.promises.check(Promise::LivesAgain, status.success(), || {
            format!("told to stop, it ended with {status}: {}", run.service.log_tail())
        });
        let started = run.service.start().await?;
        run.read_all_back(true).await;
        Ok(format!("drained in {:.1} s, ready after {:.1} s", drained.as_secs_f64(), started.as_secs_f64()))
    }

    async fn pause(&self) -> anyhow::Result<String> {
        self.run.service.signal(Signal::STOP)?;
        tokio::time::sleep(self.lasts).await;
        self.run.service.signal(Signal::CONT)?;
        Ok(format!("stood still for {:.1} s", self.lasts.as_secs_f64()))
    }

    async fn flood(&self) -> anyhow::Result<String> {
        let before = self.run.tally.answered();
        self.load.set_flood(self.capacity * FLOOD_TIMES);
        tokio::time::sleep(self.lasts).await;
        self.load.set_flood(0.0);
        let answered = (self.run.tally.answered() - before) as f64 / self.lasts.as_secs_f64();
        // What is under way ends by its deadline at the latest.
        tokio::time::sleep(DEADLINE).await;
        Ok(format!("{answered:.0} calls/s answered of {:.0} beside the rest", self.capacity * FLOOD_TIMES))
    }

    /// Lets no file grow for a while. It must go on by itself then, with all that it acknowledged.
    async fn full_disk(&self) -> anyhow::Result<String> {
        let run = &self.run;
        run.forgets_names.store(true, Ordering::Relaxed);
        run.service.bound_files(Some(FULL_BYTES))?;
        tokio::time::sleep(self.lasts).await;
        let lived = run.service.ended()?.is_none();
        run.promises.check(Promise::LivesAgain, lived, || {
            format!("it ended when its disk was full: {}", run.service.log_tail())
        });
        let (began, mut stored) = (Instant::now(), false);
        if lived {
            run.service.bound_files(None)?;
            while began.elapsed() < FULL_DISK_LIMIT && !stored {
                stored = self.stores().await;
                if !stored {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
        }
        let again = began.elapsed();
        run.promises.check(Promise::LivesAgain, stored, || {
            format!("{} s after its disk was full it stores nothing: {}", again.as_secs(), run.service.log_tail())
        });
        if !stored {
            // It may have ended, which is as well.
            let _ = run.service.signal(Signal::TERM);
            if run.service.ends_within(DRAIN_LIMIT).await?.is_none() {
                bail!("it did not stop within {} s after its disk was full", DRAIN_LIMIT.as_secs());
            }
            run.service.start().await?;
        }
        // Calls that were answered while nothing could be kept may be forgotten.
        tokio::time::sleep(DEADLINE).await;
        run.ledger.forget_names();
        run.forgets_names.store(false, Ordering::Relaxed);
        run.read_all_back(false).await;
        Ok(match stored {
            true => format!("stored again {:.1} s after there was room", again.as_secs_f64()),
            false => "did not store again by itself and was started anew".to_owned(),
        })
    }

    /// True if a change is stored, and the call that asked for it is remembered.
    async fn stores(&self) -> bool {
        let name = self.run.number();
        let item = v1::UpsertCasesItem {
            feedback: Some(v1::Feedback { id: "probe".into(), text: self.run.new_text(), ..Default::default() }),
            ..Default::default()
        };
        let store = v1::UpsertCasesRequest { items: vec![item], request_id: format!("probe-{name}") };
        let stored = self.run.cases().upsert_cases(self.run.request(WITNESS, DEADLINE, store)).await;
        let delete = v1::DeleteCasesRequest {
            ids: vec!["probe".to_owned()],
            request_id: format!("probe-{name}"),
            ..Default::default()
        };
        let deleted = self.run.cases().delete_cases(self.run.request(WITNESS, DEADLINE, delete)).await;
        stored.is_ok() && deleted.is_ok_and(|answer| answer.into_inner().deleted_count == 1)
    }

    async fn broken_files(&mut self) -> anyhow::Result<String> {
        let run = Arc::clone(&self.run);
        let (file, part) = (run.service.folder().join(KEYS), run.service.folder().join("keys.part"));
        let sound = std::fs::read(&file).context("the file of keys")?;
        let half = sound.get(..sound.len() / 2).unwrap_or_default().to_vec();
        let forms: [(&str, Vec<u8>); 3] =
            [("empty of sense", b"[[keys]\nid = 1".to_vec()), ("half", half), ("random", self.bytes(4_096))];
        let replace = |bytes: &[u8]| -> anyhow::Result<()> {
            std::fs::write(&part, bytes).context("the file of keys")?;
            std::fs::rename(&part, &file).context("the file of keys")
        };
        for (form, bytes) in &forms {
            replace(bytes)?;
            tokio::time::sleep(self.lasts / 4).await;
            let message = v1::ClassifyRequest { feedback: Some(run.reference.feedback(0)), ..Default::default() };
            let answer = run.tagging().classify(run.request(WITNESS, DEADLINE, message)).await;
            let held = !answer.as_ref().is_err_and(|status| status.code() == tonic::Code::Unauthenticated);
            run.promises.check(Promise::FormerKept, held, || {
                format!("with a file of keys that is {form}, a key of before opens nothing: {answer:?}")
            });
        }
        replace(&sound)?;
        tokio::time::sleep(self.lasts / 4).await;
        Ok(format!("{} forms", forms.len()))
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.random.random()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_comes_and_a_seed_repeats_them() {
        let all = Fault::value_variants();
        let short = plan(3, all.len(), &[]);
        assert!(all.iter().all(|fault| short.contains(fault)), "{short:?}");
        let long = plan(3, 44, &[]);
        assert!(all.iter().all(|fault| long.contains(fault)), "{long:?}");
        let restarts = long.iter().filter(|fault| matches!(fault, Fault::Kill | Fault::Drain)).count();
        assert!((2..=5).contains(&restarts), "{long:?}");
        assert_eq!(long, plan(3, 44, &[]));
        assert_ne!(long, plan(4, 44, &[]));
        assert_eq!(plan(3, 3, &[Fault::Kill]), [Fault::Kill; 3]);
    }
}
