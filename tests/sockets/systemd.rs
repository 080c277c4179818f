//! The example `systemd` as a process: a socket that was opened before it, and what it says to the manager.

use std::{
    net::{SocketAddr, TcpListener},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::OnceLock,
};

use futures::future::join_all;
use mcp_session_testkit::wire::{Client, Connection, End, call, initialize, within};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, BufReader},
    net::UnixDatagram,
    process::{Child, Command},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

const CLIENTS: u64 = 20;

/// Fifths of a second that a call takes: several messages of a draining server fit into it.
const STEPS: u32 = 30;

fn example() -> &'static PathBuf {
    static EXAMPLE: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLE.get_or_init(|| mcp_session_tests::example("systemd"))
}

/// What systemd is for a service: its socket, which it keeps, and the one that it hears by.
struct Manager {
    socket: TcpListener,
    addr: SocketAddr,
    path: PathBuf,
    heard: UnboundedReceiver<String>,
}

impl Manager {
    fn new() -> Self {
        let socket = mcp_session_hyper::bind("127.0.0.1:0").expect("a free port");
        let addr = socket.local_addr().expect("an address");
        let path = std::env::temp_dir().join(format!("mcp-notify-{}-{}", std::process::id(), addr.port()));
        let notified = UnixDatagram::bind(&path).expect("a socket");
        let (said, heard) = unbounded_channel();
        // Read at once: a sender waits while the queue of a socket is full.
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(length) = notified.recv(&mut buffer).await {
                let _ = said.send(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        });
        Self { socket, addr, path, heard }
    }

    /// Starts the example as systemd does: the socket is descriptor 3.
    fn start(&self) -> Child {
        let socket = OwnedFd::from(self.socket.try_clone().expect("a descriptor"));
        let script = r#"export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" 3<&0 0</dev/null"#;
        Command::new("sh")
            .args(["-c", script])
            .arg(example())
            .env("NOTIFY_SOCKET", &self.path)
            .stdin(Stdio::from(socket))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a shell")
    }

    async fn hears(&mut self) -> String {
        within("a message to the manager", self.heard.recv()).await.expect("the socket is open")
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn terminate(server: &Child) {
    let pid = server.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().await.expect("kill").success());
}

/// Waits for the end of a server; returns its status and all that it has printed.
async fn ended(mut server: Child) -> (ExitStatus, String) {
    let mut printed = String::new();
    let mut stdout = BufReader::new(server.stdout.take().expect("a pipe"));
    within("the end of the output", stdout.read_to_string(&mut printed)).await.expect("text");
    (within("the end of the process", server.wait()).await.expect("a status"), printed)
}

/// A call that runs: the first progress has arrived.
async fn begin(client: &Client, id: u64) -> Connection {
    let params = json!({ "name": "slow", "arguments": { "steps": STEPS }, "_meta": { "progressToken": id } });
    let mut running = client.post(&call(id, "tools/call", params)).await;
    assert_eq!(running.head().await.expect("a head").status, 200);
    assert_eq!(running.message().await.expect("progress")["params"]["progress"], 1.0);
    running
}

/// Reads a call to its end: all of its progress, one answer, and the last chunk.
async fn is_answered(id: u64, mut running: Connection) {
    for step in 2..=STEPS {
        assert_eq!(running.message().await.expect("progress")["params"]["progress"], f64::from(step));
    }
    let answer = running.message().await.expect("an answer");
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!(id), &json!("done")));
    assert_eq!(running.message().await, Err(End::LastChunk));
}

