//! The real program, in a folder of its own, on ports of its own.

use super::client::{Client, Response, Trouble};
use rustix::process::{Pid, Signal, kill_process};
use std::env;
use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start may take on a machine under load, recovery included.
pub const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);
/// Two levels, so that a test can mount a disk above it.
const DATA: &str = "disk/data";
const LOG_TAIL_LINES: usize = 40;
/// Below the ports that the system gives to outgoing connections: one of those could else take
/// a port while its gateway is down, and even connect to itself.
const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 20_000;

/// The program that this test run built (the faults build under `cargo xtask test`), or another
/// one that `CAUSEWAY_TEST_BIN` names.
pub fn program() -> PathBuf {
    let named = env::var_os("CAUSEWAY_TEST_BIN").map(PathBuf::from);
    named.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_causeway")))
}

/// The program without faults, on the machine's own disk. Only `cargo xtask` builds it.
pub fn plain_program() -> Option<PathBuf> {
    env::var_os("CAUSEWAY_TEST_PLAIN_BIN").map(PathBuf::from)
}

/// The smallest settings that do something.
pub const ALL_TO_INBOX: &str = r##"
[destinations.inbox]
type = "stream"

[[routes]]
name = "all"
topic = "#"
to = ["inbox"]
"##;

pub struct Gateway {
    folder: TempDir,
    program: PathBuf,
    /// Words before the program's: another one that starts it.
    prefix: Vec<String>,
    variables: Vec<(String, String)>,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub health: SocketAddr,
    pub admin: SocketAddr,
    child: Option<Child>,
}

impl Gateway {
    /// Writes the configuration; starts nothing. `settings` is what stands in routes.toml besides
    /// the version, the folder and the listeners.
    pub fn new(program: &Path, settings: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("causeway-test-")
            .tempdir()
            .expect("a folder");
        let [http, grpc, health, admin] = free_addresses();
        let gateway = Self {
            folder,
            program: program.to_owned(),
            prefix: Vec::new(),
            variables: Vec::new(),
            http,
            grpc,
            health,
            admin,
            child: None,
        };
        fs::create_dir(gateway.disk()).expect("the test's folder is writable");
        gateway.configure(settings);
        gateway
    }

    /// Writes the configuration anew, for the next start or reload.
    pub fn configure(&self, settings: &str) {
        fs::write(self.config(), self.configured(settings)).expect("the test's folder is writable");
    }

    /// What `configure` writes.
    pub fn configured(&self, settings: &str) -> String {
        let (http, grpc) = (self.http, self.grpc);
        let (health, admin) = (self.health, self.admin);
        format!(
            "version = 1\n\n[gateway]\ndata_dir = \"{DATA}\"\n\n[listen]\nhttp = \"{http}\"\n\
             grpc = \"{grpc}\"\nhealth = \"{health}\"\nadmin = \"{admin}\"\n\n{settings}"
        )
    }

