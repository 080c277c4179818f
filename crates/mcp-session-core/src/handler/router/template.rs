//! [`Template`]: a URI template with simple variables, and the URIs that it matches (RFC 6570).

use serde_json::{Map, Value};

/// A URI template: `{name}` matches a part without `/`, `{+name}` any part. A part is not empty.
#[derive(Debug, Clone)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Variable { name: String, whole: bool },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// What is wrong with it: other expressions of RFC 6570, or two variables with nothing between them.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((literal, after)) = rest.split_once('{') {
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            } else if matches!(parts.last(), Some(Part::Variable { .. })) {
                return Err(format!("`{text}` has two variables with nothing between them"));
            }
            let (name, after) = after.split_once('}').ok_or_else(|| format!("`{text}` has no `}}`"))?;
            let (name, whole) = name.strip_prefix('+').map_or((name, false), |name| (name, true));
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(format!("`{text}`: only `{{name}}` and `{{+name}}` are supported"));
            }
            parts.push(Part::Variable { name: name.to_owned(), whole });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The variables of this URI, percent-decoded. `None` if it does not match.
    pub(super) fn matches(&self, uri: &str) -> Option<Map<String, Value>> {
        let (mut found, mut rest) = (Map::new(), uri);
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(literal) => rest = rest.strip_prefix(&**literal)?,
                Part::Variable { name, whole } => {
                    let end = match self.parts.get(at + 1) {
                        Some(Part::Literal(next)) if at + 2 == self.parts.len() => {
                            rest.len().checked_sub(next.len()).filter(|end| rest.get(*end..) == Some(next))?
                        }
                        Some(Part::Literal(next)) => rest.find(&**next)?,
                        _ => rest.len(),
                    };
                    let value = &rest[..end];
                    if value.is_empty() || (!whole && value.contains('/')) {
                        return None;
                    }
                    found.insert(name.clone(), decode(value)?.into());
                    rest = &rest[end..];
                }
            }
        }
        rest.is_empty().then_some(found)
    }
}

/// Decodes `%20` and the like. `None` if that is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let hex = (first == b'%').then(|| after.get(..2)).flatten();
        let hex = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(hex.unwrap_or(first));
        rest = if hex.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_uri_that_matches_gives_the_variables_decoded() {
        for (template, uri, found) in [
            ("notes://{id}", "notes://a%20b", Some(json!({ "id": "a b" }))),
            ("notes://{id}", "notes://a/b", None),
            ("notes://{id}", "notes://", None),
            ("file:///{+path}", "file:///a/b", Some(json!({ "path": "a/b" }))),
            ("db://{table}/{row}.json", "db://t/7.json", Some(json!({ "table": "t", "row": "7" }))),
            ("db://{table}/{row}.json", "db://t/7.json.json", Some(json!({ "table": "t", "row": "7.json" }))),
            ("db://{table}/{row}.json", "db://t/7.txt", None),
            ("notes://{id}", "other://x", None),
            ("x://{id}", "x://%C3%A4%ZZ%", Some(json!({ "id": "ä%ZZ%" }))),
            ("x://{id}", "x://%FF", None),
        ] {
            let matched = Template::parse(template).unwrap().matches(uri).map(Value::Object);
            assert_eq!(matched, found, "{template} {uri}");
        }
    }

    #[test]
    fn a_template_that_means_more_is_refused() {
        for template in ["x://{?q}", "x://{a}{b}", "x://{", "x://{}", "x://{a,b}"] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
    }
}
