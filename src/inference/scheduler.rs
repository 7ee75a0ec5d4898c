//! The threads that compute, with a queue bounded in tokens in front of them.
//!
//! Enters: pieces of work with what they cost in tokens and the lane that they wait in. Leaves: their answers. Texts that wait
//! together go through the encoder together, packed without padding. What people wait for goes first; what runs in bulk gives way
//! between two layers of the model, and is promised a share of the time all the same. Parties take turns, token for token, so that whoever
//! brings much is served no better than others. CPU work never runs on an async thread. Work
//! whose caller left, or whose deadline passed, is dropped before it starts.

mod batch;
mod lanes;
mod offer;
mod pace;
mod room;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{EncodePlan, Encoder, InferenceError, PassOutput};
use crate::telemetry::{self, Stage, TracePlace, queued};
use batch::{Delivery, Encoded, Waiting};
use lanes::{Job, Lanes};
pub use lanes::{Lane, Party, Place};
use offer::{MEMBERS, Offer};
use pace::Pace;
use room::{NoRoom, Room};

/// Most tokens that go through the encoder together, and of a turn that somebody waits for.
const TURN_TOKENS: usize = 512;

/// Most tokens of a turn in bulk. Its texts are made ready one after the other, then go through the encoder in parts, and are then tagged
/// one after the other: what each of these steps needs is fetched from memory once for all of them, after the encoder's weights have
/// taken its place in the caches.
const BULK_TURN_TOKENS: usize = 4 * TURN_TOKENS;

/// What a thread takes of the queue at least, if there is so much: fewer tokens go through the encoder hardly any faster.
const LEAST_TURN_TOKENS: usize = 64;

/// The same while all other threads are busy: the weights come from memory once for more texts, and nobody stands idle for it.
const LEAST_BUSY_TURN_TOKENS: usize = 160;

/// Tokens of a batch that is shared with a thread that has nothing to do; larger ones have fewer to wait for.
const SHARED_TOKENS: usize = 128;

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The queue is full; the work was not taken.
    #[error("the queue holds {queued} of at most {limit} tokens")]
    Full {
        /// Tokens in the queue.
        queued: usize,
        /// The limit.
        limit: usize,
    },
    /// The deadline passed before the work began.
    #[error("the deadline passed before the work began")]
    DeadlineExceeded,
    /// The work panicked.
    #[error("the computation panicked")]
    Panicked,
}

/// How a [`ComputePool`] works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoolOptions {
    /// Threads; 0: one a core.
    pub threads: usize,
    /// Most tokens that wait or are computed.
    pub queue_tokens: usize,
    /// Share of them that one party may have, 0 to 1; the service's own work may have all.
    pub party_share: f64,
    /// Share of the time that bulk work is promised while others wait, 0 to 1.
    pub bulk_share: f64,
    /// How long a text waits for others to go with, if there are none.
    pub batch_wait: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { threads: 0, queue_tokens: 262_144, party_share: 1.0, bulk_share: 0.1, batch_wait: Duration::ZERO }
    }
}

/// What the first look at a text leaves to do.
pub enum Begun<T> {
    /// Nothing.
    Done(T),
    /// One pass through the encoder, and then `finish`.
    Encode {
        /// The plan.
        plan: Arc<EncodePlan>,
        /// Which of its passes.
        pass: usize,
        /// Turns what the pass gave into the answer.
        finish: Box<dyn FnOnce(Result<PassOutput, InferenceError>) -> T + Send>,
    },
}

/// The first look at a text, if it is wanted still when the turn is over, which it will be at this moment.
type Begin = Box<dyn FnOnce(Instant) -> Seen + Send>;

/// What the first look at a text came to.
enum Seen {
    /// It goes through the encoder.
    Waits(Box<Waiting>),
    /// It is answered, or nobody wants it any more.
    Done,
    /// It would have been late.
    LeftOut,
}

/// What a job does.
enum Work {
    /// Something by itself.
    Task(Box<dyn FnOnce() + Send>),
    /// The first look at a text; what it leaves goes through the encoder with others.
    Encode { encoder: Arc<Encoder>, begin: Begin },
}

