//! [`RedisServer`]: a `redis-server` of the tests' own, on a free port.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a server may take to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// All that were started, by their process ids: statics are not dropped.
static STARTED: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Whether there is a `redis-server`.
pub fn has_redis_server() -> bool {
    let version =
        Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Ends the servers that still run.
pub fn end_redis_servers() {
    for child in STARTED.lock().expect("no panic under it").iter_mut() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A `redis-server` without persistence.
#[derive(Debug)]
pub struct RedisServer {
    /// Its port.
    pub port: u16,
    pid: u32,
    directory: PathBuf,
    options: Vec<String>,
}

impl RedisServer {
    /// Starts one with these options, on a free port.
    pub fn start(options: &[&str]) -> Self {
        Self::start_at(None, options)
    }

    /// Starts one at this port.
    pub fn start_at(port: Option<u16>, options: &[&str]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let port = port.unwrap_or_else(free_port);
        let name = format!("mcp-session-redis-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a directory");
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let pid = spawn(port, &directory, &options);
        let server = Self { port, pid, directory, options };
        // Another server on this port would spoil the tests.
        server.until(&["INFO", "server"], &format!("process_id:{pid}\r\n"));
        server
    }

    /// Starts a Redis Sentinel that watches the primary at this port, by the name `primary`. Its word alone is enough.
    pub fn start_sentinel(primary: u16) -> Self {
        let path =
            std::env::temp_dir().join(format!("mcp-session-sentinel-{}-{primary}.conf", std::process::id()));
        fs::write(&path, format!("sentinel monitor primary 127.0.0.1 {primary} 1\n")).expect("a file");
        Self::start(&[path.to_str().expect("a path in UTF-8"), "--sentinel"])
    }

    /// Starts one that may be a node of a Redis Cluster. Its bus has a port of its own.
    pub fn start_cluster_node() -> Self {
        let bus = free_port().to_string();
        Self::start(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"])
    }

    /// Makes this node of a Redis Cluster, and those it knows, known to another one.
    ///
    /// # Panics
    ///
    /// If the other one is no [node of a cluster](Self::start_cluster_node).
    pub fn meet(&self, other: &Self) {
        let bus = other.options.iter().skip_while(|option| *option != "--cluster-port").nth(1);
        let bus = bus.expect("it is a node of a cluster");
        self.run(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string(), bus]);
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a command, and returns what it answers.
    pub fn run(&self, command: &[&str]) -> redis::Value {
        self.try_run(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Runs a command.
    ///
    /// # Errors
    ///
    /// What Redis says, or that it is away.
    pub fn try_run(&self, command: &[&str]) -> redis::RedisResult<redis::Value> {
        let mut connection = redis::Client::open(self.url())?.get_connection_with_timeout(PATIENCE)?;
        let mut packed = redis::cmd(command[0]);
        packed.arg(&command[1..]);
        packed.query(&mut connection)
    }

    /// Waits until the answer to a command has this text in it.
    pub fn until(&self, command: &[&str], text: &str) {
        let start = Instant::now();
        loop {
            let answer = self.try_run(command);
            let said = answer.and_then(|answer| Ok(redis::from_redis_value::<String>(answer)?));
            match said {
                Ok(said) if said.contains(text) => return,
                said => assert!(start.elapsed() < PATIENCE, "no {text:?} at {}: {said:?}", self.port),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it.
    pub fn kill(&self) {
        let mut started = STARTED.lock().expect("no panic under it");
        let child = started.iter_mut().find(|child| child.id() == self.pid).expect("it was started");
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Starts one at the same port with the same options, without data.
    pub fn start_again(&self) -> Self {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        Self::start_at(Some(self.port), &options)
    }

    /// Starts it again after [`kill`](Self::kill), at the same port and with the data that it has on its disk.
    pub fn restart(&mut self) {
        self.pid = spawn(self.port, &self.directory, &self.options);
        self.until(&["INFO", "server"], &format!("process_id:{}\r\n", self.pid));
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
        if let Some(file) = self.options.first().filter(|it| !it.starts_with("--")) {
            let _ = fs::remove_file(file);
        }
    }
}

/// Starts a process and returns its id.
fn spawn(port: u16, directory: &Path, options: &[String]) -> u32 {
    // A file with its configuration comes first.
    let (file, options) =
        options.split_at(usize::from(options.first().is_some_and(|it| !it.starts_with("--"))));
    let child = Command::new("redis-server")
        .args(file)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"])
        .args(["--save", "", "--appendonly", "no", "--enable-debug-command", "local"])
        .arg("--dir")
        .arg(directory)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server starts");
    let pid = child.id();
    STARTED.lock().expect("no panic under it").push(child);
    pid
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
