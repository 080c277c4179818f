//! The params of `initialize` (C-02).

use serde::{Deserialize, de::IgnoredAny};
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

impl Capabilities<'_> {
    /// What of it the version has a meaning for (C-12).
    fn known_to(&self, version: ProtocolVersion) -> ClientCapabilities {
        let declares =
            |capability: Option<&RawValue>| capability.is_some_and(|raw| raw.get().starts_with('{'));
        let modes = |capability: Option<&RawValue>| {
            let modes = capability.and_then(|raw| serde_json::from_str::<Modes>(raw.get()).ok());
            modes.filter(|_| version >= ProtocolVersion::V2025_11_25).unwrap_or_default()
        };
        let elicitation = declares(self.elicitation) && version >= ProtocolVersion::V2025_06_18;
        let Modes { form, url, .. } = modes(self.elicitation);
        ClientCapabilities {
            sampling: declares(self.sampling),
            sampling_tools: declares(self.sampling) && modes(self.sampling).tools.is_some(),
            elicitation: elicitation && (form.is_some() || url.is_none()),
            elicitation_url: elicitation && url.is_some(),
            roots: declares(self.roots),
        }
    }
}

/// What revision 2025-11-25 tells apart within a capability.
#[derive(Deserialize, Default)]
struct Modes {
    #[serde(default)]
    form: Option<IgnoredAny>,
    #[serde(default)]
    url: Option<IgnoredAny>,
    #[serde(default)]
    tools: Option<IgnoredAny>,
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
    let version = ProtocolVersion::negotiate(&checked.protocol_version);
    Ok((version, checked.capabilities.known_to(version), raw))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn declared(version: &str, capabilities: &Value) -> ClientCapabilities {
        let info = json!({ "name": "c", "version": "1" });
        let params = json!({ "protocolVersion": version, "capabilities": capabilities, "clientInfo": info });
        read(&params.into()).unwrap().1
    }

    #[test]
    fn c_12_c_13_what_counts_as_declared() {
        let elicitation = |version, modes: Value| {
            let known = declared(version, &json!({ "elicitation": modes }));
            (known.elicitation, known.elicitation_url)
        };
        assert_eq!(elicitation("2025-11-25", json!({})), (true, false)); // an empty one is form mode
        assert_eq!(elicitation("2025-11-25", json!({ "form": {} })), (true, false));
        assert_eq!(elicitation("2025-11-25", json!({ "url": {} })), (false, true));
        assert_eq!(elicitation("2025-11-25", json!({ "form": {}, "url": {} })), (true, true));
        assert_eq!(elicitation("2025-06-18", json!({ "url": {} })), (true, false)); // it knows no modes
        assert_eq!(elicitation("2025-03-26", json!({})), (false, false)); // nor the older one elicitation
        for nothing in [Value::Null, json!(false), json!("yes"), json!([])] {
            let all =
                json!({ "sampling": nothing, "elicitation": nothing, "roots": nothing, "other": nothing });
            assert_eq!(declared("2025-11-25", &all), ClientCapabilities::default(), "{nothing}");
        }
        let sampling = |version| declared(version, &json!({ "sampling": { "tools": {} }, "roots": {} }));
        assert!(sampling("2025-11-25").sampling_tools && !sampling("2025-06-18").sampling_tools);
        assert!(sampling("2025-03-26").sampling && sampling("2025-03-26").roots);
    }
}
