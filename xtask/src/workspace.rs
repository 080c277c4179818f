//! The workspace as described by `cargo metadata`, in the project's terms.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package, Target};

/// The name of the runtime-neutral crate.
pub(crate) const CORE: &str = "mcp-session-core";
/// The name of the shared crate of the hyper adapters: hyper on any `Runtime`.
pub(crate) const HYPER: &str = "mcp-session-hyper";
/// The name of the published test kit.
pub(crate) const TESTKIT: &str = "mcp-session-testkit";
/// The name of the package whose `[[example]]` targets are the examples.
pub(crate) const EXAMPLES: &str = "mcp-session-examples";

/// The name of the benchmark crate.
pub(crate) const BENCH: &str = "mcp-session-bench";

const PREFIX: &str = "mcp-session-";

/// The workspace that this xtask was built from.
#[derive(Debug)]
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Runs `cargo metadata` without resolving dependencies: needs no network and no index.
    pub(crate) fn load() -> Result<Workspace> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?;
        Ok(Workspace { metadata })
    }

    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    pub(crate) fn target_directory(&self) -> &Path {
        self.metadata.target_directory.as_std_path()
    }

    /// Every member, sorted by name.
    pub(crate) fn packages(&self) -> Vec<&Package> {
        let mut packages = self.metadata.workspace_packages();
        packages.sort_by_key(|package| package.name.to_string());
        packages
    }

    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        let found = self.packages().into_iter().find(|package| package.name.as_str() == name);
        found.with_context(|| format!("the workspace has no package {name}"))
    }

    /// The packages that are published: those without `publish = false`.
    pub(crate) fn published(&self) -> Vec<&Package> {
        self.packages().into_iter().filter(|package| package.publish.is_none()).collect()
    }

    /// The adapters: `crates/mcp-session-*` except core, hyper, testkit and bench.
    pub(crate) fn adapters(&self) -> Vec<&Package> {
        let crates = self.root().join("crates");
        let mut packages = self.packages();
        packages.retain(|package| {
            package.manifest_path.as_std_path().starts_with(&crates)
                && package.name.starts_with(PREFIX)
                && ![CORE, HYPER, TESTKIT, BENCH].contains(&package.name.as_str())
        });
        packages
    }

    /// The runtimes with an adapter, from the crates' names: `mcp-session-async-std` is for `async-std`.
    pub(crate) fn runtimes(&self) -> Vec<&str> {
        let names = self.adapters().into_iter().map(|adapter| adapter.name.as_str());
        names.map(|name| name.trim_start_matches(PREFIX)).collect()
    }

    /// The `[[example]]` targets of the examples package, sorted by name.
    pub(crate) fn examples(&self) -> Result<Vec<&Target>> {
        let mut examples: Vec<&Target> =
            self.package(EXAMPLES)?.targets.iter().filter(|target| target.is_example()).collect();
        examples.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(examples)
    }

    /// The path of an example's executable.
    pub(crate) fn example_executable(&self, name: &str, profile: Profile) -> PathBuf {
        let directory = self.target_directory().join(profile.directory()).join("examples");
        directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// A path for messages: relative to the root.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(self.root()).unwrap_or(path)
    }
}

/// The directory of a package.
pub(crate) fn directory(package: &Package) -> &Path {
    package.manifest_path.parent().expect("a manifest lies in a directory").as_std_path()
}

/// How an executable was built.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    /// The flags for cargo that select it.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Profile::Dev => &[],
            Profile::Release => &["--release"],
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Profile::Dev => "debug",
            Profile::Release => "release",
        }
    }
}
