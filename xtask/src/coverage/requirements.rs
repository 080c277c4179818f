//! The list of requirements, `docs/requirements.toml`.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, ensure};
use serde::Deserialize;

/// The file. Its comments explain the fields.
#[derive(Debug, Deserialize)]
pub(super) struct Requirements {
    /// Revisions that we do not serve, and why.
    unserved: BTreeMap<String, String>,
    groups: BTreeMap<String, Vec<String>>,
    #[serde(flatten)]
    pub(super) sections: BTreeMap<String, Section>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Section {
    pub(super) title: String,
    declined: Option<String>,
    #[serde(flatten)]
    lines: BTreeMap<String, Requirement>,
    /// The lines in the order of their numbers; filled from `lines` after parsing.
    #[serde(skip)]
    pub(super) requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Requirement {
    #[serde(skip)]
    pub(super) id: String,
    pub(super) level: String,
    pub(super) who: String,
    pub(super) versions: String,
    pub(super) text: String,
    declined: Option<String>,
    shown: Option<String>,
    open: Option<String>,
    /// Why its section or its revision is declined as a whole.
    #[serde(skip)]
    around: Option<String>,
}

/// The status of a requirement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    Tested,
    Declined(&'a str),
    Shown(&'a str),
    Open(&'a str),
    /// Binds the client, or nobody.
    NotOurs,
    /// An option of the server that we do not use or need not show.
    Optional,
    Missing,
}

impl Requirements {
    pub(super) fn parse(text: &str) -> Result<Requirements> {
        let mut list: Requirements = toml::from_str(text)?;
        for section in list.sections.values_mut() {
            for (id, line) in std::mem::take(&mut section.lines) {
                let around = section.declined.as_ref().or(list.unserved.get(&line.versions));
                let requirement = Requirement { id, around: around.cloned(), ..line };
                let marks = [&requirement.declined, &requirement.shown, &requirement.open];
                ensure!(marks.into_iter().flatten().count() <= 1, "{} has two marks", requirement.id);
                section.requirements.push(requirement);
            }
            section.requirements.sort_by_key(|it| number(&it.id));
        }
        for id in list.groups.values().flatten() {
            ensure!(list.knows(id), "a group names {id}, which is not in the list");
        }
        Ok(list)
    }

    /// Every requirement, with the letter of its section.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Requirement)> {
        self.sections.iter().flat_map(|(letter, section)| {
            section.requirements.iter().map(move |requirement| (letter.as_str(), requirement))
        })
    }

    pub(super) fn knows(&self, id: &str) -> bool {
        self.all().any(|(_, requirement)| requirement.id == id)
    }

    /// The members of a group such as `B.7`.
    pub(super) fn group(&self, name: &str) -> Option<&[String]> {
        self.groups.get(name).map(Vec::as_slice)
    }
}

impl Requirement {
    /// The name of the field that says why there is no test, if present.
    pub(super) fn mark(&self) -> Option<&'static str> {
        let marks = [("declined", &self.declined), ("shown", &self.shown), ("open", &self.open)];
        marks.into_iter().find(|(_, mark)| mark.is_some()).map(|(name, _)| name)
    }

    pub(super) fn standing(&self, tests: usize) -> Standing<'_> {
        if tests > 0 {
            Standing::Tested
        } else if let Some(why) = self.declined.as_deref().or(self.around.as_deref()) {
            Standing::Declined(why)
        } else if let Some(why) = &self.shown {
            Standing::Shown(why)
        } else if let Some(why) = &self.open {
            Standing::Open(why)
        } else if self.level == "-" || !matches!(self.who.as_str(), "S" | "B") {
            Standing::NotOurs
        } else if self.level.starts_with("MAY") {
            Standing::Optional
        } else {
            Standing::Missing
        }
    }
}

impl fmt::Display for Standing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Tested => f.write_str("tested"),
            Standing::Declined(why) => write!(f, "declined: {why}"),
            Standing::Shown(why) => write!(f, "shown: {why}"),
            Standing::Open(why) => write!(f, "to come: {why}"),
            Standing::NotOurs => f.write_str("not the server's"),
            Standing::Optional => f.write_str("optional"),
            Standing::Missing => f.write_str("NO TEST"),
        }
    }
}

/// `A-31` is 31, and `S7` is 7.
fn number(id: &str) -> u32 {
    let digits: String = id.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Requirements, Standing};

    const LIST: &str = r#"
        [unserved]
        "26" = "not yet"
        [groups]
        "A.1" = ["A-01"]
        [A]
        title = "Messages"
        A-01 = { level = "MUST", who = "S", versions = "all", text = "x" }
        A-02 = { level = "MUST", who = "C", versions = "all", text = "x" }
        A-03 = { level = "MAY", who = "S", versions = "L", text = "x" }
        A-04 = { level = "MUST", who = "S", versions = "26", text = "x" }
        A-05 = { level = "REC", who = "S", versions = "L", text = "x", open = "soon" }
        [S]
        title = "Promises"
        declined = "all of it"
        S10 = { level = "PROMISE", who = "S", versions = "L", text = "x" }
        S9 = { level = "PROMISE", who = "S", versions = "L", text = "x" }
    "#;

    #[test]
    fn a_line_without_a_test_is_missing_unless_it_says_why() {
        let list = Requirements::parse(LIST).unwrap();
        let standings: Vec<_> = list.all().map(|(_, it)| (it.id.as_str(), it.standing(0))).collect();
        let expected = [
            ("A-01", Standing::Missing),
            ("A-02", Standing::NotOurs),
            ("A-03", Standing::Optional),
            ("A-04", Standing::Declined("not yet")),
            ("A-05", Standing::Open("soon")),
            ("S9", Standing::Declined("all of it")),
            ("S10", Standing::Declined("all of it")),
        ];
        assert_eq!(standings, expected);
        assert!(list.all().all(|(_, it)| it.standing(1) == Standing::Tested));
        assert_eq!(list.group("A.1"), Some(&["A-01".to_owned()][..]));
    }

    #[test]
    fn misspelt_ids_and_fields_are_refused() {
        for (from, to) in [("\"A-01\"", "\"A-99\""), ("open =", "opne ="), ("level = \"REC\", ", "")] {
            assert!(Requirements::parse(&LIST.replace(from, to)).is_err(), "{to}");
        }
        assert!(Requirements::parse(&LIST.replace("open =", "shown = \"here\", open =")).is_err());
    }
}
