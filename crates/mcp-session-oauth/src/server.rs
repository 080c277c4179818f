//! [`ResourceServer`]: checks the tokens of all requests.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, header, request::Parts};
use jsonwebtoken::{Validation, dangerous, decode, decode_header, errors::ErrorKind};
use mcp_session_core::{AuthError, AuthFuture, Authenticate, Principal, Runtime};
use serde_json::{Map, Value};

use crate::{
    challenge::Challenges,
    error::{ConfigError, Refused},
    issuer::Issuer,
    jwks::is_accepted,
    keys::Keys,
    metadata::Metadata,
    scope::{Hierarchy, Scopes},
    token::{AccessToken, canonical},
    trace,
};

/// The resource server of the MCP authorization pages: it accepts the access tokens (JWT, RFC 9068) of the issuers that it is given,
/// for this resource, and tells clients where to get one (RFC 9728). Cheap to clone.
///
/// An [`Authenticate`], for [`Config::authenticate`](mcp_session_core::Config::authenticate). Of a request that it accepts, it
/// removes the header `Authorization`, and adds the [`Principal`] `ISSUER#SUBJECT` and the [`AccessToken`].
///
/// ```
/// use std::sync::Arc;
/// use mcp_session_core::{Config, Runtime};
/// use mcp_session_oauth::{ConfigError, Keys, ResourceServer};
///
/// fn protect(config: &mut Config, keys: Keys, runtime: Arc<dyn Runtime>) -> Result<ResourceServer, ConfigError> {
///     let server = ResourceServer::builder("https://mcp.example.com/mcp")
///         .issuer("https://auth.example.com", keys)
///         .require("mcp")
///         .offer("files:read files:write")
///         .build(runtime)?;
///     config.authenticate = Some(Arc::new(server.clone()));
///     Ok(server) // its `respond` belongs before the route of the endpoint
/// }
/// # let _ = protect;
/// ```
#[derive(Clone)]
pub struct ResourceServer(Arc<Inner>);

struct Inner {
    issuers: Vec<Issuer>,
    /// In their canonical form.
    audiences: Vec<String>,
    hierarchy: Hierarchy,
    metadata: Metadata,
    challenges: Arc<Challenges>,
    runtime: Arc<dyn Runtime>,
}

/// Makes a [`ResourceServer`].
#[derive(Debug, Clone)]
#[must_use = "it makes a resource server when it is built"]
pub struct Builder {
    resource: String,
    issuers: Vec<(String, Keys)>,
    audiences: Vec<String>,
    required: String,
    offered: String,
    /// Broader scopes, and what they imply.
    implied: Vec<(String, String)>,
    name: Option<String>,
}

/// With this scope a client asks its authorization server for a refresh token. No resource needs it (I-17).
const OFFLINE_ACCESS: &str = "offline_access";

impl ResourceServer {
    /// A server for the resource with this URL: that of the endpoint, as clients write it. It is the audience that tokens must have.
    pub fn builder(resource: impl Into<String>) -> Builder {
        Builder {
            resource: resource.into(),
            issuers: Vec::new(),
            audiences: Vec::new(),
            required: String::new(),
            offered: String::new(),
            implied: Vec::new(),
            name: None,
        }
    }

    /// The response to a request for the metadata; `None` if the path is another one. For a route, or a layer, before the endpoint:
    /// it needs no token.
    ///
    /// GET, HEAD and OPTIONS at `/.well-known/oauth-protected-resource`, with and without the path of the resource behind it. Any
    /// other method gets 405.
    pub fn respond(&self, method: &Method, path: &str) -> Option<Response<Bytes>> {
        self.0.metadata.respond(method, path)
    }

    /// The path of the metadata, such as `/.well-known/oauth-protected-resource/mcp`.
    pub fn metadata_path(&self) -> &str {
        &self.0.metadata.path
    }

    /// The metadata, for servers that serve it elsewhere.
    pub fn metadata(&self) -> &Value {
        &self.0.metadata.document
    }

    async fn check(&self, parts: &mut Parts) -> Result<(), AuthError> {
        let Inner { challenges, .. } = &*self.0;
        let Some(token) = bearer(&parts.headers)? else { return Err(challenges.missing()) };
        let token = self.accept(token).await?;
        if !token.scopes().covers(&challenges.needed) {
            return Err(challenges.insufficient(&challenges.needed));
        }
        // It was for us: nobody behind may pass it on.
        parts.headers.remove(header::AUTHORIZATION);
        parts.extensions.insert(Principal::new(token.principal()));
        parts.extensions.insert(token);
        Ok(())
    }

    async fn accept(&self, token: &str) -> Result<AccessToken, AuthError> {
        let Inner { issuers, audiences, hierarchy, challenges, runtime, .. } = &*self.0;
        let refuse = |why| {
            trace::refused(why);
            challenges.invalid(why)
        };
        let header = decode_header(token).map_err(|_| refuse(Refused::Format))?;
        if !is_accepted(header.alg) || header.crit.is_some() || !is_access_token(header.typ.as_deref()) {
            return Err(refuse(Refused::Format));
        }
        // Only to find the keys: nothing of it is believed before the signature is checked.
        let said: Map<String, Value> =
            dangerous::insecure_decode_claims(token).map_err(|_| refuse(Refused::Format))?;
        let named = said.get("iss").and_then(Value::as_str);
        let issuer = issuers.iter().find(|issuer| Some(&*issuer.name) == named);
        let issuer = issuer.ok_or_else(|| refuse(Refused::Issuer))?;
        let id = header.kid.as_deref();
        let keys = issuer.keys_for(id, header.alg, &**runtime).await;
        let keys = keys.map_err(|_| AuthError::Unavailable)?;
        // Times and audience are checked by the clock of the runtime, once the signature is.
        let mut validation = Validation::new(header.alg);
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        validation.required_spec_claims.clear();
        let mut why = Refused::Key;
        for key in keys.fitting(id, header.alg) {
            match decode::<Map<String, Value>>(token, key, &validation) {
                Ok(verified) => {
                    let now = runtime.system_time();
                    return AccessToken::new(verified.claims, audiences, hierarchy, now, challenges)
                        .map_err(refuse);
                }
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => why = Refused::Signature,
                Err(_) => {}
            }
        }
        Err(refuse(why))
    }
}

