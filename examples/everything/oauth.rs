//! [`OauthArgs`]: requests need an access token of an issuer.

use std::{error::Error, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use mcp_session_core::Runtime;
use mcp_session_oauth::{Builder, ConfigError, FetchError, Keys, ResourceServer};

/// Whose tokens are accepted.
#[derive(Debug, Args)]
pub(crate) struct OauthArgs {
    /// Every request needs an access token (JWT) of this issuer. Its keys are found by its metadata
    #[arg(long, value_name = "URL")]
    oauth_issuer: Option<String>,
    /// The URL of this server, as clients write it, and as tokens name it; without it, that of --bind
    #[arg(long, value_name = "URL", requires = "oauth_issuer")]
    oauth_resource: Option<String>,
    /// A file with the issuer's keys (JWK set), in place of its metadata
    #[arg(long, value_name = "FILE", requires = "oauth_issuer")]
    oauth_keys: Option<PathBuf>,
    /// The scopes that every request needs, with blanks between them
    #[arg(long, value_name = "SCOPES", default_value = "", requires = "oauth_issuer")]
    oauth_scope: String,
}

impl OauthArgs {
    /// What checks the tokens, if they are needed.
    ///
    /// # Errors
    ///
    /// If an option cannot work.
    pub(crate) fn resource_server(
        &self,
        address: SocketAddr,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Option<ResourceServer>, Box<dyn Error + Send + Sync>> {
        Ok(self
            .builder(address)
            .map(|builder| builder.build(runtime))
            .transpose()
            .map_err(|error| named(&error))?)
    }

    /// Checks the options.
    ///
    /// # Errors
    ///
    /// If one cannot work.
    pub(crate) fn check(&self, address: SocketAddr) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.builder(address).map_or(Ok(()), |builder| builder.check()).map_err(|error| named(&error))?)
    }

    fn builder(&self, address: SocketAddr) -> Option<Builder> {
        let issuer = self.oauth_issuer.as_ref()?;
        let resource = self.oauth_resource.clone().unwrap_or_else(|| format!("http://{address}/mcp"));
        let keys = self.oauth_keys.as_ref().map_or_else(|| Keys::discovered(get), Keys::file);
        let builder = ResourceServer::builder(resource).issuer(issuer, keys).require(&self.oauth_scope);
        Some(builder.name("everything"))
    }
}

fn named(error: &ConfigError) -> String {
    format!("--oauth-issuer, --oauth-resource, --oauth-scope: {error}")
}

/// Gets a document, on a thread of its own.
async fn get(url: String) -> Result<Vec<u8>, FetchError> {
    blocking::unblock(move || {
        let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build();
        Ok(ureq::Agent::new_with_config(agent).get(url).call()?.body_mut().read_to_vec()?)
    })
    .await
}
