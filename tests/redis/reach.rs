//! The ways to a Redis: through TLS, and by the word of its sentinels.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use futures::FutureExt;
use mcp_session_core::{
    ProtocolVersion, Runtime, SessionId,
    store::{Record, SessionStore, Update},
};
use mcp_session_redis::{
    Config, ConnectError, RedisStore, Sentinel, Trouble,
    rustls::{ClientConfig, RootCertStore},
};
use mcp_session_testkit::{
    TestBed,
    suite::{Scenario, Suite},
};
use mcp_session_tests::{RedisServer, SmolBed, TokioBed, free_port};

use crate::{config, connect};

macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        pub(crate) fn suite() -> Suite {
            let all = [$(Scenario::new(stringify!($name), |(): &()| $name())),+];
            Suite::new("redis_reach", all, || ())
        }
    };
}

scenarios! {
    a_store_works_through_tls_on_tokio_and_smol,
    a_certificate_of_an_unknown_authority_is_refused,
    a_server_without_tls_is_refused_in_time,
    sentinels_name_the_primary_and_after_a_failover_the_new_one,
    a_primary_that_no_sentinel_knows_is_named,
}

/// An authority of the tests' own, and a server with a certificate by it for `localhost`.
struct Encrypted {
    port: u16,
    authorities: RootCertStore,
    _server: RedisServer,
    directory: PathBuf,
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn encrypted() -> Encrypted {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let port = free_port();
    let directory = std::env::temp_dir().join(format!("mcp-session-tls-{}-{port}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("a path in UTF-8").to_owned()
    };
    let certificate = write("certificate.pem", made.cert.pem());
    let key = write("key.pem", made.signing_key.serialize_pem());
    let options = ["--tls-port", &port.to_string(), "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let server = RedisServer::start(&[&options[..], &["--tls-auth-clients", "no"]].concat());
    let mut authorities = RootCertStore::empty();
    authorities.add(made.cert.der().clone()).expect("a certificate");
    Encrypted { port, authorities, _server: server, directory }
}

fn through_tls(server: &Encrypted, authorities: RootCertStore) -> Config {
    let mut config = config(&format!("redis://localhost:{}", server.port));
    config
        .set_tls(Arc::new(ClientConfig::builder().with_root_certificates(authorities).with_no_client_auth()));
    config
}

fn record() -> Record {
    Record::new(SessionId::from_bits(1), ProtocolVersion::LATEST_WITH_HANDSHAKE)
}

async fn keeps_a_session(store: &RedisStore) {
    let id = record().id;
    store.create(record()).await.expect("it is kept");
    assert!(store.load(id).await.expect("an answer").is_some());
}

fn a_store_works_through_tls_on_tokio_and_smol() {
    let server = encrypted();
    fn on(bed: &impl TestBed, server: &Encrypted) {
        let runtime = bed.runtime();
        bed.block_on(
            async move {
                let config = through_tls(server, server.authorities.clone());
                keeps_a_session(&connect(config, runtime).await).await;
            }
            .boxed(),
        );
    }
    on(&TokioBed::threads(), &server);
    on(&SmolBed::new(), &server);
}

fn refused(config: Config) -> String {
    let bed = TokioBed::threads();
    let runtime = bed.runtime();
    bed.block_on(async move {
        match RedisStore::connect(config, runtime).await {
            Err(ConnectError::Trouble(trouble @ Trouble::Unreachable { .. })) => trouble.to_string(),
            other => panic!("it is refused: {other:?}"),
        }
    })
}

fn a_certificate_of_an_unknown_authority_is_refused() {
    let server = encrypted();
    let said = refused(through_tls(&server, RootCertStore::empty()));
    assert!(said.contains("certificate"), "{said}");
}

fn a_server_without_tls_is_refused_in_time() {
    let mut server = encrypted();
    let plain = RedisServer::start(&[]);
    server.port = plain.port;
    let mut config = through_tls(&server, server.authorities.clone());
    config.timeout = Duration::from_millis(500); // Redis waits for the end of what it takes for a command
    let said = refused(config);
    assert!(said.contains("no Redis at localhost"), "{said}");
}

fn sentinels_name_the_primary_and_after_a_failover_the_new_one() {
    let first = RedisServer::start(&[]);
    let second = RedisServer::start(&["--replicaof", &format!("127.0.0.1 {}", first.port)]);
    let sentinel = RedisServer::start_sentinel(first.port);
    sentinel.until(&["INFO", "sentinel"], "slaves=1");
    let bed = TokioBed::threads();
    let runtime = bed.runtime();
    bed.block_on(async move {
        // One of the sentinels is away.
        let away = format!("redis://127.0.0.1:{}", free_port());
        let sentinels = Sentinel::new("primary", [away, sentinel.url()]).expect("URLs");
        let store = RedisStore::start_with(config("redis://by-sentinel"), runtime.clone(), sentinels);
        let store = store.expect("it starts");
        until(&*runtime, async || store.create(record()).await.is_ok()).await;
        assert!(keys(&first) > 0);
        // Refused until the sentinel has heard of the replica that it follows the primary.
        until(&*runtime, async || sentinel.try_run(&["SENTINEL", "FAILOVER", "primary"]).is_ok()).await;
        second.until(&["INFO", "replication"], "role:master");
        first.until(&["INFO", "replication"], "role:slave");
        let id = record().id;
        until(&*runtime, async || store.update(id, Update::Initialized).await == Ok(true)).await;
        assert_eq!(store.unreachable_for(), None);
        let kept = store.load(id).await.expect("an answer").expect("the session");
        assert!(kept.initialized);
        assert!(keys(&second) > 0);
    });
}

fn keys(server: &RedisServer) -> i64 {
    redis::from_redis_value(server.run(&["DBSIZE"])).expect("a number")
}

/// Tries again until this holds; the watchdog of the suite ends a test that waits in vain.
pub(crate) async fn until(runtime: &dyn Runtime, holds: impl AsyncFn() -> bool) {
    while !holds().await {
        runtime.sleep_until(runtime.now() + Duration::from_millis(10)).await;
    }
}

fn a_primary_that_no_sentinel_knows_is_named() {
    let primary = RedisServer::start(&[]);
    let sentinel = RedisServer::start_sentinel(primary.port);
    let bed = TokioBed::threads();
    let runtime = bed.runtime();
    bed.block_on(async move {
        let sentinels = Sentinel::new("other", [sentinel.url()]).expect("a URL");
        let store = RedisStore::start_with(config("redis://by-sentinel"), runtime.clone(), sentinels);
        let store = store.expect("it starts");
        until(&*runtime, async || store.trouble().is_some()).await;
        let said = store.trouble().expect("a reason").to_string();
        assert!(said.contains("no sentinel knows a primary `other`"), "{said}");
    });
}
