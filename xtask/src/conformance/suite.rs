//! One run of the suite: one of its releases, a revision of the protocol, and a fresh server.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::checks::Findings;
use crate::node::Node;
use crate::process;
use crate::runtimes;
use crate::server::Server;

/// A release of the suite, and what is expected for each revision.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) version: &'static str,
    /// The name under which it is installed.
    package: &'static str,
    flags: &'static [&'static str],
    /// The number of scenarios and checks per revision. The suite silently skips what does not apply, and an empty run
    /// exits with 0, so we count.
    pub(super) revisions: &'static [(&'static str, Expected)],
}

/// The result that a run must have.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Expected {
    pub(super) scenarios: usize,
    /// Checks that ended with `SUCCESS`, without those that could not be made.
    pub(super) checks: usize,
}

const fn expect(scenarios: usize, checks: usize) -> Expected {
    Expected { scenarios, checks }
}

/// The newest release, and the newest that is not a pre-release. The older one has nothing for 2025-03-26.
pub(super) const RELEASES: [Release; 2] = [
    Release {
        version: "0.2.0-alpha.12",
        package: "conformance-0.2",
        flags: &["--timeout", "15000"], // per scenario; the longest wait in one is 10 s
        revisions: &[
            ("2025-03-26", expect(1, 3)),
            ("2025-06-18", expect(27, 56)),
            ("2025-11-25", expect(33, 83)),
        ],
    },
    Release {
        version: "0.1.16",
        package: "conformance-0.1",
        flags: &[],
        revisions: &[("2025-06-18", expect(26, 26)), ("2025-11-25", expect(32, 46))],
    },
];

/// The list of expected failures, which is empty. With such a list, the suite treats a warning as a failure.
const STRICT: &str = "server: []\nclient: []\n";

/// A run takes two seconds; this limit ends one that hangs.
const LIMIT: Duration = Duration::from_secs(3 * 60);

#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) runtime: &'a str,
    pub(super) release: &'a Release,
    pub(super) revision: &'a str,
    pub(super) expected: &'a Expected,
}

impl Run<'_> {
    /// Runs it against a fresh server, which must exit cleanly on SIGTERM afterwards.
    pub(super) fn perform(&self, executable: &Path, node: &Node) -> Result<Findings> {
        let name = format!("{}-{}-{}", self.runtime, self.release.version, self.revision);
        let out = node.directory().join("conformance").join(name.replace('.', "_"));
        if out.exists() {
            fs::remove_dir_all(&out)?;
        }
        fs::create_dir_all(&out)?;
        let strict = node.write("strict.yml", STRICT)?;
        let server = Server::start(executable, &runtimes::flags(self.runtime))?;
        let index = Path::new("node_modules").join(self.release.package).join("dist/index.js");
        let mut command = node.command(index);
        command.args(["server", "--url", server.url(), "--suite", "all", "--spec-version", self.revision]);
        command.arg("--expected-failures").arg(strict).args(self.release.flags).arg("-o").arg(&out);
        let output = process::capture(&mut command, LIMIT)?;
        let printed = [output.stdout, output.stderr].concat();
        fs::write(out.with_extension("log"), printed)?;
        let mut findings = Findings::read(&out)?;
        if !output.status.success() {
            findings.problems.push(format!("the suite ended with {}", output.status));
        }
        if findings.found != *self.expected {
            findings.problems.push(format!("found {:?}, not {:?}", findings.found, self.expected));
        }
        if !findings.problems.is_empty() {
            findings.notes.push(format!("all of it is in {}*", out.display()));
        }
        server.stop()?;
        Ok(findings)
    }
}
