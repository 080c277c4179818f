//! The suites that run once per runtime: checks that each runs the same scenarios, and that every adapter is covered.

use std::collections::{BTreeMap, BTreeSet};

/// The test executables with such suites. In them, a module is a runtime and a test is a scenario.
const EXECUTABLES: [&str; 2] = ["behaviour", "wire"];

/// The tests that were run, by executable, module and scenario, from the output of libtest.
#[derive(Debug, Default)]
pub(super) struct Scenarios {
    modules: BTreeMap<(&'static str, String), Module>,
}

#[derive(Debug, Default)]
struct Module {
    scenarios: BTreeSet<String>,
    ignored: usize,
}

/// Modules of one executable with common scenarios.
type Suite<'a> = BTreeMap<&'a str, &'a Module>;

impl Scenarios {
    /// Adds the result in a `test module::scenario ... ok` line of an executable; ignores other lines.
    pub(super) fn add_line(&mut self, executable: &str, line: &str) {
        let Some(executable) = EXECUTABLES.into_iter().find(|known| *known == executable) else { return };
        let Some((test, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        else {
            return;
        };
        let Some((module, scenario)) = test.rsplit_once("::") else { return };
        let module = self.modules.entry((executable, module.to_owned())).or_default();
        module.scenarios.insert(scenario.split(' ').next().unwrap_or(scenario).to_owned());
        module.ignored += usize::from(result.starts_with("ignored"));
    }

    /// What is missing: a scenario on a runtime that runs on others, or a runtime that has an adapter.
    pub(super) fn problems(&self, adapters: &[&str]) -> Vec<String> {
        let mut problems = Vec::new();
        for executable in EXECUTABLES {
            let suites = self.per_runtime(executable, adapters);
            if suites.is_empty() {
                problems.push(format!("{executable} has no suite for any runtime"));
            }
            for suite in &suites {
                let all: BTreeSet<&String> = suite.values().flat_map(|module| &module.scenarios).collect();
                for (name, module) in suite {
                    let missing = all.iter().filter(|scenario| !module.scenarios.contains(**scenario));
                    problems.extend(missing.map(|scenario| format!("{executable} {name} lacks {scenario}")));
                }
                let first = suite.keys().next().unwrap_or(&"");
                let missing = adapters.iter().filter(|adapter| !is_for(suite, adapter));
                problems
                    .extend(missing.map(|it| format!("{executable}: no module beside {first} is for {it}")));
            }
        }
        problems
    }

    /// A line per module of a suite: its name, how many scenarios it has, and how many of them are ignored.
    pub(super) fn rows(&self, adapters: &[&str]) -> Vec<(String, usize, usize)> {
        let mut rows = Vec::new();
        for executable in EXECUTABLES {
            for (name, module) in self.per_runtime(executable, adapters).into_iter().flatten() {
                rows.push((format!("{executable} {name}"), module.scenarios.len(), module.ignored));
            }
        }
        rows
    }

    /// The suites for runtimes: those on several runtimes, or on one that has an adapter.
    fn per_runtime(&self, executable: &str, adapters: &[&str]) -> Vec<Suite<'_>> {
        let mut suites = self.suites(executable);
        suites.retain(|suite| suite.len() > 1 || adapters.iter().any(|adapter| is_for(suite, adapter)));
        suites.sort_by_key(|suite| suite.keys().next().copied());
        suites
    }

    /// The modules of an executable, grouped by common scenarios.
    fn suites(&self, executable: &str) -> Vec<Suite<'_>> {
        let mut suites: Vec<Suite<'_>> = Vec::new();
        for ((_, name), module) in self.modules.iter().filter(|((known, _), _)| *known == executable) {
            let related = |suite: &Suite<'_>| {
                suite.values().any(|other| !other.scenarios.is_disjoint(&module.scenarios))
            };
            let (mut joined, others): (Vec<_>, Vec<_>) = suites.into_iter().partition(related);
            joined.push(BTreeMap::from([(name.as_str(), module)]));
            suites = others;
            suites.push(joined.into_iter().flatten().collect());
        }
        suites
    }
}

/// Returns `true` if one of the modules has an adapter's runtime in its name: `async_std` is in `wire::on_async_std`.
fn is_for(suite: &Suite<'_>, adapter: &str) -> bool {
    let word = |text: &str| format!("_{}_", text.replace("::", "_").replace('-', "_"));
    suite.keys().any(|name| word(name).contains(&word(adapter)))
}

#[cfg(test)]
mod tests {
    use super::Scenarios;

    fn scenarios(lines: &[&str]) -> Scenarios {
        let mut scenarios = Scenarios::default();
        for line in lines {
            let (executable, line) = line.split_once(' ').unwrap();
            scenarios.add_line(executable, line);
        }
        scenarios
    }

    const GOOD: [&str; 9] = [
        "behaviour test sim::a_07_ids ... ok",
        "behaviour test sim::s_7_ends ... ok",
        "behaviour test tokio_threads::a_07_ids ... ok",
        "behaviour test tokio_threads::s_7_ends ... FAILED",
        "behaviour test tokio_laws::never_early ... ok",
        "wire test adapters::on_tokio::s_7_ends ... ok",
        "wire test adapters::on_tokio::http_2 ... ignored, it speaks HTTP/1.1 only",
        "wire test services::mounted ... ok",
        "unit test other::a_07_ids ... ok",
    ];

    #[test]
    fn equal_suites_are_in_order_and_counted() {
        let scenarios = scenarios(&GOOD);
        assert_eq!(scenarios.problems(&["tokio"]), [""; 0]);
        let rows = [
            ("behaviour sim", 2, 0),
            ("behaviour tokio_threads", 2, 0),
            ("behaviour tokio_laws", 1, 0),
            ("wire adapters::on_tokio", 2, 1),
        ];
        assert_eq!(
            scenarios.rows(&["tokio"]),
            rows.map(|(name, all, ignored)| (name.to_owned(), all, ignored))
        );
    }

    #[test]
    fn a_scenario_that_one_runtime_lacks_is_found() {
        let lines: Vec<&str> = GOOD.into_iter().filter(|line| !line.contains("threads::s_7")).collect();
        assert_eq!(scenarios(&lines).problems(&["tokio"]), ["behaviour tokio_threads lacks s_7_ends"]);
    }

    #[test]
    fn an_adapter_without_a_module_is_found() {
        let problems = scenarios(&GOOD).problems(&["tokio", "async-std"]);
        assert_eq!(
            problems,
            [
                "behaviour: no module beside sim is for async-std",
                "behaviour: no module beside tokio_laws is for async-std",
                "wire: no module beside adapters::on_tokio is for async-std",
            ]
        );
        let mut lines = GOOD.to_vec();
        lines.extend([
            "behaviour test async_std::a_07_ids ... ok",
            "behaviour test async_std::s_7_ends ... ok",
            "behaviour test async_std_laws::never_early ... ok",
            "wire test adapters::on_async_std::s_7_ends ... ok",
            "wire test adapters::on_async_std::http_2 ... ok",
        ]);
        assert_eq!(scenarios(&lines).problems(&["tokio", "async-std"]), [""; 0]);
    }

    #[test]
    fn no_suite_at_all_is_a_problem() {
        assert_eq!(scenarios(&GOOD[..5]).problems(&["tokio"]), ["wire has no suite for any runtime"]);
    }
}
