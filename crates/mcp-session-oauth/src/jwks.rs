//! [`KeySet`]: the keys of an issuer that can verify a token.

use std::sync::Arc;

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{Jwk, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use crate::error::KeysError;

/// The algorithms that are accepted: those of key pairs. With a shared secret, whoever can check a token could make one.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
];

/// Whether tokens may be signed with this algorithm.
pub(crate) fn is_accepted(algorithm: Algorithm) -> bool {
    ALGORITHMS.contains(&algorithm)
}

/// Public keys. Cheap to clone.
#[derive(Clone)]
pub(crate) struct KeySet(Arc<[Key]>);

struct Key {
    id: Option<String>,
    /// If the key is for one algorithm only.
    algorithm: Option<String>,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Parses a JWK set. A key that cannot be used (a kind that is not known, one for encryption, a shared secret) is left out, as RFC 7517
    /// wants: it may be for others.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, KeysError> {
        let document: Document = serde_json::from_slice(text).map_err(KeysError::NotKeys)?;
        Ok(Self(document.keys.into_iter().filter_map(Key::parse).collect()))
    }

    /// The keys that may have signed a token with this header. Without an id in it, or in the keys, several fit.
    pub(crate) fn fitting(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        self.0.iter().filter(move |key| key.fits(id, algorithm)).map(|key| &key.key)
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

impl Key {
    fn parse(key: Value) -> Option<Self> {
        let algorithm = key.get("alg").and_then(Value::as_str).map(str::to_owned);
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let is_public = key.family() != AlgorithmFamily::Hmac;
        is_public.then_some(Self { id: jwk.common.key_id, algorithm, key })
    }

    fn fits(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        let by_id = match (id, &self.id) {
            (Some(wanted), Some(id)) => wanted == id,
            _ => true,
        };
        let name = format!("{algorithm:?}");
        let by_algorithm = self.algorithm.as_ref().is_none_or(|only| *only == name);
        by_id && by_algorithm && self.key.family().algorithms().contains(&algorithm)
    }
}
