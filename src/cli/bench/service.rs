//! The service under test: a child process in a folder of its own, which can be stopped in every way that a process can be.

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use otklik::config::Config;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// How often a child is looked at that is awaited.
const LOOK: Duration = Duration::from_millis(50);

/// Most time of a start.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Log files of earlier lives that are kept.
const KEPT_LOGS: usize = 8;

/// Starts the program with SIGXFSZ ignored, so that a file that may not grow is an error of the write, as on a full disk.
const LAUNCH: &str = "trap '' XFSZ; exec \"$0\" \"$@\"";

/// The service, and where it is.
pub(super) struct Service {
    folder: PathBuf,
    address: SocketAddr,
    arguments: Vec<OsString>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    child: Option<Child>,
    /// How often it was started.
    lives: usize,
    started: Option<Instant>,
}

impl Service {
    /// Prepares a service in a folder; `set` are keys of its configuration beside those that say where its files are.
    ///
    /// # Errors
    /// No port, or no folder.
    pub fn new(folder: PathBuf, config: &Config, set: &[(String, String)]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
        let (address, admin) = (free_address()?, free_address()?);
        let mut arguments: Vec<OsString> = vec!["serve".into()];
        let models = otklik::models::find_models_dir(config.models.dir.as_deref())?;
        let models = std::path::absolute(models).context("the folder of the models")?;
        let fixed = [
            ("server.listen", address.to_string()),
            ("server.admin_listen", admin.to_string()),
            ("models.dir", models.display().to_string()),
            ("models.encoder", config.models.encoder.clone()),
            ("compute.threads", config.compute.threads.to_string()),
            ("compute.kernel", config.compute.kernel.to_string()),
        ];
        let fixed = fixed.into_iter().map(|(key, value)| (key.to_owned(), value));
        for (key, value) in fixed.chain(set.iter().cloned()) {
            arguments.push("--set".into());
            arguments.push(format!("{key}={value}").into());
        }
        Ok(Self { folder, address, arguments, running: Mutex::default() })
    }

    /// Its folder; every file of its is there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection that is made, and made again, when it is needed.
    ///
    /// # Errors
    /// Never for an address of a socket.
    pub fn channel(&self) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).context("the address")?;
        Ok(endpoint.tcp_nodelay(true).connect_timeout(Duration::from_secs(2)).connect_lazy())
    }

    /// Starts it and waits until it is ready; says how long that took.
    ///
    /// # Errors
    /// It ended, or was not ready in time; the end of its log is told.
    pub async fn start(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let log = {
            let mut running = self.lock();
            running.lives += 1;
            let log = self.log_file(running.lives);
            if let Some(old) = running.lives.checked_sub(KEPT_LOGS) {
                // It may not be there, which is as well.
                let _ = std::fs::remove_file(self.log_file(old));
            }
            let to = File::create(&log).with_context(|| format!("{} can't be made", log.display()))?;
            let program = std::env::current_exe().context("this program can't be found")?;
            let mut command = Command::new("sh");
            command.arg("-c").arg(LAUNCH).arg(program).args(&self.arguments).current_dir(&self.folder);
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("OTKLIK_") {
                    command.env_remove(name);
                }
            }
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(to);
            running.child = Some(command.spawn().context("the service can't be started")?);
            running.started = Some(began);
            log
        };
        while began.elapsed() < START_LIMIT {
            if self.is_ready().await {
                return Ok(began.elapsed());
            }
            if let Some(status) = self.ended()? {
                bail!("the service ended at its start ({status}): {}", tail(&log));
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("the service was not ready within {} s: {}", START_LIMIT.as_secs(), tail(&log))
    }

    /// True if it says that all its services answer.
    pub async fn is_ready(&self) -> bool {
        let Ok(channel) = self.channel() else { return false };
        let mut client = HealthClient::new(channel);
        let asked = client.check(HealthCheckRequest { service: String::new() });
        match tokio::time::timeout(Duration::from_secs(1), asked).await {
            Ok(Ok(answer)) => answer.into_inner().status() == ServingStatus::Serving,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Waits until it is ready; false if it is not within the time.
    pub async fn ready_within(&self, most: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < most {
            if self.is_ready().await {
                return true;
            }
            tokio::time::sleep(LOOK).await;
        }
        false
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.pid()?, signal).context("the service can't be signalled")
    }

    /// Bounds how long its files may be, or not.
    ///
    /// # Errors
    /// It does not run.
    pub fn bound_files(&self, bytes: Option<u64>) -> anyhow::Result<()> {
        let most = getrlimit(Resource::Fsize).maximum;
        let limit = Rlimit { current: bytes.or(most), maximum: most };
        prlimit(Some(self.pid()?), Resource::Fsize, limit).context("the length of files can't be bounded")?;
        Ok(())
    }

    /// Waits until it has ended; `None` if it has not within the time.
    ///
    /// # Errors
    /// What the system says.
    pub async fn ends_within(&self, most: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if began.elapsed() >= most {
                return Ok(None);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// What the system says.
    pub fn ended(&self) -> anyhow::Result<Option<ExitStatus>> {
        match self.lock().child.as_mut() {
            Some(child) => child.try_wait().context("the service can't be awaited"),
            None => Ok(None),
        }
    }

    /// Which of its lives this is, from 1, and how long it has lasted.
    pub fn life(&self) -> (usize, Duration) {
        let running = self.lock();
        (running.lives, running.started.map_or(Duration::ZERO, |started| started.elapsed()))
    }

    /// Its process id.
    pub fn process_id(&self) -> Option<i32> {
        Some(self.pid().ok()?.as_raw_nonzero().get())
    }

    /// Memory of it that is in use, in MB.
    pub fn resident_mb(&self) -> Option<f64> {
        super::resident_mb_of(&self.process_id()?.to_string())
    }

    /// Files and connections that it has open.
    pub fn open_files(&self) -> Option<usize> {
        let pid = self.process_id()?;
        Some(std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
    }

    /// The end of the log of this life.
    pub fn log_tail(&self) -> String {
        let lives = self.lock().lives;
        tail(&self.log_file(lives))
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        let running = self.lock();
        let child = running.child.as_ref().context("the service does not run")?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        pid.context("the service has no process id")
    }

    fn log_file(&self, life: usize) -> PathBuf {
        self.folder.join(format!("service-{life}.log"))
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(child) = self.lock().child.as_mut() {
            // It may have ended, which is as well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A free port of the loopback.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no port on the loopback")?;
    listener.local_addr().context("the listening socket has no address")
}

/// The last lines of a file.
fn tail(file: &Path) -> String {
    const LINES: usize = 12;
    let Ok(text) = std::fs::read(file) else { return String::new() };
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(LINES)).copied().collect::<Vec<_>>().join("\n")
}
