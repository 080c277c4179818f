//! [`Checker`]: whether a command means something: its program is known, and so are what it is to build and its flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser as _;

use crate::Cli;
use crate::process;
use crate::workspace::{EXAMPLES, Workspace};

/// Programs of others. Of their words, the paths into this repository are checked.
const OTHERS: [&str; 15] = [
    "apt-get",
    "awk",
    "bash",
    "claude",
    "curl",
    "git",
    "install",
    "man",
    "npx",
    "podman",
    "promtool",
    "redis-server",
    "rustup",
    "systemctl",
    "tr",
];

/// Folders of this repository, with which a path begins.
const FOLDERS: [&str; 6] = [".ci/", "crates/", "docs/", "examples/", "tests/", "xtask/"];

/// The examples that take more than `--bind ADDRESS`, and print what with `--help`.
const WITH_HELP: [&str; 5] = ["cluster", "everything", "graceful_shutdown", "rmcp_everything", "rmcp_server"];

/// What the program `everything` and the gateway print with `--help`, and so on.
pub(super) struct Checker<'a> {
    workspace: &'a Workspace,
    helps: BTreeMap<PathBuf, String>,
}

/// What was found in a block.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) commands: usize,
    pub(super) problems: Vec<String>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(workspace: &'a Workspace) -> Self {
        Self { workspace, helps: BTreeMap::new() }
    }

    /// Checks a block: that bash can read it, and each of its lines.
    pub(super) fn block(&mut self, text: &str) -> Found {
        let mut found = Found::default();
        if let Err(error) = readable(text) {
            found.problems.push(format!("{error:#}"));
        }
        let joined = text.replace("\\\n", " ");
        for line in joined.lines().filter(|line| !matches!(line.trim().chars().next(), None | Some('#'))) {
            found.commands += 1;
            found.problems.extend(self.line(line).err().map(|error| format!("`{}`: {error:#}", line.trim())));
        }
        found
    }

    /// Checks the commands of a line.
    pub(super) fn line(&mut self, line: &str) -> Result<()> {
        let words = shell_words::split(line).context("it cannot be read")?;
        let ends = |word: &String| matches!(word.as_str(), "&&" | "||" | "|" | ";" | "&");
        for command in words.split(ends) {
            // `NAME=value`; what a `$(…)` runs is seen when the block is run.
            let is_set = |word: &&String| {
                let name = word.split_once('=').map_or("", |(name, _)| name);
                !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
            };
            let set = command.iter().take_while(is_set).count();
            match &command[set..] {
                [sudo, rest @ ..] if sudo == "sudo" => self.command(rest)?,
                _ if set > 0 => {}
                rest => self.command(rest)?,
            }
        }
        Ok(())
    }

    fn command(&mut self, words: &[String]) -> Result<()> {
        let [program, args @ ..] = words else { return Ok(()) };
        match program.as_str() {
            "cargo" => self.cargo(args),
            "everything" => self.flags(&self.workspace.example_executable("everything", false), args),
            "mcp-session-gateway" => self.flags(&self.workspace.program("mcp-session-gateway"), args),
            other => {
                ensure!(OTHERS.contains(&other), "xtask/src/commands/check.rs does not know {other}");
                args.iter().try_for_each(|arg| self.path(arg))
            }
        }
    }

    /// A path into this repository must be there.
    fn path(&self, word: &str) -> Result<()> {
        let is_ours = FOLDERS.iter().any(|folder| word.starts_with(folder));
        ensure!(!is_ours || self.workspace.root().join(word).exists(), "there is no {word}");
        Ok(())
    }

    fn cargo(&mut self, args: &[String]) -> Result<()> {
        let Some((task, args)) = args.split_first() else { return Ok(()) };
        if task == "xtask" {
            let words = ["cargo xtask"].into_iter().chain(args.iter().map(String::as_str));
            return Cli::try_parse_from(words).map(drop).map_err(|error| anyhow::anyhow!("{error}"));
        }
        let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
        let (own, passed) = (&args[..end], args.get(end + 1..).unwrap_or_default());
        let value = |names: [&str; 2]| {
            own.windows(2).find(|pair| names.contains(&pair[0].as_str())).map(|pair| pair[1].as_str())
        };
        if let Some(path) = value(["--path", "--path"]) {
            ensure!(
                self.workspace.root().join(path).join("Cargo.toml").exists(),
                "there is no crate in {path}"
            );
        }
        let package = value(["-p", "--package"]).map(|name| self.workspace.package(name)).transpose()?;
        let Some(example) = value(["--example", "--example"]) else { return Ok(()) };
        let package = package.map_or_else(|| self.workspace.package(EXAMPLES), Ok)?;
        let target = package.targets.iter().find(|target| target.is_example() && target.name == example);
        let target = target.with_context(|| format!("{} has no example {example}", package.name))?;
        for needed in &target.required_features {
            let enabled =
                value(["--features", "-F"]).is_some_and(|them| them.split(',').any(|it| it == needed));
            ensure!(enabled, "the example {example} needs --features {needed}");
        }
        if task != "run" {
            Ok(())
        } else if WITH_HELP.contains(&example) {
            self.flags(&self.workspace.example_executable(example, false), passed)
        } else {
            let unknown = passed.iter().find(|arg| arg.starts_with("--") && *arg != "--bind");
            ensure!(unknown.is_none(), "the example {example} takes no {}", unknown.unwrap());
            Ok(())
        }
    }

    /// The flags before a `--` must be in the program's `--help`.
    fn flags(&mut self, program: &Path, args: &[String]) -> Result<()> {
        if !self.helps.contains_key(program) {
            let output = Command::new(program).arg("--help").stdin(Stdio::null()).output();
            let output = output.with_context(|| program.display().to_string())?;
            ensure!(output.status.success(), "{} --help ends with {}", program.display(), output.status);
            self.helps.insert(program.to_owned(), String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let help = &self.helps[program];
        for arg in args.iter().take_while(|arg| *arg != "--").filter(|arg| arg.starts_with("--")) {
            let flag = arg.split('=').next().unwrap_or(arg);
            let mut known = help.split(|it: char| !it.is_ascii_alphanumeric() && it != '-');
            if !known.any(|known| known == flag) {
                bail!("{} has no {flag}", program.file_name().unwrap_or_default().display());
            }
        }
        Ok(())
    }
}

/// Whether bash can read it, if there is one.
fn readable(text: &str) -> Result<()> {
    if !super::has_bash() {
        return Ok(());
    }
    let (status, output) = process::keep(
        Command::new("bash").args(["-n", "-c", text]),
        process::Keep::All,
        std::time::Duration::from_secs(10),
    )?;
    ensure!(status.success(), "bash cannot read it: {output}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_means_nothing_is_found() {
        let workspace = Workspace::load().expect("the workspace");
        let mut checker = Checker::new(&workspace);
        for good in [
            "cargo xtask test-all --only clippy   # a comment",
            "cargo run --release --example axum_router -- --bind 127.0.0.1:1",
            "cargo run -p mcp-session-tests --example issuer && curl -N http://127.0.0.1",
            "cargo install --path crates/mcp-session-gateway",
            "sudo install -m 644 crates/mcp-session-gateway/deploy/gateway.toml /etc/",
            "URL=http://127.0.0.1:8000/mcp; curl $URL",
        ] {
            checker.line(good).unwrap_or_else(|error| panic!("{good}: {error:#}"));
        }
        for (bad, says) in [
            ("cargo xtask test-everything", "test-everything"),
            ("cargo xtask release --wet-run", "--wet-run"),
            ("cargo run --example nothing", "no example nothing"),
            ("cargo run --example tide_app", "needs --features async-std"),
            ("cargo run --example axum_router -- --port 1", "takes no --port"),
            ("cargo doc -p mcp-session-nothing", "no package"),
            ("cargo install --path crates/nothing", "no crate in"),
            ("podman build -f crates/nothing/Containerfile .", "there is no crates/nothing"),
            ("frobnicate", "does not know frobnicate"),
        ] {
            let error = checker.line(bad).expect_err(bad);
            assert!(format!("{error:#}").contains(says), "{bad}: {error:#}");
        }
    }
}
