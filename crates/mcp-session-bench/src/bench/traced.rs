//! What a request writes that another core reads or writes as well: found in a trace of all that valgrind's `lackey` sees.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use mcp_session_bench::shared::REQUESTS;
use serde::{Deserialize, Serialize};

/// The kinds of requests, by their names in the executable `in-process`.
pub(crate) const KINDS: [(&str, &str); 3] = [
    ("shared-session", "in a session"),
    ("shared-stateless", "without one"),
    ("shared-modern", "of 2026-07-28"),
];

/// What one request of a kind writes. Averages, rounded: now and then the allocator writes what all threads share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Writes {
    /// Writes to words that another client's requests read or write.
    pub(crate) writes: usize,
    /// The cache lines that these are in. A core fetches each of them from another one, if that was the last to write it.
    pub(crate) lines: usize,
}

/// What one request writes, and by which lines of our source or by which function, if `addr2line` is installed.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) writes: Writes,
    pub(crate) places: BTreeMap<String, usize>,
}

/// Plays this kind of requests under valgrind.
pub(crate) fn trace(target: &Path, name: &str) -> Result<Traced> {
    let program = target.join("release/in-process");
    let log = target.join("bench").join(format!("lackey.{name}.log"));
    let mut command = Command::new("valgrind");
    command.args(["--tool=lackey", "--trace-mem=yes"]).arg(format!("--log-file={}", log.display()));
    let output =
        command.arg(&program).args([name, "1"]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("cannot start valgrind")?;
    ensure!(output.status.success(), "valgrind failed with {}", output.status);
    let said = String::from_utf8_lossy(&output.stdout);
    let addresses = said.trim().split_once(' ').with_context(|| format!("no addresses in: {said}"))?;
    let (mark, base) = (address(addresses.0)?, address(addresses.1)?);
    let segments = read(BufReader::new(File::open(&log)?), mark)?;
    fs::remove_file(&log)?; // it is large
    let (writes, by_code) = shared(&segments)?;
    Ok(Traced { writes, places: places(&program, base, &by_code) })
}

/// What was written and seen between two marks.
#[derive(Debug, Default)]
struct Segment {
    /// The words that were written, each with the address of the instruction, in order.
    writes: Vec<(u64, u64)>,
    /// The words that were read or written.
    seen: HashSet<u64>,
}

const WORD: u64 = 8;
const LINE: u64 = 64;

/// Reads the lines of a trace, which are `I`, `L`, `S` and `M` with an address and a length.
fn read(trace: impl BufRead, mark: u64) -> Result<Vec<Segment>> {
    let (mut segments, mut code) = (Vec::<Segment>::new(), 0);
    for line in trace.split(b'\n') {
        let line = line?;
        let Some((kind, rest)) = line.trim_ascii_start().split_first() else { continue };
        if !matches!(kind, b'I' | b'L' | b'S' | b'M') || rest.first() != Some(&b' ') {
            continue; // valgrind's own words
        }
        let text = std::str::from_utf8(rest.trim_ascii())?;
        let (at, length) = text.split_once(',').with_context(|| format!("no length in: {text}"))?;
        let (at, length) = (address(at)?, length.parse::<u64>()?);
        match (kind, segments.last_mut()) {
            (b'I', _) => code = at,
            (b'S', _) if at == mark => segments.push(Segment::default()),
            (_, None) => {}
            (kind, Some(segment)) => {
                for word in at / WORD..=(at + length.max(1) - 1) / WORD {
                    segment.seen.insert(word);
                    if *kind != b'L' {
                        segment.writes.push((word, code));
                    }
                }
            }
        }
    }
    Ok(segments)
}

/// What the first client's requests write of what the second one sees: on average, and in all by the address of the code.
fn shared(segments: &[Segment]) -> Result<(Writes, BTreeMap<u64, usize>)> {
    // The requests of the first client, what is between the clients, all requests of the second, and what comes then.
    let [requests @ .., _, others, _] = segments else { bail!("no marks in the trace") };
    ensure!(requests.len() == REQUESTS, "{} requests instead of {REQUESTS}", requests.len());
    let (mut lines, mut by_code) = (0, BTreeMap::new());
    for request in requests {
        let shared = request.writes.iter().filter(|(word, _)| others.seen.contains(word));
        lines += shared.clone().map(|(word, _)| word * WORD / LINE).collect::<BTreeSet<_>>().len();
        shared.for_each(|(_, code)| *by_code.entry(*code).or_default() += 1);
    }
    let writes = by_code.values().sum();
    Ok((Writes { writes: each(writes), lines: each(lines) }, by_code))
}

/// The average of one request.
fn each(count: usize) -> usize {
    (count + REQUESTS / 2) / REQUESTS
}

/// What has written how often for one request.
fn places(program: &Path, base: u64, by_code: &BTreeMap<u64, usize>) -> BTreeMap<String, usize> {
    let mut places = BTreeMap::<String, usize>::new();
    for (code, count) in by_code {
        let mut command = Command::new("addr2line");
        command.args(["--inlines", "--functions", "--demangle", "--exe"]).arg(program);
        let said = command.arg(format!("{:#x}", code.wrapping_sub(base))).output();
        let said =
            said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        *places.entry(place(&said).to_owned()).or_default() += count;
    }
    places.into_iter().map(|(place, count)| (place, each(count))).filter(|(_, count)| *count > 0).collect()
}

/// The first line of our source in what `addr2line` says of an address, which begins with what was inlined last. Else the
/// function.
fn place(said: &str) -> &str {
    let ours = said.lines().find_map(|line| line.split_once("/crates/mcp-session-").map(|(_, place)| place));
    let place = ours.or_else(|| said.lines().next()).unwrap_or_default();
    place.split([' ', '<']).next().filter(|place| !place.is_empty()).unwrap_or("elsewhere")
}

fn address(text: &str) -> Result<u64> {
    u64::from_str_radix(text, 16).with_context(|| format!("not an address: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_both_clients_see_counts() {
        let mut trace = String::from("==1== Lackey\nI  10,3\n S 100,8\n");
        for _ in 0..REQUESTS {
            // The mark, a private word, a counter, and a lock in the same line.
            trace += "I  11,3\n S 900,8\nI  12,4\n S 200,8\nI  13,4\n M 400,8\n M 408,4\n";
        }
        trace += "I  11,3\n S 900,8\n L 200,8\nI  11,3\n S 900,8\n L 400,8\n M 408,4\nI  11,3\n S 900,8\n";
        let (writes, by_code) = shared(&read(trace.as_bytes(), 0x900).unwrap()).unwrap();
        assert_eq!(writes, Writes { writes: 2, lines: 1 });
        assert_eq!(by_code, BTreeMap::from([(0x13, 2 * REQUESTS)]));
    }

    #[test]
    fn a_trace_without_marks_is_an_error() {
        assert!(shared(&read("I  10,3\n S 100,8\n".as_bytes(), 0x900).unwrap()).is_err());
        assert!(read("I  nonsense\n".as_bytes(), 0).is_err());
    }

    #[test]
    fn a_place_is_a_line_of_ours_or_a_function() {
        let inlined = "fetch_sub\n/rustc/core/atomic.rs:7\nf\n/x/crates/mcp-session-core/src/a.rs:7 (discriminator 2)\n";
        assert_eq!(place(inlined), "core/src/a.rs:7");
        assert_eq!(place("alloc::sync::Arc<T,A>::drop_slow\n/rustc/alloc/sync.rs:7\n"), "alloc::sync::Arc");
        assert_eq!(place(""), "elsewhere");
    }
}
