//! Who may call: `Host`, `Origin` and bearer tokens, as core's configuration and with words of the gateway.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN},
        request::Parts,
        uri::Authority,
    },
    response::Response,
};
use mcp_session_core::{AuthError, Authenticate, Config, ConfigError as LimitError, Cors, Principal};
use subtle::ConstantTimeEq;

use super::reload::Reload;
use crate::{
    config::{Access, ConfigError},
    server::Server,
};

/// The shortest token: shorter ones can be guessed over a network.
const SHORTEST_TOKEN: usize = 16;

/// The principal of callers whose token has no name.
const UNNAMED: &str = "bearer";

/// Core's configuration of one server's endpoint.
///
/// # Errors
///
/// If a limit cannot work.
pub(crate) fn core_config(
    server: &Server,
    access: &Access,
    tokens: Option<&Arc<Tokens>>,
) -> Result<Config, LimitError> {
    let mut config = Config::default();
    server.configure(&mut config);
    config.bodies_in_flight = config.bodies_in_flight.max(config.body_limit);
    config.allowed_hosts = access.hosts.clone();
    config.allowed_origins = access.origins.clone();
    config.cors = access.cors.then(Cors::default);
    config.authenticate = tokens.map(|tokens| {
        let tokens = Arc::clone(tokens);
        Arc::new(move |parts: &mut Parts| authenticate(&tokens, parts)) as Arc<dyn Authenticate>
    });
    config.check()?;
    Ok(config)
}

/// Refuses, for one server, what core would refuse for its `Host` or `Origin`, but names the gateway's option, to the client and in the log.
/// What is malformed is left to core.
#[derive(Debug)]
pub(crate) struct Doorkeeper {
    access: Access,
    /// When the last refusal was logged, in seconds since the start, plus one.
    logged: AtomicU64,
    begun: Instant,
    refused: AtomicU64,
}

impl Doorkeeper {
    pub(crate) fn new(access: Access) -> Self {
        Self { access, logged: AtomicU64::new(0), begun: Instant::now(), refused: AtomicU64::new(0) }
    }

    /// The number of requests that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// The refusal of a request, if it is refused.
    pub(crate) fn refusal(&self, request: &Request) -> Option<Response> {
        let problem = self.problem(request)?;
        self.refused.fetch_add(1, Relaxed);
        let second = self.begun.elapsed().as_secs() + 1;
        if self.logged.swap(second, Relaxed) != second {
            tracing::warn!("refused with 403: {problem}");
        }
        let body = serde_json::json!({
            "jsonrpc": "2.0", "id": null, "error": { "code": -32600, "message": problem },
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = StatusCode::FORBIDDEN;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Some(response)
    }

    fn problem(&self, request: &Request) -> Option<String> {
        let authority = request.uri().authority().map(Authority::as_str);
        let host = authority.or_else(|| single(request.headers(), HOST.as_str()));
        let is_foreign = |host: &&str| !self.access.hosts.allows(host) && host.parse::<Authority>().is_ok();
        if let Some(host) = host.filter(is_foreign) {
            let host = bounded(host);
            return Some(format!("the host {host:?} is not served here; --allow-host {host} would allow it"));
        }
        let origin = single(request.headers(), ORIGIN.as_str())?;
        (!self.access.origins.allows(origin)).then(|| {
            let origin = bounded(origin);
            format!("web pages of {origin:?} are not served here; --allow-origin {origin} would allow them")
        })
    }
}

/// The value of a header that is there once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next()?, values.next());
    second.is_none().then(|| first.to_str().ok()).flatten()
}

/// What a client sent, for a message: as long as a name may be.
fn bounded(text: &str) -> &str {
    text.get(..255).unwrap_or(text)
}

/// The tokens of a file, read again when it changes.
#[derive(Debug)]
pub(crate) struct Tokens(Reload<Vec<Token>>);

struct Token {
    principal: Principal,
    token: String,
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, has no token, or one that is too short.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let file: PathBuf = path.into();
        let tokens = Reload::new(vec![path.into()], move || parse(&file));
        tokens.map(Self).map_err(|problem| ConfigError::new("--bearer-token-file", problem))
    }

