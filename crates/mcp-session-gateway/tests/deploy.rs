//! The files under `deploy/` can be read, say what the program takes, and give it the time that it needs.

mod common;
mod program;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use clap::{CommandFactory, Parser};
use mcp_session_gateway::{args::Args, config::GatewayConfig};
use program::Gateway;
use yaml_rust2::{Yaml, YamlLoader};

/// What comes on top of the lame duck, the grace and the budgets of the children: core's phase for cancelling, and the exit.
const REST: Duration = Duration::from_millis(350);

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(args: &[String]) -> GatewayConfig {
    let args = Args::try_parse_from(["mcp-session-gateway".to_owned()].iter().chain(args));
    let args = args.unwrap_or_else(|error| panic!("{error}"));
    args.gateway().unwrap_or_else(|error| panic!("{error}"))
}

fn of_the_file() -> GatewayConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/gateway.toml");
    parse(&["--config".to_owned(), path.display().to_string()])
}

/// The longest that a stop takes.
fn stop(config: &GatewayConfig) -> Duration {
    let ladder = config.servers.iter().map(|server| server.budgets.close + server.budgets.terminate).max();
    config.lame_duck + config.grace + ladder.unwrap() + REST
}

#[test]
fn the_configuration_is_one() {
    let names: Vec<_> = of_the_file().servers.iter().map(|server| server.name.clone()).collect();
    assert_eq!(names, ["files", "memory", "time"]);
}

#[test]
fn the_unit_is_one_and_waits_long_enough() {
    let text = file("mcp-session-gateway.service");
    let (mut section, mut settings) = (String::new(), BTreeMap::<String, Vec<String>>::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            assert!(["Unit", "Service", "Install"].contains(&name), "{line}");
            section = name.to_owned();
        } else {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("no setting: {line}"));
            assert!(key.bytes().all(|byte| byte.is_ascii_alphabetic()) && !value.is_empty(), "{line}");
            settings.entry(format!("{section}.{key}")).or_default().push(value.to_owned());
        }
    }
    let setting = |name: &str| settings[name][0].as_str();
    assert_eq!(setting("Service.KillMode"), "mixed", "else systemd signals the children");
    let exec: Vec<_> = setting("Service.ExecStart").split_whitespace().map(str::to_owned).collect();
    assert!(exec[0].starts_with('/') && exec[0].ends_with("/mcp-session-gateway"));
    let ours = format!("{}/deploy/gateway.toml", env!("CARGO_MANIFEST_DIR"));
    let args = exec[1..].iter().map(|arg| if arg.ends_with(".toml") { ours.clone() } else { arg.clone() });
    let config = parse(&args.collect::<Vec<_>>());
    let timeout = setting("Service.TimeoutStopSec").strip_suffix('s').expect("seconds");
    assert!(Duration::from_secs(timeout.parse().unwrap()) > stop(&config));
}

#[test]
fn the_container_file_is_one() {
    let text = file("Containerfile");
    let known = ["FROM", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"];
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(' ').unwrap_or_else(|| panic!("{line}")))
        .collect();
    assert!(lines.iter().all(|(instruction, _)| known.contains(instruction)), "{lines:?}");
    assert_eq!(lines[0].0, "FROM");
    let stages: Vec<_> =
        lines.iter().filter_map(|(_, rest)| rest.split_once(" AS ")).map(|(_, name)| name).collect();
    let from = lines
        .iter()
        .find_map(|(_, rest)| rest.strip_prefix("--from="))
        .and_then(|rest| rest.split(' ').next());
    assert_eq!(stages, [from.expect("what was built is copied")]);
    let list = |name: &str| -> Vec<String> {
        let (_, value) = lines.iter().rfind(|(instruction, _)| *instruction == name).expect(name);
        serde_json::from_str(value).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let (entry, command) = (list("ENTRYPOINT"), list("CMD"));
    assert_eq!(entry[0], "mcp-session-gateway");
    let config = parse(&[&entry[1..], &command].concat());
    let port = lines.iter().find(|(instruction, _)| *instruction == "EXPOSE").expect("a port").1;
    assert_eq!(config.bind.to_string(), format!("0.0.0.0:{port}"));
    let user = lines.iter().any(|(instruction, user)| *instruction == "USER" && *user != "root");
    assert!(user, "not as root");
}

#[test]
fn the_manifest_is_one_and_its_times_add_up() {
    let documents = YamlLoader::load_from_str(&file("kubernetes.yaml")).expect("YAML");
    let [deployment, service] = &documents[..] else { panic!("{} documents", documents.len()) };
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let args: Vec<_> = strings(&container["args"]);
    let config = parse(&args);
    let grace = pod["terminationGracePeriodSeconds"].as_i64().expect("seconds");
    assert!(Duration::from_secs(grace.try_into().unwrap()) > stop(&config), "the kubelet would kill it");

    let port = &container["ports"][0];
    let bound: i64 = config.bind.to_string().rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(port["containerPort"].as_i64(), Some(bound));
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        let get = &container[probe]["httpGet"];
        assert_eq!((get["path"].as_str(), &get["port"]), (Some(path), &port["name"]), "{probe}");
    }
    let name = deployment["metadata"]["name"].as_str().unwrap();
    assert!(config.access.hosts.allows(name) && config.access.token_file.is_some());
    assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
    let mount = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    assert!(config.access.token_file.unwrap().starts_with(mount));
}

fn chapter() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/stdio-servers.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_chapter_names_options_and_files_that_exist() {
    let text = chapter();
    let command = Args::command();
    let known: Vec<_> = command.get_arguments().filter_map(|argument| argument.get_long()).collect();
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let of_others =
        ["transport", "header", "cli", "method", "now", "only", "path", "rm", "stop-timeout", "init", "help"];
    let mut named = 0;
    for option in words
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|option| option.starts_with(|c: char| c.is_ascii_lowercase()))
    {
        assert!(known.contains(&option) || of_others.contains(&option), "--{option}");
        named += usize::from(known.contains(&option));
    }
    assert!(named > 20, "{named}");
    let links = text.match_indices("](../").map(|(at, _)| text[at + 5..].split(')').next().unwrap());
    for link in links {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(link);
        assert!(path.exists(), "{link}");
    }
    let mut commands = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("mcp-session-gateway ")) {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        commands += 1;
    }
    assert!(commands > 0);
}

#[tokio::test]
async fn the_chapter_names_metrics_that_exist() {
    let gateway = Gateway::start(&[], &[]);
    let metrics = String::from_utf8(gateway.get("/metrics").await.body).expect("UTF-8");
    let text = chapter();
    let mut named = 0;
    for (at, _) in text.match_indices("mcp_gateway_") {
        let end = text[at..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap();
        let name = &text[at..at + end];
        assert!(metrics.contains(&format!("\n{name}{{")), "{name}");
        named += 1;
    }
    assert!(named >= 3);
}

fn strings(list: &Yaml) -> Vec<String> {
    let text = |item: &Yaml| item.as_str().unwrap_or_else(|| panic!("{item:?} is no text")).to_owned();
    list.as_vec().expect("a list").iter().map(text).collect()
}
