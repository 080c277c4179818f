//! [`Bound`]: TCP or a Unix socket, with TLS or without.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::Router;
use http::Extensions;
use mcp_session_core::{Endpoints, Serve};
use mcp_session_tokio::{Listener, bind, serve_app, serve_app_over};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use super::reload::Reload;
use crate::config::{Bind, ConfigError, TlsFiles};

/// A listener that clients can connect to already; they wait until it is served.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: Socket,
    tls: Option<Arc<Reload<TlsAcceptor>>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Bound {
    /// Binds, and reads the certificate.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, or the certificate and its key are none.
    pub(crate) fn new(address: &Bind, tls: Option<&TlsFiles>) -> Result<Self, ConfigError> {
        let tls = tls.map(certificate).transpose()?.map(Arc::new);
        let unavailable = |problem: String| ConfigError::new("--bind", problem);
        let socket = match address {
            Bind::Tcp(address) => Socket::Tcp(bind(address.as_str()).map_err(|error| {
                unavailable(format!("cannot listen on {address}: {error}; choose another address"))
            })?),
            Bind::Unix(path) => {
                let (listener, file) = bind_unix(path)
                    .map_err(|error| unavailable(format!("cannot listen on {}: {error}", path.display())))?;
                Socket::Unix(listener, file)
            }
        };
        Ok(Self { socket, tls })
    }

    /// What stands before the path in a URL, or names the Unix socket.
    pub(crate) fn base(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.socket {
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("{scheme}://{address}"),
                Err(_) => format!("{scheme}://"),
            },
            Socket::Unix(_, file) => format!("{scheme}+unix://{}:", file.path.display()),
        }
    }

    /// Whether other machines may be able to connect.
    pub(crate) fn is_public(&self) -> bool {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().is_ok_and(|address| !address.ip().is_loopback()),
            Socket::Unix(..) => false,
        }
    }

    /// A server of this app.
    pub(crate) fn serve(self, endpoints: impl Into<Endpoints>, app: Router) -> (Serve, Option<SocketFile>) {
        match self.socket {
            Socket::Tcp(listener) => (serve(listener, self.tls, endpoints, app), None),
            Socket::Unix(listener, file) => (serve(listener, self.tls, endpoints, app), Some(file)),
        }
    }
}

fn serve(
    listener: impl Listener,
    tls: Option<Arc<Reload<TlsAcceptor>>>,
    endpoints: impl Into<Endpoints>,
    app: Router,
) -> Serve {
    let Some(tls) = tls else { return serve_app(listener, endpoints, app) };
    let open = move |socket| {
        let handshake = tls.get().accept(socket);
        async move { Ok((handshake.await?, Extensions::new())) }
    };
    serve_app_over(listener, open, endpoints, app)
}

/// The file of a Unix socket, removed with it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode: another process may have put its own socket there meanwhile.
    id: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.id.is_some() && id(&self.path) == self.id {
            let _ = fs::remove_file(&self.path); // what cannot be removed is replaced by the next start
        }
    }
}

fn id(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Binds a path, in place of a socket that nobody listens on any more.
fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
            if !is_socket {
                return Err(io::Error::new(
                    error.kind(),
                    "there is a file that is no socket; choose another path",
                ));
            }
            match std::os::unix::net::UnixStream::connect(path) {
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path)?;
                    UnixListener::bind(path)
                }
                _ => Err(io::Error::new(error.kind(), "another process listens there; choose another path")),
            }
        }
        bound => bound,
    }?;
    Ok((listener, SocketFile { path: path.into(), id: id(path) }))
}

fn certificate(files: &TlsFiles) -> Result<Reload<TlsAcceptor>, ConfigError> {
    let TlsFiles { cert, key } = files.clone();
    let read = move || acceptor(&cert, &key);
    Reload::new(vec![files.cert.clone(), files.key.clone()], read)
        .map_err(|problem| ConfigError::new("--tls-cert, --tls-key", problem))
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("cannot read a certificate in PEM from {}: {error}", cert.display()))?;
    if chain.is_empty() {
        return Err(format!(
            "{} has no certificate: it must have the chain in PEM, the server's first",
            cert.display()
        ));
    }
    let key_of = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| format!("cannot read a private key in PEM from {}: {error}", key.display()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key_of));
    let mut config = config
        .map_err(|error| format!("{} and {} do not work together: {error}", cert.display(), key.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_replaced_and_removed_at_the_end() {
        let path = std::env::temp_dir().join(format!("mcp-gateway-bind-{}.sock", std::process::id()));
        drop(UnixListener::bind(&path).unwrap()); // its file stays
        let (listener, file) = bind_unix(&path).unwrap();
        let busy = bind_unix(&path).unwrap_err();
        assert!(busy.to_string().contains("another process listens there"), "{busy}");
        drop((listener, file));
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        assert!(bind_unix(&path).unwrap_err().to_string().contains("no socket"));
        fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn a_socket_of_somebody_else_is_not_removed() {
        let path = std::env::temp_dir().join(format!("mcp-gateway-moved-{}.sock", std::process::id()));
        let (_listener, file) = bind_unix(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
        drop(other);
        fs::remove_file(&path).unwrap();
    }
}