/// A fixed number of computing threads behind a bounded queue.
pub struct ComputePool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// For work that takes the whole machine: training, and vectors at the start.
    whole: OnceLock<rayon::ThreadPool>,
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    room: Arc<Room>,
    batches: AtomicU64,
    batch_tokens: AtomicU64,
    /// Of turns of single requests, and of turns of work in bulk.
    paces: [Pace; 2],
    options: PoolOptions,
}

/// What a [`ComputePool`] did since it started, and has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolCounts {
    /// Tokens waiting or being computed.
    pub queued_tokens: usize,
    /// Batches that went through an encoder.
    pub batches: u64,
    /// Tokens of those.
    pub batch_tokens: u64,
}

struct Queue {
    lanes: Lanes<Work>,
    /// Batches that a thread with nothing to do may take part in.
    offers: Vec<Arc<Offer>>,
    /// Threads with nothing to do.
    idle: usize,
    closing: bool,
}

/// What a thread does next.
enum Next {
    Turn(Lane, Vec<Job<Work>>),
    Offer(Arc<Offer>),
    Closed,
}

/// Tokens taken from the queue's room, given back when dropped.
struct Reservation {
    room: Arc<Room>,
    party: Party,
    tokens: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.room.give_back(self.party, self.tokens);
    }
}

/// What a caller waits for.
type Answer<T> = oneshot::Receiver<Result<T, PoolError>>;

/// The way back to a caller.
struct Reply<T> {
    sender: oneshot::Sender<Result<T, PoolError>>,
    reservation: Reservation,
}

impl<T> Reply<T> {
    /// Whether work that will be done then is still wanted; tells the caller if it is late.
    fn if_wanted(self, deadline: Option<Instant>, done: Instant) -> Option<Self> {
        if self.sender.is_closed() {
            return None;
        }
        if deadline.is_some_and(|deadline| done >= deadline) {
            self.send(Err(PoolError::DeadlineExceeded));
            return None;
        }
        Some(self)
    }

    fn send(self, answer: Result<T, PoolError>) {
        // The room is free before the caller knows, so that a caller that waits for answers is never refused by its own work.
        drop(self.reservation);
        // A caller that left meanwhile wants no answer.
        let _ = self.sender.send(answer);
    }
}

fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, PoolError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| PoolError::Panicked)
}

