//! The pipes of a real child: what it says in which form, what it inherits, and its stderr.

mod common;

use std::{
    ffi::OsStr,
    sync::{Arc, Mutex},
};

use common::stdio_child;
use mcp_session_gateway::child::{
    command::CommandLine,
    lines::Line,
    spawn::{Spawned, spawn},
    stderr,
};

const LIMIT: usize = 16 << 20;

async fn lines(mut output: mcp_session_gateway::child::spawn::Output) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(line) = output.next_line().await {
        match line {
            Line::Whole(text) => all.push(String::from_utf8_lossy(&text).into_owned()),
            other => all.push(format!("{other:?}")),
        }
    }
    all
}

fn sh(script: &str) -> CommandLine {
    CommandLine::new("sh", ["-c", script])
}

#[tokio::test]
async fn split_joined_and_noisy_lines_arrive_whole() {
    let ping = |id: u32| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    for switches in [&[][..], &["--split"], &["--noise"], &["--noise", "--split"]] {
        let Spawned { input, output, process: _process, .. } =
            spawn(&stdio_child(switches), [], LIMIT).expect("it starts");
        for id in 0..20 {
            input.send(ping(id).into_bytes()).expect("it is open");
        }
        input.close();
        let answers = lines(output).await;
        let mut ids: Vec<_> = answers
            .iter()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["id"].as_u64())
            .collect();
        ids.sort_unstable();
        // The process may end before its threads have answered all: what came is whole.
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{switches:?}: {answers:?}");
        assert!(answers.iter().all(|line| !line.contains('\r') && !line.contains('\u{feff}')), "{answers:?}");
    }
}

#[tokio::test]
async fn the_last_line_needs_no_end() {
    let Spawned { output, process: _process, .. } =
        spawn(&sh(r"printf '{}\r\n\n[1]'"), [], LIMIT).expect("it starts");
    assert_eq!(lines(output).await, ["{}", "[1]"]);
}

#[tokio::test]
async fn a_child_inherits_what_is_listed_and_what_is_set() {
    let command = sh("env").with_env("SET", "by the command").with_inherited("CARGO_MANIFEST_DIR");
    let extra = [(OsStr::new("EXTRA"), OsStr::new("of the session"))];
    let Spawned { output, process: _process, .. } = spawn(&command, extra, LIMIT).expect("it starts");
    let env = lines(output).await;
    let has = |line: &str| env.iter().any(|it| it == line);
    assert!(has("SET=by the command") && has("EXTRA=of the session"), "{env:?}");
    assert!(has(&format!("CARGO_MANIFEST_DIR={}", env!("CARGO_MANIFEST_DIR"))), "{env:?}");
    assert!(env.iter().any(|it| it.starts_with("PATH=")), "{env:?}");
    assert!(!env.iter().any(|it| it.starts_with("CARGO_PKG_NAME=")), "it is set here, and not listed");
}

#[tokio::test]
async fn a_child_has_its_own_group_and_no_descriptor_of_another() {
    let look = async || {
        let Spawned { output, process, .. } =
            spawn(&sh("ps -o pgid= -p $$; ls /dev/fd | wc -l"), [], LIMIT).expect("it starts");
        let mut said = lines(output).await;
        assert_eq!(said.remove(0), process.id().to_string());
        said
    };
    let alone = look().await;
    let others: Vec<_> = (0..5).map(|_| spawn(&sh("cat"), [], LIMIT).expect("it starts")).collect();
    assert_eq!(look().await, alone, "as many descriptors as without the others");
    drop(others);
}

#[tokio::test]
async fn stderr_is_read_line_by_line_and_long_lines_are_cut() {
    let script = r"printf 'one\r\ntwo\033[1m\n' >&2; head -c 100000 /dev/zero | tr '\0' x >&2; echo done >&2";
    let Spawned { errors, process: _process, .. } = spawn(&sh(script), [], LIMIT).expect("it starts");
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let hears = Arc::clone(&heard);
    stderr::read(errors, move |line| hears.lock().expect("not poisoned").push(line.to_owned())).await;
    let heard = heard.lock().expect("not poisoned");
    assert_eq!(heard[..2], ["one", "two\\u{1b}[1m"]);
    assert!(heard[2].len() < 300 && heard[2].contains("100004 bytes"), "{}", heard[2]);
}
