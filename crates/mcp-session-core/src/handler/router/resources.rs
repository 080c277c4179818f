//! [`Resource`] and [`ResourceTemplate`], the answers to `resources/read`, and subscriptions.

use std::{borrow::Cow, future::Future, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{FutureExt, future::ready};
use mcp_session_proto::{ErrorCode, Json, ProtocolVersion, RpcError};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    Router, catalog::Catalog, members::common_members, schema::decode_map, template::Template, tools::Answer,
};
use crate::{handler::context::RequestContext, session::broadcast::Broadcast};

/// What older clients expect for a resource that does not exist. 2026-07-28 has -32602 instead (A-33).
const NOT_FOUND: ErrorCode = ErrorCode(-32002);

pub(super) type ResourceFn =
    Arc<dyn Fn(RequestContext, &str, Map<String, Value>) -> Result<Answer, RpcError> + Send + Sync>;

/// How a resource is listed: see [`Router::resource_with`].
#[derive(Debug, Clone)]
pub struct Resource {
    uri: String,
    members: Map<String, Value>,
}

/// How resources with a pattern of URIs are listed: see [`Router::resource_template_with`].
#[derive(Debug, Clone)]
pub struct ResourceTemplate {
    uri: String,
    members: Map<String, Value>,
}

/// The setters that resources and their templates have in common besides.
macro_rules! described {
    ($of:ty) => {
        common_members!($of);

        impl $of {
            /// Sets the description.
            #[must_use]
            pub fn description(self, description: &str) -> Self {
                self.member("description", description)
            }

            /// Sets the media type; of a template, that of all its resources.
            #[must_use]
            pub fn mime_type(self, mime_type: &str) -> Self {
                self.member("mimeType", mime_type)
            }
        }
    };
}

described!(Resource);
described!(ResourceTemplate);

impl Resource {
    /// A resource with this URI and name.
    pub fn new(uri: &str, name: &str) -> Self {
        Self { uri: uri.to_owned(), members: Map::new() }.member("uri", uri).member("name", name)
    }
}

impl ResourceTemplate {
    /// Resources with URIs of this template, such as `notes://{id}`.
    pub fn new(uri_template: &str, name: &str) -> Self {
        Self { uri: uri_template.to_owned(), members: Map::new() }
            .member("uriTemplate", uri_template)
            .member("name", name)
    }
}

/// What is in a resource: a text or bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResourceContents {
    /// A text.
    Text(String),
    /// Bytes, sent as base64.
    Blob(Vec<u8>),
    /// There is no such resource.
    NotFound,
}

