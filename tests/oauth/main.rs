//! The example `everything` with `--oauth-issuer`, as a process, and an issuer of the tests' own.

use mcp_session_testkit::wire::{Connection, Reply, call, initialize};
use mcp_session_tests::{Process, TestIssuer};
use serde_json::{Value, json};

struct World {
    issuer: TestIssuer,
    server: Process,
}

impl World {
    async fn new(runtime: &str) -> Self {
        let issuer = TestIssuer::start().await;
        let server =
            Process::start(runtime, &["--oauth-issuer", &issuer.url(), "--oauth-scope", "mcp"]).await;
        Self { issuer, server }
    }

    fn resource(&self) -> String {
        format!("http://{}/mcp", self.server.addr)
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.server.addr)).await
    }

    /// A POST with a token, and these header fields.
    async fn post(&self, token: Option<&str>, fields: &str, message: &Value) -> Reply {
        let body = message.to_string();
        let token = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        let request = format!(
            "POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             {token}{fields}content-length: {}\r\n\r\n{body}",
            self.server.addr,
            body.len()
        );
        self.send(&request).await
    }

    async fn send(&self, request: &str) -> Reply {
        let mut connection = Connection::open(self.server.addr).await;
        connection.write(request).await.expect("it is sent");
        connection.reply().await
    }
}

/// A client without a token finds the issuer, and with a token of it is served; the session belongs to its user.
async fn a_client_finds_the_issuer_and_is_served_with_a_token(runtime: &str) {
    let world = World::new(runtime).await;
    let refused = world.post(None, "", &initialize()).await;
    assert_eq!(refused.head.status, 401);
    let metadata = format!("http://{}/.well-known/oauth-protected-resource/mcp", world.server.addr);
    assert_eq!(
        refused.head.get("www-authenticate"),
        Some(&*format!(r#"Bearer resource_metadata="{metadata}", scope="mcp""#))
    );
    let document = world.get("/.well-known/oauth-protected-resource/mcp").await;
    assert_eq!(
        document.json(),
        json!({
            "resource": world.resource(),
            "authorization_servers": [world.issuer.url()],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["mcp"],
            "resource_name": "everything",
        })
    );
    assert_eq!(world.get("/.well-known/other").await.head.status, 404);
    assert_eq!(world.get("/readyz").await.head.status, 200, "a probe needs no token");

    let alice = world.issuer.token(&world.resource(), &json!({}));
    let opened = world.post(Some(&alice), "", &initialize()).await;
    assert_eq!(opened.head.status, 200);
    let session = format!("mcp-session-id: {}\r\n", opened.head.get("mcp-session-id").expect("an id"));
    let echo = call(2, "tools/call", json!({ "name": "echo", "arguments": { "message": "hi" } }));
    let answered = world.post(Some(&alice), &session, &echo).await;
    assert_eq!(answered.head.status, 200);
    // Another user, a foreign audience, too little scope, and a token of nobody.
    let bob = world.issuer.token(&world.resource(), &json!({ "sub": "bob" }));
    assert_eq!(world.post(Some(&bob), &session, &echo).await.head.status, 404);
    let foreign = world.issuer.token("https://other.example/mcp", &json!({}));
    assert_eq!(world.post(Some(&foreign), &session, &echo).await.head.status, 401);
    let little = world.issuer.token(&world.resource(), &json!({ "scope": "profile" }));
    let refused = world.post(Some(&little), &session, &echo).await;
    assert_eq!(refused.head.status, 403);
    assert!(refused.head.get("www-authenticate").expect("a challenge").contains("insufficient_scope"));
    let stranger = TestIssuer::start().await.token(&world.resource(), &json!({ "iss": world.issuer.url() }));
    assert_eq!(world.post(Some(&stranger), &session, &echo).await.head.status, 401);
    world.server.kill().await;
}

/// I-01 to I-03, I-06, I-07, I-12
#[tokio::test]
async fn a_client_finds_the_issuer_on_tokio() {
    a_client_finds_the_issuer_and_is_served_with_a_token("tokio").await;
}

#[tokio::test]
async fn a_client_finds_the_issuer_on_smol() {
    a_client_finds_the_issuer_and_is_served_with_a_token("smol").await;
}

#[cfg(feature = "async-std")]
#[tokio::test]
async fn a_client_finds_the_issuer_on_async_std() {
    a_client_finds_the_issuer_and_is_served_with_a_token("async-std").await;
}

/// An issuer that is away is no reason to send clients for another token.
#[tokio::test]
async fn keys_that_cannot_be_had_are_503() {
    let away = format!("http://127.0.0.1:{}", mcp_session_tests::free_port());
    let server = Process::start("tokio", &["--oauth-issuer", &away]).await;
    let world = World { issuer: TestIssuer::start().await, server };
    let token = world.issuer.token(&world.resource(), &json!({ "iss": away }));
    let refused = world.post(Some(&token), "", &initialize()).await;
    assert_eq!(refused.head.status, 503);
    assert!(refused.head.get("retry-after").is_some());
    world.server.kill().await;
}

#[tokio::test]
async fn options_that_cannot_work_are_refused() {
    for (args, says) in [
        (&["--oauth-issuer", "auth.example.com"][..], "an issuer must be a URL"),
        (&["--oauth-issuer", "https://a.example", "--oauth-resource", "mcp"], "the resource must be the URL"),
        (&["--oauth-keys", "file"], "--oauth-issuer"),
    ] {
        let (status, said) = Process::refused(args).await;
        assert_eq!(status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
}
