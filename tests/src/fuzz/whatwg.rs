//! [`Decoder`]: server-sent events as the WHATWG says to read them, and nothing more.

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Its type: `message` if it names none.
    pub(super) kind: String,
    pub(super) data: String,
    /// The last id so far.
    pub(super) id: String,
}

/// Decodes a stream of events, in any pieces.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    line: Vec<u8>,
    after_cr: bool,
    begun: bool,
    kind: String,
    data: String,
    id: String,
    /// The last `retry`, in milliseconds.
    pub(super) retry: Option<u64>,
    /// The events that were dispatched.
    pub(super) events: Vec<Event>,
}

impl Decoder {
    /// Decodes the next piece.
    ///
    /// # Panics
    ///
    /// If a line is not UTF-8. A browser would replace what is not.
    pub(super) fn push(&mut self, piece: &[u8]) {
        for byte in piece {
            match byte {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\r' | b'\n' => {
                    self.after_cr = *byte == b'\r';
                    let line = String::from_utf8(std::mem::take(&mut self.line)).expect("events are UTF-8");
                    let line = if self.begun { &line } else { line.trim_start_matches('\u{feff}') };
                    self.begun = true;
                    self.take_line(line);
                }
                byte => {
                    self.after_cr = false;
                    self.line.push(*byte);
                }
            }
        }
    }

    /// Whether a line or an event is unfinished.
    pub(super) fn is_within_event(&self) -> bool {
        !(self.line.is_empty() && self.data.is_empty() && self.kind.is_empty())
    }

    fn take_line(&mut self, line: &str) {
        if line.is_empty() {
            let kind = std::mem::take(&mut self.kind);
            let mut data = std::mem::take(&mut self.data);
            if data.pop().is_some() {
                let kind = if kind.is_empty() { "message".to_owned() } else { kind };
                self.events.push(Event { kind, data, id: self.id.clone() });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data += value;
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok();
            }
            _ => {}
        }
    }
}