/// Whether a token of this type may be one for access: another kind of token by the same issuer, such as a proof, is none.
fn is_access_token(kind: Option<&str>) -> bool {
    let kind = kind.unwrap_or("JWT").to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}

/// The bearer token; `None` without credentials, or with those of another scheme.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(AuthError::Malformed);
    }
    let value = value.to_str().map_err(|_| AuthError::Malformed)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    // RFC 6750, 2.1.
    let token = token.trim_matches(' ');
    let is_valid = |it: u8| it.is_ascii_alphanumeric() || b"-._~+/=".contains(&it);
    if token.is_empty() || !token.bytes().all(is_valid) { Err(AuthError::Malformed) } else { Ok(Some(token)) }
}

impl Authenticate for ResourceServer {
    fn authenticate<'a>(&'a self, parts: &'a mut Parts) -> AuthFuture<'a> {
        AuthFuture::new(self.check(parts))
    }
}

impl fmt::Debug for ResourceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServer")
            .field("issuers", &self.0.issuers)
            .field("metadata", self.metadata())
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Accepts the tokens of this issuer, whose name is the claim `iss` in them, to the letter. At least one.
    pub fn issuer(mut self, issuer: impl Into<String>, keys: Keys) -> Self {
        self.issuers.push((issuer.into(), keys));
        self
    }

    /// Each request needs these scopes, which blanks separate. None by default. A handler may need more:
    /// [`AccessToken::require`].
    pub fn require(mut self, scopes: impl Into<String>) -> Self {
        self.required = scopes.into();
        self
    }

    /// The scopes that exist besides, for the metadata.
    pub fn offer(mut self, scopes: impl Into<String>) -> Self {
        self.offered = scopes.into();
        self
    }

    /// A token with the scope `broader` has the scopes `narrower` too, which blanks separate, and what these imply. Clients are told
    /// the narrow ones, which are what a request needs.
    ///
    /// ```
    /// # use mcp_session_oauth::ResourceServer;
    /// let builder = ResourceServer::builder("https://mcp.example.com/mcp")
    ///     .require("mcp")
    ///     .implies("admin", "files:write")
    ///     .implies("files:write", "mcp files:read");
    /// # let _ = builder;
    /// ```
    pub fn implies(mut self, broader: impl Into<String>, narrower: impl Into<String>) -> Self {
        self.implied.push((broader.into(), narrower.into()));
        self
    }

    /// Accepts tokens for this audience too, for issuers that name a resource in their own way.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// What people call the resource, for the metadata.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Checks all of it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        self.parts().map(drop)
    }

    /// Makes the server. It measures time by this runtime.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn build(self, runtime: Arc<dyn Runtime>) -> Result<ResourceServer, ConfigError> {
        let (metadata, needed, hierarchy) = self.parts()?;
        let Self { resource, issuers, mut audiences, .. } = self;
        audiences.push(resource);
        let audiences = audiences.iter().map(|audience| canonical(audience)).collect();
        let challenges = Arc::new(Challenges { metadata: metadata.url.clone(), needed });
        let issuers = issuers.into_iter().map(|(name, keys)| Issuer::new(name, keys)).collect();
        Ok(ResourceServer(Arc::new(Inner { issuers, audiences, hierarchy, metadata, challenges, runtime })))
    }

    /// The metadata, the scopes that each request needs, and what scopes imply.
    fn parts(&self) -> Result<(Metadata, Scopes, Hierarchy), ConfigError> {
        if self.issuers.is_empty() {
            return Err(ConfigError::NoIssuer);
        }
        for (index, (issuer, _)) in self.issuers.iter().enumerate() {
            let is_http = issuer.starts_with("https://") || issuer.starts_with("http://");
            if !is_http || issuer.contains(['?', '#', '"', ' ']) || issuer.parse::<http::Uri>().is_err() {
                return Err(ConfigError::Issuer);
            }
            if self.issuers[..index].iter().any(|(other, _)| other == issuer) {
                return Err(ConfigError::RepeatedIssuer(issuer.clone()));
            }
        }
        let needed = Scopes::parse(&self.required)?;
        let all: Scopes =
            needed.iter().chain(Scopes::parse(&self.offered)?.iter()).map(str::to_owned).collect();
        if all.has(OFFLINE_ACCESS) {
            return Err(ConfigError::OfflineAccess);
        }
        let mut hierarchy = Hierarchy::default();
        for (broader, narrower) in &self.implied {
            if broader.is_empty() || broader.contains(' ') || Scopes::parse(broader).is_err() {
                return Err(ConfigError::Scope(broader.clone()));
            }
            hierarchy.add(broader, Scopes::parse(narrower)?);
        }
        let names: Vec<&str> = self.issuers.iter().map(|(issuer, _)| &**issuer).collect();
        let metadata = Metadata::new(&self.resource, &names, &all, self.name.as_deref())?;
        Ok((metadata, needed, hierarchy))
    }
}
