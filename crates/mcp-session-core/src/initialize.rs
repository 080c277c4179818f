//! The params of `initialize` (C-02).

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{ClientCapabilities, Json, ProtocolVersion, RpcError, error::Rejection};

/// The params of `initialize`, as far as the session has to know them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitializeParams<'a> {
    protocol_version: String,
    #[serde(borrow)]
    capabilities: Capabilities<'a>,
    #[allow(dead_code, reason = "decoded to be checked")]
    client_info: ClientInfo,
}

#[derive(Deserialize)]
struct Capabilities<'a> {
    #[serde(borrow, default)]
    sampling: Option<&'a RawValue>,
    #[serde(borrow, default)]
    elicitation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    roots: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "decoded to be checked")]
struct ClientInfo {
    name: String,
    version: String,
}

/// The same params, for the handler.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawInitializeParams {
    pub(crate) capabilities: Box<RawValue>,
    pub(crate) client_info: Box<RawValue>,
}

/// Checks the params of `initialize`, negotiates the version, and notes what the client can do.
///
/// # Errors
///
/// [`Rejection::InvalidInitialize`], with -32602 and the reason.
pub(crate) fn read(
    params: &Json,
) -> Result<(ProtocolVersion, ClientCapabilities, RawInitializeParams), Rejection> {
    let invalid = |error: RpcError| Rejection::InvalidInitialize(error);
    let checked: InitializeParams<'_> = params.borrow().map_err(invalid)?;
    let raw: RawInitializeParams = params.parse().map_err(invalid)?;
    for (name, value) in [("capabilities", &raw.capabilities), ("clientInfo", &raw.client_info)] {
        if !value.get().starts_with('{') {
            return Err(invalid(RpcError::invalid_params(format!("`{name}` must be an object"))));
        }
    }
    let capabilities = ClientCapabilities {
        sampling: checked.capabilities.sampling.is_some(),
        elicitation: checked.capabilities.elicitation.is_some(),
        roots: checked.capabilities.roots.is_some(),
    };
    let version = ProtocolVersion::negotiate(&checked.protocol_version);
    Ok((version, capabilities, raw))
}
