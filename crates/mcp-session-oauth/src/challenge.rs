//! [`Challenges`]: the `WWW-Authenticate` of a refusal, which tells a client how to get a token (RFC 6750, RFC 9728).

use http::HeaderValue;
use mcp_session_core::AuthError;

use crate::{error::Refused, scope::Scopes};

/// Writes challenges.
#[derive(Debug)]
pub(crate) struct Challenges {
    /// The URL of the metadata. It has no quote: an URL has none.
    pub(crate) metadata: String,
    /// What each request needs.
    pub(crate) needed: Scopes,
}

impl Challenges {
    /// 401 without a token.
    pub(crate) fn missing(&self) -> AuthError {
        unauthorized(&self.challenge("", &self.needed))
    }

    /// 401 with a token that is refused.
    pub(crate) fn invalid(&self, why: Refused) -> AuthError {
        let error = format!("error=\"invalid_token\", error_description=\"{why}\", ");
        unauthorized(&self.challenge(&error, &self.needed))
    }

    /// 403 with a token that lacks scopes.
    pub(crate) fn insufficient(&self, needed: &Scopes) -> AuthError {
        let challenge = self.challenge("error=\"insufficient_scope\", ", needed);
        HeaderValue::try_from(challenge).map_or(AuthError::Forbidden, AuthError::InsufficientScope)
    }

    fn challenge(&self, error: &str, scopes: &Scopes) -> String {
        let scope = if scopes.is_empty() { String::new() } else { format!(", scope=\"{scopes}\"") };
        format!("Bearer {error}resource_metadata=\"{}\"{scope}", self.metadata)
    }
}

fn unauthorized(challenge: &str) -> AuthError {
    AuthError::Unauthorized(HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer")))
}
