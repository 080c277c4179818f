//! [`Scopes`]: what a token allows, or a request needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::error::ConfigError;

/// A set of scopes (RFC 6749, 3.3).
///
/// ```
/// use mcp_session_oauth::Scopes;
///
/// let granted = Scopes::parse("files:read files:write").unwrap();
/// assert!(granted.has("files:read"));
/// assert!(granted.covers(&Scopes::parse("files:write").unwrap()));
/// assert!(!granted.covers(&Scopes::parse("files:write admin").unwrap()));
/// assert!(Scopes::parse("files:\"read\"").is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<String>);

impl Scopes {
    /// Parses scopes that blanks separate.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] for one with characters that no scope may have.
    pub fn parse(scopes: &str) -> Result<Self, ConfigError> {
        let is_valid =
            |scope: &str| scope.bytes().all(|it| matches!(it, b'!'..=b'~') && !b"\"\\".contains(&it));
        match scopes.split(' ').find(|scope| !is_valid(scope)) {
            Some(bad) => Err(ConfigError::Scope(bad.to_owned())),
            None => Ok(scopes.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect()),
        }
    }

    /// Whether this scope is one of them.
    pub fn has(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    /// Whether all of `needed` are among them.
    pub fn covers(&self, needed: &Self) -> bool {
        needed.0.is_subset(&self.0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Which scopes a broader one implies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hierarchy(BTreeMap<String, Scopes>);

impl Hierarchy {
    /// Adds that a token with `broader` has `narrower` too.
    pub(crate) fn add(&mut self, broader: &str, narrower: Scopes) {
        self.0.entry(broader.to_owned()).or_default().0.extend(narrower.0);
    }

    /// All that these scopes allow, over any number of steps.
    pub(crate) fn expand(&self, scopes: Scopes) -> Scopes {
        let mut open: Vec<_> = scopes.0.iter().cloned().collect();
        let mut all = scopes.0;
        while let Some(scope) = open.pop() {
            let narrower = self.0.get(&scope).into_iter().flat_map(|implied| &implied.0);
            open.extend(narrower.filter(|scope| all.insert((*scope).clone())).cloned());
        }
        Scopes(all)
    }
}

impl FromIterator<String> for Scopes {
    fn from_iter<I: IntoIterator<Item = String>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    /// With blanks between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            write!(f, "{}{scope}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
