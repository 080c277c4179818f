//! A stdio server for tests, with bad manners on request.
//!
//! Run with `cargo run -p mcp-session-gateway --example stdio_child -- [SWITCH]...`. It ends at the end of its stdin, and in
//! any case after a minute.
//!
//! | switch | what it does |
//! |---|---|
//! | `--ignore-term` | ignores SIGTERM |
//! | `--ignore-eof` | stays when its stdin ends |
//! | `--grandchild` | starts a `sleep` in its own group, and leaves it |
//! | `--setsid` | starts a `sleep` in a session of its own, and leaves it |
//! | `--pids FILE` | appends its own process id and those of its grandchildren to the file |
//! | `--exit-at-start` | exits with code 3, before it reads anything |
//! | `--silent` | never answers `initialize` |
//! | `--noise` | writes a BOM, lines that are no JSON, and empty lines, and ends its lines with CR LF |
//! | `--split` | writes each message in pieces of seven bytes |
//! | `--deaf` | reads nothing more after `initialize` |
//! | `--modern` | is of 2026-07-28: no `initialize`, an envelope in each request, `input_required` and subscriptions |
//! | `--stderr` | writes to stderr what it does |
//!
//! Tools: `echo`, `env`, `pid`, `seen`, `sleep`, `progress`, `log`, `changed`, `ask`, `sample`, `roots`, `ask-and-cancel`, `ask-late`, `level`,
//! `long`, `joined`, `exit`, `cancels`.

use std::{
    collections::HashMap,
    io::{self, BufRead, Write},
    process::{Command, Stdio, exit},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |switch: &str| args.iter().any(|arg| arg == switch);
    let value = |switch: &str| args.iter().skip_while(|arg| *arg != switch).nth(1).cloned();
    // Whatever a test does, it ends.
    thread::spawn(|| {
        thread::sleep(Duration::from_secs(60));
        exit(9);
    });
    let mut pids = vec![std::process::id()];
    if has("--ignore-term") {
        // The handler only sets a flag that nobody reads.
        let flag = Arc::default();
        signal_hook::flag::register(signal_hook::consts::SIGTERM, flag).expect("a handler");
    }
    let sleep = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("a grandchild").id()
    };
    if has("--grandchild") {
        pids.push(sleep("sleep", &["60"]));
    }
    if has("--setsid") {
        pids.push(sleep("setsid", &["sleep", "60"]));
    }
    if let Some(path) = value("--pids") {
        let line: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("a file");
        file.write_all(line.as_bytes()).expect("written");
    }
    if has("--exit-at-start") {
        exit(3);
    }
    let server = Arc::new(Server {
        out: Mutex::new(io::stdout()),
        noise: has("--noise"),
        split: has("--split"),
        silent: has("--silent"),
        stderr: has("--stderr"),
        next_id: AtomicU64::new(1),
        asked: Mutex::default(),
        cancelled: Mutex::default(),
        seen: Mutex::default(),
        modern: has("--modern"),
        listens: Mutex::default(),
    });
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let message: Value = serde_json::from_str(&line).expect("the gateway writes JSON, a message a line");
        let server = Arc::clone(&server);
        if has("--deaf") && message["method"] == "notifications/initialized" {
            thread::sleep(Duration::from_secs(60));
        }
        match (message.get("method").is_some(), message.get("id").is_some()) {
            (true, true) => _ = thread::spawn(move || server.answer(&message)),
            (true, false) => server.hear(&message),
            (false, _) => server.resolve(&message),
        }
    }
    if has("--ignore-eof") {
        thread::sleep(Duration::from_secs(60));
    }
}

struct Server {
    out: Mutex<io::Stdout>,
    noise: bool,
    split: bool,
    silent: bool,
    stderr: bool,
    next_id: AtomicU64,
    asked: Mutex<HashMap<u64, mpsc::Sender<Value>>>,
    /// The ids of requests that were cancelled, with the waiters for it.
    cancelled: Mutex<Vec<Value>>,
    /// The methods of all notifications that have come.
    seen: Mutex<Vec<String>>,
    modern: bool,
    /// The ids and filters of subscriptions, at 2026-07-28.
    listens: Mutex<Vec<(Value, Value)>>,
}

impl Server {
    fn write(&self, text: &str) {
        let mut out = self.out.lock().expect("not poisoned");
        let end = if self.noise { "\r\n" } else { "\n" };
        if self.noise {
            out.write_all("\u{feff}\r\nloading...\r\n{\"half\": \r\n\r\n".as_bytes()).ok();
        }
        let line = format!("{text}{end}");
        if self.split {
            for piece in line.as_bytes().chunks(7) {
                out.write_all(piece).ok();
                out.flush().ok();
            }
        } else {
            out.write_all(line.as_bytes()).ok();
        }
        out.flush().ok();
    }

