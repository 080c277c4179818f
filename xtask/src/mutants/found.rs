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

/// The scenarios in the list of those that failed, in which the tests are `suite::scenario`.
pub(super) fn failed_scenarios(output: &str) -> Vec<String> {
    let list = output.rsplit_once("\nfailures:\n").map_or("", |(_, list)| list);
    list.lines().map(str::trim).take_while(|line| !line.is_empty()).map(scenario).collect()
}

/// The scenarios that were run, and passed: a filter that selects none finds nothing.
pub(super) fn passed_scenarios(output: &str) -> Vec<String> {
    let passed = output.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix("... ok"));
    passed.map(str::trim).map(scenario).collect()
}

/// A scenario without its suite.
fn scenario(test: &str) -> String {
    test.rsplit("::").next().unwrap_or(test).to_owned()
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
    fn scenarios_that_failed_and_that_passed_are_named() {
        let failed = "\nfailures:\n\n---- sim::a ----\nno\n\nfailures:\n    sim::a\n    sim::b\n\ntest result: FAILED. 1 passed";
        assert_eq!(
            (failed_scenarios(failed), passed_scenarios(failed)),
            (vec!["a".to_owned(), "b".to_owned()], vec![])
        );
        let passed = "running 3 tests\ntest sim::a   ... ok\ntest sim::modern::bc ... ok\ntest sim::d ... ignored\n\n\
                      test result: ok. 2 passed; 0 failed;";
        assert_eq!(
            (failed_scenarios(passed), passed_scenarios(passed)),
            (vec![], vec!["a".to_owned(), "bc".to_owned()])
        );
    }
}
