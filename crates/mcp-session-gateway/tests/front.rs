//! The HTTP side, over real sockets: who may call, probes, metrics, paths, Unix sockets and TLS.

mod common;
mod program;

use std::{fs, path::PathBuf, sync::Arc};

use common::{Pids, example};
use mcp_session_testkit::wire::{Client, Connection, End, Reply, initialize};
use program::{Gateway, get, text, tool};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// A file of one test, removed with this value.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gateway-front-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The answer to `initialize` with these further header fields, and another host if there is one.
async fn knock(gateway: &Gateway, host: Option<&str>, fields: &str) -> Reply {
    let client = Client { addr: gateway.addr(), session: String::new() };
    let body = initialize().to_string();
    let mut head = client.head_with("POST", &format!("content-length: {}\r\n{fields}", body.len()));
    if let Some(host) = host {
        head = head.replace(&format!("host: {}", gateway.addr()), &format!("host: {host}"));
    }
    client.send(&(head + &body)).await.reply().await
}

fn says(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

#[tokio::test]
async fn b_07_a_foreign_host_gets_403_and_the_option_that_would_allow_it() {
    let gateway = Gateway::start(&[], &[]);
    let refused = knock(&gateway, Some("rebound.example"), "").await;
    assert_eq!(refused.head.status, 403);
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("--allow-host rebound.example"), "{message}");
    assert_eq!(knock(&gateway, Some("localhost:1"), "").await.head.status, 200);
    assert!(gateway.stop().log.contains("--allow-host rebound.example"));

    let gateway = Gateway::start(&["--allow-host", "rebound.example"], &[]);
    assert_eq!(knock(&gateway, Some("rebound.example"), "").await.head.status, 200);
    // A host that is none is core's.
    assert_eq!(knock(&gateway, Some("a b"), "").await.head.status, 400);
}

#[tokio::test]
async fn b_05_a_foreign_origin_gets_403_and_the_option_that_would_allow_it() {
    let gateway = Gateway::start(&[], &[]);
    let refused = knock(&gateway, None, "origin: https://evil.example\r\n").await;
    assert_eq!(refused.head.status, 403);
    assert!(says(&refused).contains("--allow-origin https://evil.example"), "{}", says(&refused));
    assert_eq!(knock(&gateway, None, "origin: http://localhost:5173\r\n").await.head.status, 200);
    drop(gateway);

    let options = ["--allow-origin", "https://app.example", "--cors"];
    let gateway = Gateway::start(&options, &[]);
    let reply = knock(&gateway, None, "origin: https://app.example\r\n").await;
    assert_eq!(reply.head.status, 200);
    assert_eq!(reply.head.get("access-control-allow-origin"), Some("https://app.example"));
}