#[tokio::test]
async fn a_socket_outlives_its_server_and_the_manager_hears_of_the_drain() {
    let mut manager = Manager::new();
    let server = manager.start();
    assert_eq!(manager.hears().await, "READY=1\nSTATUS=serving\n");
    let clients = join_all((0..CLIENTS).map(|_| Client::open(manager.addr))).await;
    let calls = join_all((0..CLIENTS).zip(&clients).map(|(id, client)| begin(client, id))).await;
    terminate(&server).await;

    assert_eq!(manager.hears().await, "STOPPING=1\nEXTEND_TIMEOUT_USEC=10000000\n");
    // While the calls run, it needs more time: it says so again and again, and what it waits for.
    let mut draining = 0;
    while draining < 2 {
        let said = manager.hears().await;
        assert!(said.starts_with("EXTEND_TIMEOUT_USEC=10000000\nSTATUS="), "{said}");
        draining += usize::from(said.contains("STATUS=Draining: 20 calls, 20 streams"));
    }
    join_all((0..CLIENTS).zip(calls).map(|(id, call)| is_answered(id, call))).await;
    let (status, printed) = ended(server).await;
    assert_eq!(status.code(), Some(0), "{printed}");
    assert!(printed.contains("answered 20, synthesized 0, cancelled 0, forced 0"), "{printed}");

    // Nobody listens now, and nobody is refused.
    let stranger = Client { addr: manager.addr, session: String::new() };
    let mut waiting = stranger.send(&stranger.request(&initialize())).await;
    let next = manager.start();
    while manager.hears().await != "READY=1\nSTATUS=serving\n" {} // the last words of the one before
    assert_eq!(waiting.reply().await.head.status, 200);
    terminate(&next).await;
    assert_eq!(ended(next).await.0.code(), Some(0));
}

/// The units beside the example, by systemd's own judgement, with the example as their program.
#[tokio::test]
async fn the_units_of_the_example_are_valid() {
    let Ok(found) = Command::new("systemd-analyze").arg("--version").output().await else {
        println!("skipped: no systemd-analyze (apt-get install systemd)");
        return;
    };
    assert!(found.status.success());
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/systemd");
    let folder = std::env::temp_dir().join(format!("mcp-units-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let program = "/usr/local/bin/mcp-server";
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    for name in ["mcp-server.service", "mcp-server.socket"] {
        let unit = std::fs::read_to_string(units.join(name)).expect("a unit");
        assert_eq!(unit.contains(program), name.ends_with("service"), "{name}");
        let copy = folder.join(name);
        std::fs::write(&copy, unit.replace(program, &example().display().to_string())).expect("a copy");
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o644)).expect("permissions");
        verify.arg(copy);
    }
    let verified = verify.output().await.expect("it runs");
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    std::fs::remove_dir_all(&folder).expect("it was there");
    assert!(verified.status.success() && !said.contains("mcp-server"), "{said}");
}

/// A unit of a real systemd, with less time to stop than a call takes: it is not killed, because it asks for more.
#[tokio::test]
async fn a_unit_of_systemd_is_given_the_time_that_it_asks_for() {
    // As sd_booted(3) does.
    if !Path::new("/run/systemd/system").is_dir() || !rustix::process::geteuid().is_root() {
        println!("skipped: systemd does not run here, or this is not root");
        return;
    }
    let unit = format!("mcp-session-test-{}", std::process::id());
    let addr = SocketAddr::from(([127, 0, 0, 1], mcp_session_tests::free_port()));
    let started = Command::new("systemd-run")
        .args(["--service-type=notify", "--property=NotifyAccess=main", "--property=KillMode=mixed"])
        .args(["--property=TimeoutStopSec=2s", "--collect", "--unit", &unit])
        .arg(example())
        .args(["--bind", &addr.to_string()])
        .status();
    assert!(within("the start of the unit", started).await.expect("it runs").success()); // it has said READY=1
    let client = Client::open(addr).await;
    let running = begin(&client, 1).await;
    let mut stop = Command::new("systemctl").args(["stop", &unit]).spawn().expect("it runs");
    is_answered(1, running).await;
    assert!(within("the end of the unit", stop.wait()).await.expect("a status").success());
    let failed = Command::new("systemctl").args(["is-failed", "--quiet", &unit]).status().await;
    assert!(!failed.expect("it runs").success());
}
