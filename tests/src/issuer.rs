//! [`TestIssuer`]: an authorization server of the tests' own, which allows everything to everybody.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An authorization server on loopback: its metadata, its keys, registration, and the code flow with PKCE, which asks nobody.
#[derive(Clone)]
pub struct TestIssuer(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    key: EncodingKey,
    jwk: Value,
    /// The codes that were given, with what they are good for.
    codes: Mutex<HashMap<String, Granted>>,
}

#[derive(Clone)]
struct Granted {
    challenge: String,
    client: String,
    resource: String,
    scope: String,
}

impl std::fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestIssuer").field("address", &self.0.address).finish_non_exhaustive()
    }
}

impl TestIssuer {
    /// Starts one on a free port; it ends with the runtime.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let pair = rcgen::KeyPair::generate().expect("a key pair");
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).expect("a public key");
        jwk.common.key_id = Some("test".to_owned());
        let issuer = Self(Arc::new(Inner {
            address: listener.local_addr().expect("an address"),
            key,
            jwk: serde_json::to_value(jwk).expect("JSON"),
            codes: Mutex::default(),
        }));
        let app = Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/jwks", get(async |State(issuer): State<Self>| Json(json!({ "keys": [issuer.0.jwk] }))))
            .route("/register", post(register))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        issuer
    }

    /// Its name, and the URL at which its metadata are found.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// A token for this resource, with these claims besides or instead.
    pub fn token(&self, resource: &str, more: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let mut claims = json!({
            "iss": self.url(), "aud": resource, "sub": "alice", "scope": "mcp",
            "exp": (now + Duration::from_secs(300)).as_secs(),
        });
        for (claim, value) in more.as_object().into_iter().flatten() {
            claims[claim] = value.clone();
        }
        let mut header = Header::new(Algorithm::ES256);
        (header.kid, header.typ) = (Some("test".to_owned()), Some("at+jwt".to_owned()));
        encode(&header, &claims, &self.0.key).expect("a token")
    }
}

async fn metadata(State(issuer): State<TestIssuer>) -> Json<Value> {
    let url = issuer.url();
    Json(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "registration_endpoint": format!("{url}/register"),
        "jwks_uri": format!("{url}/jwks"),
        "scopes_supported": ["mcp"],
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
    }))
}

async fn register(Json(mut client): Json<Value>) -> Response {
    client["client_id"] = "test-client".into();
    client["token_endpoint_auth_method"] = "none".into();
    (StatusCode::CREATED, Json(client)).into_response()
}

async fn authorize(
    State(issuer): State<TestIssuer>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let field = |name: &str| asked.get(name).cloned().unwrap_or_default();
    if field("response_type") != "code" || field("code_challenge_method") != "S256" {
        return (StatusCode::BAD_REQUEST, "only the code flow with S256").into_response();
    }
    let granted = Granted {
        challenge: field("code_challenge"),
        client: field("client_id"),
        resource: field("resource"),
        scope: field("scope"),
    };
    let code = {
        let mut codes = issuer.0.codes.lock().expect("no panic under it");
        let code = format!("code-{}", codes.len());
        codes.insert(code.clone(), granted);
        code
    };
    let (back, state) = (field("redirect_uri"), field("state"));
    let separator = if back.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{back}{separator}code={code}&state={state}")).into_response()
}

async fn token(State(issuer): State<TestIssuer>, Form(asked): Form<HashMap<String, String>>) -> Response {
    let field = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let granted = issuer.0.codes.lock().expect("no panic under it").get(&field("code")).cloned();
    let proof = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
    match granted {
        Some(granted) if granted.challenge == proof && granted.client == field("client_id") => {
            let scope = if granted.scope.is_empty() { "mcp".to_owned() } else { granted.scope };
            let token =
                issuer.token(&granted.resource, &json!({ "client_id": granted.client, "scope": scope }));
            let answer =
                json!({ "access_token": token, "token_type": "Bearer", "expires_in": 300, "scope": scope });
            Json(answer).into_response()
        }
        _ => (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response(),
    }
}
