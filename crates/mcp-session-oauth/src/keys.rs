//! [`Keys`]: where the public keys of an issuer come from.

use std::{error::Error, fmt, path::PathBuf, sync::Arc};

use futures::FutureExt;
use mcp_session_core::BoxFuture;
use serde::Deserialize;

use crate::{error::KeysError, jwks::KeySet};

/// What a closure that fetches may fail with.
pub type FetchError = Box<dyn Error + Send + Sync>;

/// Gets the body of a URL.
type Fetch = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Vec<u8>, FetchError>> + Send + Sync>;

/// Where the public keys of an issuer come from: text, a file, or the issuer itself.
///
/// A file and the issuer are asked again when a token has a key that is not known, at most every 30 seconds, and when the keys
/// are ten minutes old: so new keys are known as soon as they are used, and those that were withdrawn are forgotten. While they cannot
/// be read, the old ones are used for an hour; without any, requests get 503.
#[derive(Clone)]
pub struct Keys(Source);

#[derive(Clone)]
enum Source {
    Fixed(KeySet),
    File(PathBuf),
    /// With the URL of the keys; without one, the metadata of the issuer has it.
    Fetched(Option<String>, Fetch),
}

impl Keys {
    /// These keys for ever: the text of a JWK set (RFC 7517). Keys that cannot verify a token are left out.
    ///
    /// # Errors
    ///
    /// [`KeysError::NotKeys`].
    ///
    /// ```
    /// use mcp_session_oauth::Keys;
    ///
    /// assert!(Keys::fixed(r#"{ "keys": [] }"#).is_ok());
    /// assert!(Keys::fixed("keys").is_err());
    /// ```
    pub fn fixed(jwks: &str) -> Result<Self, KeysError> {
        Ok(Self(Source::Fixed(KeySet::parse(jwks.as_bytes())?)))
    }

    /// The JWK set in a file, which may change.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// The JWK set at this URL, which `fetch` gets: an HTTP client of your own, with its deadlines and its trust in certificates. It
    /// must fail if the status is not 200.
    ///
    /// ```
    /// use mcp_session_oauth::{FetchError, Keys};
    ///
    /// async fn get(url: String) -> Result<Vec<u8>, FetchError> {
    ///     Err(format!("no HTTP client for {url}").into()) // yours
    /// }
    /// let keys = Keys::at("https://auth.example.com/jwks.json", get);
    /// # let _ = keys;
    /// ```
    pub fn at<F, Fut>(url: impl Into<String>, fetch: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<u8>, FetchError>> + Send + 'static,
    {
        Self(Source::Fetched(Some(url.into()), boxed(fetch)))
    }

    /// The JWK set that the metadata of the issuer names (RFC 8414, or `OpenID` Connect Discovery), which `fetch` gets as in
    /// [`at`](Self::at).
    pub fn discovered<F, Fut>(fetch: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<u8>, FetchError>> + Send + 'static,
    {
        Self(Source::Fetched(None, boxed(fetch)))
    }

    /// Whether asking again may give other keys.
    pub(crate) fn may_change(&self) -> bool {
        !matches!(self.0, Source::Fixed(_))
    }

    /// Reads them.
    pub(crate) async fn read(&self, issuer: &str) -> Result<KeySet, KeysError> {
        match &self.0 {
            Source::Fixed(keys) => Ok(keys.clone()),
            Source::File(path) => {
                let path = path.clone();
                KeySet::parse(&blocking::unblock(move || std::fs::read(path)).await?)
            }
            Source::Fetched(Some(url), fetch) => KeySet::parse(&get(fetch, url).await?),
            Source::Fetched(None, fetch) => {
                let url = discover(issuer, fetch).await?;
                KeySet::parse(&get(fetch, &url).await?)
            }
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Fixed(keys) => f.debug_tuple("Fixed").field(keys).finish(),
            Source::File(path) => f.debug_tuple("File").field(path).finish(),
            Source::Fetched(Some(url), _) => f.debug_tuple("At").field(url).finish(),
            Source::Fetched(None, _) => f.write_str("Discovered"),
        }
    }
}

fn boxed<F, Fut>(fetch: F) -> Fetch
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<u8>, FetchError>> + Send + 'static,
{
    Arc::new(move |url| fetch(url).boxed())
}

async fn get(fetch: &Fetch, url: &str) -> Result<Vec<u8>, KeysError> {
    fetch(url.to_owned()).await.map_err(|error| KeysError::Fetch { url: url.to_owned(), error })
}

/// What is needed of the metadata of an authorization server.
#[derive(Deserialize)]
struct IssuerMetadata {
    issuer: String,
    jwks_uri: String,
}

/// The URL of the keys of an issuer: the first of its metadata documents that can be had decides.
async fn discover(issuer: &str, fetch: &Fetch) -> Result<String, KeysError> {
    let mut last = None;
    for url in places(issuer) {
        match get(fetch, &url).await {
            Ok(body) => {
                let refuse = |why: String| KeysError::Metadata { issuer: issuer.to_owned(), why };
                let found: IssuerMetadata =
                    serde_json::from_slice(&body).map_err(|error| refuse(error.to_string()))?;
                // RFC 8414, 3.3: another issuer's document would bring another issuer's keys.
                if found.issuer != issuer {
                    return Err(refuse("it is that of another issuer".to_owned()));
                }
                return Ok(found.jwks_uri);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("there are places"))
}

/// Where the metadata of an issuer may be, in the order of the specification.
fn places(issuer: &str) -> Vec<String> {
    let issuer = issuer.trim_end_matches('/');
    let host_ends = issuer.find("://").map_or(0, |scheme| scheme + 3);
    let path_begins = issuer[host_ends..].find('/').map_or(issuer.len(), |path| host_ends + path);
    let (host, path) = issuer.split_at(path_begins);
    let mut places = vec![
        format!("{host}/.well-known/oauth-authorization-server{path}"),
        format!("{host}/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        places.push(format!("{issuer}/.well-known/openid-configuration"));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_the_specification_says() {
        assert_eq!(
            places("https://a.example/t/1/"),
            [
                "https://a.example/.well-known/oauth-authorization-server/t/1",
                "https://a.example/.well-known/openid-configuration/t/1",
                "https://a.example/t/1/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            places("https://a.example"),
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ]
        );
    }
}