impl From<String> for ResourceContents {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for ResourceContents {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for ResourceContents {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

/// `None` is a resource that does not exist.
impl<C: Into<Self>> From<Option<C>> for ResourceContents {
    fn from(contents: Option<C>) -> Self {
        contents.map_or(Self::NotFound, Into::into)
    }
}

impl Router {
    /// Adds a resource. The function returns a text, bytes, or `None` if it is not there now. Resources are listed as tools are:
    /// see [`Router::tool`].
    ///
    /// ```
    /// use mcp_session_core::{RequestContext, Router};
    ///
    /// let router = Router::new("notes", "0.1.0")
    ///     .resource("notes://motd", "Message of the day", |_: RequestContext| async { Ok("hello") });
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn resource<F, Fut, C>(self, uri: &str, name: &str, read: F) -> Self
    where
        F: Fn(RequestContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C, RpcError>> + Send + 'static,
        C: Into<ResourceContents> + 'static,
    {
        self.resource_with(Resource::new(uri, name), read)
    }

    /// Adds a resource with a description, a media type, a title or icons: otherwise as [`Router::resource`].
    #[must_use]
    pub fn resource_with<F, Fut, C>(mut self, resource: Resource, read: F) -> Self
    where
        F: Fn(RequestContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C, RpcError>> + Send + 'static,
        C: Into<ResourceContents> + 'static,
    {
        let mime_type = mime_type(&resource.members);
        let read: ResourceFn = Arc::new(move |cx, uri, _| {
            Ok(contents(uri.to_owned(), mime_type.clone(), cx.protocol_version(), read(cx)))
        });
        self.catalog.resources.insert(resource.uri, Value::Object(resource.members), read);
        self
    }

    /// Adds resources with URIs of this template: `{name}` matches a part without `/`, `{+name}` any part. The function takes
    /// the variables, percent-decoded, as a type with fields of these names: strings, or numbers and booleans, which are read from
    /// their text. A URI that is registered by itself
    /// takes precedence, then the first template that matches. Otherwise as [`Router::resource`].
    ///
    /// ```
    /// use mcp_session_core::{RequestContext, Router};
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Note { title: String }
    ///
    /// let router = Router::new("notes", "0.1.0")
    ///     .resource_template("notes://{title}", "A note", |_: RequestContext, Note { title }: Note| async move {
    ///         Ok((title == "shopping").then_some("bread"))
    ///     });
    /// # let _ = router;
    /// ```
    ///
    /// # Panics
    ///
    /// If it is not such a template.
    #[must_use]
    pub fn resource_template<P, F, Fut, C>(self, uri_template: &str, name: &str, read: F) -> Self
    where
        P: DeserializeOwned + 'static,
        F: Fn(RequestContext, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C, RpcError>> + Send + 'static,
        C: Into<ResourceContents> + 'static,
    {
        self.resource_template_with(ResourceTemplate::new(uri_template, name), read)
    }

    /// Adds resources with a template, and a description, a media type, a title or icons: otherwise as
    /// [`Router::resource_template`].
    ///
    /// # Panics
    ///
    /// As [`Router::resource_template`].
    #[must_use]
    pub fn resource_template_with<P, F, Fut, C>(mut self, template: ResourceTemplate, read: F) -> Self
    where
        P: DeserializeOwned + 'static,
        F: Fn(RequestContext, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C, RpcError>> + Send + 'static,
        C: Into<ResourceContents> + 'static,
    {
        let mime_type = mime_type(&template.members);
        let pattern = Template::parse(&template.uri).unwrap_or_else(|why| panic!("{why}"));
        let read: ResourceFn = Arc::new(move |cx, uri, variables| {
            let variables = decode_map("params.uri", variables)?;
            Ok(contents(uri.to_owned(), mime_type.clone(), cx.protocol_version(), read(cx, variables)))
        });
        self.catalog.templates.insert(template.uri, Value::Object(template.members), (pattern, read));
        self
    }

    /// Lets clients subscribe to resources, with `resources/subscribe` or `subscriptions/listen`. Whoever changes a resource
    /// tells them with [`RequestContext::resource_updated`] or
    /// [`SessionManager::resource_updated`](crate::SessionManager::resource_updated).
    #[must_use]
    pub fn resource_subscriptions(mut self) -> Self {
        self.catalog.subscriptions = true;
        self
    }
}

impl RequestContext {
    /// Tells all subscribers of this resource, this client included, that it has changed: see
    /// [`SessionManager::resource_updated`](crate::SessionManager::resource_updated). Does nothing if the endpoint is gone.
    pub fn resource_updated(&self, uri: &str) -> Broadcast {
        self.sessions().map(|sessions| sessions.resource_updated(uri)).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct UriParams<'a> {
    #[serde(borrow)]
    uri: Cow<'a, str>,
}

fn uri(cx: &RequestContext) -> Result<Cow<'_, str>, RpcError> {
    Ok(cx.raw_params().unwrap_or_else(|| Json::empty()).borrow::<UriParams<'_>>()?.uri)
}

/// Answers `resources/read`.
pub(super) fn read(catalog: &Catalog, cx: &RequestContext) -> Result<Answer, RpcError> {
    let uri = uri(cx)?;
    if let Some(read) = catalog.resources.get(&uri) {
        return read(cx.clone(), &uri, Map::new());
    }
    let matches = |(template, read)| Some((Template::matches(template, &uri)?, read));
    let found = catalog.templates.iter().map(|(template, read)| (template, read)).find_map(matches);
    match found {
        Some((variables, read)) => ResourceFn::as_ref(read)(cx.clone(), &uri, variables),
        None => Err(not_found(&uri, cx.protocol_version())),
    }
}

/// Answers `resources/subscribe` and `resources/unsubscribe`.
pub(super) fn subscribe(cx: &RequestContext, on: bool) -> Result<Answer, RpcError> {
    let uri = uri(cx)?;
    let session = cx.session();
    let session = session.ok_or_else(|| RpcError::invalid_params("only a session can subscribe"))?;
    if on {
        session.subscribe(&uri)?;
    } else {
        session.unsubscribe(&uri);
    }
    Ok(ready(Ok(json!({}).into())).boxed())
}

fn mime_type(members: &Map<String, Value>) -> Option<Value> {
    members.get("mimeType").cloned()
}

fn contents<C: Into<ResourceContents> + 'static>(
    uri: String,
    mime_type: Option<Value>,
    version: ProtocolVersion,
    reading: impl Future<Output = Result<C, RpcError>> + Send + 'static,
) -> Answer {
    async move {
        let (member, value) = match reading.await?.into() {
            ResourceContents::Text(text) => ("text", text),
            ResourceContents::Blob(bytes) => ("blob", STANDARD.encode(bytes)),
            ResourceContents::NotFound => return Err(not_found(&uri, version)),
        };
        let mut contents = json!({ "uri": uri, member: value });
        if let Some(mime_type) = mime_type {
            contents["mimeType"] = mime_type;
        }
        Ok(json!({ "contents": [contents] }).into())
    }
    .boxed()
}

fn not_found(uri: &str, version: ProtocolVersion) -> RpcError {
    let modern = version >= ProtocolVersion::V2026_07_28;
    let code = if modern { ErrorCode::INVALID_PARAMS } else { NOT_FOUND };
    RpcError::new(code, format!("there is no resource `{uri}`")).with_data(json!({ "uri": uri }))
}
