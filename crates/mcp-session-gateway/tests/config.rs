//! What is set, and errors that say what would make it right.

mod common;
mod program;

use std::{fs, path::PathBuf, time::Duration};

use clap::{CommandFactory, Parser};
use mcp_session_gateway::{
    args::Args,
    config::{Bind, GatewayConfig, LogFormat, ReportFormat},
    server::config::{Mode, Restart, ServerConfig, StderrTo},
};
use program::run;

fn parse(args: &[&str]) -> Result<GatewayConfig, String> {
    let args = [&["mcp-session-gateway"], args].concat();
    let args = Args::try_parse_from(args).map_err(|error| error.to_string())?;
    args.gateway().map_err(|error| error.to_string())
}

/// The configuration of a file with this text. Errors do not name the file.
fn of_file(name: &str, text: &str, options: &[&str]) -> Result<GatewayConfig, String> {
    let path: PathBuf = std::env::temp_dir().join(format!("gateway-config-{}-{name}", std::process::id()));
    fs::write(&path, text).unwrap();
    let path_text = path.to_str().unwrap();
    let config = parse(&[&["--config", path_text], options].concat());
    fs::remove_file(&path).unwrap();
    config.map_err(|error| error.replace(path_text, "FILE"))
}

#[test]
fn the_defaults_are_those_of_the_servers_and_on_loopback() {
    let config = parse(&["--", "uvx", "mcp-server-time"]).unwrap();
    assert_eq!((config.bind, config.grace), (Bind::Tcp("127.0.0.1:8000".into()), Duration::from_secs(15)));
    assert_eq!(
        (config.lame_duck, config.report, config.log),
        (Duration::ZERO, ReportFormat::Table, LogFormat::Text)
    );
    assert!(config.tls.is_none() && config.access.token_file.is_none() && !config.access.cors && config.view);
    assert!(config.access.hosts.allows("localhost") && !config.access.hosts.allows("example.com"));
    let server = &config.servers[0];
    let expected = ServerConfig::new("mcp-server-time", server.command.clone());
    assert_eq!(format!("{server:?}"), format!("{expected:?}"));
    assert_eq!((server.command.program.as_os_str(), server.command.args.len()), ("uvx".as_ref(), 1));
}

#[test]
fn the_help_states_the_defaults() {
    let config = parse(&["--", "uvx"]).unwrap();
    let server = &config.servers[0];
    // On one line: it may be wrapped, with the width of a terminal.
    let help = Args::command().render_long_help().to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let stated = |option: &str| {
        let from = help.find(&format!("--{option} <")).unwrap_or_else(|| panic!("{option}"));
        let rest = &help[from..];
        let from = rest.find("[default: ").unwrap_or_else(|| panic!("{option}")) + "[default: ".len();
        rest[from..rest[from..].find(']').unwrap() + from].to_owned()
    };
    let time = |time: Duration| match time.as_secs() {
        seconds if seconds % 60 == 0 && seconds > 60 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    };
    let limits = &server.limits;
    for (option, default) in [
        ("grace", time(config.grace)),
        ("lame-duck", time(config.lame_duck)),
        ("bind", config.bind.to_string()),
        ("close-timeout", time(server.budgets.close)),
        ("terminate-timeout", time(server.budgets.terminate)),
        ("warm", server.warm.to_string()),
        ("max-sessions", limits.sessions.to_string()),
        ("max-children", limits.children.to_string()),
        ("max-in-flight", limits.in_flight.to_string()),
        ("max-line", format!("{}MiB", limits.line >> 20)),
        ("max-body", format!("{}MiB", limits.body >> 20)),
        ("init-timeout", time(limits.init_timeout)),
        ("idle", time(limits.idle)),
    ] {
        assert_eq!(stated(option), default, "{option}");
    }
}

