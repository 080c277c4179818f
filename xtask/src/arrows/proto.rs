//! The machine is pure: no async, no clock, no thread, no socket. What it may import, the compiler knows.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use super::problem;
use crate::source::{Code, Name};
use crate::workspace::{self, PROTO, Workspace};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    forbidden: BTreeMap<String, String>,
}

pub(super) fn check(workspace: &Workspace, rule: &Rule) -> Result<Vec<String>> {
    let src = workspace::directory(workspace.package(PROTO)?).join("src");
    let mut problems = Vec::new();
    for (path, code) in Code::below(&src)? {
        for (line, what, advice) in impurities(&code.names(), rule) {
            let place = format!("{}:{line}", workspace.relative(&path).display());
            problems.push(problem(place, what, advice));
        }
    }
    Ok(problems)
}

/// Line, problem and advice for each name that the machine must not have.
fn impurities<'a>(names: &[Name], rule: &'a Rule) -> Vec<(usize, String, &'a str)> {
    let mut found = Vec::new();
    for Name { line, path, imported } in names {
        let is_of = |ban: &str| match ban.strip_prefix('*') {
            Some(end) => path.split("::").any(|segment| segment.ends_with(end)),
            None => format!("::{path}::").contains(&format!("::{ban}::")),
        };
        let verb = if *imported { "imports" } else { "names" };
        if let Some((_, advice)) = rule.forbidden.iter().find(|(ban, _)| is_of(ban)) {
            found.push((*line, format!("{verb} `{path}`"), advice.as_str()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::Rules, Code, impurities};

    const PURE: &str = "//! No async here, and no Instant::now.\n\
        use std::time::{Duration, Instant};\n\
        use crate::id::Id;\n\
        fn f(now: Instant) -> &'static str { self.awaited; \"std::net\" }\n\
        #[cfg(test)]\nmod tests { use futures::executor; }\n";

    #[test]
    fn each_planted_impurity_is_found() {
        let rule = Rules::load().unwrap().proto;
        let found = |text: &str| {
            let found = impurities(&Code::parse(text).unwrap().names(), &rule);
            found.into_iter().map(|(line, what, _)| (line, what)).collect::<Vec<_>>()
        };
        assert_eq!(found(PURE), []);
        for (planted, what) in [
            ("async fn g() {}", "names `async`"),
            ("fn g() { Instant::now(); }", "names `Instant::now`"),
            ("use std::{fmt, thread};", "imports `std::thread`"),
            ("fn g() -> BoxFuture {}", "names `BoxFuture`"),
            ("fn g() { f().await; }", "names `await`"),
            ("use std::{net::TcpStream, time::SystemTime};", "imports `std::net::TcpStream`"),
        ] {
            assert_eq!(found(&format!("{PURE}{planted}"))[0], (7, what.to_owned()), "{planted}");
        }
    }
}
