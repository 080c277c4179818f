//! The Lua scripts: each is one change that must be atomic, within the keys of one session or one node.

use std::sync::LazyLock;

use redis::{Cmd, Script};

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident: $file:literal),+ $(,)?) => {
        $(
            $(#[$doc])*
            pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!(concat!("scripts/", $file))));
        )+

        /// All of them, to load into a server that does not know them.
        pub(crate) fn load() -> Vec<Cmd> {
            [$(include_str!(concat!("scripts/", $file))),+]
                .into_iter()
                .map(|code| {
                    let mut load = redis::cmd("SCRIPT");
                    load.arg("LOAD").arg(code);
                    load
                })
                .collect()
        }
    };
}

scripts! {
    APPEND: "append.lua",
    ATTACH: "attach.lua",
    BEAT: "beat.lua",
    CREATE: "create.lua",
    LEAVE: "leave.lua",
    LOAD: "load.lua",
    OLDEST: "oldest.lua",
    PUBLISH: "publish.lua",
    PURGE: "purge.lua",
    READ: "read.lua",
    RESTORE: "restore.lua",
    SEAL: "seal.lua",
    SEND: "send.lua",
    SWAP: "swap.lua",
    TAIL: "tail.lua",
    TOUCH: "touch.lua",
    UNTAIL: "untail.lua",
}

/// A call of a script with these keys. Its arguments follow.
pub(crate) fn call(script: &Script, keys: &[&str]) -> Cmd {
    let mut call = redis::cmd("EVALSHA");
    call.arg(script.get_hash()).arg(keys.len()).arg(keys);
    call
}
