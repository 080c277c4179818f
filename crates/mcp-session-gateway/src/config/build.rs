//! From settings to a configuration: defaults, and what cannot work.

use std::{path::Path, time::Duration};

use super::{
    Access, ConfigError, GatewayConfig, Place, TlsFiles,
    settings::{FrontSettings, ModeSetting, ServerSettings, StderrSetting},
    values::{Bind, Size, Time},
};
use crate::{
    child::command::CommandLine,
    server::config::{HeaderEnv, ServerConfig},
};

/// Where the gateway listens by default: on loopback, where only this machine can reach it.
const BIND: &str = "127.0.0.1:8000";

/// How long running calls have by default, as core's: enough for most tool calls, and half of what Kubernetes gives a pod.
const GRACE: Duration = Duration::from_secs(15);

/// Paths of the gateway itself.
const RESERVED: [&str; 4] = ["mcp", "livez", "readyz", "metrics"];

/// The smallest body: the shortest `initialize` has some 140 bytes.
const SMALLEST_BODY: usize = 256;

/// Programs that download and run a package, which has the better name.
const RUNNERS: [&str; 5] = ["npx", "uvx", "bunx", "pnpx", "pipx"];

/// A name for the server of the command line: that of its program or package.
pub(super) fn name_of(server: &ServerSettings) -> String {
    let mut words = server.command.iter().map(|word| Path::new(&word.0));
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let program = words.next().and_then(stem);
    let package = program.as_deref().filter(|program| RUNNERS.contains(program)).and_then(|_| {
        let package =
            words.find(|word| !word.to_string_lossy().starts_with('-') && word.as_os_str() != "run")?;
        let name = package.file_name()?.to_string_lossy().into_owned();
        Some(name.split(['@', '=']).next().unwrap_or_default().to_owned()) // without its version
    });
    let names = [package, program].into_iter().flatten();
    names.into_iter().find(|name| check_name(name).is_ok()).unwrap_or_else(|| "server".to_owned())
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !first || name.len() > 64 || !name.bytes().all(allowed) {
        return Err(format!(
            "{name:?} cannot be the name of a server: write up to 64 letters, digits, -, _ and ., a letter or a digit first"
        ));
    }
    if RESERVED.contains(&name) {
        return Err(format!("{name:?} is a path of the gateway itself: choose another name"));
    }
    Ok(())
}

/// The configuration of one server.
pub(super) fn server(
    place: Place<'_>,
    name: &str,
    settings: &ServerSettings,
) -> Result<ServerConfig, ConfigError> {
    let at = |setting: &str| place.server(name, setting);
    check_name(name).map_err(|problem| {
        let at = if let Place::File(path) = place {
            format!("{}: servers", path.display())
        } else {
            "--name".into()
        };
        ConfigError::new(at, problem)
    })?;
    let Some((program, args)) = settings.command.split_first().filter(|(program, _)| !program.0.is_empty())
    else {
        let problem =
            r#"it is missing: write the program and its arguments, such as ["uvx", "mcp-server-time"]"#;
        return Err(ConfigError::new(at("command"), problem));
    };
    let mut command = CommandLine::new(&program.0, args.iter().map(|argument| &argument.0));
    for variable in &settings.env {
        command = command.with_env(&variable.name, &variable.value);
    }
    for name in &settings.inherit_env {
        command = command.with_inherited(name);
    }
    if let Some(cwd) = &settings.cwd {
        if !cwd.is_dir() {
            let problem = format!("{} is no directory: children could not start there", cwd.display());
            return Err(ConfigError::new(at("cwd"), problem));
        }
        command.cwd = Some(cwd.clone());
    }
    let mut config = ServerConfig::new(name, command);
    config.mode = settings.mode.map_or(config.mode, Into::into);
    let own_child = matches!(settings.mode, None | Some(ModeSetting::Session));
    if !own_child && !settings.header_env.is_empty() {
        let problem = "a header is one client's, and a child is not: it needs mode session";
        return Err(ConfigError::new(at("header-env"), problem));
    }
    if !own_child && matches!(settings.stderr, Some(StderrSetting::Client)) {
        let problem = "no client owns a child here: it needs mode session; `log` keeps the lines";
        return Err(ConfigError::new(at("stderr"), problem));
    }
    if settings.warm.is_some() && !matches!(settings.mode, Some(ModeSetting::Request)) {
        return Err(ConfigError::new(
            at("warm"),
            "it needs mode request: no other starts children in advance",
        ));
    }
    if settings.restart.is_some() && !matches!(settings.mode, Some(ModeSetting::Shared)) {
        let problem = "it needs mode shared: in the others, a child that has died is never started again, its successor is";
        return Err(ConfigError::new(at("restart"), problem));
    }
    let headers = settings.header_env.iter();
    config.header_env =
        headers.map(|header| HeaderEnv::new(header.header.clone(), header.variable.clone())).collect();
    config.stderr = settings.stderr.map_or(config.stderr, Into::into);
    config.restart.restart = settings.restart.map_or(config.restart.restart, Into::into);
    config.warm = settings.warm.unwrap_or(config.warm);
    let time = |time: Option<Time>, default| time.map_or(default, |Time(time)| time);
    config.budgets.close = time(settings.close_timeout, config.budgets.close);
    config.budgets.terminate = time(settings.terminate_timeout, config.budgets.terminate);

    let limits = &mut config.limits;
    limits.sessions = settings.max_sessions.unwrap_or(limits.sessions);
    limits.children = settings.max_children.unwrap_or(limits.children);
    limits.in_flight = settings.max_in_flight.unwrap_or(limits.in_flight);
    limits.line = settings.max_line.map_or(limits.line, |Size(bytes)| bytes);
    limits.body = settings.max_body.map_or(limits.body, |Size(bytes)| bytes);
    limits.init_timeout = time(settings.init_timeout, limits.init_timeout);
    limits.call_timeout = settings.call_timeout.map(|Time(time)| time).or(limits.call_timeout);
    limits.idle = time(settings.idle, limits.idle);
    limits.max_life = settings.max_life.map(|Time(time)| time).or(limits.max_life);
    for (setting, value, least, why) in [
        ("max-sessions", limits.sessions, 1, "no client could open a session"),
        ("max-children", limits.children, 1, "no child could be started"),
        ("max-in-flight", limits.in_flight, 1, "every call would be refused"),
        ("max-line", limits.line, SMALLEST_BODY, "no answer to `initialize` would fit"),
        ("max-body", limits.body, SMALLEST_BODY, "no `initialize` would fit"),
    ] {
        if value < least {
            let problem = format!("{value} is too small: {why}; write at least {least}");
            return Err(ConfigError::new(at(setting), problem));
        }
    }
    for (setting, value, why) in [
        ("init-timeout", Some(limits.init_timeout), "no child could start in time"),
        ("call-timeout", limits.call_timeout, "no call could be answered in time"),
        ("idle", Some(limits.idle), "every session would end at once"),
        ("max-life", limits.max_life, "every session would end at once"),
    ] {
        if value.is_some_and(|value| value.is_zero()) {
            return Err(ConfigError::new(at(setting), format!("0 is too short: {why}")));
        }
    }
    Ok(config)
}

