//! [`CommandLine`]: what is started, and what it inherits.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

/// The variables that a child inherits by default: what programs need to find others, their home, and how to print. Nothing
/// that usually has secrets.
const INHERITED: [&str; 13] = [
    "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TEMP", "TERM", "TMP", "TMPDIR", "TZ",
    "USER",
];

/// A program with its arguments, started without a shell, in its own process group.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandLine {
    /// The program, looked up in `PATH` if it is a bare name.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The names of the variables that it inherits from the gateway.
    pub inherit: Vec<OsString>,
    /// Variables that are set, after those that are inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory. `None`: that of the gateway.
    pub cwd: Option<PathBuf>,
}

impl CommandLine {
    /// Creates a command with the default allow-list of variables.
    pub fn new(program: impl Into<OsString>, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            inherit: INHERITED.iter().map(OsString::from).collect(),
            env: Vec::new(),
            cwd: None,
        }
    }

    /// Sets a variable.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Lets the child inherit one more variable.
    #[must_use]
    pub fn with_inherited(mut self, name: impl Into<OsString>) -> Self {
        self.inherit.push(name.into());
        self
    }

    /// The command, with these further variables.
    pub(crate) fn to_command<'a>(
        &self,
        extra: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
    ) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args).env_clear();
        let inherited = self.inherit.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.envs(inherited).envs(self.env.iter().map(|(name, value)| (name, value))).envs(extra);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command
    }
}

/// Omits the values of variables, which may be secrets, and the arguments, for the same reason.
impl std::fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let env: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("CommandLine")
            .field("program", &self.program)
            .field("args", &self.args.len())
            .field("inherit", &self.inherit)
            .field("env", &env)
            .field("cwd", &self.cwd)
            .finish()
    }
}