    /// Whose token this is. Compares with all of them, in a time that says nothing of how much of one was right.
    fn principal(&self, token: &[u8]) -> Option<Principal> {
        let tokens = self.0.get();
        let mut found = None;
        for known in &*tokens {
            if bool::from(known.token.as_bytes().ct_eq(token)) {
                found = Some(known.principal.clone());
            }
        }
        found
    }
}

fn parse(path: &Path) -> Result<Vec<Token>, String> {
    let place = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {place}: {error}"))?;
    let mut tokens = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<_> = line.split_whitespace().collect();
        let (name, token) = match words[..] {
            [] => continue,
            [first, ..] if first.starts_with('#') => continue,
            [token] => (UNNAMED, token),
            [name, token] => (name, token),
            _ => return Err(format!("{place}, line {number}: write TOKEN or NAME TOKEN")),
        };
        if token.len() < SHORTEST_TOKEN {
            return Err(format!(
                "{place}, line {number}: the token has fewer than {SHORTEST_TOKEN} characters and can be guessed; `openssl rand -hex 32` makes a good one"
            ));
        }
        tokens.push(Token { principal: Principal::new(name), token: token.to_owned() });
    }
    if tokens.is_empty() {
        return Err(format!("{place} has no token; `openssl rand -hex 32` makes one, each has its own line"));
    }
    Ok(tokens)
}

/// Checks the bearer token of a request, and notes whose it is.
fn authenticate(tokens: &Tokens, parts: &mut Parts) -> Result<(), AuthError> {
    let unauthorized = |challenge| Err(AuthError::Unauthorized(HeaderValue::from_static(challenge)));
    let Some(value) = parts.headers.get(AUTHORIZATION) else { return unauthorized("Bearer") };
    let (scheme, token) = value.as_bytes().split_at(value.len().min(b"Bearer ".len()));
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return unauthorized("Bearer");
    }
    match tokens.principal(token) {
        None => unauthorized(r#"Bearer error="invalid_token""#),
        Some(principal) => {
            parts.extensions.insert(principal);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mcp-gateway-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn tokens_have_lines_and_perhaps_names() {
        let path = file("tokens", "# of the team\n\n0123456789abcdef\nalice  fedcba9876543210\n");
        let tokens = Tokens::read(&path).unwrap();
        let name = |token: &str| tokens.principal(token.as_bytes()).map(|who| who.as_str().to_owned());
        assert_eq!(name("0123456789abcdef").as_deref(), Some("bearer"));
        assert_eq!(name("fedcba9876543210").as_deref(), Some("alice"));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "alice", "alice fedcba9876543210"] {
            assert_eq!(name(wrong), None, "{wrong:?}");
        }
        assert!(!format!("{tokens:?}").contains("fedcba"));
        for (text, says) in [
            ("", "has no token"),
            ("# nothing\n", "has no token"),
            ("short\n", "line 1: the token has fewer than 16"),
            ("\na b c\n", "line 2: write TOKEN or NAME TOKEN"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Tokens::read(&path).unwrap_err().to_string();
            assert!(error.starts_with("--bearer-token-file: ") && error.contains(says), "{error}");
            assert!(!error.contains("short\n"));
        }
        fs::remove_file(&path).unwrap();
        assert!(Tokens::read(&path).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_bad_one_changes_nothing() {
        let path = file("changes", "0123456789abcdef\n");
        let tokens = Tokens::read(&path).unwrap();
        let later = |text: &str, seconds| {
            fs::write(&path, text).unwrap();
            let time = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
            fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
            tokens.0.look_now()
        };
        later("fedcba9876543210\n", 10);
        assert!(
            tokens.principal(b"0123456789abcdef").is_none()
                && tokens.principal(b"fedcba9876543210").is_some()
        );
        later("\n", 20);
        assert!(tokens.principal(b"fedcba9876543210").is_some());
        fs::remove_file(&path).unwrap();
    }
}
