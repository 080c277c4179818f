//! [`AccessToken`]: what a token says that was accepted.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mcp_session_core::AuthError;
use serde_json::{Map, Value};

use crate::{
    challenge::Challenges,
    error::Refused,
    scope::{Hierarchy, Scopes},
};

/// What an accepted token says. The token itself is gone: it is not for anybody else, and must not be passed on.
///
/// In a handler it is in [`RequestContext::extensions`](mcp_session_core::RequestContext::extensions):
///
/// ```
/// use mcp_session_core::{AuthError, RequestContext, RpcError};
/// use mcp_session_oauth::AccessToken;
/// use serde_json::{Value, json};
///
/// async fn delete_file(cx: RequestContext) -> Result<Value, RpcError> {
///     let token = cx.extensions().get::<AccessToken>().ok_or(AuthError::Forbidden)?;
///     token.require("files:write")?; // 403 and `insufficient_scope`, so the client can ask its user for more
///     Ok(json!({ "content": [] }))
/// }
/// # let _ = delete_file;
/// ```
#[derive(Clone)]
pub struct AccessToken(Arc<Accepted>);

struct Accepted {
    claims: Map<String, Value>,
    scopes: Scopes,
    expires: SystemTime,
    challenges: Arc<Challenges>,
}

/// By how much clocks may differ.
const LEEWAY: Duration = Duration::from_secs(60);

impl AccessToken {
    /// Checks what a token with a good signature says. `audiences` are [`canonical`].
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub(crate) fn new(
        claims: Map<String, Value>,
        audiences: &[String],
        hierarchy: &Hierarchy,
        now: SystemTime,
        challenges: &Arc<Challenges>,
    ) -> Result<Self, Refused> {
        let is_ours =
            |audience: &Value| audience.as_str().is_some_and(|it| audiences.contains(&canonical(it)));
        let for_us = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        };
        if !for_us {
            return Err(Refused::Audience);
        }
        let expires = time(&claims, "exp").ok_or(Refused::Expired)?;
        if expires.checked_add(LEEWAY).is_some_and(|end| end <= now) {
            return Err(Refused::Expired);
        }
        let begins =
            claims.contains_key("nbf").then(|| time(&claims, "nbf").ok_or(Refused::NotYet)).transpose()?;
        if begins.is_some_and(|begins| now.checked_add(LEEWAY).is_none_or(|now| now < begins)) {
            return Err(Refused::NotYet);
        }
        let token = Self(Arc::new(Accepted {
            scopes: hierarchy.expand(scopes(&claims)),
            claims,
            expires,
            challenges: Arc::clone(challenges),
        }));
        if token.subject().is_none() && token.client().is_none() {
            return Err(Refused::Nobody);
        }
        Ok(token)
    }

    /// Who has allowed the client to act: the claim `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// The client that got the token: the claim `client_id`, or `azp`.
    pub fn client(&self) -> Option<&str> {
        self.text("client_id").or_else(|| self.text("azp"))
    }

    /// Who gave it: the claim `iss`.
    pub fn issuer(&self) -> &str {
        self.text("iss").unwrap_or_default()
    }

    /// What it allows: the claim `scope`, or `scp`, and what these [imply](crate::Builder::implies).
    pub fn scopes(&self) -> &Scopes {
        &self.0.scopes
    }

    /// When it expires: the claim `exp`.
    pub fn expires(&self) -> SystemTime {
        self.0.expires
    }

    /// All that it says.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.0.claims
    }

    /// Refuses the request unless the token has these scopes, which blanks separate.
    ///
    /// # Errors
    ///
    /// [`AuthError::InsufficientScope`]: 403, with all that the client needs to ask for them. Scopes that no token can have are
    /// [`AuthError::Forbidden`].
    pub fn require(&self, scopes: &str) -> Result<(), AuthError> {
        let needed = Scopes::parse(scopes).map_err(|_| AuthError::Forbidden)?;
        if self.0.scopes.covers(&needed) { Ok(()) } else { Err(self.0.challenges.insufficient(&needed)) }
    }

    /// The name of whoever acts, unique among all issuers.
    pub(crate) fn principal(&self) -> String {
        match (self.subject(), self.client()) {
            (Some(subject), _) => format!("{}#{subject}", self.issuer()),
            (None, client) => format!("{}#client:{}", self.issuer(), client.unwrap_or_default()),
        }
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.0.claims.get(claim).and_then(Value::as_str).filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for AccessToken {
    /// Without what identifies somebody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("issuer", &self.issuer())
            .field("scopes", self.scopes())
            .field("expires", &self.expires())
            .finish_non_exhaustive()
    }
}

/// An audience as it is compared: of a URL, scheme and host in small letters; without a `/` at its end.
pub(crate) fn canonical(audience: &str) -> String {
    let audience = audience.trim_end_matches('/');
    let Some((scheme, rest)) = audience.split_once("://") else { return audience.to_owned() };
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    format!("{}://{}{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
}

fn scopes(claims: &Map<String, Value>) -> Scopes {
    let texts = match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.split(' ').collect(),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    texts.into_iter().filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
}

/// A claim in seconds since 1970, which may have a fraction.
fn time(claims: &Map<String, Value>, claim: &str) -> Option<SystemTime> {
    let seconds = claims.get(claim)?.as_f64()?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}
