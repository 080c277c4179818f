//! The workspace as described by `cargo metadata`, in the project's terms.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{CargoOpt, Metadata, MetadataCommand, Package};

/// The name of the runtime-neutral crate.
pub(crate) const CORE: &str = "mcp-session-core";
/// The name of the state machine.
pub(crate) const PROTO: &str = "mcp-session-proto";
/// The name of the shared crate of the hyper adapters: hyper on any `Runtime`.
pub(crate) const HYPER: &str = "mcp-session-hyper";
/// The name of the gateway for stdio servers.
pub(crate) const GATEWAY: &str = "mcp-session-gateway";
/// The name of the store on Redis.
pub(crate) const REDIS: &str = "mcp-session-redis";
/// The name of the telemetry.
pub(crate) const OTEL: &str = "mcp-session-otel";
/// The name of what checks access tokens.
pub(crate) const OAUTH: &str = "mcp-session-oauth";
/// The name of the bridge to rmcp.
pub(crate) const RMCP: &str = "mcp-session-rmcp";
/// The name of the published test kit.
pub(crate) const TESTKIT: &str = "mcp-session-testkit";
/// The name of the package whose `[[example]]` targets are the examples.
pub(crate) const EXAMPLES: &str = "mcp-session-examples";
/// The name of the package of the suites on every runtime.
pub(crate) const TESTS: &str = "mcp-session-tests";
/// The name of the benchmark crate.
pub(crate) const BENCH: &str = "mcp-session-bench";

const PREFIX: &str = "mcp-session-";

/// Which examples a task drives.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The runtime to serve on, as `everything --help` lists them, or `all`
    #[arg(long, default_value = "all")]
    runtime: String,
    /// Build and drive the examples in release mode
    #[arg(long)]
    pub(crate) release: bool,
}

impl Target {
    /// For `test-all`: all runtimes, on the executables that its `examples` step has built.
    pub(crate) fn all() -> Target {
        Target { runtime: "all".to_owned(), release: false }
    }
}

/// Whether a task writes what it otherwise compares.
#[derive(Debug, clap::Args)]
pub(crate) struct Record {
    /// Write the file that records it, and do not only compare
    #[arg(long)]
    pub(crate) write: bool,
}

/// The workspace that this xtask was built from.
#[derive(Debug)]
pub(crate) struct Workspace(Metadata);

impl Workspace {
    /// Runs `cargo metadata` without resolving dependencies: needs no network and no index.
    pub(crate) fn load() -> Result<Workspace> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        Ok(Workspace(MetadataCommand::new().manifest_path(manifest).no_deps().exec()?))
    }

    /// The members with everything that they depend on, with all features and for all targets. Needs the registry, if a crate was
    /// not fetched before.
    pub(crate) fn tree(&self) -> Result<Metadata> {
        let mut command = MetadataCommand::new();
        command.manifest_path(self.root().join("Cargo.toml")).features(CargoOpt::AllFeatures);
        Ok(command.other_options(["--locked".to_owned()]).exec()?)
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.workspace_root.as_std_path()
    }

    pub(crate) fn target_directory(&self) -> &Path {
        self.0.target_directory.as_std_path()
    }

    /// Every member, sorted by name.
    pub(crate) fn packages(&self) -> Vec<&Package> {
        let mut packages = self.0.workspace_packages();
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

    /// The libraries: `crates/mcp-session-*` except bench.
    pub(crate) fn libraries(&self) -> Vec<&Package> {
        let mut packages = self.packages();
        packages
            .retain(|it| directory(it).starts_with(self.root().join("crates")) && it.name.as_str() != BENCH);
        packages
    }

    /// The adapters: the libraries except core, proto, gateway, hyper, oauth, otel, redis, rmcp and testkit.
    pub(crate) fn adapters(&self) -> Vec<&Package> {
        let mut packages = self.libraries();
        let others = [CORE, PROTO, GATEWAY, HYPER, OAUTH, OTEL, REDIS, RMCP, TESTKIT];
        packages.retain(|package| !others.contains(&package.name.as_str()));
        packages
    }

    /// The runtimes with an adapter, from the crates' names: `mcp-session-async-std` is for `async-std`.
    pub(crate) fn runtimes(&self) -> Vec<&str> {
        self.adapters().into_iter().map(|adapter| adapter.name.as_str().trim_start_matches(PREFIX)).collect()
    }

    /// The runtimes of a target: one, or all.
    pub(crate) fn select_runtimes(&self, Target { runtime, .. }: &Target) -> Result<Vec<&str>> {
        let mut runtimes = self.runtimes();
        let known = runtimes.join(", ");
        runtimes.retain(|name| runtime == "all" || name == runtime);
        ensure!(!runtimes.is_empty(), "no runtime {runtime}; there are {known}");
        Ok(runtimes)
    }

    /// The `[[example]]` targets of the examples package, sorted by name.
    pub(crate) fn examples(&self) -> Result<Vec<&cargo_metadata::Target>> {
        let targets = &self.package(EXAMPLES)?.targets;
        let mut examples: Vec<&cargo_metadata::Target> =
            targets.iter().filter(|target| target.is_example()).collect();
        ensure!(!examples.is_empty(), "{EXAMPLES} has no [[example]]");
        examples.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(examples)
    }

    /// The path of an example's executable.
    pub(crate) fn example_executable(&self, name: &str, release: bool) -> PathBuf {
        let profile = if release { "release" } else { "debug" };
        let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        self.target_directory().join(profile).join("examples").join(name)
    }

    /// The executable of a program of the workspace, built without optimizations.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target_directory().join("debug").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
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
