//! Run with `cargo bench --package mcp-session-bench --bench machine`.

use divan::{Bencher, black_box};
use mcp_session_bench::work::{self, Echo, Machine};

fn main() {
    divan::main();
}

/// The envelope of a call.
#[divan::bench(sample_count = 100, sample_size = 5_000)]
fn parse() {
    drop(black_box(work::parse()));
}

/// Parse, admit, answer and encode: the goal is 300 ns.
#[divan::bench(sample_count = 100, sample_size = 5_000)]
fn machine(bencher: Bencher<'_, '_>) {
    let mut machine = Machine::new();
    // Dropped in here: if answers were kept until the end of a sample, they would be in memory that is never warm.
    bencher.bench_local(|| drop(machine.echo()));
}

/// All of core and the handler, from the request to the response.
#[divan::bench(sample_count = 100, sample_size = 5_000)]
fn endpoint(bencher: Bencher<'_, '_>) {
    let echo = Echo::new();
    bencher.with_inputs(|| echo.request()).bench_local_values(|request| drop(echo.handle(request)));
}

/// The same without a session.
#[divan::bench(sample_count = 100, sample_size = 5_000)]
fn endpoint_without_a_session(bencher: Bencher<'_, '_>) {
    let echo = Echo::new();
    bencher.with_inputs(|| echo.stateless_request()).bench_local_values(|request| drop(echo.handle(request)));
}

/// The same in revision 2026-07-28.
#[divan::bench(sample_count = 100, sample_size = 5_000)]
fn endpoint_of_2026_07_28(bencher: Bencher<'_, '_>) {
    let echo = Echo::new();
    bencher.with_inputs(|| echo.modern_request()).bench_local_values(|request| drop(echo.handle(request)));
}

/// The same in a session, with other sessions present.
#[divan::bench(sample_count = 100, sample_size = 5_000)]
fn endpoint_with_10_000_sessions(bencher: Bencher<'_, '_>) {
    let echo = Echo::new();
    (0..10_000).for_each(|_| drop(echo.open()));
    bencher.with_inputs(|| echo.request()).bench_local_values(|request| drop(echo.handle(request)));
}

/// `initialize` and DELETE, including the requests.
#[divan::bench(sample_count = 100, sample_size = 5_000)]
fn session(bencher: Bencher<'_, '_>) {
    let echo = Echo::new();
    bencher.bench_local(|| echo.open_and_delete());
}