    fn send(&self, message: &Value) {
        self.write(&message.to_string());
    }

    fn notify(&self, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn ask(&self, method: &str, params: &Value) -> Value {
        let id = self.next_id.fetch_add(1, SeqCst);
        let (reply, comes) = mpsc::channel();
        self.asked.lock().expect("not poisoned").insert(id, reply);
        self.send(&json!({ "jsonrpc": "2.0", "id": format!("q{id}"), "method": method, "params": params }));
        comes.recv().unwrap_or_default()
    }

    fn resolve(&self, message: &Value) {
        let id = message["id"].as_str().and_then(|id| id.strip_prefix('q')).and_then(|id| id.parse().ok());
        let waiter = id.and_then(|id: u64| self.asked.lock().expect("not poisoned").remove(&id));
        if let Some(waiter) = waiter {
            waiter.send(message.clone()).ok();
        }
    }

    fn hear(&self, message: &Value) {
        let method = message["method"].as_str().unwrap_or_default().to_owned();
        if self.stderr {
            eprintln!("heard {method}");
        }
        if method == "notifications/cancelled" {
            let id = &message["params"]["requestId"];
            self.cancelled.lock().expect("not poisoned").push(id.clone());
            self.listens.lock().expect("not poisoned").retain(|(listen, _)| listen != id);
        }
        if method == "notifications/initialized" && self.stderr {
            eprintln!("\x1b[31mready");
        }
        self.seen.lock().expect("not poisoned").push(method);
    }

    fn answer(&self, message: &Value) {
        let (id, params) = (&message["id"], &message["params"]);
        let method = message["method"].as_str().unwrap_or_default();
        let outcome = match method {
            "initialize" | "logging/setLevel" | "resources/subscribe" if self.modern => {
                Err((-32601, "no such method"))
            }
            _ if self.modern && !has_envelope(params) => Err((-32602, "no envelope")),
            "server/discover" if self.modern => Ok(json!({
                "supportedVersions": ["2026-07-28"], "ttlMs": 0, "cacheScope": "private",
                "capabilities": { "tools": { "listChanged": true }, "logging": {}, "resources": { "subscribe": true } },
                "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "stdio-child", "version": "2.0.0" } },
            })),
            "subscriptions/listen" if self.modern => return self.listen(id, &params["notifications"]),
            "initialize" if self.silent => return,
            "initialize" => Ok(json!({
                "protocolVersion": params["protocolVersion"],
                "capabilities": { "tools": { "listChanged": true }, "logging": {}, "resources": { "subscribe": true } },
                "serverInfo": { "name": "stdio-child", "version": "1.0.0" },
                "instructions": params["clientInfo"]["name"],
            })),
            "ping" => Ok(json!({})),
            "tools/list" => Ok(json!({ "tools": [{ "name": "echo", "inputSchema": { "type": "object" } }] })),
            "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel" => Ok(json!({})),
            "tools/call" => self.call(id, params),
            _ => Err((-32601, "no such method")),
        };
        let answer = match outcome {
            Ok(mut result) if self.modern => {
                if result.get("resultType").is_none() {
                    result["resultType"] = "complete".into();
                }
                json!({ "jsonrpc": "2.0", "id": id, "result": result })
            }
            Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            Err((code, text)) => {
                json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": text } })
            }
        };
        self.send(&answer);
    }

    fn listen(&self, id: &Value, filter: &Value) {
        self.listens.lock().expect("not poisoned").push((id.clone(), filter.clone()));
        let params =
            json!({ "notifications": filter, "_meta": { "io.modelcontextprotocol/subscriptionId": id } });
        self.notify("notifications/subscriptions/acknowledged", &params);
    }

    /// Tells those that have subscribed to it.
    fn publish(&self, method: &str, mut params: Value, wants: impl Fn(&Value) -> bool) {
        for (id, filter) in &*self.listens.lock().expect("not poisoned") {
            if wants(filter) {
                params["_meta"] = json!({ "io.modelcontextprotocol/subscriptionId": id });
                self.notify(method, &params);
            }
        }
    }

    /// Asks for input, or returns what has come of it.
    fn input(params: &Value, method: &str) -> Value {
        match params["inputResponses"].get("q") {
            Some(answer) => {
                let reply = json!({ "result": answer, "state": params["requestState"] });
                json!({ "content": [{ "type": "text", "text": reply.to_string() }] })
            }
            None => json!({
                "resultType": "input_required", "requestState": "state of the child",
                "inputRequests": { "q": { "method": method, "params": params["arguments"] } },
            }),
        }
    }

    fn call(&self, id: &Value, params: &Value) -> Result<Value, (i64, &'static str)> {
        let args = &params["arguments"];
        let token = &params["_meta"]["progressToken"];
        let number = |name: &str, default| args[name].as_u64().unwrap_or(default);
        let text = |text: String| Ok(json!({ "content": [{ "type": "text", "text": text }] }));
        match params["name"].as_str().unwrap_or_default() {
            "echo" => Ok(json!({ "content": [], "structuredContent": params })),
            "env" => text(std::env::var(args["name"].as_str().unwrap_or_default()).unwrap_or_default()),
            "pid" => text(std::process::id().to_string()),
            "seen" => text(self.seen.lock().expect("not poisoned").join(" ")),
            "sleep" => {
                thread::sleep(Duration::from_millis(number("ms", 100)));
                text("slept".into())
            }
            "progress" => {
                for step in 1..=number("steps", 3) {
                    let params =
                        json!({ "progressToken": token, "progress": step, "total": number("steps", 3) });
                    self.notify("notifications/progress", &params);
                }
                text("done".into())
            }
            "log" => {
                self.notify("notifications/message", &json!({ "level": "info", "data": "at work" }));
                text("logged".into())
            }
            "changed" if self.modern => {
                let listed = |filter: &Value| filter["toolsListChanged"] == true;
                self.publish("notifications/tools/list_changed", json!({}), listed);
                let uri = &args["uri"];
                let subscribed = |filter: &Value| {
                    filter["resourceSubscriptions"].as_array().is_some_and(|uris| uris.contains(uri))
                };
                self.publish("notifications/resources/updated", json!({ "uri": uri }), subscribed);
                text("changed".into())
            }
            "ask" if self.modern => Ok(Self::input(params, "elicitation/create")),
            "sample" if self.modern => Ok(Self::input(params, "sampling/createMessage")),
            "roots" if self.modern => Ok(Self::input(params, "roots/list")),
            "level" => text(params["_meta"]["io.modelcontextprotocol/logLevel"].to_string()),
            "changed" => {
                self.notify("notifications/tools/list_changed", &json!({}));
                self.notify("notifications/resources/updated", &json!({ "uri": args["uri"] }));
                text("changed".into())
            }
            "ask" => text(self.ask("elicitation/create", args).to_string()),
            "sample" => text(self.ask("sampling/createMessage", args).to_string()),
            "roots" => text(self.ask("roots/list", &json!({})).to_string()),
            "ask-and-cancel" => {
                let question = self.next_id.fetch_add(1, SeqCst);
                let asked = json!({ "jsonrpc": "2.0", "id": question, "method": "roots/list" });
                self.send(&asked);
                self.notify(
                    "notifications/cancelled",
                    &json!({ "requestId": question, "reason": "never mind" }),
                );
                text("asked".into())
            }
            "ask-late" => {
                // Asks when the call is over.
                let server_says = self.next_id.fetch_add(1, SeqCst);
                thread::sleep(Duration::from_millis(10));
                self.send(&json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } }));
                let line =
                    json!({ "jsonrpc": "2.0", "id": format!("q{server_says}"), "method": "roots/list" });
                let (reply, comes) = mpsc::channel();
                self.asked.lock().expect("not poisoned").insert(server_says, reply);
                self.send(&line);
                let reply = comes.recv().unwrap_or_default();
                self.notify("notifications/message", &json!({ "level": "info", "data": reply }));
                thread::park();
                Err((0, "never"))
            }
            "long" => text("x".repeat(usize::try_from(number("bytes", 1_000)).unwrap_or_default())),
            "joined" => {
                // The notification, and an answer to nobody, on one line with each other.
                self.write(
                    r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"a"}}{"jsonrpc":"2.0","id":999999,"result":{}}"#,
                );
                text("joined".into())
            }
            "exit" => exit(i32::try_from(number("code", 7)).unwrap_or(7)),
            "cancels" => {
                // Runs until it is cancelled, and says then which id was.
                if self.stderr {
                    eprintln!("waits to be cancelled");
                }
                loop {
                    if self.cancelled.lock().expect("not poisoned").contains(id) {
                        if self.stderr {
                            eprintln!("was cancelled");
                        }
                        return text("cancelled".into());
                    }
                    thread::sleep(Duration::from_millis(2));
                }
            }
            _ => Err((-32602, "no such tool")),
        }
    }
}

fn has_envelope(params: &Value) -> bool {
    let meta = &params["_meta"];
    meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
        && meta["io.modelcontextprotocol/clientCapabilities"].is_object()
}
