//! The list of requirements, `docs/requirements.toml`.

use std::collections::BTreeMap;

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

/// The status of a requirement, in the order of the page's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Tested,
    Shown,
    Declined,
    Open,
    /// Binds the client or nobody, or is an option that we do not use or need not show.
    NotOurs,
    Missing,
}

impl Requirements {
    pub(super) fn parse(text: &str) -> Result<Requirements> {
        let mut list: Requirements = toml::from_str(text)?;
        for section in list.sections.values_mut() {
            for (id, line) in std::mem::take(&mut section.lines) {
                let around = section.declined.as_ref().or(list.unserved.get(&line.versions));
                let requirement = Requirement { id, around: around.cloned(), ..line };
                ensure!(requirement.marks().count() <= 1, "{} has two marks", requirement.id);
                section.requirements.push(requirement);
            }
            // `A-31` is 31, and `S7` is 7.
            let number = |id: &str| id.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok();
            section.requirements.sort_by_key(|it| number(&it.id));
        }
        for id in list.groups.values().flatten() {
            ensure!(!list.meant_by(id).is_empty(), "a group names {id}, which is not in the list");
        }
        Ok(list)
    }

    /// Every requirement, with the letter of its section.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Requirement)> {
        let sections = self.sections.iter();
        sections
            .flat_map(|(letter, section)| section.requirements.iter().map(move |it| (letter.as_str(), it)))
    }

    /// The requirement with this id, or the members of a group such as `B.7`.
    pub(super) fn meant_by(&self, id: &str) -> Vec<String> {
        let one = || self.all().filter(|(_, it)| it.id == id).map(|_| id.to_owned()).collect();
        self.groups.get(id).cloned().unwrap_or_else(one)
    }
}

impl Requirement {
    /// The fields that say why there is no test.
    pub(super) fn marks(&self) -> impl Iterator<Item = &'static str> {
        let marks = [("declined", &self.declined), ("shown", &self.shown), ("open", &self.open)];
        marks.into_iter().filter(|(_, mark)| mark.is_some()).map(|(name, _)| name)
    }

    /// The status with this number of tests, and how to say it.
    pub(super) fn standing(&self, tests: usize) -> (Standing, String) {
        if tests > 0 {
            (Standing::Tested, "tested".to_owned())
        } else if let Some(why) = self.declined.as_ref().or(self.around.as_ref()) {
            (Standing::Declined, format!("declined: {why}"))
        } else if let Some(why) = &self.shown {
            (Standing::Shown, format!("shown: {why}"))
        } else if let Some(why) = &self.open {
            (Standing::Open, format!("to come: {why}"))
        } else if self.level == "-" || !matches!(self.who.as_str(), "S" | "B") {
            (Standing::NotOurs, "not the server's".to_owned())
        } else if self.level.starts_with("MAY") {
            (Standing::NotOurs, "optional".to_owned())
        } else {
            (Standing::Missing, "NO TEST".to_owned())
        }
    }
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
        let said: Vec<_> = list.all().map(|(_, it)| format!("{} {}", it.id, it.standing(0).1)).collect();
        let first = ["A-01 NO TEST", "A-02 not the server's", "A-03 optional", "A-04 declined: not yet"];
        assert_eq!(said[..4], first);
        assert_eq!(said[4..], ["A-05 to come: soon", "S9 declined: all of it", "S10 declined: all of it"]);
        assert!(list.all().all(|(_, it)| it.standing(1).0 == Standing::Tested));
        assert_eq!([list.meant_by("A.1"), list.meant_by("A-01")], [["A-01"], ["A-01"]]);
        for (from, to) in [
            ("\"A-01\"", "\"A-99\""),
            ("open =", "opne ="),
            ("level = \"REC\", ", ""),
            ("open =", "shown = \"here\", open ="),
        ] {
            assert!(Requirements::parse(&LIST.replace(from, to)).is_err(), "{to}");
        }
    }
}
