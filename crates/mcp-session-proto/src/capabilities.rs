//! [`ClientCapabilities`]: which requests the server may send to its client.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::message::Json;

/// The capabilities that the client declared at `initialize`, as far as the negotiated version has them (C-12). They
/// decide which requests the server may send to it (C-13).
///
/// ```
/// # use mcp_session_proto as mcp_session_core;
/// use mcp_session_core::{ClientCapabilities, Json};
/// use serde_json::json;
///
/// let mut client = ClientCapabilities::default();
/// client.elicitation = true;
/// let [form, url] = ["form", "url"].map(|mode| Json::from(json!({ "mode": mode })));
/// assert_eq!(client.missing("elicitation/create", Some(&form)), None);
/// assert_eq!(client.missing("elicitation/create", Some(&url)), Some("elicitation.url"));
/// assert_eq!(client.missing("roots/list", None), Some("roots"));
/// assert_eq!(client.missing("ping", None), None);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools, reason = "each is a capability of its own")]
pub struct ClientCapabilities {
    /// `sampling/*`
    pub sampling: bool,
    /// `sampling/*` with tools (2025-11-25).
    pub sampling_tools: bool,
    /// `elicitation/*` with a form: the only mode before 2025-11-25, and the meaning of an empty capability.
    pub elicitation: bool,
    /// `elicitation/*` with a URL (2025-11-25).
    pub elicitation_url: bool,
    /// `roots/*`
    pub roots: bool,
}

#[derive(Deserialize, Default)]
struct Asked<'a> {
    #[serde(borrow, default)]
    mode: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "toolChoice")]
    tool_choice: Option<&'a RawValue>,
}

impl ClientCapabilities {
    /// Each capability with its name, such as `sampling.tools`.
    pub fn to_flags(self) -> [(&'static str, bool); 5] {
        let Self { sampling, sampling_tools, elicitation, elicitation_url, roots } = self;
        [
            ("sampling", sampling),
            ("sampling.tools", sampling_tools),
            ("elicitation", elicitation),
            ("elicitation.url", elicitation_url),
            ("roots", roots),
        ]
    }

    /// The capabilities for whose name `flag` returns `true`.
    ///
    /// # Errors
    ///
    /// The first error of `flag`.
    pub fn from_flags<E>(mut flag: impl FnMut(&'static str) -> Result<bool, E>) -> Result<Self, E> {
        Ok(Self {
            sampling: flag("sampling")?,
            sampling_tools: flag("sampling.tools")?,
            elicitation: flag("elicitation")?,
            elicitation_url: flag("elicitation.url")?,
            roots: flag("roots")?,
        })
    }

    /// The capability that a request of the server with this method and these params needs, if the client did not
    /// declare it. `None` if the request may be sent.
    pub fn missing(&self, method: &str, params: Option<&Json>) -> Option<&'static str> {
        let family = method.split_once('/').map_or("", |(family, _)| family);
        let asked = || params.and_then(|params| params.borrow::<Asked<'_>>().ok()).unwrap_or_default();
        let (has, name) = match family {
            "roots" => (self.roots, "roots"),
            "sampling" if !self.sampling => (false, "sampling"),
            "sampling" => {
                let Asked { tools, tool_choice, .. } = asked();
                (self.sampling_tools || (tools.is_none() && tool_choice.is_none()), "sampling.tools")
            }
            "elicitation" => match asked().mode.map(RawValue::get) {
                None | Some("\"form\"") => (self.elicitation, "elicitation"),
                Some(_) => (self.elicitation_url, "elicitation.url"),
            },
            _ => (true, ""),
        };
        (!has).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_13_what_each_request_needs() {
        let all = ClientCapabilities {
            sampling: true,
            sampling_tools: true,
            elicitation: true,
            elicitation_url: true,
            roots: true,
        };
        let without = |change: fn(&mut ClientCapabilities)| {
            let mut some = all;
            change(&mut some);
            some
        };
        for (method, params, needs, some) in [
            ("roots/list", "{}", "roots", without(|c| c.roots = false)),
            ("sampling/createMessage", "{}", "sampling", without(|c| c.sampling = false)),
            (
                "sampling/createMessage",
                r#"{"tools":[]}"#,
                "sampling.tools",
                without(|c| c.sampling_tools = false),
            ),
            (
                "sampling/createMessage",
                r#"{"toolChoice":{}}"#,
                "sampling.tools",
                without(|c| c.sampling_tools = false),
            ),
            ("elicitation/create", "{}", "elicitation", without(|c| c.elicitation = false)),
            ("elicitation/create", r#"{"mode":"form"}"#, "elicitation", without(|c| c.elicitation = false)),
            (
                "elicitation/create",
                r#"{"mode":"url"}"#,
                "elicitation.url",
                without(|c| c.elicitation_url = false),
            ),
            (
                "elicitation/create",
                r#"{"mode":"future"}"#,
                "elicitation.url",
                without(|c| c.elicitation_url = false),
            ),
        ] {
            let params = Json::from_text(params.into()).unwrap();
            assert_eq!(some.missing(method, Some(&params)), Some(needs), "{method} {params:?}");
            assert_eq!(all.missing(method, Some(&params)), None, "{method} {params:?}");
            assert!(ClientCapabilities::default().missing(method, Some(&params)).is_some());
        }
        // Requests that need only the plain capabilities.
        let plain = without(|c| (c.sampling_tools, c.elicitation_url) = (false, false));
        for method in ["sampling/createMessage", "elicitation/create", "roots/list"] {
            assert_eq!(plain.missing(method, None), None);
        }
        for method in ["ping", "notifications/x", "made/up"] {
            assert_eq!(ClientCapabilities::default().missing(method, None), None);
        }
    }
}
