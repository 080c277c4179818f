//! [`Redis`]: a `redis-server` for this run alone.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use mcp_session_examples::client::Error;

/// How long it may take to start.
const STARTING: Duration = Duration::from_secs(10);

/// A running server, on a free port and without persistence. Ends when dropped.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    directory: PathBuf,
}

impl Redis {
    /// Starts one. `None` if `redis-server` is not installed.
    pub(crate) fn start() -> Result<Option<Self>, Error> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let directory = std::env::temp_dir().join(format!("mcp-session-example-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let spawned = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let redis = Self { child, port, directory };
        let begun = Instant::now();
        while !redis.answers() {
            if begun.elapsed() > STARTING {
                return Err(format!("redis-server did not answer on port {port}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(redis))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Whether it is this process that answers on the port, and not another one.
    fn answers(&self) -> bool {
        let info = || {
            let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
            socket.write_all(b"INFO server\r\nQUIT\r\n")?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        info().is_ok_and(|answer| answer.contains(&format!("process_id:{}\r\n", self.child.id())))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
