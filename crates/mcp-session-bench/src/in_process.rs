//! Repeats a piece of work and exits, so that valgrind can count it: `in-process echo 1000`. Or runs threads for a second, so that a
//! profiler can look at them: `in-process contention-stateless 4`, or `floor-stateless 4` with an endpoint for each.

use std::{process::ExitCode, time::Duration};

use mcp_session_bench::{
    contention::{self, Endpoints, Load},
    shared::{self, Kind},
    work::{Echo, Machine, envelope, modern_headers, parse},
};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(work), Some(Ok(times))) = (args.first(), args.get(1).map(|times| times.parse::<u32>())) else {
        eprintln!("usage: in-process WORK TIMES; the names of the work are in the source");
        return ExitCode::from(2);
    };
    match work.as_str() {
        "parse" => (0..times).for_each(|_| drop(parse())),
        "envelope" => {
            let headers = modern_headers();
            (0..times).for_each(|_| drop(envelope(&headers)));
        }
        "machine" => {
            let mut machine = Machine::new();
            (0..times).for_each(|_| drop(machine.echo()));
        }
        "echo" => {
            let echo = Echo::new();
            (0..times).for_each(|_| echo.call());
        }
        "request" => {
            let echo = Echo::new();
            (0..times).for_each(|_| drop(echo.request()));
        }
        "handle-stateless" => {
            let echo = Echo::new();
            (0..times).for_each(|_| drop(echo.handle(echo.stateless_request())));
        }
        "request-stateless" => {
            let echo = Echo::new();
            (0..times).for_each(|_| drop(echo.stateless_request()));
        }
        "handle-modern" => {
            let echo = Echo::new();
            (0..times).for_each(|_| drop(echo.handle(echo.modern_request())));
        }
        "request-modern" => {
            let echo = Echo::new();
            (0..times).for_each(|_| drop(echo.modern_request()));
        }
        "handle-100k" => {
            let echo = Echo::new();
            (0..times).for_each(|_| drop(echo.handle(echo.long_request())));
        }
        "request-100k" => {
            let echo = Echo::new();
            (0..times).for_each(|_| drop(echo.long_request()));
        }
        "handle-modern-100k" => {
            let echo = Echo::new();
            (0..times).for_each(|_| drop(echo.handle(echo.long_modern_request())));
        }
        "request-modern-100k" => {
            let echo = Echo::new();
            (0..times).for_each(|_| drop(echo.long_modern_request()));
        }
        "events-100k" => {
            let echo = Echo::with_events();
            (0..times).for_each(|_| _ = echo.read(echo.long_request()));
        }
        "replay" => {
            let echo = Echo::new();
            echo.keep();
            (0..times).for_each(|_| echo.replay(|_| ()));
        }
        "session" => {
            let echo = Echo::new();
            (0..times).for_each(|_| echo.open_and_delete());
        }
        "shared-session" => _ = shared::play(Kind::Session),
        "shared-stateless" => _ = shared::play(Kind::Stateless),
        "shared-modern" => _ = shared::play(Kind::Modern),
        other => match of_threads(other) {
            Some((endpoints, kind)) => {
                let (threads, time) = (times as usize, Duration::from_secs(1));
                let load = Load { kind, endpoints, threads, time, most: u64::MAX };
                println!("{:#?}", contention::run(&load, |_| ()));
            }
            None => {
                eprintln!("unknown work: {other}");
                return ExitCode::from(2);
            }
        },
    }
    ExitCode::SUCCESS
}

/// The threads of this name.
fn of_threads(name: &str) -> Option<(Endpoints, contention::Kind)> {
    let (endpoints, kind) = name.split_once('-')?;
    let endpoints = match endpoints {
        "contention" => Endpoints::Shared,
        "floor" => Endpoints::Own,
        _ => return None,
    };
    Some((endpoints, contention::Kind::ALL.into_iter().find(|it| it.name() == kind)?))
}