    /// An environment variable for every later start.
    pub fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Later starts go through another program (strace, unshare); none: directly.
    pub fn started_by(&mut self, words: &[&str]) {
        self.prefix = words.iter().map(|w| (*w).to_owned()).collect();
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a test may mount something on: the data folder is in it.
    pub fn disk(&self) -> PathBuf {
        self.folder().join("disk")
    }

    pub fn data(&self) -> PathBuf {
        self.folder().join(DATA)
    }

    pub fn config(&self) -> PathBuf {
        self.folder().join("routes.toml")
    }

    fn log(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// # Errors
    /// What it said, if it isn't ready in time.
    pub fn start(&mut self) -> Result<(), String> {
        self.spawn();
        self.wait_ready(START_LIMIT)
    }

    /// Starts it and doesn't wait.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log());
        let log = log.expect("the test's folder is writable");
        let config = self.config();
        let child = self
            .command(&self.prefix)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn();
        self.child =
            Some(child.unwrap_or_else(|e| panic!("{:?} {:?}: {e}", self.prefix, self.program)));
    }

    /// The program as configured, without arguments; none of our own variables reach it.
    fn command(&self, prefix: &[String]) -> Command {
        let mut command = match prefix {
            [] => Command::new(&self.program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
        };
        command.current_dir(self.folder());
        for (name, _) in env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| name.starts_with("CAUSEWAY"))
            {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs one of its other commands to the end: `["journal", "verify", "--json"]`.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = self.other(args);
        command
            .output()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }

    /// The same, not yet started.
    pub fn other(&self, args: &[&str]) -> Command {
        let mut command = self.command(&[]);
        command.arg("--config").arg(self.config()).args(args);
        command
    }

    /// # Errors
    /// What it said, if it ends or isn't ready in time.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        let mut client = self.health_client();
        loop {
            let answer = client.get("/readyz");
            if answer.as_ref().is_ok_and(|r| r.status == 200) {
                return Ok(());
            }
            if let Some(status) = self.ended() {
                return Err(format!(
                    "ended before it was ready: {status}\n{}",
                    self.log_tail()
                ));
            }
            if Instant::now() > deadline {
                let answer = match answer {
                    Ok(response) => response.to_string(),
                    Err(trouble) => trouble.to_string(),
                };
                let tail = self.log_tail();
                return Err(format!("not ready in {limit:?}: /readyz: {answer}\n{tail}"));
            }
            thread::sleep(POLL);
        }
    }

    /// Its status if it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let status = child.try_wait().expect("our own child can be waited for")?;
        self.child = None;
        Some(status)
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_raw(child.id().cast_signed()).expect("a process has a positive id");
        kill_process(pid, signal).expect("our own child takes signals");
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// What it said, if it doesn't end in time or ends badly.
    pub fn terminate(&mut self, limit: Duration) -> Result<(), String> {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + limit;
        loop {
            match self.ended() {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(format!("SIGTERM: {status}\n{}", self.log_tail()));
                }
                None if Instant::now() > deadline => {
                    return Err(format!(
                        "SIGTERM: runs after {limit:?}\n{}",
                        self.log_tail()
                    ));
                }
                None => thread::sleep(POLL),
            }
        }
    }

    pub fn client(&self, timeout: Duration) -> Client {
        Client::new(self.http, timeout)
    }

    pub fn health_client(&self) -> Client {
        Client::new(self.health, Duration::from_secs(5))
    }

    /// # Errors
    /// When it doesn't answer.
    pub fn ready(&self) -> Result<Response, Trouble> {
        self.health_client().get("/readyz")
    }

    /// Why it isn't ready; it is live all the same, and its metrics say so, too.
    ///
    /// # Errors
    /// What it said, if it is ready.
    pub fn unready(&self) -> Result<String, String> {
        let get = |path| {
            let answer = self.health_client().get(path);
            answer.unwrap_or_else(|trouble| panic!("{path}: {trouble}"))
        };
        let answer = get("/readyz");
        if answer.status != 503 {
            return Err(format!("503 of /readyz, not {answer}"));
        }
        let live = get("/healthz");
        assert_eq!((live.status, &live.body[..]), (200, &b"live\n"[..]));
        let body = answer.json()?;
        assert_eq!(body["ready"], false, "{body}");
        let reasons = body["reasons"].as_array().cloned().unwrap_or_default();
        assert!(!reasons.is_empty(), "without a reason: {body}");
        Ok(body["reasons"].to_string())
    }

    pub fn log_tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        format!(
            "--- the last {} lines of its log\n{}\n---",
            tail.len(),
            tail.join("\n")
        )
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may just have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        if env::var_os("CAUSEWAY_TEST_KEEP").is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("kept: {}", self.folder().display());
        }
    }
}

/// Addresses that were free a moment ago, different for each caller in this process.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    std::array::from_fn(|_| {
        for _ in 0..PORTS {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            // Test processes that run side by side start far from each other.
            let start = std::process::id().wrapping_mul(7919) % u32::from(PORTS);
            let offset = (start + u32::from(step)) % u32::from(PORTS);
            let port = FIRST_PORT + u16::try_from(offset).expect("below PORTS");
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if TcpListener::bind(address).is_ok() {
                return address;
            }
        }
        panic!("no free port from {FIRST_PORT} on");
    })
}

/// The bytes of all files below a folder; entries that vanish meanwhile count nothing.
pub fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(bytes).sum()
}
