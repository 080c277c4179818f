//! The results that the suite writes: `server-SCENARIO-TIME/checks.json` for each scenario.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::suite::Expected;

/// The length of `-2026-11-22T19-59-57-328Z`.
const TIME: usize = 25;

/// The findings of one run of the suite.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) found: Expected,
    /// Every check that failed, warned or was skipped, and other problems.
    pub(super) problems: Vec<String>,
    /// Entries that are neither success nor failure, such as the reason why a check was not made.
    pub(super) notes: Vec<String>,
}

impl Findings {
    /// Reads all scenarios below a directory.
    pub(super) fn read(directory: &Path) -> Result<Findings> {
        let mut findings = Findings::default();
        let mut scenarios: Vec<_> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
        scenarios.sort_by_key(fs::DirEntry::file_name);
        for scenario in scenarios {
            let path = scenario.path().join("checks.json");
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let name = scenario.file_name().to_string_lossy().into_owned();
            findings.add(scenario_of(&name), &serde_json::from_str(&text)?)?;
        }
        Ok(findings)
    }

    fn add(&mut self, scenario: &str, checks: &Value) -> Result<()> {
        self.found.scenarios += 1;
        let checks = checks.as_array().context("checks.json holds an array")?;
        if checks.is_empty() {
            self.problems.push(format!("{scenario}: no check was made"));
        }
        for check in checks {
            let status = check["status"].as_str().context("a check has a status")?;
            let (id, why) = (&check["id"], check["errorMessage"].as_str().or(check["description"].as_str()));
            let said = format!("{scenario}: {status} {id}: {}", why.unwrap_or_default());
            match status {
                "SUCCESS" => self.found.checks += 1,
                "INFO" => self.notes.push(said),
                _ => self.problems.push(said),
            }
        }
        Ok(())
    }
}

fn scenario_of(directory: &str) -> &str {
    let name = directory.strip_prefix("server-").unwrap_or(directory);
    name.get(..name.len().saturating_sub(TIME)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Expected, Findings, scenario_of};

    #[test]
    fn only_success_is_counted_as_success() {
        assert_eq!(scenario_of("server-server-sse-polling-2026-11-22T19-59-57-328Z"), "server-sse-polling");
        let mut findings = Findings::default();
        findings.add("ping", &json!([{ "id": "ping", "status": "SUCCESS" }])).unwrap();
        assert!(findings.problems.is_empty());
        for status in ["FAILURE", "WARNING", "SKIPPED", "INFO"] {
            findings.add("other", &json!([{ "id": "x", "status": status }])).unwrap();
        }
        findings.add("empty", &json!([])).unwrap();
        assert_eq!(findings.found, Expected { scenarios: 6, checks: 1 });
        assert_eq!((findings.problems.len(), findings.notes.len()), (4, 1), "{findings:?}");
    }
}