#[test]
fn the_examples_of_the_help_are_right() {
    let help = Args::command().render_long_help().to_string();
    let (_, examples) = help.split_once("Examples:").unwrap();
    let mut commands = 0;
    let joined = examples.replace("\\\n", " ");
    for line in joined.lines().map(str::trim).filter(|line| line.starts_with("mcp-session-gateway ")) {
        let args = Args::try_parse_from(line.split_whitespace());
        let args = args.unwrap_or_else(|error| panic!("{line}: {error}"));
        if !line.contains("--config") {
            args.gateway().unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        commands += 1;
    }
    assert_eq!(commands, 5);
    let (_, file) = examples.split_once("of the same names:\n").unwrap();
    let file: String =
        file.lines().take_while(|line| !line.is_empty()).map(|line| format!("{}\n", line.trim())).collect();
    let config = of_file("help.toml", &file, &[]).unwrap();
    let [git, time] = &config.servers[..] else { panic!("{config:?}") };
    assert_eq!((git.name.as_str(), git.limits.sessions), ("git", 100));
    assert_eq!((time.name.as_str(), time.mode), ("time", Mode::Shared));
}

const FILE: &str = r#"
bind = "unix:/run/mcp/gateway.sock"
grace = "10s"
lame-duck = "5s"
allow-host = ["mcp.example.com"]
allow-origin = ["https://app.example.com"]
cors = true
bearer-token-file = "/run/secrets/tokens"
tls-cert = "cert.pem"
tls-key = "key.pem"
report = "json"
log-format = "json"
no-view = true

[servers.one]
command = ["npx", "-y", "one"]
mode = "session"
env = { TOKEN = "hunter2", B = "2" }
inherit-env = ["MINE"]
header-env = { "x-api-token" = "API_TOKEN" }
stderr = "client"
cwd = "/"
close-timeout = "1s"
terminate-timeout = "3s"
max-sessions = 1
max-children = 2
max-in-flight = 3
max-line = "1MiB"
max-body = 4096
init-timeout = "4s"
call-timeout = "5s"
idle = "6s"
max-life = "7s"

[servers.two]
command = ["two"]
mode = "shared"
restart = "on-failure"
stderr = "discard"

[servers.three]
command = ["three"]
mode = "request"
warm = 7
"#;

#[test]
fn a_file_sets_everything_and_options_replace_it() {
    let config = of_file("all.toml", FILE, &["--grace", "1s", "--allow-host", "other.example.com"]).unwrap();
    assert_eq!(config.bind, Bind::Unix("/run/mcp/gateway.sock".into()));
    assert_eq!((config.grace, config.lame_duck), (Duration::from_secs(1), Duration::from_secs(5)));
    assert!(config.access.hosts.allows("mcp.example.com") && config.access.hosts.allows("other.example.com"));
    assert!(config.access.origins.allows("https://app.example.com") && config.access.cors);
    assert_eq!(config.tls.as_ref().unwrap().key, PathBuf::from("key.pem"));
    assert_eq!((config.report, config.log, config.view), (ReportFormat::Json, LogFormat::Json, false));
    assert!(!format!("{config:?}").contains("hunter2"));
    let [one, three, two] = &config.servers[..] else { panic!("{config:?}") };
    assert_eq!(one.command.env, [("B".into(), "2".into()), ("TOKEN".into(), "hunter2".into())]);
    assert!(one.command.inherit.contains(&"MINE".into()) && one.command.inherit.contains(&"PATH".into()));
    assert_eq!(
        (one.header_env[0].header.as_str(), one.header_env[0].variable.as_str()),
        ("x-api-token", "API_TOKEN")
    );
    assert_eq!(
        (one.mode, one.stderr, one.command.cwd.as_deref()),
        (Mode::Session, StderrTo::Client, Some("/".as_ref()))
    );
    let seconds = |time: Duration| time.as_secs();
    assert_eq!((seconds(one.budgets.close), seconds(one.budgets.terminate)), (1, 3));
    let limits = &one.limits;
    assert_eq!((limits.sessions, limits.children, limits.in_flight), (1, 2, 3));
    assert_eq!((limits.line, limits.body), (1 << 20, 4096));
    let times = [Some(limits.init_timeout), limits.call_timeout, Some(limits.idle), limits.max_life];
    assert_eq!(times.map(|time| time.map(seconds)), [4, 5, 6, 7].map(Some));
    assert_eq!((two.restart.restart, two.stderr), (Restart::OnFailure, StderrTo::Discard));
    assert_eq!((three.mode, three.warm), (Mode::Request, 7));
}

#[test]
fn errors_say_what_would_make_it_right() {
    let server = "[servers.one]\ncommand = [\"one\"]\n";
    for (text, says) in [
        ("", vec!["there is no server", "[servers.time]"]),
        (
            "[servers.one]\n",
            vec!["FILE: servers.one.command: it is missing", r#"["uvx", "mcp-server-time"]"#],
        ),
        ("[servers.one]\ncommand = \"one\"\n", vec!["FILE", "line 2", "command"]),
        ("[servers.one]\ncommand = []\n", vec!["servers.one.command: it is missing"]),
        ("[servers.mcp]\ncommand = [\"a\"]\n", vec!["FILE: servers", "a path of the gateway itself"]),
        ("[servers.\"a b\"]\ncommand = [\"a\"]\n", vec!["cannot be the name of a server", "letters, digits"]),
        (&format!("graze = \"1s\"\n{server}"), vec!["line 1", "unknown field `graze`", "`grace`"]),
        (
            &format!("{server}max-session = 1\n"),
            vec!["line 3", "unknown field `max-session`", "`max-sessions`"],
        ),
        (&format!("grace = \"1\"\n{server}"), vec!["line 1", "write a whole number and a unit"]),
        (&format!("bind = \"8000\"\n{server}"), vec!["line 1", "write a host and a port"]),
        (&format!("{server}mode = \"many\"\n"), vec!["line 3", "unknown variant `many`", "`shared`"]),
        (&format!("{server}max-body = \"1MB\"\n"), vec!["line 3", "KiB, MiB or GiB"]),
        (&format!("{server}max-body = 10\n"), vec!["servers.one.max-body", "at least 256"]),
        (
            &format!("{server}max-children = 0\n"),
            vec!["servers.one.max-children", "no child could be started", "at least 1"],
        ),
        (&format!("{server}idle = \"0s\"\n"), vec!["servers.one.idle", "every session would end at once"]),
        (&format!("{server}warm = 1\n"), vec!["servers.one.warm", "mode request"]),
        (&format!("{server}restart = \"never\"\n"), vec!["servers.one.restart", "mode shared"]),
        (
            &format!("{server}mode = \"shared\"\nheader-env = {{ a = \"A\" }}\n"),
            vec!["servers.one.header-env", "mode session"],
        ),
        (
            &format!("{server}mode = \"request\"\nstderr = \"client\"\n"),
            vec!["servers.one.stderr", "mode session"],
        ),
        (&format!("{server}env = {{ \"A B\" = \"1\" }}\n"), vec!["line 3", "letters, digits and _"]),
        (&format!("{server}cwd = \"/no/such\"\n"), vec!["servers.one.cwd", "/no/such is no directory"]),
        (&format!("tls-cert = \"a\"\n{server}"), vec!["FILE: tls-cert", "set tls-key"]),
        (&format!("allow-host = [\"a/b\"]\n{server}"), vec!["FILE: allow-host", "a host such as"]),
    ] {
        let error = of_file("errors.toml", text, &[]).unwrap_err();
        for says in says {
            assert!(error.contains(says), "{text}: {error}, which does not say {says:?}");
        }
    }
    for (args, says) in [
        (vec![], "write `-- COMMAND [ARG]...`"),
        (vec!["--config", "/no/such.toml"], "--config: cannot read /no/such.toml"),
        (vec!["--config", "a.toml", "--", "b"], "put it into the file"),
        (vec!["--config", "a.toml", "--mode", "shared"], "cannot be used with"),
        (vec!["--tls-key", "a", "--", "b"], "--tls-key: TLS needs the certificate too"),
        (vec!["--allow-origin", "app.example.com", "--", "b"], "--allow-origin: "),
        (vec!["--env", "TOKEN", "--", "b"], "--inherit-env"),
        (vec!["--max-sessions", "0", "--", "b"], "--max-sessions: 0 is too small"),
        (vec!["--name", "metrics", "--", "b"], "--name: "),
    ] {
        let error = parse(&args).unwrap_err();
        assert!(error.contains(says), "{args:?}: {error}, which does not say {says:?}");
    }
}

#[test]
fn what_cannot_start_says_so_and_exits() {
    let bad = run(&["--bind", "8000", "--", "true"]);
    assert_eq!(bad.status.code(), Some(2));
    let nothing = run(&[]);
    assert_eq!((nothing.status.code(), nothing.stdout.as_str()), (Some(2), ""));
    assert!(nothing.log.starts_with("error: COMMAND: there is nothing to serve"), "{nothing:?}");
    for (args, says) in [
        (vec!["--", "/no/such/program"], "its process does not start"),
        (vec!["--", "true"], "server true"),
        (vec!["--bearer-token-file", "/no/such", "--", "true"], "--bearer-token-file: cannot read /no/such"),
        (
            vec!["--tls-cert", "/no/such", "--tls-key", "/no/such", "--", "true"],
            "cannot read a certificate in PEM",
        ),
        (vec!["--bind", "unix:/no/such/a.sock", "--", "true"], "--bind: cannot listen on /no/such/a.sock"),
    ] {
        let failed = run(&[&["--bind", "127.0.0.1:0"], &args[..]].concat());
        let failed = if args[0] == "--bind" { run(&args) } else { failed };
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        assert!(failed.log.contains("error: ") && failed.log.contains(says), "{args:?}: {failed:?}");
    }
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = run(&["completions", shell]);
        assert!(printed.status.success() && printed.stdout.contains("lame-duck"), "{shell}");
    }
    assert_eq!(run(&["completions", "cmd"]).status.code(), Some(2));
    let page = run(&["man"]);
    assert!(page.status.success() && page.stdout.contains(".TH mcp-session-gateway 1"));
    assert!(page.stdout.contains("lame\\-duck") && page.stdout.contains("Examples:"), "{}", page.stdout);
}
