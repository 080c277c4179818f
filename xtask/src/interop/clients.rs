//! The clients: which there are, which ways each of them goes, and how it is started.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::installed;
use crate::process::Unavailable;
use crate::workspace::Workspace;

/// The releases of the Python package `mcp`: the newest 2.x, which prefers revision 2026-07-28, and the newest 1.x, which
/// supports only sessions. Pinned, so that a failure is our own fault.
const PYTHON: [(&str, &[Way]); 2] = [
    ("2.3.0", &[Way::Sessions, Way::Modern, Way::Fallback]),
    ("1.30.0", &[Way::Sessions, Way::WithoutId, Way::Refused]),
];

/// The npm packages, pinned in `xtask/node/package.json`, each with the module that drives it: the release lines after and
/// before the SDK's client got its own package, and a client that accepts an event only if it has `event: message`.
const NPM: [(&str, &str, &[Way]); 3] = [
    ("@modelcontextprotocol/client", "client.mjs", &[Way::Sessions, Way::Modern, Way::Fallback]),
    ("@modelcontextprotocol/sdk", "client.mjs", &[Way::Sessions, Way::WithoutId, Way::Refused]),
    ("@ai-sdk/mcp", "ai-sdk.mjs", &[Way::Sessions]),
];

/// rmcp's client goes where it is told to.
const RUST: [Way; 3] = [Way::Sessions, Way::Modern, Way::Fallback];

/// The drivers, and what those in JavaScript import.
pub(super) const FOLDER: &str = "xtask/src/interop";
const MODULES: [&str; 6] = [
    "common-steps.mjs",
    "modern-steps.mjs",
    "notes-steps.mjs",
    "proxy.mjs",
    "session-steps.mjs",
    "support.mjs",
];

/// The way that a client goes with a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// A legacy client in a session.
    Sessions,
    /// A client that negotiates by itself, and must arrive at 2026-07-28.
    Modern,
    /// The same with a server that declines it, so that the client must end up in a session.
    Fallback,
    /// A legacy client whose session id is lost on its way to the server, or that gets none.
    WithoutId,
    /// The same with a server that insists on sessions.
    Refused,
}

impl Way {
    pub(super) const ALL: [Way; 5] =
        [Way::Sessions, Way::Modern, Way::Fallback, Way::WithoutId, Way::Refused];

    /// The first argument of a driver.
    pub(super) fn word(self) -> &'static str {
        match self {
            Way::Sessions => "sessions",
            Way::Modern => "modern",
            Way::Fallback => "fallback",
            Way::WithoutId => "without-id",
            Way::Refused => "refused",
        }
    }

    /// Whether the session id is removed from the requests.
    pub(super) fn loses_id(self) -> bool {
        matches!(self, Way::WithoutId | Way::Refused)
    }
}

/// What a server has for its clients, which says which steps they do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Offer {
    /// The tools of `everything`.
    All,
    /// `echo` and `slow`.
    Two,
    /// What `notes` has.
    Notes,
}

impl Offer {
    /// The second argument of a driver.
    fn word(self) -> &'static str {
        match self {
            Offer::All => "all",
            Offer::Two => "two",
            Offer::Notes => "notes",
        }
    }
}

/// A release of an SDK.
#[derive(Debug)]
pub(super) struct Client {
    /// The heading of its column.
    pub(super) name: String,
    ways: &'static [Way],
    /// Whether its driver has steps for the example `notes`.
    does_notes: bool,
    words: Vec<PathBuf>,
}

impl Client {
    /// Whether it goes this way with a server that offers this.
    pub(super) fn does(&self, way: Way, offer: Offer) -> bool {
        self.ways.contains(&way) && (offer != Offer::Notes || self.does_notes)
    }

    /// The command that drives the server at `url`.
    pub(super) fn command(&self, way: Way, offer: Offer, url: &str) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args([way.word(), offer.word(), url]);
        command
    }
}

/// Finds or installs all clients; and a note about those that this machine cannot run. Fails as [`Unavailable`] without any,
/// or if `all` are wanted.
pub(super) fn find(workspace: &Workspace, all: bool) -> Result<(Vec<Client>, String)> {
    let (mut clients, mut missing) = (Vec::new(), Vec::new());
    let found =
        [("Python", python(workspace)), ("TypeScript", typescript(workspace)), ("Rust", rust(workspace))];
    for (language, found) in found {
        match found {
            Ok(found) => clients.extend(found),
            Err(error) if error.is::<Unavailable>() => {
                missing.push(format!("no {language} clients: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    let missing = missing.join("; ");
    ensure!(!clients.is_empty() && (missing.is_empty() || !all), Unavailable(missing));
    Ok((clients, missing))
}

fn python(workspace: &Workspace) -> Result<Vec<Client>> {
    let script = workspace.root().join(FOLDER).join("client.py");
    let client = |((version, python), (_, ways))| {
        // -B: no compiled modules beside the sources.
        let words = vec![python, "-B".into(), "-u".into(), script.clone()];
        Client { name: format!("mcp {version}"), ways, does_notes: true, words }
    };
    Ok(pythons(workspace)?.into_iter().zip(PYTHON).map(client).collect())
}

/// The Python that has each release of the package `mcp`.
pub(crate) fn pythons(workspace: &Workspace) -> Result<Vec<(&'static str, PathBuf)>> {
    PYTHON.into_iter().map(|(version, _)| Ok((version, installed::python(workspace, version)?))).collect()
}

fn typescript(workspace: &Workspace) -> Result<Vec<Client>> {
    let node = installed::node(workspace)?;
    let copy = |module: &str| installed::copy(workspace, FOLDER, module, Path::new(&node));
    MODULES.into_iter().try_for_each(|module| copy(module).map(drop))?;
    let client = |((package, version, _), (_, module, ways)): ((&str, String, bool), (&str, &str, _))| {
        let name = format!("{} {version}", package.trim_start_matches("@modelcontextprotocol/"));
        let does_notes = module == "client.mjs";
        Ok(Client { name, ways, does_notes, words: vec!["node".into(), copy(module)?, package.into()] })
    };
    packages(&node)?.into_iter().zip(NPM).map(client).collect()
}

/// The npm packages with a client in `node`, their versions, and whether they have both eras.
pub(crate) fn packages(node: &Path) -> Result<Vec<(&'static str, String, bool)>> {
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(node.join("package.json"))?)?;
    let package = |(package, _, ways): (&'static str, &str, &[Way])| {
        let version = manifest["dependencies"][package].as_str().context("the manifest pins it")?;
        Ok((package, version.to_owned(), ways.contains(&Way::Modern)))
    };
    NPM.into_iter().map(package).collect()
}

fn rust(workspace: &Workspace) -> Result<Vec<Client>> {
    let (version, executable) = installed::rmcp(workspace)?;
    let name = format!("rmcp {version}");
    Ok(vec![Client { name, ways: &RUST, does_notes: true, words: vec![executable] }])
}
