//! [`List`]: what is registered under names or URIs, in its order, and page by page (`cursor` and `nextCursor`).

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mcp_session_proto::{Json, RpcError};
use serde::Deserialize;

/// Entries in the order in which they were registered.
#[derive(Debug, Clone)]
pub(super) struct List<T> {
    entries: Vec<Entry<T>>,
    /// Found by comparing: most servers have a few, and hashing costs more.
    by_key: BTreeMap<String, usize>,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    key: String,
    /// As it is listed: lists are put together from texts, because each new client reads them.
    shown: Json,
    serve: T,
}

#[derive(Deserialize)]
struct PageParams<'a> {
    #[serde(borrow, default)]
    cursor: Option<Cow<'a, str>>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), by_key: BTreeMap::new() }
    }
}

impl<T> List<T> {
    /// Adds an entry. It replaces one with the same key, in its place.
    pub(super) fn insert(&mut self, key: String, shown: impl Into<Json>, serve: T) {
        let entry = Entry { key, shown: shown.into(), serve };
        match self.by_key.get(&entry.key) {
            Some(&at) => self.entries[at] = entry,
            None => {
                self.by_key.insert(entry.key.clone(), self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get(&self, key: &str) -> Option<&T> {
        Some(&self.entries[*self.by_key.get(key)?].serve)
    }

    /// All entries, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.serve)
    }

    /// The result of a list request: at most `size` entries under `member`, and the cursor of the next page if there is one.
    ///
    /// The cursor names the last entry before the page, so that it stays good at another node, and when entries are added.
    ///
    /// # Errors
    ///
    /// -32602 for a cursor that is not one of this list.
    pub(super) fn page(&self, member: &str, params: Option<&Json>, size: usize) -> Result<Json, RpcError> {
        let PageParams { cursor } = params.map_or(Ok(PageParams { cursor: None }), Json::borrow)?;
        let start = cursor.map_or(Ok(0), |cursor| self.after(&cursor))?;
        let end = start.saturating_add(size).min(self.entries.len());
        let page: Vec<&str> = self.entries[start..end].iter().map(|entry| entry.shown.as_str()).collect();
        let next = (end < self.entries.len()).then(|| {
            let cursor = URL_SAFE_NO_PAD.encode(&self.entries[end - 1].key); // needs no escape
            format!(r#","nextCursor":"{cursor}""#)
        });
        let next = next.unwrap_or_default();
        Ok(Json::spliced([r#"{""#, member, r#"":["#, &page.join(","), "]", &next, "}"].concat()))
    }

    /// The place after the entry that this cursor names.
    fn after(&self, cursor: &str) -> Result<usize, RpcError> {
        let key = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|key| String::from_utf8(key).ok());
        let at = key.and_then(|key| self.by_key.get(&key).copied());
        at.map(|at| at + 1).ok_or_else(|| {
            RpcError::invalid_params("`params.cursor` is not one of this list; start again without it")
        })
    }
}

#[cfg(test)]
mod tests {
    use mcp_session_proto::ErrorCode;
    use serde_json::{Value, json};

    use super::*;

    fn list(count: usize) -> List<usize> {
        let mut list = List::default();
        for number in 0..count {
            list.insert(format!("t{number}"), json!(number), number);
        }
        list
    }

    fn pages(list: &List<usize>, size: usize) -> Vec<Value> {
        let (mut pages, mut params) = (Vec::new(), None);
        loop {
            let page: Value = list.page("tools", params.as_ref(), size).unwrap().parse().unwrap();
            pages.push(page["tools"].clone());
            let Some(cursor) = page.get("nextCursor") else { return pages };
            params = Some(json!({ "cursor": cursor }).into());
        }
    }

    #[test]
    fn pages_together_are_the_list_in_its_order() {
        assert_eq!(pages(&list(5), 2), [json!([0, 1]), json!([2, 3]), json!([4])]);
        assert_eq!(pages(&list(4), 2), [json!([0, 1]), json!([2, 3])]);
        assert_eq!(pages(&list(0), 2), [json!([])]);
    }

    #[test]
    fn an_entry_replaces_one_of_the_same_name_in_its_place() {
        let mut list = list(3);
        list.insert("t1".into(), json!("new"), 7);
        assert_eq!(pages(&list, 9), [json!([0, "new", 2])]);
        assert_eq!((list.get("t1"), list.get("t9")), (Some(&7), None));
    }

    #[test]
    fn a_cursor_that_is_not_one_of_the_list_is_refused() {
        for cursor in [json!("x"), json!("%%%"), json!(7), json!(URL_SAFE_NO_PAD.encode("t9"))] {
            let refused = list(3).page("tools", Some(&json!({ "cursor": cursor }).into()), 1);
            assert_eq!(refused.unwrap_err().code, ErrorCode::INVALID_PARAMS, "{cursor}");
        }
    }
}
