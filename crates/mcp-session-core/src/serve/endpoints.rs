//! [`Endpoints`]: the argument of a server, one endpoint or several.

use std::{ops::Deref, sync::Arc};

use crate::endpoint::Endpoint;

/// The endpoints of a server: one, or several that shut down together. Converted from an [`Endpoint`], or from an array
/// or a `Vec` of them.
///
/// ```
/// # use mcp_session_core::{Endpoint, Endpoints, Router, Runtime};
/// # fn example(runtime: impl Runtime + Clone) {
/// let tools = Endpoint::new(runtime.clone(), Router::new("tools", "0.1.0"));
/// let admin = Endpoint::new(runtime, Router::new("admin", "0.1.0"));
/// let one: Endpoints = tools.clone().into();
/// let both: Endpoints = [tools, admin].into();
/// assert_eq!((one.len(), both.len()), (1, 2));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Endpoints(Arc<[Endpoint]>);

impl Deref for Endpoints {
    type Target = [Endpoint];

    fn deref(&self) -> &[Endpoint] {
        &self.0
    }
}

impl From<Endpoint> for Endpoints {
    fn from(endpoint: Endpoint) -> Self {
        [endpoint].into()
    }
}

impl From<&Endpoint> for Endpoints {
    fn from(endpoint: &Endpoint) -> Self {
        endpoint.clone().into()
    }
}

impl<const N: usize> From<[Endpoint; N]> for Endpoints {
    fn from(endpoints: [Endpoint; N]) -> Self {
        Self(endpoints.into())
    }
}

impl From<Vec<Endpoint>> for Endpoints {
    fn from(endpoints: Vec<Endpoint>) -> Self {
        Self(endpoints.into())
    }
}
