//! `cargo xtask prometheus`: a real Prometheus scrapes `everything --metrics`, with our alerts, and answers what our dashboard asks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::cargo_tasks;
use crate::process::{self, Keep, Running};
use crate::server::Server;
use crate::workspace::Workspace;

/// Where the alerts and the dashboard are.
const DEPLOY: &str = "crates/mcp-session-otel/deploy";

/// How long Prometheus may take to start, to scrape once and to end. Each takes a second or two; the slack is for a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(100);

/// What Prometheus logs with its address, when it listens.
const LISTENING: [&str; 2] = ["msg=\"Listening on\" address=", "msg=\"Listening on\" component=web address="];

/// Returns `true` if all of it was as it should be. Fails as [`process::Unavailable`] without `promtool` and `prometheus` (Debian's
/// package `prometheus` has both).
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    for program in ["promtool", "prometheus"] {
        process::version(&mut Command::new(program))?;
    }
    let deploy = workspace.root().join(DEPLOY);
    let alerts = deploy.join("alerts.yaml");
    process::succeed(Command::new("promtool").args(["check", "rules"]).arg(&alerts), LIMIT)?;

    cargo_tasks::build_example(workspace, "everything")?;
    let server = Server::start(&workspace.example_executable("everything", false), &["--metrics"])?;
    server.initialize()?;
    let refused =
        minreq::post(&server.url).with_header("Origin", "https://mcp.example.com").with_timeout(10).send()?;
    ensure!(refused.status_code == 403, "a foreign origin was answered with {}", refused.status_code);
    let directory = tempfile::tempdir()?;
    let exposed = exposition(&server, directory.path())?;
    let prometheus = Prometheus::start(directory.path(), &server, &alerts)?;
    prometheus.wait_for("mcp_server_sessions == 1")?;
    prometheus.wait_for("mcp_server_refusals_total{error_type=\"forbidden_origin\"} == 1")?;
    let scraped = prometheus.names()?;
    let missing: Vec<_> = exposed.difference(&scraped).collect();
    ensure!(missing.is_empty(), "exposed, but not scraped: {missing:?}");
    let alerts = prometheus.alerts()?;
    let panels = prometheus.ask_all(&deploy.join("grafana.json"))?;
    prometheus.stop()?;
    server.stop()?;
    println!(
        "{} metrics scraped, {alerts} alerts loaded, {panels} queries of the dashboard answered",
        scraped.len()
    );
    Ok(true)
}

/// The names in the text that a scraper gets, which `promtool` has to find well-formed.
fn exposition(server: &Server, directory: &Path) -> Result<BTreeSet<String>> {
    let url = server.url.replace("/mcp", "/metrics");
    let answer = minreq::get(&url).with_timeout(10).send()?;
    ensure!(answer.status_code == 200, "GET {url} was answered with {}", answer.status_code);
    let text = answer.as_str()?;
    let file = directory.join("metrics");
    fs::write(&file, text)?;
    // promtool reads them from stdin only.
    let script = "exec promtool check metrics < \"$0\"";
    process::succeed(Command::new("sh").args(["-c", script]).arg(&file), LIMIT)?;
    let names = text.lines().filter(|line| !line.starts_with('#'));
    Ok(names.filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned())).collect())
}

/// A Prometheus on a free port of the loopback interface; killed when dropped.
struct Prometheus {
    process: Running,
    url: String,
}

impl Prometheus {
    /// Starts it with these alerts, to scrape this server every second.
    fn start(directory: &Path, server: &Server, alerts: &Path) -> Result<Self> {
        let config = directory.join("prometheus.yml");
        let target = server.url.trim_start_matches("http://").trim_end_matches("/mcp");
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [{alerts:?}]\n\
             scrape_configs: [{{ job_name: mcp, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
        );
        fs::write(&config, text)?;
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
        let process = Running::start(command.arg("--web.listen-address=127.0.0.1:0"), Keep::All)?;
        let deadline = Instant::now() + LIMIT;
        loop {
            let ended = process.ended_within(POLL)?;
            let output = process.output();
            if let Some(address) = LISTENING.iter().find_map(|sign| after(&output, sign)) {
                return Ok(Self { url: format!("http://{address}"), process });
            } else if ended.is_some() || Instant::now() > deadline {
                bail!("it does not listen within {LIMIT:?}; ended: {ended:?}\n{output}");
            }
        }
    }

    /// The data of an answer of its API.
    fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let url = format!("{}/api/v1/{path}?{}", self.url, parameters.join("&"));
        let answer: Value = serde_json::from_slice(minreq::get(url).with_timeout(10).send()?.as_bytes())?;
        ensure!(answer["status"] == "success", "{path} {parameters:?}: {answer}");
        Ok(answer["data"].clone())
    }

    /// Waits until a query has a result.
    fn wait_for(&self, query: &str) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            // Until it is ready, its API is not.
            let found = self.get("query", &[("query", query)]);
            if found.as_ref().is_ok_and(|data| data["result"].as_array().is_some_and(|it| !it.is_empty())) {
                return Ok(());
            }
            if let Some(ended) = self.process.ended_within(POLL)? {
                bail!("it ended with {ended}\n{}", self.process.output());
            }
            if Instant::now() > deadline {
                bail!("no result of {query} within {LIMIT:?}: {found:?}\n{}", self.process.output());
            }
        }
    }

    /// The names of all metrics of the server.
    fn names(&self) -> Result<BTreeSet<String>> {
        let names = self.get("label/__name__/values", &[])?;
        let names = names.as_array().context("an array")?.iter().filter_map(Value::as_str);
        Ok(names.map(str::to_owned).collect())
    }

    /// How many alerts it has loaded, of which none fires.
    fn alerts(&self) -> Result<usize> {
        let groups = self.get("rules", &[])?;
        let groups = groups["groups"].as_array().context("groups")?;
        let rules: Vec<_> = groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
        ensure!(!rules.is_empty(), "it has no rules");
        let broken: Vec<_> = rules.iter().filter(|rule| rule["health"] == "err").collect();
        ensure!(broken.is_empty(), "{broken:?}");
        Ok(rules.len())
    }

    /// Asks what each panel of a dashboard asks, and returns how many queries these were.
    fn ask_all(&self, dashboard: &Path) -> Result<usize> {
        let dashboard: Value = serde_json::from_slice(&fs::read(dashboard)?)?;
        let panels = dashboard["panels"].as_array().context("panels")?;
        let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        let queries: Vec<_> = targets.filter_map(|target| target["expr"].as_str()).collect();
        for query in &queries {
            self.get("query", &[("query", query)])?;
        }
        ensure!(!queries.is_empty(), "the dashboard asks nothing");
        Ok(queries.len())
    }

    fn stop(self) -> Result<()> {
        self.process.terminate()?;
        let status = self.process.wait(LIMIT)?;
        ensure!(status.success(), "it ended with {status}\n{}", self.process.output());
        Ok(())
    }
}

/// A value in a query of a URL.
fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(encode).collect()
}

/// The word after a sign.
fn after<'a>(output: &'a str, sign: &str) -> Option<&'a str> {
    let rest = &output[output.find(sign)? + sign.len()..];
    rest.split_whitespace().next()
}
