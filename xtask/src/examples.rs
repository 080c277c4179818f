//! The examples as executables.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::process;
use crate::workspace::{EXAMPLES, Profile, Workspace};

const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);

/// Builds all examples, always with the same selection and features, so that nothing is built twice.
pub(crate) fn build(workspace: &Workspace, profile: Profile) -> Result<()> {
    let examples = workspace.examples()?;
    ensure!(!examples.is_empty(), "{EXAMPLES} has no [[example]]");
    let mut command = process::cargo(["build", "--package", EXAMPLES, "--examples", "--all-features"]);
    command.args(profile.flags()).current_dir(workspace.root());
    let status = process::stream(&mut command, BUILD_LIMIT, |_| {})?;
    ensure!(status.success(), "the examples do not build: {status}");
    Ok(())
}