impl ComputePool {
    /// Starts the threads.
    ///
    /// # Errors
    /// What the system said when a thread could not be started.
    pub fn start(options: PoolOptions) -> Result<Self, std::io::Error> {
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                lanes: Lanes::new(options.bulk_share),
                offers: Vec::new(),
                idle: 0,
                closing: false,
            }),
            ready: Condvar::new(),
            room: Arc::new(Room::new(options.queue_tokens, options.party_share)),
            batches: AtomicU64::new(0),
            batch_tokens: AtomicU64::new(0),
            paces: Default::default(),
            options: PoolOptions { threads, ..options },
        });
        let mut pool = Self { shared, threads: Vec::with_capacity(threads), whole: OnceLock::new() };
        for index in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let builder = std::thread::Builder::new().name(format!("compute-{index}"));
            pool.threads.push(builder.spawn(move || shared.work())?);
        }
        Ok(pool)
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Tokens waiting or being computed.
    pub fn queued_tokens(&self) -> usize {
        self.shared.room.tokens()
    }

    /// What was done, and waits.
    pub fn counts(&self) -> PoolCounts {
        PoolCounts {
            queued_tokens: self.queued_tokens(),
            batches: self.shared.batches.load(Ordering::Relaxed),
            batch_tokens: self.shared.batch_tokens.load(Ordering::Relaxed),
        }
    }

    /// Runs `work`, which costs about `tokens` tokens, on the pool. An empty queue takes work of any size.
    ///
    /// Dropping the future before the work has begun drops the work.
    ///
    /// # Errors
    /// [`PoolError`]; see its variants.
    pub async fn run<T: Send + 'static>(
        &self,
        place: impl Into<Place>,
        tokens: usize,
        deadline: Option<Instant>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let place = place.into();
        let (reply, receiver) = self.reply(place.party, tokens)?;
        let (queued, trace) = (queued(place.lane.as_str()), TracePlace::current());
        let task = move || {
            drop(queued);
            let _here = trace.enter();
            if let Some(reply) = reply.if_wanted(deadline, Instant::now()) {
                let answer = guarded(work);
                reply.send(answer);
            }
        };
        self.push(place, tokens, Work::Task(Box::new(task)));
        receiver.await.unwrap_or(Err(PoolError::Panicked))
    }

    /// Runs `begin`, sends the pass that it leaves through the encoder together with those of others, and answers what comes of it.
    ///
    /// Dropping the future before the work has begun drops the work.
    ///
    /// # Errors
    /// [`PoolError`]; see its variants.
    pub async fn encode<T: Send + 'static>(
        &self,
        place: impl Into<Place>,
        tokens: usize,
        deadline: Option<Instant>,
        encoder: &Arc<Encoder>,
        begin: impl FnOnce() -> Begun<T> + Send + 'static,
    ) -> Result<T, PoolError> {
        let place = place.into();
        let (reply, receiver) = self.reply(place.party, tokens)?;
        let (queued, trace) = (queued(place.lane.as_str()), TracePlace::current());
        let begin = move |done: Instant| {
            drop(queued);
            let here = trace.enter();
            let was_in_time = deadline.is_none_or(|deadline| Instant::now() < deadline);
            let Some(reply) = reply.if_wanted(deadline, done) else {
                let left_out = was_in_time && deadline.is_some_and(|deadline| done >= deadline);
                return if left_out { Seen::LeftOut } else { Seen::Done };
            };
            match guarded(begin) {
                Ok(Begun::Encode { plan, pass, finish }) => {
                    let stage = Stage::BatchWait.begin();
                    drop(here);
                    let place = trace.clone();
                    let finish = move |output| -> Delivery {
                        let _here = trace.enter();
                        let answer = guarded(|| finish(output));
                        Box::new(move || reply.send(answer))
                    };
                    let waiting = Waiting { plan, pass, finish: Box::new(finish), stage: Some(stage), place };
                    Seen::Waits(Box::new(waiting))
                }
                Ok(Begun::Done(answer)) => {
                    reply.send(Ok(answer));
                    Seen::Done
                }
                Err(error) => {
                    reply.send(Err(error));
                    Seen::Done
                }
            }
        };
        self.push(place, tokens, Work::Encode { encoder: Arc::clone(encoder), begin: Box::new(begin) });
        receiver.await.unwrap_or(Err(PoolError::Panicked))
    }

    /// Runs `work` with all threads at its hands and waits for it on this thread: for start-up and training, where nobody else is
    /// served. Should the threads not start, this one does the work.
    pub fn run_blocking<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match self.whole() {
            Some(threads) => threads.install(work),
            None => work(),
        }
    }

    fn whole(&self) -> Option<&rayon::ThreadPool> {
        if let Some(threads) = self.whole.get() {
            return Some(threads);
        }
        let builder = rayon::ThreadPoolBuilder::new().num_threads(self.threads());
        let threads = builder.thread_name(|index| format!("whole-{index}")).build();
        let threads =
            threads.map_err(|error| tracing::warn!(%error, "threads can't be started; one does the work")).ok()?;
        Some(self.whole.get_or_init(|| threads))
    }

    fn push(&self, place: Place, tokens: usize, work: Work) {
        let Place { lane, party } = place;
        self.shared.lock().lanes.push(lane, Job { tokens, party, work });
        self.shared.ready.notify_one();
    }

    fn reply<T>(&self, party: Party, tokens: usize) -> Result<(Reply<T>, Answer<T>), PoolError> {
        let room = &self.shared.room;
        room.take(party, tokens).map_err(|NoRoom { queued, limit }| PoolError::Full { queued, limit })?;
        let reservation = Reservation { room: Arc::clone(room), party, tokens };
        let (sender, receiver) = oneshot::channel();
        Ok((Reply { sender, reservation }, receiver))
    }
}

