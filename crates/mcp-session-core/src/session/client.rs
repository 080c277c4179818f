//! [`Client`]: what the client of a session said about itself.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use mcp_session_proto::Json;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::sync::{Mutex, lock};

/// The maximum number of bytes of a client's params that are kept with its session. 4 KiB: SDKs send some hundred bytes, and
/// 100,000 sessions of a client that sends more must not exhaust the server's memory.
const KEPT: usize = 4 * 1024;

/// If the params are longer, the maximum number of characters of name, version and title that are kept. 256: names are
/// short.
const KEPT_NAME: usize = 256;

/// What a client said about itself in `initialize`, kept for handlers at every node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// All params, as sent; reduced if they were too long.
    pub(crate) params: Json,
    pub(crate) info: Json,
    pub(crate) capabilities: Json,
}

impl Client {
    /// Reads the params; if they are longer than [`KEPT`], reduces them first.
    pub(crate) fn new(params: &Json) -> Self {
        if params.as_bytes().len() > KEPT { Self::read(&reduced(params)) } else { Self::read(params) }
    }

    fn read(params: &Json) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase")]
        struct Known<'a> {
            #[serde(borrow, default)]
            capabilities: Option<&'a RawValue>,
            #[serde(borrow, default)]
            client_info: Option<&'a RawValue>,
        }
        // A copy, because `params` is a slice of the whole request.
        let params = Json::from_text(Bytes::copy_from_slice(params.as_bytes())).unwrap_or_else(|_| empty());
        let (info, capabilities) = {
            let Known { capabilities, client_info } = params.borrow().unwrap_or_default();
            let part = |raw: Option<&RawValue>| raw.map_or_else(empty, |raw| params.part(raw.get()));
            (part(client_info), part(capabilities))
        };
        Self { params, info, capabilities }
    }
}

/// The part that is kept of params that are too long.
fn reduced(params: &Json) -> Json {
    let params: serde_json::Value = params.parse().unwrap_or_default();
    let names = ["name", "version", "title"].into_iter().filter_map(|key| {
        let text = params["clientInfo"][key].as_str()?.chars().take(KEPT_NAME);
        Some((key.to_owned(), serde_json::Value::from(text.collect::<String>())))
    });
    let info = names.collect::<serde_json::Map<_, _>>();
    let capabilities = &params["capabilities"];
    let capabilities =
        if capabilities.to_string().len() > KEPT { serde_json::json!({}) } else { capabilities.clone() };
    let version: String =
        params["protocolVersion"].as_str().unwrap_or_default().chars().take(KEPT_NAME).collect();
    serde_json::json!({ "protocolVersion": version, "capabilities": capabilities, "clientInfo": info }).into()
}

fn empty() -> Json {
    serde_json::json!({}).into()
}

/// The [`Client`]s of an endpoint. Most clients send the same params, so each text is kept once, as long as a session uses
/// it.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    hasher: RandomState,
    /// The last result of `get`: most clients send the same params, and a comparison is cheaper than a hash.
    last: Weak<Client>,
    clients: HashMap<u64, Weak<Client>>,
    /// Beyond this number of entries, unused ones are removed.
    limit: usize,
}

impl Clients {
    /// Returns the shared [`Client`] of these params.
    pub(crate) fn get(&self, params: &Json) -> Arc<Client> {
        let mut known = lock(&self.0);
        if let Some(last) = known.last.upgrade().filter(|last| last.params == *params) {
            return last;
        }
        let hash = known.hasher.hash_one(params.as_bytes());
        let same = known.clients.get(&hash).and_then(Weak::upgrade);
        if let Some(same) = same.filter(|same| same.params == *params) {
            known.last = Arc::downgrade(&same);
            return same;
        }
        let client = Arc::new(Client::new(params));
        known.last = Arc::downgrade(&client);
        known.clients.insert(hash, Arc::downgrade(&client));
        if known.clients.len() > known.limit {
            known.clients.retain(|_, client| client.strong_count() > 0);
            known.limit = known.clients.len() * 2 + 64;
        }
        client
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.0).clients.len()
    }
}

#[cfg(test)]
mod tests;
