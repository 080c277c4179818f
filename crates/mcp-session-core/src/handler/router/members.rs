//! The members that tools, prompts and resources have in common when they are listed.

use serde_json::{Map, Value};

use crate::handler::initialize::Icon;

/// The setters that tools, prompts and resources have in common, for a type with `members`.
macro_rules! common_members {
    ($of:ty) => {
        impl $of {
            /// Sets a human-readable title. Clients read it since 2025-06-18; older ones ignore it.
            #[must_use]
            pub fn title(self, title: impl Into<String>) -> Self {
                self.member("title", title.into())
            }

            /// Adds an icon. Clients read icons since 2025-11-25.
            #[must_use]
            pub fn icon(mut self, icon: $crate::handler::initialize::Icon) -> Self {
                $crate::handler::router::members::add_icon(&mut self.members, icon);
                self
            }

            /// Sets any other member of its entry in the list, such as `_meta`.
            #[must_use]
            pub fn member(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
                self.members.insert(name.to_owned(), value.into());
                self
            }
        }
    };
}
pub(super) use common_members;

pub(super) fn add_icon(members: &mut Map<String, Value>, icon: Icon) {
    let icons = members.entry("icons").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(icons) = icons.as_array_mut() {
        icons.push(icon.into());
    }
}
