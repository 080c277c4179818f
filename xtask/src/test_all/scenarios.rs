//! The suites that run once per runtime: checks that each has the same scenarios, and that every adapter is covered.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::tests::Executable;
use crate::process::{self, Keep};
use crate::workspace::Workspace;

/// The test executables with such suites. In them, a module is a runtime and a test is a scenario.
const EXECUTABLES: [&str; 2] = ["behaviour", "wire"];

/// Listing takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// The modules of an executable, such as `sim`; of each the tests, such as `a_07_ids`, and whether they are ignored.
type Modules = BTreeMap<String, BTreeMap<String, bool>>;

/// Modules with common scenarios.
type Suite<'a> = BTreeMap<&'a str, &'a BTreeMap<String, bool>>;

/// Asks the executables for their tests, and prints what one lacks; returns `true` for nothing. Adds a row for each suite on each runtime: its name,
/// and how many scenarios it has, all and ignored ones.
pub(super) fn compare(
    workspace: &Workspace,
    built: &[Executable],
    rows: &mut Vec<(String, usize, usize)>,
) -> Result<bool> {
    let mut problems = Vec::new();
    for name in EXECUTABLES {
        let mut modules = Modules::new();
        for Executable { path, .. } in built.iter().filter(|executable| executable.target == name) {
            for flags in [&["--list", "--format", "terse"][..], &["--list", "--ignored", "--format", "terse"]]
            {
                let (status, list) = process::keep(Command::new(path).args(flags), Keep::All, LIMIT)?;
                ensure!(status.success(), "{name} --list: {status}\n{list}");
                add(&mut modules, &list, flags.contains(&"--ignored"));
            }
        }
        let (of_suites, missing) = judge(&modules, &workspace.runtimes());
        rows.extend(
            of_suites.into_iter().map(|(module, all, ignored)| (format!("{name} {module}"), all, ignored)),
        );
        problems.extend(missing.into_iter().map(|problem| format!("{name}: {problem}")));
    }
    problems.iter().for_each(|problem| println!("{problem}"));
    Ok(problems.is_empty())
}

/// Adds the tests in lines such as `module::scenario: test`.
fn add(modules: &mut Modules, list: &str, ignored: bool) {
    for line in list.lines() {
        if let Some((module, scenario)) = line.trim_end_matches(": test").rsplit_once("::") {
            modules.entry(module.to_owned()).or_default().insert(scenario.to_owned(), ignored);
        }
    }
}

/// The rows, and what is missing: a scenario on a runtime that runs on others, or a runtime that has an adapter.
fn judge(modules: &Modules, adapters: &[&str]) -> (Vec<(String, usize, usize)>, Vec<String>) {
    let mut suites: Vec<Suite<'_>> = Vec::new();
    for (name, tests) in modules {
        let is_related =
            |suite: &Suite<'_>| suite.values().any(|it| it.keys().any(|it| tests.contains_key(it)));
        let (related, others): (Vec<_>, Vec<_>) = suites.into_iter().partition(is_related);
        suites = others;
        suites.push(related.into_iter().flatten().chain([(name.as_str(), tests)]).collect());
    }
    // Not what runs once, on no adapter's runtime.
    suites.retain(|suite| suite.len() > 1 || adapters.iter().any(|adapter| is_for(suite, adapter)));
    suites.sort_by_key(|suite| suite.keys().next().copied());
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for suite in &suites {
        let all: BTreeSet<&String> = suite.values().flat_map(|tests| tests.keys()).collect();
        for (name, tests) in suite {
            rows.push((name.to_string(), tests.len(), tests.values().filter(|ignored| **ignored).count()));
            let missing = all.iter().filter(|scenario| !tests.contains_key(**scenario));
            problems.extend(missing.map(|scenario| format!("{name} lacks {scenario}")));
        }
        let first = suite.keys().next().unwrap_or(&"");
        let missing = adapters.iter().filter(|adapter| !is_for(suite, adapter));
        problems.extend(missing.map(|it| format!("no module beside {first} is for {it}")));
    }
    problems.extend(suites.is_empty().then(|| "no suite for any runtime".to_owned()));
    (rows, problems)
}

/// Returns `true` if one of the modules has an adapter's runtime in its name: `async_std` is in `wire::on_async_std`.
fn is_for(suite: &Suite<'_>, adapter: &str) -> bool {
    let word = |text: &str| format!("_{}_", text.replace("::", "_").replace('-', "_"));
    suite.keys().any(|name| word(name).contains(&word(adapter)))
}

#[cfg(test)]
mod tests {
    use super::{Modules, add, judge};

    const LIST: &str = "sim::a_07_ids: test\nsim::s_7_ends: test\non::tokio::a_07_ids: test\non::tokio::s_7_ends: test\n\
        tokio_laws::never_early: test\nservices::mounted: test\n";

    #[test]
    fn what_one_runtime_lacks_is_found() {
        let judged = |list: &str, adapters: &[&str]| {
            let mut modules = Modules::new();
            add(&mut modules, list, false);
            add(&mut modules, "sim::s_7_ends: test\n", true);
            judge(&modules, adapters)
        };
        let (rows, problems) = judged(LIST, &["tokio"]);
        assert_eq!(problems, [""; 0]);
        let expected = [("on::tokio", 2, 0), ("sim", 2, 1), ("tokio_laws", 1, 0)];
        assert_eq!(rows, expected.map(|(name, all, ignored)| (name.to_owned(), all, ignored)));

        let lacking = LIST.replace("tokio::s_7_ends: test\n", "");
        assert_eq!(judged(&lacking, &["tokio"]).1, ["on::tokio lacks s_7_ends"]);
        let problems = judged(LIST, &["tokio", "async-std"]).1;
        let beside = |first| format!("no module beside {first} is for async-std");
        assert_eq!(problems, [beside("on::tokio"), beside("tokio_laws")]);
        let both = format!("{LIST}{}", LIST.replace("tokio", "async_std"));
        assert_eq!(judged(&both, &["tokio", "async-std"]).1, [""; 0]);
        assert_eq!(judge(&Modules::new(), &["tokio"]).1, ["no suite for any runtime"]);
    }
}
