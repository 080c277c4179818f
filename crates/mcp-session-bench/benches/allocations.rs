//! Run with `cargo bench --package mcp-session-bench --bench allocations`.
//!
//! Exact on any machine: the allocations of each piece of work, and the memory that an idle session and a listener keep.

use std::time::Instant;

use allocation_counter::measure;
use mcp_session_bench::work::{Echo, KEPT_BYTES, KEPT_EVENTS, Machine, parse};

/// Enough repetitions to average out tables that grow now and then.
const TIMES: u64 = 1_000;

fn main() {
    println!("\n| work | allocations | bytes allocated | bytes kept |\n|---|---|---|---|");
    line("parse a call", || drop(parse()));
    let mut machine = Machine::new();
    line("the machine: parse, admit, answer, encode", || drop(machine.echo()));

    let echo = Echo::new();
    let handled = [
        ("`Endpoint::handle` of an `echo` call", Echo::request as fn(&Echo) -> _),
        ("`Endpoint::handle` of an `echo` call without a session", Echo::stateless_request),
        ("`Endpoint::handle` of an `echo` call of 2026-07-28", Echo::modern_request),
    ];
    for (what, request) in handled {
        let mut requests: Vec<_> = (0..=TIMES).map(|_| request(&echo)).collect();
        line(what, || {
            if let Some(request) = requests.pop() {
                drop(echo.handle(request));
            }
        });
    }
    line("a session: `initialize` and DELETE, with the requests", || echo.open_and_delete());
    line("a session that stays, with the requests", || drop(echo.open()));
    let mut listeners = Vec::with_capacity(TIMES as usize + 1);
    line("a listener that stays, with the request", || listeners.push(echo.listen()));
    kept();
    println!("\nThe future of `Endpoint::handle` has {} bytes.", echo.future_size());
}

/// Prints what a kept event costs, and how long it takes to free many full replay buffers.
fn kept() {
    const SESSIONS: usize = 1_000;
    const BUFFERS: usize = 4_000;
    let kept = |sessions: usize| -> Vec<Machine> {
        let mut machines: Vec<_> = (0..sessions).map(|_| Machine::new()).collect();
        machines.iter_mut().for_each(|machine| machine.keep(KEPT_EVENTS));
        machines
    };
    let mut machines: Vec<_> = (0..SESSIONS).map(|_| Machine::new()).collect();
    let counted = measure(|| machines.iter_mut().for_each(|machine| machine.keep(KEPT_EVENTS)));
    let events = (SESSIONS * KEPT_EVENTS) as f64;
    println!(
        "\n{events:.0} kept events of {KEPT_BYTES} bytes take {:.1} each.",
        counted.bytes_current as f64 / events
    );
    drop(machines);
    let machines = kept(BUFFERS);
    let begin = Instant::now();
    let counted = measure(|| drop(machines));
    let took = begin.elapsed().as_secs_f64() * 1e3;
    println!(
        "Freeing {BUFFERS} sessions with {KEPT_EVENTS} each takes {took:.0} ms and {:.1} frees a session.",
        counted.count_current.unsigned_abs() as f64 / BUFFERS as f64
    );
}

/// Prints the average cost of `work`, after one warm-up run.
fn line(what: &str, mut work: impl FnMut()) {
    work();
    let counted = measure(|| (0..TIMES).for_each(|_| work()));
    let each = |count: f64| count / TIMES as f64;
    println!(
        "| {what} | {:.2} | {:.0} | {:.0} |",
        each(counted.count_total as f64),
        each(counted.bytes_total as f64),
        // Negative if the work frees a request that was created before.
        each(counted.bytes_current as f64).max(0.0),
    );
}
