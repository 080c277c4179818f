//! [`Script`]: what clients do, as text that a person can write and a fuzzer can change.
//!
//! ```text
//! options, such as: both optional small
//! ---
//! open 2025-11-25
//! ---
//! post
//! x-header: value
//!
//! {"jsonrpc":"2.0","id":1,"method":"ping"}
//! ---
//! wait 500
//! ```
//!
//! | step | what it does |
//! |---|---|
//! | `open VERSION` | `initialize` and `notifications/initialized` |
//! | `post`, `get`, `delete` | that request, with the headers of a client that has the last session that was opened |
//! | `modern` | a POST of 2026-07-28, with the headers that repeat its body |
//! | any other word, such as `POST` | a request of this method with only the headers that follow |
//! | `slow` behind one of these | its response is read only by `read` |
//! | `read N` | reads a frame of each slow response, N times |
//! | `cut N` | the client of the Nth request is gone |
//! | `wait MS` | time passes |
//! | `notify METHOD` | a broadcast |
//! | `stop MS` | a shutdown begins, which drains for this long |

use http::{HeaderMap, HeaderName, HeaderValue};

/// The most steps of a script: enough for a conversation, and few enough for many executions.
const MOST_STEPS: usize = 24;

/// The options of the server, and the steps.
#[derive(Debug)]
pub(super) struct Script<'a> {
    pub(super) options: Vec<&'a str>,
    pub(super) steps: Vec<Step<'a>>,
}

/// A step.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Open(&'a str),
    Request(Call<'a>),
    Read(u64),
    Cut(u64),
    Wait(u64),
    Notify(&'a str),
    Stop(u64),
}

/// A request that a client sends.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// `post` and the like are in lower case.
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) is_slow: bool,
    pub(super) is_old: bool,
    /// What follows the first line, up to an empty one.
    pub(super) headers: HeaderMap,
    pub(super) body: &'a [u8],
}

impl<'a> Script<'a> {
    /// Any bytes are a script.
    pub(super) fn parse(input: &'a [u8]) -> Self {
        let mut blocks = Vec::new();
        let mut rest = input;
        while let Some(at) = find(rest, b"\n---\n") {
            blocks.push(&rest[..at]);
            rest = &rest[at + 5..];
        }
        blocks.push(rest);
        let options = words(blocks[0]);
        let steps = blocks[1..].iter().take(MOST_STEPS).map(|block| Step::parse(block));
        Self { options, steps: steps.collect() }
    }
}

impl<'a> Step<'a> {
    fn parse(block: &'a [u8]) -> Self {
        let (line, rest) = line(block);
        let words = words(line);
        let word = words.get(1).copied().unwrap_or_default();
        let number = word.parse().unwrap_or(1);
        match words.first().copied().unwrap_or_default() {
            "open" => Self::Open(word),
            "read" => Self::Read(number),
            "cut" => Self::Cut(number),
            "wait" => Self::Wait(number),
            "notify" => Self::Notify(word),
            "stop" => Self::Stop(number),
            method => Self::Request(Call::parse(method, &words, rest)),
        }
    }
}

impl<'a> Call<'a> {
    fn parse(method: &'a str, words: &[&'a str], mut rest: &'a [u8]) -> Self {
        let mut headers = HeaderMap::new();
        while !rest.is_empty() {
            let header;
            (header, rest) = line(rest);
            if header.is_empty() {
                break;
            }
            let (name, value) = match header.iter().position(|byte| *byte == b':') {
                Some(at) => (&header[..at], header[at + 1..].trim_ascii()),
                None => (header, &b""[..]),
            };
            // What `http` does not represent, no HTTP server passes on.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        let target = words.iter().find(|word| word.contains(['/', '*'])).copied().unwrap_or("/mcp");
        let has = |flag| words.contains(&flag);
        Self { method, target, is_slow: has("slow"), is_old: has("old"), headers, body: rest }
    }
}

fn line(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

fn words(line: &[u8]) -> Vec<&str> {
    std::str::from_utf8(line).unwrap_or_default().split_whitespace().collect()
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}