impl Drop for ComputePool {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.ready.notify_all();
        for thread in self.threads.drain(..) {
            // The last handle may go on one of the threads themselves, at the end of a piece of work.
            if thread.thread().id() != std::thread::current().id() {
                // A thread that panicked has said so already.
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does until the pool closes; what waits then is dropped, and its callers are told.
    fn work(&self) {
        loop {
            match self.next() {
                Next::Turn(lane, jobs) => self.turn(lane, jobs, true),
                // What panics fails for the one that leads as well, which tells.
                Next::Offer(offer) => drop(guarded(|| offer.help())),
                Next::Closed => return,
            }
        }
    }

    /// Waits for something to do.
    fn next(&self) -> Next {
        let mut queue = self.lock();
        loop {
            if queue.closing {
                return Next::Closed;
            }
            if !queue.lanes.is_empty() {
                queue = self.gather(queue);
                let of_lane = |most| self.turn_tokens(&queue, most);
                let (tokens, bulk_tokens) = (of_lane(TURN_TOKENS), of_lane(BULK_TURN_TOKENS));
                if let Some((lane, jobs)) = queue.lanes.take(tokens, bulk_tokens) {
                    return Next::Turn(lane, jobs);
                }
            }
            if let Some(offer) = queue.offers.pop() {
                return Next::Offer(offer);
            }
            queue.idle += 1;
            queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }

    /// Offers a batch to a thread that has nothing to do, if there is one and the batch is small.
    fn offer(&self, jobs: &[Job<Work>]) -> Option<Arc<Offer>> {
        let tokens: usize = jobs.iter().map(|job| job.tokens).sum();
        let can_be_shared = |job: &Job<Work>| match &job.work {
            Work::Encode { encoder, .. } => encoder.can_be_shared(MEMBERS),
            Work::Task(_) => false,
        };
        if tokens > SHARED_TOKENS || !jobs.iter().all(can_be_shared) {
            return None;
        }
        let mut queue = self.lock();
        if queue.idle == 0 || !queue.lanes.is_empty() {
            return None;
        }
        let offer = Arc::new(Offer::new());
        queue.offers.push(Arc::clone(&offer));
        drop(queue);
        self.ready.notify_one();
        Some(offer)
    }

    /// Takes an offer back.
    fn withdraw(&self, offer: &Arc<Offer>) {
        offer.dismiss();
        self.lock().offers.retain(|other| !Arc::ptr_eq(other, offer));
    }

    /// Waits, if so configured, for texts that may go with the first one.
    fn gather<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let wait = self.options.batch_wait;
        if wait.is_zero() {
            return queue;
        }
        let is_short = |queue: &mut Queue| !queue.closing && queue.lanes.tokens() < LEAST_TURN_TOKENS;
        self.ready.wait_timeout_while(queue, wait, is_short).unwrap_or_else(PoisonError::into_inner).0
    }

    /// A fair part of what waits, so that all threads have their share of it.
    fn turn_tokens(&self, queue: &Queue, most: usize) -> usize {
        let least = if queue.idle == 0 { LEAST_BUSY_TURN_TOKENS } else { LEAST_TURN_TOKENS };
        queue.lanes.tokens().div_ceil(self.options.threads.max(1)).clamp(least, most)
    }

    /// Does the work of a turn; it gives way to others between two layers, unless it is itself what others gave way to.
    fn turn(&self, lane: Lane, jobs: Vec<Job<Work>>, gives_way: bool) {
        let mut parties: Vec<Party> = Vec::new();
        for job in &jobs {
            if !parties.contains(&job.party) {
                parties.push(job.party);
            }
        }
        let give_way = |tokens: usize| match lane {
            Lane::Bulk => self.serve_interactive(),
            Lane::Interactive if gives_way && tokens > LEAST_TURN_TOKENS => self.serve_before(&parties),
            Lane::Interactive => {}
        };
        // A thread that has nothing to do comes while the texts are split into tokens.
        let offer = if lane == Lane::Interactive { self.offer(&jobs) } else { None };
        let mut waiting: Vec<(Arc<Encoder>, Waiting)> = Vec::with_capacity(jobs.len());
        let [interactive, bulk] = &self.paces;
        let pace = if lane == Lane::Interactive { interactive } else { bulk };
        let brought: usize = jobs.iter().map(|job| job.tokens).sum();
        let began = Instant::now();
        let done = began + pace.of(brought);
        let (mut tokens, mut left_out) = (0, false);
        for (index, job) in jobs.into_iter().enumerate() {
            if index > 0 {
                give_way(brought);
            }
            match job.work {
                // What panics has answered its caller.
                Work::Task(task) => task(),
                Work::Encode { encoder, begin } => match begin(done) {
                    Seen::Waits(text) => {
                        tokens += job.tokens;
                        waiting.push((encoder, *text));
                    }
                    Seen::Done => {}
                    Seen::LeftOut => left_out = true,
                },
            }
        }
        if left_out {
            pace.sink();
        }
        if let Some(offer) = &offer
            && waiting.is_empty()
        {
            self.withdraw(offer);
        }
        // Encoders differ only while one takes the place of another.
        while let Some((encoder, first)) = waiting.pop() {
            let (same, others): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(other, _)| Arc::ptr_eq(other, &encoder));
            let same = same.into_iter().map(|(_, waiting)| waiting).chain([first]).collect();
            let encoded: Vec<Encoded> = (batch::parts(same, TURN_TOKENS).into_iter())
                .flat_map(|together| self.encode(&encoder, &give_way, offer.as_ref(), together))
                .collect();
            batch::finish(encoded, &|| give_way(brought));
            waiting = others;
        }
        if tokens > 0 {
            pace.note(tokens, began.elapsed());
        }
    }

    /// Sends texts through the encoder together.
    fn encode(
        &self,
        encoder: &Arc<Encoder>,
        give_way: &(impl Fn(usize) + Sync),
        offer: Option<&Arc<Offer>>,
        mut waiting: Vec<Waiting>,
    ) -> Vec<Encoded> {
        let tokens: usize = waiting.iter().map(Waiting::tokens).sum();
        let texts = waiting.len();
        waiting.iter_mut().for_each(|waiting| waiting.encode(texts, tokens));
        telemetry::batch(texts, tokens);
        let passes: Vec<(&EncodePlan, usize)> = waiting.iter().map(|waiting| (&*waiting.plan, waiting.pass)).collect();
        tracing::trace!(texts = passes.len(), tokens, shared = offer.is_some(), "batch");
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.batch_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        let give_way = || give_way(tokens);
        let shared = offer.and_then(|offer| {
            let passes = waiting.iter().map(|waiting| (Arc::clone(&waiting.plan), waiting.pass)).collect();
            let shared = guarded(|| offer.lead(encoder, &passes, &give_way));
            self.withdraw(offer);
            match shared {
                Ok(outputs) => outputs?.inspect_err(|error| tracing::warn!(%error, "a shared batch failed")).ok(),
                Err(error) => {
                    tracing::warn!(%error, "a shared batch failed");
                    None
                }
            }
        });
        let outputs = match shared {
            Some(outputs) => Ok(Ok(outputs)),
            None => guarded(|| encoder.run_together(&passes, &give_way)),
        };
        // For all of them at once: what is made of the first says nothing of the others.
        waiting.iter_mut().for_each(Waiting::encoded);
        match outputs {
            Ok(Ok(outputs)) => waiting.into_iter().zip(outputs.into_iter().map(Ok)).collect(),
            // One text must not take others down: each goes alone, and fails alone.
            _ => {
                tracing::warn!(texts = waiting.len(), "a batch failed; its texts go one by one");
                let alone = |waiting: Waiting| {
                    let output = guarded(|| encoder.run(&waiting.plan, waiting.pass));
                    (waiting, output.unwrap_or(Err(InferenceError::Panicked)))
                };
                waiting.into_iter().map(alone).collect()
            }
        }
    }

    /// Does what people wait for, if there is anything.
    fn serve_interactive(&self) {
        let jobs = {
            let mut queue = self.lock();
            let tokens = self.turn_tokens(&queue, TURN_TOKENS);
            queue.lanes.take_interactive(tokens)
        };
        if !jobs.is_empty() {
            self.turn(Lane::Interactive, jobs, true);
        }
    }

    /// Does what people wait for of those whose turn it is before these parties, if there is anything.
    fn serve_before(&self, parties: &[Party]) {
        let jobs = self.lock().lanes.take_interactive_before(parties, LEAST_BUSY_TURN_TOKENS);
        if !jobs.is_empty() {
            self.turn(Lane::Interactive, jobs, false);
        }
    }
}
