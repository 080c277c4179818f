//! The live view: at a terminal, and only there.

mod common;
mod program;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use common::{example, wait_for};
use program::Gateway;
use rustix::{
    fs::OFlags,
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// Both ends of a terminal of 100 columns.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("its other end");
    unlockpt(&ours).expect("its other end");
    tcsetwinsize(&ours, Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
    let name = ptsname(&ours, Vec::new()).expect("a name");
    let theirs = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, rustix::fs::Mode::empty());
    (ours.into(), theirs.expect("its other end").into())
}

/// Starts the program with its stderr at a terminal, and stops it when that shows `until`. Returns what it showed, and stdout.
fn shown(options: &[&str], until: &str) -> (String, String) {
    let (mut ours, theirs) = terminal();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-session-gateway"));
    command.args(["--bind", "127.0.0.1:0"]).args(options).arg("--").arg(example("stdio_child"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(theirs)
        .env("TERM", "xterm")
        .env_remove("RUST_LOG");
    let mut process = command.spawn().expect("it starts");
    drop(command); // and with it our copy of the terminal's end
    let screen = Arc::new(Mutex::new(String::new()));
    let written = Arc::clone(&screen);
    let reads = thread::spawn(move || {
        let mut bytes = [0; 4_096];
        while let Ok(read @ 1..) = ours.read(&mut bytes) {
            written.lock().expect("no panic").push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    });
    let mut stdout = String::new();
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe"));
    lines.read_line(&mut stdout).expect("UTF-8"); // from now on it serves
    wait_for("text at the terminal", || screen.lock().expect("no panic").contains(until));
    kill_process(Pid::from_child(&process), Signal::TERM).expect("it runs");
    lines.read_to_string(&mut stdout).expect("UTF-8");
    assert!(process.wait().expect("an end").success());
    reads.join().expect("no panic");
    let screen = screen.lock().expect("no panic").clone();
    (screen, stdout)
}

#[test]
fn at_a_terminal_it_is_drawn_and_removed_at_the_end() {
    let (screen, stdout) = shown(&[], "stdio_child: ready; sessions 0");
    assert!(stdout.starts_with("http://127.0.0.1:") && stdout.contains("nothing is left"), "{stdout}");
    // The log stands above it, and the last thing is that it is cleared.
    assert!(screen.contains("shutdown"), "{screen}");
    assert!(
        screen.ends_with("\u{1b}[2K") || screen.ends_with("\u{1b}[1A") || screen.ends_with('\r'),
        "{screen:?}"
    );
}

#[test]
fn without_it_a_terminal_gets_plain_lines() {
    let options = ["--no-view", "--lame-duck", "1s"];
    let (screen, _) = shown(&options, "");
    assert!(!screen.contains("\u{1b}[2K"), "{screen:?}");
    assert!(screen.contains("stopping: everything is served"), "{screen:?}");
}

#[test]
fn elsewhere_the_log_says_how_a_stop_goes_on() {
    let ended = Gateway::start(&["--lame-duck", "1s"], &[]).stop();
    assert!(ended.log.contains("stopping: everything is served for"), "{ended:?}");
    assert!(!ended.log.contains('\u{1b}'), "{ended:?}");
}

#[test]
fn the_log_may_be_json() {
    let ended = Gateway::start(&["--log-format", "json"], &[]).stop();
    let lines: Vec<serde_json::Value> =
        ended.log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().any(|line| line["fields"]["phase"] == "draining"), "{ended:?}");
}
