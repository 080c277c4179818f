//! What a killer has found, from what it prints.

/// What the simulation found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The invariant.
    pub(super) by: String,
    /// After how many schedules.
    pub(super) schedules: Option<u32>,
}

/// Reads `violation: <invariant>: <text>` and `found: seed <N>, after <K> schedules`.
pub(super) fn violation(output: &str) -> Option<Found> {
    let violation = output.lines().find_map(|line| line.strip_prefix("violation: "))?;
    let by = violation.split(':').next().unwrap_or(violation).trim().to_owned();
    let found = output.lines().find_map(|line| line.strip_prefix("found: "));
    let after = found.and_then(|found| found.split("after ").nth(1));
    let schedules = after.and_then(|after| after.split(' ').next()?.parse().ok());
    Some(Found { by, schedules })
}

/// The first scenario in the list of those that failed, in which the tests are `suite::scenario`.
pub(super) fn failed_scenario(output: &str) -> Option<String> {
    let (_, list) = output.rsplit_once("\nfailures:\n")?;
    let first = list.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(first.rsplit("::").next().unwrap_or(first).to_owned())
}

/// Whether a test has passed: a filter that selects none finds nothing.
pub(super) fn ran_any(output: &str) -> bool {
    let results = output.lines().filter_map(|line| line.trim().strip_prefix("test result: ok. "));
    results.filter_map(|counts| counts.split(' ').next()?.parse::<u32>().ok()).any(|passed| passed > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulation_says_what_it_found_and_after_how_many_schedules() {
        let output = "step\nviolation: answers: request 3 has none\nfound: seed 42, after 17 schedules\n";
        assert_eq!(violation(output), Some(Found { by: "answers".to_owned(), schedules: Some(17) }));
        assert_eq!(violation("1000 schedules\n"), None);
    }

    #[test]
    fn the_first_failed_scenario_is_named_and_an_empty_run_is_no_pass() {
        let failed = "\nfailures:\n\n---- sim::a ----\nno\n\nfailures:\n    sim::a\n    sim::b\n\ntest result: FAILED. 1 passed";
        assert_eq!(failed_scenario(failed).as_deref(), Some("a"));
        let passed = "test result: ok. 3 passed; 0 failed;";
        assert_eq!((failed_scenario(passed), ran_any(passed)), (None, true));
        assert!(!ran_any("test result: ok. 0 passed; 0 failed;") && !ran_any(failed));
    }
}