/// The configuration of the gateway: of options, else of the file, else the default.
pub(super) fn gateway(
    options: &FrontSettings,
    file: &FrontSettings,
    place: Place<'_>,
    servers: Vec<ServerConfig>,
) -> Result<GatewayConfig, ConfigError> {
    let mut access = Access::default();
    for (settings, place) in [(file, place), (options, Place::Options)] {
        access.has_hosts |= !settings.allow_host.is_empty();
        for host in &settings.allow_host {
            access.hosts.allow(host).map_err(|error| ConfigError::new(place.front("allow-host"), error))?;
        }
        for origin in &settings.allow_origin {
            access
                .origins
                .allow(origin)
                .map_err(|error| ConfigError::new(place.front("allow-origin"), error))?;
        }
    }
    access.cors = options.cors || file.cors;
    access.token_file = options.bearer_token_file.clone().or_else(|| file.bearer_token_file.clone());
    let cert = options.tls_cert.clone().or_else(|| file.tls_cert.clone());
    let key = options.tls_key.clone().or_else(|| file.tls_key.clone());
    let tls = match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        (Some(_), None) => {
            return Err(ConfigError::new(
                place.front("tls-cert"),
                "TLS needs the private key too: set tls-key",
            ));
        }
        (None, Some(_)) => {
            return Err(ConfigError::new(
                place.front("tls-key"),
                "TLS needs the certificate too: set tls-cert",
            ));
        }
    };
    let time = |option: Option<Time>, file: Option<Time>, default| {
        option.or(file).map_or(default, |Time(time)| time)
    };
    Ok(GatewayConfig {
        bind: options
            .bind
            .clone()
            .or_else(|| file.bind.clone())
            .unwrap_or_else(|| Bind::Tcp(BIND.to_owned())),
        grace: time(options.grace, file.grace, GRACE),
        lame_duck: time(options.lame_duck, file.lame_duck, Duration::ZERO),
        access,
        tls,
        report: options.report.or(file.report).unwrap_or_default(),
        log: options.log_format.or(file.log_format).unwrap_or_default(),
        view: !(options.no_view || file.no_view),
        servers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::OsText;

    #[test]
    fn the_server_of_the_command_line_has_the_name_of_its_program_or_package() {
        for (command, name) in [
            ("/usr/bin/mcp-server-time --verbose", "mcp-server-time"),
            ("./server.py", "server"),
            ("npx -y @modelcontextprotocol/server-everything@2026.1.1 stdio", "server-everything"),
            ("uvx mcp-server-git==1.2", "mcp-server-git"),
            ("pipx run mcp-server-time", "mcp-server-time"),
            ("npx", "npx"),
            ("metrics", "server"),
            ("\u{e9}t\u{e9}", "server"),
        ] {
            let command = command.split(' ').map(|word| OsText(word.into())).collect();
            let settings = ServerSettings { command, ..ServerSettings::default() };
            assert_eq!(name_of(&settings), name);
        }
    }
}