#[tokio::test]
async fn b_09_e_07_a_token_is_asked_for_and_sessions_belong_to_its_name() {
    let tokens = File::new("tokens", "0123456789abcdef\nalice aaaaaaaaaaaaaaaa\nbob bbbbbbbbbbbbbbbb\n");
    let gateway = Gateway::start(&["--bearer-token-file", tokens.path()], &[]);
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let without = knock(&gateway, None, "").await;
    assert_eq!((without.head.status, without.head.get("www-authenticate")), (401, Some("Bearer")));
    let wrong = knock(&gateway, None, &bearer("0123456789abcdee")).await;
    assert_eq!(wrong.head.status, 401);
    assert_eq!(wrong.head.get("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
    let basic = knock(&gateway, None, "authorization: Basic 0123456789abcdef\r\n").await;
    assert_eq!(basic.head.status, 401);
    assert_eq!(knock(&gateway, None, &bearer("0123456789abcdef")).await.head.status, 200);

    let opened = knock(&gateway, None, &bearer("aaaaaaaaaaaaaaaa")).await;
    let session = opened.head.get("mcp-session-id").expect("a session").to_owned();
    let client = Client { addr: gateway.addr(), session };
    for (token, status) in [("bbbbbbbbbbbbbbbb", 404), ("0123456789abcdef", 404), ("aaaaaaaaaaaaaaaa", 204)] {
        let reply = client.send(&client.head_with("DELETE", &bearer(token))).await.reply().await;
        assert_eq!(reply.head.status, status, "{token}");
    }
    // Probes and metrics are for those who have none.
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(gateway.get(path).await.head.status, 200, "{path}");
    }
    let ended = gateway.stop();
    assert!(!ended.log.contains("aaaa") && !ended.log.contains("0123456789abcde"), "{}", ended.log);
}

#[tokio::test]
async fn readyz_is_false_in_a_drain_and_livez_is_not() {
    let gateway = Gateway::start(&[], &[]);
    let ready = gateway.get("/readyz").await;
    assert_eq!((ready.head.status, says(&ready)), (200, "stdio_child: ready\n".to_owned()));
    let client = gateway.client().await;
    let mut running = client.post(&tool(1, "sleep", &json!({ "ms": 1_500 }))).await;
    let addr = gateway.addr();
    let nobody = Client { addr, session: String::new() };
    until_running(&gateway, 1).await;
    gateway.terminate();
    let mut unready = get(addr, "/readyz").await;
    while unready.head.status != 503 {
        unready = get(addr, "/readyz").await;
    }
    assert_eq!(says(&unready), "stdio_child: draining\n");
    assert_eq!(get(addr, "/livez").await.head.status, 200);
    let refused = nobody.ask(&initialize()).await;
    assert_eq!((refused.head.status, refused.head.get("retry-after")), (503, Some("1")));
    assert_eq!(text(&running.reply().await.answer()), "slept");
    assert!(gateway.ended().status.success());
}

/// Waits until that many calls run in the children.
async fn until_running(gateway: &Gateway, calls: u64) {
    let name = "mcp_gateway_children_calls";
    while metric(&says(&gateway.get("/metrics").await), name) != Some(calls) {}
}

trait Answer {
    fn answer(&self) -> serde_json::Value;
}

impl Answer for Reply {
    /// The answer, which is JSON or the last event.
    fn answer(&self) -> serde_json::Value {
        match self.messages().pop() {
            Some(message) => message,
            None => self.json(),
        }
    }
}

#[tokio::test]
async fn readyz_says_crash_loop() {
    let flag = Pids::new("crash-loop");
    let child = example("stdio_child");
    let script = format!("test -e {} && exit 3; exec {}", flag.path(), child.display());
    let args = ["--bind", "127.0.0.1:0", "--mode", "shared", "--name", "loops", "--", "sh", "-c", &script];
    let gateway = Gateway::with(args, 1);
    let client = gateway.client().await;
    fs::write(flag.path(), "").unwrap();
    let lost = client.ask(&tool(1, "exit", &json!({}))).await;
    let message = lost.answer()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("loops"), "{message}");
    let mut reply = gateway.get("/readyz").await;
    while !says(&reply).contains("crash loop") {
        assert_eq!(reply.head.status, 503, "from the child's death on: {}", says(&reply));
        reply = gateway.get("/readyz").await;
    }
    assert_eq!(reply.head.status, 503);
    assert_eq!(gateway.get("/loops/readyz").await.head.status, 503);
    assert_eq!(gateway.get("/livez").await.head.status, 200);
    let metrics = says(&gateway.get("/metrics").await);
    assert!(metrics.contains(r#"mcp_gateway_state{server="loops",state="crash_loop"} 1"#), "{metrics}");

    fs::remove_file(flag.path()).unwrap();
    while gateway.get("/readyz").await.head.status != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await; // its next attempt may take seconds
    }
    assert_eq!(text(&client.ask(&tool(2, "sleep", &json!({ "ms": 1 }))).await.answer()), "slept");
}

/// The value of a metric without a second label.
fn metric(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn metrics_parse_and_agree_with_what_has_happened() {
    let gateway = Gateway::start(&[], &[]);
    let client = gateway.client().await;
    for id in 1..=3 {
        client.ask(&tool(id, "echo", &json!({}))).await;
    }
    assert_eq!(knock(&gateway, None, "content-type: text/plain\r\n").await.head.status, 415);
    assert_eq!(knock(&gateway, Some("rebound.example"), "").await.head.status, 403);
    let reply = gateway.get("/metrics").await;
    assert!(reply.head.get("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = says(&reply);

    let mut described: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "EOF"] => {}
            ["#", "HELP", _, _] => {}
            ["#", "TYPE", name, kind] => described.push((name.to_owned(), kind.to_owned())),
            [series, value] => {
                let (name, labels) = series.strip_suffix('}').and_then(|it| it.split_once('{')).expect(line);
                let (of, kind) = described.last().expect("a description comes first");
                let expected = if kind == "counter" { format!("{of}_total") } else { of.clone() };
                assert_eq!(name, expected, "{line}");
                assert!(labels.starts_with(r#"server="stdio_child""#), "{line}");
                value.parse::<u64>().unwrap_or_else(|error| panic!("{error}: {line}"));
            }
            _ => panic!("{line}"),
        }
    }
    assert!(text.ends_with("# EOF\n") && described.len() > 20, "{text}");
    for (name, value) in [
        ("mcp_gateway_ready", 1),
        ("mcp_gateway_sessions", 1),
        ("mcp_gateway_children", 1),
        ("mcp_gateway_calls_admitted_total", 4), // `initialize` is one
        ("mcp_gateway_calls_answered_total", 4),
        ("mcp_gateway_requests_refused_total", 2),
    ] {
        assert_eq!(metric(&text, name), Some(value), "{name} in {text}");
    }
}

#[tokio::test]
async fn several_servers_have_a_path_each() {
    let child = example("stdio_child");
    let file = File::new(
        "several.toml",
        &format!(
            "bind = \"127.0.0.1:0\"\nreport = \"json\"\n\
             [servers.one]\ncommand = [{child:?}]\nenv = {{ WHO = \"one\" }}\n\
             [servers.two]\ncommand = [{child:?}]\nmode = \"shared\"\nenv = {{ WHO = \"two\" }}\n"
        ),
    );
    let gateway = Gateway::with(["--config", file.path()], 2);
    let addr = gateway.addr();
    assert_eq!(gateway.urls, [format!("http://{addr}/one/mcp"), format!("http://{addr}/two/mcp")]);
    let nobody = Client { addr, session: String::new() };
    for name in ["one", "two"] {
        let body = tool(1, "env", &json!({ "name": "WHO" })).to_string();
        let head = nobody.head("POST", body.len()).replace("/mcp HTTP", &format!("/{name}/mcp HTTP"));
        let reply = nobody.send(&(head + &body)).await.reply().await;
        assert_eq!(text(&reply.answer()), name);
        assert_eq!(gateway.get(&format!("/{name}/readyz")).await.head.status, 200);
    }
    assert_eq!(nobody.ask(&initialize()).await.head.status, 404, "/mcp is nobody's");
    assert_eq!(says(&gateway.get("/readyz").await), "one: ready\ntwo: ready\n");
    let ended = gateway.stop();
    let report = ended.report();
    assert_eq!(
        (&report["servers"][0]["name"], &report["servers"][1]["name"]),
        (&json!("one"), &json!("two"))
    );
    assert_eq!(report["children"]["left"], 0, "{report}");
}

#[tokio::test]
async fn a_unix_socket_is_served_and_drained_and_its_file_removed() {
    let path = std::env::temp_dir().join(format!("gateway-front-{}.sock", std::process::id()));
    let bind = format!("unix:{}", path.display());
    let child = example("stdio_child");
    let args = ["--bind", &bind, "--report", "json", "--", child.to_str().unwrap()];
    let gateway = Gateway::with(args, 1);
    assert_eq!(gateway.urls, [format!("http+unix://{}:/mcp", path.display())]);
    let client = Client { addr: ([127, 0, 0, 1], 1).into(), session: String::new() };
    let mut running = Connection::over(UnixStream::connect(&path).await.unwrap());
    running.write(client.request(&tool(1, "sleep", &json!({ "ms": 500 })))).await.unwrap();
    let mut probe = Connection::over(UnixStream::connect(&path).await.unwrap());
    loop {
        probe.write("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        if metric(&says(&probe.reply().await), "mcp_gateway_children_calls") == Some(1) {
            break;
        }
    }
    gateway.terminate();
    assert_eq!(text(&running.reply().await.answer()), "slept");
    assert_eq!(running.closed().await, End::Closed);
    let ended = gateway.ended();
    assert!(ended.status.success() && !path.exists(), "{ended:?}");
    assert_eq!(ended.report()["shutdown"]["exchanges"]["answered"], 1);
}

/// A client's half of TLS that trusts this certificate only.
async fn over_tls(gateway: &Gateway, pem: &str) -> std::io::Result<Connection> {
    let mut trusted = RootCertStore::empty();
    trusted.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(trusted).with_no_client_auth();
    let socket = TcpStream::connect(gateway.addr()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await.map(Connection::over)
}

fn certificate() -> (String, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

#[tokio::test]
async fn tls_is_served_and_drained_and_a_new_certificate_is_taken() {
    let (first, key) = certificate();
    let (cert_file, key_file) = (File::new("cert.pem", &first), File::new("key.pem", &key));
    let gateway = Gateway::start(&["--tls-cert", cert_file.path(), "--tls-key", key_file.path()], &[]);
    assert!(gateway.urls[0].starts_with("https://127.0.0.1:"), "{:?}", gateway.urls);
    let client = Client { addr: gateway.addr(), session: String::new() };
    let mut running = over_tls(&gateway, &first).await.unwrap();
    running.write(client.request(&tool(1, "sleep", &json!({ "ms": 3_000 })))).await.unwrap();

    let (second, key) = certificate();
    fs::write(&cert_file.0, &second).unwrap();
    fs::write(&key_file.0, &key).unwrap();
    while over_tls(&gateway, &second).await.is_err() {} // until it looks again
    assert!(over_tls(&gateway, &first).await.is_err());
    // What speaks no TLS is refused without an answer, and harms nobody.
    let mut plain = client.post(&initialize()).await;
    assert!(matches!(plain.drained().await, End::Closed | End::Reset));

    gateway.terminate();
    assert_eq!(text(&running.reply().await.answer()), "slept");
    assert_eq!(running.closed().await, End::Closed, "with TLS's own end");
    let ended = gateway.ended();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(ended.report()["shutdown"]["connections_cut"], 0);
}

#[tokio::test]
async fn the_next_start_finds_a_free_address_and_a_taken_one_is_an_error() {
    let gateway = Gateway::start(&[], &[]);
    let addr = gateway.addr().to_string();
    let child = example("stdio_child");
    let args = ["--bind", &addr, "--", child.to_str().unwrap()];
    let refused = program::run(&args);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.log.contains("cannot listen on") && refused.log.contains("choose another"),
        "{refused:?}"
    );
    gateway.stop();
    let again = Gateway::with(args, 1);
    assert_eq!(again.get("/livez").await.head.status, 200);
}
