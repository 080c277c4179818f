//! tokio, with TLS between the suite's clients and the server.

use std::{
    io,
    net::TcpListener,
    sync::{Arc, OnceLock},
};

use futures::{FutureExt, future::BoxFuture};
use http::Extensions;
use mcp_session_core::{Endpoint, Runtime, Serve};
use mcp_session_testkit::{
    TestBed,
    wire::{ClientStream, ServeHarness},
};
use mcp_session_tokio::{McpService, serve_app_over};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{PrivateKeyDer, ServerName},
    },
};

use super::TokioBed;

/// [`TokioBed::threads`] with TLS.
#[derive(Debug)]
pub struct TlsBed(TokioBed);

impl TlsBed {
    /// A separate runtime for each test. All have one certificate, for `localhost`.
    pub fn threads() -> Self {
        Self(TokioBed::threads())
    }
}

impl TestBed for TlsBed {
    fn name(&self) -> &str {
        "tls"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.0.runtime()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

impl ServeHarness for TlsBed {
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        let tls = ends().0.clone();
        let open = move |socket| {
            let handshake = tls.accept(socket);
            async move { Ok((handshake.await?, Extensions::new())) }
        };
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let app = McpService::new(endpoint.clone());
        serve_app_over(listener, open, endpoint, app)
    }

    fn over(socket: TcpStream) -> BoxFuture<'static, io::Result<Box<dyn ClientStream>>> {
        let name = ServerName::try_from("localhost").expect("a name");
        let handshake = ends().1.connect(name, socket);
        async move { Ok(Box::new(handshake.await?) as Box<dyn ClientStream>) }.boxed()
    }
}

/// The two ends of TLS, which trust each other.
fn ends() -> &'static (TlsAcceptor, TlsConnector) {
    static ENDS: OnceLock<(TlsAcceptor, TlsConnector)> = OnceLock::new();
    ENDS.get_or_init(|| {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let mut trusted = RootCertStore::empty();
        trusted.add(cert.der().clone()).expect("a certificate");
        let server = ServerConfig::builder().with_no_client_auth();
        let server =
            server.with_single_cert(vec![cert.der().clone()], key).expect("a certificate with its key");
        let client = ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth();
        (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)))
    })
}
