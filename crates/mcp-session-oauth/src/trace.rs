//! What is logged. Nothing of a token, and nothing that its sender chose.

use crate::error::{KeysError, Refused};

/// Keys cannot be read; those that were read before are used for a while.
pub(crate) fn keys_unavailable(issuer: &str, error: &KeysError) {
    #[cfg(feature = "tracing")]
    tracing::warn!(issuer, %error, "the keys of an issuer cannot be read");
    #[cfg(not(feature = "tracing"))]
    let _ = (issuer, error);
}

/// A token was refused.
pub(crate) fn refused(why: Refused) {
    #[cfg(feature = "tracing")]
    tracing::debug!(%why, "a token was refused");
    #[cfg(not(feature = "tracing"))]
    let _ = why;
}
