//! Which tokens are accepted, which are refused, and what the refusal says. In virtual time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, UNIX_EPOCH},
};

use http::{HeaderValue, header, request::Parts};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use mcp_session_core::{AuthError, Authenticate, Principal, Runtime};
use mcp_session_oauth::{AccessToken, ConfigError, FetchError, Keys, ResourceServer};
use mcp_session_testkit::SimRuntime;
use serde_json::{Value, json};

const RESOURCE: &str = "https://mcp.example.com/mcp";
const ISSUER: &str = "https://auth.example.com";
const METADATA: &str = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";

/// A key pair with an id.
struct Pair {
    id: &'static str,
    key: EncodingKey,
    jwk: Value,
}

impl Pair {
    fn new(id: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate().expect("a key pair");
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).expect("a public key");
        jwk.common.key_id = Some(id.to_owned());
        Self { id, key, jwk: serde_json::to_value(jwk).expect("JSON") }
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        (header.kid, header.typ) = (Some(self.id.to_owned()), Some("at+jwt".to_owned()));
        self.sign_with(&header, claims)
    }

    fn sign_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).expect("a token")
    }
}

fn jwks(pairs: &[&Pair]) -> String {
    json!({ "keys": pairs.iter().map(|pair| &pair.jwk).collect::<Vec<_>>() }).to_string()
}

/// What all of these tests have.
struct World {
    runtime: SimRuntime,
    pair: Pair,
    server: ResourceServer,
}

impl World {
    fn new() -> Self {
        let (runtime, pair) = (SimRuntime::new(1), Pair::new("one"));
        let keys = Keys::fixed(&jwks(&[&pair])).expect("keys");
        let server =
            ResourceServer::builder(RESOURCE).issuer(ISSUER, keys).require("mcp").offer("files:write");
        let server = server.build(Arc::new(runtime.clone())).expect("a server");
        Self { runtime, pair, server }
    }

    fn now(&self) -> u64 {
        self.runtime.system_time().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
    }

    /// What a good token says.
    fn claims(&self) -> Value {
        let now = self.now();
        json!({ "iss": ISSUER, "aud": RESOURCE, "sub": "alice", "scope": "mcp profile", "iat": now, "exp": now + 300 })
    }

    fn with(&self, claim: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[claim] = value;
        claims
    }

    fn check(&self, authorization: &[&str]) -> (Result<(), AuthError>, Parts) {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        for value in authorization {
            parts.headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).expect("a value"));
        }
        let checked = futures::executor::block_on(self.server.authenticate(&mut parts));
        (checked, parts)
    }

    fn accepts(&self, token: &str) -> Parts {
        let (checked, parts) = self.check(&[&format!("Bearer {token}")]);
        assert_eq!(checked, Ok(()));
        parts
    }

    /// The challenge of the refusal with 401.
    fn refuses(&self, token: &str) -> String {
        match self.check(&[&format!("Bearer {token}")]) {
            (Err(AuthError::Unauthorized(challenge)), parts) => {
                assert!(parts.extensions.get::<Principal>().is_none());
                challenge.to_str().expect("text").to_owned()
            }
            (other, _) => panic!("it is refused with 401: {other:?}"),
        }
    }
}

fn challenge(why: &str) -> String {
    format!(
        r#"Bearer error="invalid_token", error_description="{why}", resource_metadata="{METADATA}", scope="mcp""#
    )
}

/// I-06, I-11, I-15
#[test]
fn a_good_token_is_accepted_and_goes_no_further() {
    let world = World::new();
    let parts = world.accepts(&world.pair.sign(&world.claims()));
    assert!(!parts.headers.contains_key(header::AUTHORIZATION));
    assert_eq!(parts.extensions.get::<Principal>().unwrap().as_str(), "https://auth.example.com#alice");
    let token = parts.extensions.get::<AccessToken>().unwrap();
    assert_eq!((token.subject(), token.client(), token.issuer()), (Some("alice"), None, ISSUER));
    assert_eq!(token.scopes().iter().collect::<Vec<_>>(), ["mcp", "profile"]);
    assert_eq!(token.expires(), UNIX_EPOCH + Duration::from_secs(world.now() + 300));
    assert!(!format!("{token:?} {:?}", world.server).contains("alice"));
    // Another spelling of the scheme, a list of audiences, a `/` at their end, scopes as a list, a client without a user.
    let (checked, _) = world.check(&[&format!("bearer {}", world.pair.sign(&world.claims()))]);
    assert_eq!(checked, Ok(()));
    world.accepts(
        &world
            .pair
            .sign(&world.with("aud", json!(["https://other.example", "https://mcp.example.com/mcp/"]))),
    );
    let mut claims = world.with("scp", json!(["mcp"]));
    claims.as_object_mut().unwrap().remove("scope");
    world.accepts(&world.pair.sign(&claims));
    let mut claims = world.with("client_id", json!("robot"));
    claims.as_object_mut().unwrap().remove("sub");
    let parts = world.accepts(&world.pair.sign(&claims));
    assert_eq!(
        parts.extensions.get::<Principal>().unwrap().as_str(),
        "https://auth.example.com#client:robot"
    );
}

