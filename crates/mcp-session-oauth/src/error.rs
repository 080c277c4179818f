//! What can be wrong: [`ConfigError`] before any request, [`KeysError`] with the source of keys, [`Refused`] with a token.

use std::{fmt, io};

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The resource is no absolute URL, or has a fragment.
    #[error(
        "the resource must be the URL of the endpoint, without a fragment: write one such as https://mcp.example.com/mcp"
    )]
    Resource,
    /// An issuer is no absolute URL, or has a query or a fragment.
    #[error(
        "an issuer must be a URL without query and fragment, as in its tokens: write one such as https://auth.example.com"
    )]
    Issuer,
    /// The same issuer was given twice.
    #[error("each issuer can be given once: {0} was given twice")]
    RepeatedIssuer(String),
    /// No issuer was given.
    #[error("no issuer: give at least one, whose tokens are accepted")]
    NoIssuer,
    /// A scope has characters that no scope may have.
    #[error("a scope has printable characters, no blanks, quotes and backslashes: `{0}` is none")]
    Scope(String),
    /// `offline_access` is among the scopes.
    #[error("`offline_access` is for clients and their authorization server: a resource does not need it")]
    OfflineAccess,
}

/// Why the keys of an issuer cannot be read. Requests get 503 until they can.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file cannot be read.
    #[error("the file of keys cannot be read: {0}")]
    File(#[from] io::Error),
    /// The closure that fetches failed.
    #[error("{url} cannot be fetched: {error}")]
    Fetch {
        /// What was to be fetched.
        url: String,
        /// What the closure says.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was read is no JWK set (RFC 7517).
    #[error("no JWK set: {0}")]
    NotKeys(serde_json::Error),
    /// The issuer's metadata cannot be used.
    #[error("the metadata of {issuer} cannot be used: {why}")]
    Metadata {
        /// The issuer.
        issuer: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Why a token is refused. Without the token, and without anything that its sender chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is no signed JWT with an algorithm for public keys.
    Format,
    /// Its issuer is not one of those that were given.
    Issuer,
    /// No key of the issuer fits it.
    Key,
    /// Its signature is wrong.
    Signature,
    /// It is for another resource.
    Audience,
    /// It has expired, or has no time when it does.
    Expired,
    /// It is not valid yet.
    NotYet,
    /// It names neither a subject nor a client.
    Nobody,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Format => "the token is no JWT that is signed with a key pair",
            Self::Issuer => "the token is not by an issuer that is accepted here",
            Self::Key => "no key of the issuer fits the token",
            Self::Signature => "the signature of the token is wrong",
            Self::Audience => "the token is for another resource",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
            Self::Nobody => "the token names neither a subject nor a client",
        })
    }
}
