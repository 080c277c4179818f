//! [`Tls`]: whether connections are encrypted, and how.

use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use futures_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use crate::{connect::Stream, error::ConfigError};

/// How the connections to a server are encrypted.
#[derive(Clone)]
pub(crate) enum Tls {
    Off,
    /// With the certificate authorities of the system, read when the store starts.
    #[cfg(feature = "tls")]
    System,
    #[cfg(feature = "tls")]
    With(Arc<ClientConfig>),
}

impl Tls {
    /// # Errors
    ///
    /// [`ConfigError::Tls`] without the feature `tls`.
    #[cfg_attr(feature = "tls", expect(clippy::unnecessary_wraps, reason = "it fails without the feature"))]
    pub(crate) fn system() -> Result<Self, ConfigError> {
        #[cfg(feature = "tls")]
        return Ok(Self::System);
        #[cfg(not(feature = "tls"))]
        Err(ConfigError::Tls)
    }

    /// Reads what is to be read before the first connection.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Authorities`].
    pub(crate) fn ready(self) -> Result<Self, ConfigError> {
        #[cfg(feature = "tls")]
        if let Self::System = self {
            let mut roots = RootCertStore::empty();
            let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if added == 0 {
                return Err(ConfigError::Authorities);
            }
            let provider = Arc::new(futures_rustls::rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("ring has the default versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
            return Ok(Self::With(Arc::new(config)));
        }
        Ok(self)
    }

    /// Encrypts a stream to this host, if it is to be encrypted.
    pub(crate) async fn over(&self, stream: Box<dyn Stream>, host: &str) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Off => {
                let _ = host;
                Ok(stream)
            }
            #[cfg(feature = "tls")]
            Self::System => Err(io::Error::other("the authorities of the system were not read")),
            #[cfg(feature = "tls")]
            Self::With(config) => {
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
                Ok(Box::new(stream))
            }
        }
    }
}
