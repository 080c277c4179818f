//! `Mcp-Param-*`: the headers that repeat arguments of a tool (G-14).

use std::{borrow::Cow, fmt};

use http::{HeaderMap, HeaderName};
use mcp_session_proto::{Json, Part, RpcRequest};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Number, value::RawValue};

use super::{
    envelope::differs,
    rejection::Rejection,
    values::{decode, header},
};

const ANNOTATION: &str = "x-mcp-header";

/// How deep properties may be in each other. A message does not nest deeper, so none has an argument further down.
const MAX_DEPTH: usize = 128;

/// The largest integer that a header may have where integers are doubles, as in JavaScript: larger ones may be rounded.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

/// Checks the headers of a `tools/call` that repeat its arguments: those that the tool's input schema annotates with
/// `x-mcp-header` (G-14). All other `Mcp-Param-*` are ignored (G-15).
///
/// A property is annotated at its place in `properties`, at any depth. An annotation that cannot be part of the name of a
/// header has no effect, and so has one behind `items`, `$ref`, `oneOf` and the like: clients do not list such a tool. A
/// header without its argument is refused, because a proxy may have used it.
///
/// # Errors
///
/// [`Rejection::HeaderMismatch`] if an argument that is present and not `null` has no header or a different one, or if a
/// header has no argument. [`Rejection::InvalidEnvelope`] if `params.arguments` occurs twice.
pub(crate) fn check_params(
    headers: &HeaderMap,
    request: &RpcRequest,
    schema: &Json,
) -> Result<(), Rejection> {
    if !schema.as_str().contains(ANNOTATION) {
        return Ok(()); // as almost all
    }
    let arguments = request.part(Part::Arguments).map_err(|error| {
        Rejection::InvalidEnvelope(format!("`params` is invalid: {}", error.message).into())
    })?;
    let arguments = arguments.filter(|text| *text != "null").and_then(|text| serde_json::from_str(text).ok());
    match schema.borrow::<Schema<'_>>() {
        Ok(schema) => check_properties(headers, &schema, arguments, "params.arguments", 0),
        Err(_) => Ok(()), // not an object
    }
}

/// The part of a schema that matters here.
#[derive(Deserialize)]
struct Schema<'a> {
    #[serde(borrow, default)]
    properties: Option<&'a RawValue>,
    #[serde(rename = "x-mcp-header", borrow, default)]
    annotation: Option<&'a RawValue>,
}

/// Checks the properties of a schema against the object that should have them, if it is there.
fn check_properties(
    headers: &HeaderMap,
    schema: &Schema<'_>,
    object: Option<&RawValue>,
    path: &str,
    depth: usize,
) -> Result<(), Rejection> {
    let properties = Members::of(schema.properties);
    let arguments = Members::of(object);
    for (name, property) in properties.0.iter().filter(|(_, raw)| raw.get().contains(ANNOTATION)) {
        let Ok(schema) = serde_json::from_str::<Schema<'_>>(property.get()) else { continue };
        let path = format!("{path}.{name}");
        let argument = arguments.one(name).ok_or_else(|| {
            Rejection::HeaderMismatch(format!("`{path}` must not occur twice in the body").into())
        })?;
        if let Some(annotation) = schema.annotation.and_then(header_name) {
            check_argument(headers, &annotation, argument, &path)?;
        }
        if depth < MAX_DEPTH {
            check_properties(headers, &schema, argument, &path, depth + 1)?;
        }
    }
    Ok(())
}

/// Checks one header against its argument. `path` is that of the argument.
fn check_argument(
    headers: &HeaderMap,
    (name, spelled): &(HeaderName, String),
    argument: Option<&RawValue>,
    path: &str,
) -> Result<(), Rejection> {
    let value = header(headers, name, spelled)?;
    let (value, argument) = match (value, argument) {
        (None, None) => return Ok(()),
        (Some(value), Some(argument)) => (decode(spelled, value)?, argument.get()),
        (None, Some(_)) => {
            return Err(Rejection::HeaderMismatch(
                format!("the header {spelled} is missing: it must repeat `{path}` of the body").into(),
            ));
        }
        (Some(_), None) => {
            return Err(Rejection::HeaderMismatch(
                format!("the header {spelled} must be absent, as is `{path}` of the body").into(),
            ));
        }
    };
    let (same, argument) = match argument.as_bytes() {
        [b'{' | b'[', ..] => {
            return Err(Rejection::HeaderMismatch(
                format!("`{path}` must be a string, an integer or a boolean, to be repeated in {spelled}")
                    .into(),
            ));
        }
        [b'"', ..] => {
            // Text with half a surrogate pair is not a string that a header could repeat.
            let text = serde_json::from_str::<String>(argument).ok();
            (text.as_deref() == Some(&*value), text.map_or(argument.into(), Cow::Owned))
        }
        [b't' | b'f', ..] => (argument == value, argument.into()),
        _ => (same_number(argument, &value), argument.into()),
    };
    if same { Ok(()) } else { Err(differs(spelled, &value, path, &argument)) }
}

/// Whether two numbers are equal, such as `42` and `42.0`.
fn same_number(argument: &str, value: &str) -> bool {
    // The value is a client's text: only what JSON also calls a number, so no `+1`, `0x1` or `inf`.
    let is_bare =
        value.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'));
    if !is_bare || serde_json::from_str::<Number>(value).is_err() {
        return false;
    }
    match (argument.parse::<i128>(), value.parse::<i128>()) {
        (Ok(argument), Ok(value)) => argument == value,
        _ => {
            let doubles = argument.parse::<f64>().ok().zip(value.parse::<f64>().ok());
            doubles.is_some_and(|(argument, value)| argument == value && value.abs() <= MAX_SAFE)
        }
    }
}

/// The name of the header for an annotation, and how it is spelled.
fn header_name(annotation: &RawValue) -> Option<(HeaderName, String)> {
    let annotation: String = serde_json::from_str(annotation.get()).ok()?;
    let spelled = format!("Mcp-Param-{annotation}");
    let name = HeaderName::from_bytes(spelled.as_bytes()).ok().filter(|_| !annotation.is_empty())?;
    Some((name, spelled))
}

/// The members of an object, in their order. Empty for any other value.
#[derive(Default)]
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn of(object: Option<&'a RawValue>) -> Self {
        object.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    /// The value of the member with this name, if there is one and it is not `null`. `None` if there are several: two
    /// readers might each take another one.
    fn one(&self, name: &str) -> Option<Option<&'a RawValue>> {
        let mut values = self.0.iter().filter(|(member, _)| member == name).map(|(_, value)| *value);
        match (values.next(), values.next()) {
            (value, None) => Some(value.filter(|raw| raw.get() != "null")),
            (_, Some(_)) => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A name, borrowed if it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests;