/// I-02, I-03, I-04, and I-14 for what is malformed.
#[test]
fn without_a_token_the_client_learns_where_to_get_one() {
    let world = World::new();
    let expected = format!(r#"Bearer resource_metadata="{METADATA}", scope="mcp""#);
    for credentials in [&[][..], &["Basic YTpi"], &["DPoP abc"]] {
        let (checked, _) = world.check(credentials);
        assert_eq!(checked, Err(AuthError::Unauthorized(HeaderValue::from_str(&expected).unwrap())));
    }
    for malformed in
        [&["Bearer"][..], &["Bearer "], &["Bearer a b"], &["Bearer a\"b"], &["Bearer a", "Bearer a"]]
    {
        assert_eq!(world.check(malformed).0, Err(AuthError::Malformed), "{malformed:?}");
    }
}

/// I-07, I-09
#[test]
fn what_a_token_must_say() {
    let world = World::new();
    let now = world.now();
    for (claim, value, why) in [
        ("iss", json!("https://evil.example"), "the token is not by an issuer that is accepted here"),
        ("iss", json!("https://auth.example.com/"), "the token is not by an issuer that is accepted here"),
        ("iss", Value::Null, "the token is not by an issuer that is accepted here"),
        ("aud", json!("https://other.example/mcp"), "the token is for another resource"),
        ("aud", json!(["https://mcp.example.com"]), "the token is for another resource"),
        ("aud", json!([]), "the token is for another resource"),
        ("aud", Value::Null, "the token is for another resource"),
        ("exp", json!(now - 61), "the token has expired"),
        ("exp", json!(now - 60), "the token has expired"),
        ("exp", json!("never"), "the token has expired"),
        ("exp", Value::Null, "the token has expired"),
        ("exp", json!(-1), "the token has expired"),
        ("nbf", json!(now + 61), "the token is not valid yet"),
        ("nbf", json!("now"), "the token is not valid yet"),
        ("sub", json!(""), "the token names neither a subject nor a client"),
    ] {
        let token = world.pair.sign(&world.with(claim, value.clone()));
        assert_eq!(world.refuses(&token), challenge(why), "{claim} {value}");
    }
    for (claim, value) in [("exp", json!(now - 59)), ("nbf", json!(now + 60)), ("nbf", json!(0.5))] {
        world.accepts(&world.pair.sign(&world.with(claim, value)));
    }
}

/// I-09
#[test]
fn a_token_ends_with_its_time() {
    let world = World::new();
    let token = world.pair.sign(&world.claims());
    world.accepts(&token);
    world.runtime.advance(Duration::from_secs(359));
    world.accepts(&token);
    world.runtime.advance(Duration::from_secs(1));
    assert_eq!(world.refuses(&token), challenge("the token has expired"));
}

/// I-10
#[test]
fn tokens_that_are_not_signed_by_a_key_pair_are_refused() {
    let world = World::new();
    let format = challenge("the token is no JWT that is signed with a key pair");
    for token in ["x", "a.b", "a.b.c", "..", "a.b.c.d", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(world.refuses(token), format, "{token}");
    }
    // The public key as a shared secret: whoever knows it could sign.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("one".to_owned());
    let secret = EncodingKey::from_secret(world.pair.jwk.to_string().as_bytes()).unwrap();
    assert_eq!(world.refuses(&encode(&header, &world.claims(), &secret).unwrap()), format);
    // Another kind of token, and an extension that must be understood.
    let mut header = Header::new(Algorithm::ES256);
    (header.kid, header.typ) = (Some("one".to_owned()), Some("dpop+jwt".to_owned()));
    assert_eq!(world.refuses(&world.pair.sign_with(&header, &world.claims())), format);
    // A key that the token brings itself counts for nothing.
    let stranger = Pair::new("stranger");
    let mut header = Header::new(Algorithm::ES256);
    header.jwk = Some(serde_json::from_value(stranger.jwk.clone()).unwrap());
    header.kid = Some("stranger".to_owned());
    let token = stranger.sign_with(&header, &world.claims());
    assert_eq!(world.refuses(&token), challenge("no key of the issuer fits the token"));
    // A stranger that calls its key by the name of ours, and a token without the name of its key.
    let impostor = Pair { id: "one", ..Pair::new("x") };
    assert_eq!(
        world.refuses(&impostor.sign(&world.claims())),
        challenge("the signature of the token is wrong")
    );
    let header = Header::new(Algorithm::ES256);
    world.accepts(&world.pair.sign_with(&header, &world.claims()));
}

/// I-09, I-10: a thousand tokens, each of which is wrong in one way or more; with the same changes undone it is accepted.
#[test]
fn a_thousand_forged_tokens_are_refused() {
    let world = World::new();
    let stranger = Pair { id: "one", ..Pair::new("x") };
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..1_000 {
        let good = world.pair.sign(&world.claims());
        let now = world.now();
        let forged = match round % 5 {
            0 => stranger.sign(&world.claims()),
            1 => world.pair.sign(&world.with("exp", json!(now - 61 - random.u64(0..100_000)))),
            2 => {
                world.pair.sign(&world.with("aud", json!(format!("https://{}.example/mcp", random.u32(..)))))
            }
            3 => {
                // One character of the claims or of the signature is another one. The last one of the signature has bits without meaning.
                let claims = good.find('.').unwrap() + 1;
                let mut bytes = good.clone().into_bytes();
                let at = random.usize(claims..bytes.len() - 1);
                bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
                String::from_utf8(bytes).unwrap()
            }
            _ => {
                // The claims of another token under this signature.
                let other = world.pair.sign(&world.with("sub", json!(format!("user-{}", random.u32(..)))));
                let (head, claims) = (other.split('.').next().unwrap(), other.split('.').nth(1).unwrap());
                format!("{head}.{claims}.{}", good.split('.').nth(2).unwrap())
            }
        };
        assert_ne!(forged, good);
        let said = world.refuses(&forged);
        assert!(said.contains("invalid_token"), "{said}");
        world.accepts(&good);
    }
}

/// I-04, I-12, I-13
#[test]
fn a_token_that_allows_too_little_gets_403_and_the_scopes() {
    let world = World::new();
    let token = world.pair.sign(&world.with("scope", json!("profile")));
    let (checked, parts) = world.check(&[&format!("Bearer {token}")]);
    let expected =
        format!(r#"Bearer error="insufficient_scope", resource_metadata="{METADATA}", scope="mcp""#);
    assert_eq!(checked, Err(AuthError::InsufficientScope(HeaderValue::from_str(&expected).unwrap())));
    assert!(parts.extensions.get::<AccessToken>().is_none());
    // From a handler.
    let parts = world.accepts(&world.pair.sign(&world.claims()));
    let token = parts.extensions.get::<AccessToken>().unwrap();
    assert_eq!(token.require("mcp"), Ok(()));
    let Err(AuthError::InsufficientScope(said)) = token.require("files:write mcp") else { panic!() };
    assert!(said.to_str().unwrap().ends_with(r#"scope="files:write mcp""#), "{said:?}");
}

/// I-16: what a broader scope implies is allowed too, over several steps, and in a circle; the challenge names what is needed.
#[test]
fn a_broader_scope_implies_narrower_ones() {
    let (runtime, pair) = (SimRuntime::new(1), Pair::new("one"));
    let builder = || {
        let keys = Keys::fixed(&jwks(&[&pair])).expect("keys");
        ResourceServer::builder(RESOURCE).issuer(ISSUER, keys).require("mcp")
    };
    let levels = builder().implies("admin", "write").implies("write", "read mcp").implies("read", "write");
    let server = levels.build(Arc::new(runtime.clone())).expect("a server");
    let world = World { runtime: runtime.clone(), pair: Pair::new("other"), server };
    let scopes = |allowed: &str| {
        let parts = world.accepts(&pair.sign(&world.with("scope", json!(allowed))));
        parts.extensions.get::<AccessToken>().expect("a token").scopes().to_string()
    };
    assert_eq!(scopes("mcp"), "mcp");
    assert_eq!(scopes("read"), "mcp read write");
    assert_eq!(scopes("admin profile"), "admin mcp profile read write");
    let parts = world.accepts(&pair.sign(&world.with("scope", json!("read"))));
    let token = parts.extensions.get::<AccessToken>().expect("a token");
    assert_eq!(token.require("read write"), Ok(()));
    assert!(token.require("admin").is_err(), "nothing implies it");
    let little = pair.sign(&world.with("scope", json!("profile")));
    let Err(AuthError::InsufficientScope(said)) = world.check(&[&format!("Bearer {little}")]).0 else {
        panic!("too little")
    };
    assert!(said.to_str().expect("text").ends_with(r#"scope="mcp""#), "{said:?}");
    for (broader, narrower) in [("", "mcp"), ("a b", "mcp"), ("a", "\"")] {
        let refused = builder().implies(broader, narrower).build(Arc::new(runtime.clone()));
        assert!(matches!(refused, Err(ConfigError::Scope(_))), "{broader:?} {narrower:?}");
    }
}

/// I-07, I-08: scheme and host count in any case of letters, the path to the letter.
#[test]
fn an_audience_may_have_capital_letters_in_its_host() {
    let (runtime, pair) = (SimRuntime::new(1), Pair::new("one"));
    let keys = Keys::fixed(&jwks(&[&pair])).expect("keys");
    let builder = ResourceServer::builder("https://MCP.example.com/Notes").issuer(ISSUER, keys);
    let server = builder.audience("urn:Notes").build(Arc::new(runtime.clone())).expect("a server");
    let world = World { runtime, pair, server };
    for audience in [
        "https://mcp.example.com/Notes",
        "HTTPS://Mcp.Example.COM/Notes",
        "https://mcp.example.com/Notes/",
        "urn:Notes",
    ] {
        world.accepts(&world.pair.sign(&world.with("aud", json!(audience))));
    }
    for audience in [
        "https://mcp.example.com/notes",
        "https://mcp.example.com",
        "http://mcp.example.com/Notes",
        "urn:notes",
        "//mcp.example.com/Notes",
    ] {
        let said = world.refuses(&world.pair.sign(&world.with("aud", json!(audience))));
        assert!(said.contains("for another resource"), "{audience}");
    }
}

/// An issuer whose answers can be changed, and that counts what it is asked.
#[derive(Clone, Default)]
struct Web {
    /// URLs and bodies.
    pages: Arc<Mutex<Vec<(String, String)>>>,
    asked: Arc<AtomicUsize>,
}

impl Web {
    fn set(&self, url: &str, body: &str) {
        let mut pages = self.pages.lock().unwrap();
        pages.retain(|(known, _)| known != url);
        pages.push((url.to_owned(), body.to_owned()));
    }

    fn clear(&self) {
        self.pages.lock().unwrap().clear();
    }

    fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }

    fn fetch(&self) -> impl Fn(String) -> std::future::Ready<Result<Vec<u8>, FetchError>> + use<> {
        let this = self.clone();
        move |url| {
            this.asked.fetch_add(1, Relaxed);
            let pages = this.pages.lock().unwrap();
            let page = pages.iter().find(|(known, _)| *known == url);
            std::future::ready(page.map(|(_, body)| body.clone().into_bytes()).ok_or_else(|| "404".into()))
        }
    }
}

fn world_with(keys: Keys) -> World {
    let (runtime, pair) = (SimRuntime::new(1), Pair::new("one"));
    let server = ResourceServer::builder(RESOURCE).issuer(ISSUER, keys).require("mcp");
    let server = server.build(Arc::new(runtime.clone())).expect("a server");
    World { runtime, pair, server }
}

#[test]
fn keys_are_found_by_the_metadata_of_their_issuer_and_only_there() {
    let web = Web::default();
    let world = world_with(Keys::discovered(web.fetch()));
    let token = format!("Bearer {}", world.pair.sign(&world.claims()));
    assert_eq!(world.check(&[&token]).0, Err(AuthError::Unavailable));
    web.set(&format!("{ISSUER}/jwks"), &jwks(&[&world.pair]));
    let place = format!("{ISSUER}/.well-known/openid-configuration");
    let next = || world.runtime.advance(Duration::from_secs(30));
    next();
    web.set(
        &place,
        &json!({ "issuer": "https://evil.example", "jwks_uri": format!("{ISSUER}/jwks") }).to_string(),
    );
    assert_eq!(world.check(&[&token]).0, Err(AuthError::Unavailable));
    next();
    web.set(&place, &json!({ "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/jwks") }).to_string());
    assert_eq!(world.check(&[&token]).0, Ok(()));
}

#[test]
fn new_keys_are_known_when_they_are_used_and_old_ones_are_forgotten() {
    let web = Web::default();
    let url = format!("{ISSUER}/jwks");
    let world = world_with(Keys::at(&url, web.fetch()));
    web.set(&url, &jwks(&[&world.pair]));
    let mut claims = world.claims();
    claims["exp"] = json!(world.now() + 1_000_000);
    let old = world.pair.sign(&claims);
    for _ in 0..10 {
        world.accepts(&old);
    }
    assert_eq!(web.asked(), 1);
    // A key that is not known is asked for, but not for every token.
    let next = Pair::new("two");
    let new = next.sign(&claims);
    web.set(&url, &jwks(&[&world.pair, &next]));
    for _ in 0..10 {
        world.refuses(&new);
    }
    assert_eq!(web.asked(), 1);
    world.runtime.advance(Duration::from_secs(30));
    world.accepts(&new);
    world.accepts(&old);
    assert_eq!(web.asked(), 2);
    // A key that was withdrawn counts until the keys are ten minutes old.
    web.set(&url, &jwks(&[&next]));
    world.runtime.advance(Duration::from_secs(600));
    assert_eq!(world.refuses(&old), challenge("no key of the issuer fits the token"));
    world.accepts(&new);
    assert_eq!(web.asked(), 3);
    // While they cannot be read, the old ones count for an hour.
    web.clear();
    world.runtime.advance(Duration::from_secs(3_599));
    world.accepts(&new);
    world.runtime.advance(Duration::from_secs(1));
    assert_eq!(world.check(&[&format!("Bearer {new}")]).0, Err(AuthError::Unavailable));
}

#[test]
fn keys_in_a_file_may_change() {
    let path = std::env::temp_dir().join(format!("mcp-session-oauth-{}.json", std::process::id()));
    let world = world_with(Keys::file(&path));
    let token = world.pair.sign(&world.claims());
    assert_eq!(world.check(&[&format!("Bearer {token}")]).0, Err(AuthError::Unavailable));
    std::fs::write(&path, jwks(&[&world.pair])).unwrap();
    world.runtime.advance(Duration::from_secs(30));
    world.accepts(&token);
    std::fs::remove_file(&path).unwrap();
    world.accepts(&token);
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    let keys = || Keys::fixed(r#"{"keys":[]}"#).unwrap();
    let runtime = || Arc::new(SimRuntime::new(1));
    let build = |resource: &str, issuers: &[&str], scope: &str| {
        let builder = ResourceServer::builder(resource).require(scope);
        let builder = issuers.iter().fold(builder, |builder, issuer| builder.issuer(*issuer, keys()));
        builder.build(runtime()).map(|_| ())
    };
    assert_eq!(build(RESOURCE, &[ISSUER], "mcp"), Ok(()));
    assert_eq!(build("mcp", &[ISSUER], ""), Err(ConfigError::Resource));
    assert_eq!(build(RESOURCE, &[], ""), Err(ConfigError::NoIssuer));
    assert_eq!(build(RESOURCE, &["auth.example.com"], ""), Err(ConfigError::Issuer));
    assert_eq!(build(RESOURCE, &["https://auth.example.com?x"], ""), Err(ConfigError::Issuer));
    assert_eq!(build(RESOURCE, &[ISSUER, ISSUER], ""), Err(ConfigError::RepeatedIssuer(ISSUER.to_owned())));
    assert_eq!(build(RESOURCE, &[ISSUER], "mcp offline_access"), Err(ConfigError::OfflineAccess)); // I-17
    assert_eq!(build(RESOURCE, &[ISSUER], "a\"b"), Err(ConfigError::Scope("a\"b".to_owned())));
}
