//! [`Metadata`]: what clients read to learn which authorization server gives tokens for this resource (RFC 9728).

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use serde_json::{Value, json};

use crate::{error::ConfigError, scope::Scopes};

/// The place of the metadata of a resource at the root of its host.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The metadata of a protected resource, as it is served.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    pub(crate) path: String,
    pub(crate) url: String,
    pub(crate) document: Value,
    body: Bytes,
}

impl Metadata {
    /// # Errors
    ///
    /// [`ConfigError::Resource`].
    pub(crate) fn new(
        resource: &str,
        issuers: &[&str],
        scopes: &Scopes,
        name: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let uri: Uri = resource.parse().map_err(|_| ConfigError::Resource)?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(ConfigError::Resource);
        };
        if resource.contains('#') || authority.as_str().contains('@') {
            return Err(ConfigError::Resource);
        }
        // RFC 9728, 3.1: between the host and the path of the resource; a `/` that ends the resource goes.
        let rest = uri.path_and_query().map_or("", |it| it.as_str());
        let path = format!("{WELL_KNOWN}{}", uri.path().trim_end_matches('/'));
        let url = format!("{scheme}://{authority}{WELL_KNOWN}{}", rest.trim_end_matches('/'));
        let mut document = json!({
            "resource": resource,
            "authorization_servers": issuers,
            "bearer_methods_supported": ["header"],
        });
        if !scopes.is_empty() {
            document["scopes_supported"] = scopes.iter().collect();
        }
        if let Some(name) = name {
            document["resource_name"] = name.into();
        }
        let body = Bytes::from(document.to_string());
        Ok(Self { path, url, document, body })
    }

    /// The response to a request for this path, if it is the one of the metadata, or the one at the root of the host.
    pub(crate) fn respond(&self, method: &Method, path: &str) -> Option<Response<Bytes>> {
        if path != self.path && path != WELL_KNOWN {
            return None;
        }
        let (status, body) = match *method {
            Method::GET => (StatusCode::OK, self.body.clone()),
            Method::HEAD => (StatusCode::OK, Bytes::new()),
            Method::OPTIONS => (StatusCode::NO_CONTENT, Bytes::new()),
            _ => (StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        // Public, and without credentials: clients in browsers read it from any origin.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        match status {
            StatusCode::OK => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
            }
            StatusCode::NO_CONTENT => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
                headers.insert(
                    header::ACCESS_CONTROL_ALLOW_HEADERS,
                    HeaderValue::from_static("*, mcp-protocol-version"),
                );
            }
            _ => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            }
        }
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(resource: &str) -> Result<Metadata, ConfigError> {
        Metadata::new(resource, &["https://auth.example.com"], &Scopes::parse("read").unwrap(), Some("Notes"))
    }

    #[test]
    fn the_place_is_between_host_and_path() {
        for (resource, path, url) in [
            (
                "https://a.example/mcp",
                "/.well-known/oauth-protected-resource/mcp",
                "https://a.example/.well-known/oauth-protected-resource/mcp",
            ),
            (
                "https://a.example",
                "/.well-known/oauth-protected-resource",
                "https://a.example/.well-known/oauth-protected-resource",
            ),
            (
                "https://a.example/",
                "/.well-known/oauth-protected-resource",
                "https://a.example/.well-known/oauth-protected-resource",
            ),
            (
                "http://127.0.0.1:8000/x/mcp?k=v",
                "/.well-known/oauth-protected-resource/x/mcp",
                "http://127.0.0.1:8000/.well-known/oauth-protected-resource/x/mcp?k=v",
            ),
        ] {
            let metadata = metadata(resource).unwrap();
            assert_eq!((&*metadata.path, &*metadata.url), (path, url));
        }
        for bad in ["", "mcp", "/mcp", "ftp://a/mcp", "https://a.example/mcp#x", "https://user@a.example/mcp"]
        {
            assert_eq!(metadata(bad).unwrap_err(), ConfigError::Resource, "{bad:?}");
        }
    }

    /// I-01, I-02
    #[test]
    fn it_is_served_at_its_path_and_at_the_root() {
        let metadata = metadata("https://a.example/mcp").unwrap();
        for path in ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"] {
            let response = metadata.respond(&Method::GET, path).unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            let body: Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(
                body,
                json!({
                    "resource": "https://a.example/mcp",
                    "authorization_servers": ["https://auth.example.com"],
                    "bearer_methods_supported": ["header"],
                    "scopes_supported": ["read"],
                    "resource_name": "Notes",
                })
            );
            assert_eq!(metadata.respond(&Method::POST, path).unwrap().status(), 405);
            let preflight = metadata.respond(&Method::OPTIONS, path).unwrap();
            assert_eq!(preflight.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        }
        assert!(metadata.respond(&Method::GET, "/mcp").is_none());
        assert!(metadata.respond(&Method::GET, "/.well-known/oauth-protected-resource/other").is_none());
    }
}
