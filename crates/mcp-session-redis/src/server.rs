//! What a server says in its `INFO`: [`check`], what it must be; [`id`], which one it is.

use crate::error::Trouble;

/// The lowest version: that of `GETEX` and `XADD .. NOMKSTREAM`.
const VERSION: [u64; 2] = [6, 2];

/// Checks the answer of `INFO`.
pub(crate) fn check(info: &str) -> Result<(), Trouble> {
    let field = |name| field(info, name);
    let version = field("redis_version").unwrap_or("unknown");
    if !is_new_enough(version) {
        return Err(Trouble::Version(version.chars().take(40).collect()));
    }
    if field("role").is_some_and(|role| role == "slave") {
        return Err(Trouble::Replica);
    }
    match field("maxmemory_policy") {
        Some(policy) if policy != "noeviction" => Err(Trouble::Evicts { policy: policy.to_owned() }),
        Some(_) | None => Ok(()),
    }
}

/// The id of the process, from the answer of `INFO`.
pub(crate) fn id(info: &str) -> Option<&str> {
    field(info, "run_id").filter(|id| !id.is_empty())
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => [major, minor] >= VERSION,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, policy: &str, role: &str) -> String {
        format!(
            "# Server\r\nredis_version:{version}\r\n# Memory\r\nmaxmemory_policy:{policy}\r\n# Replication\r\nrole:{role}\r\n"
        )
    }

    #[test]
    fn versions_below_6_2_are_refused() {
        for old in ["6.0.16", "5.0.14", "2.8.24", "6.1.240", "", "six", "6", "-6.2", "6.x"] {
            assert_eq!(check(&info(old, "noeviction", "master")), Err(Trouble::Version(old.to_owned())));
        }
        for new in ["6.2.0", "6.2", "7.0.15", "7.4.1", "8.0.0", "10.0.0", "255.255.255"] {
            assert_eq!(check(&info(new, "noeviction", "master")), Ok(()), "{new}");
        }
        assert_eq!(check("redis_mode:standalone\r\n"), Err(Trouble::Version("unknown".to_owned())));
        assert_eq!(
            check("redis_version_of:7.0.0\nredis_version:6.0.0\n"),
            Err(Trouble::Version("6.0.0".to_owned()))
        );
    }

    #[test]
    fn evicting_servers_and_replicas_are_refused() {
        let evicts = check(&info("7.0.15", "allkeys-lru", "master"));
        assert_eq!(evicts, Err(Trouble::Evicts { policy: "allkeys-lru".to_owned() }));
        assert!(evicts.unwrap_err().to_string().ends_with("set `maxmemory-policy noeviction`"));
        assert_eq!(check(&info("7.0.15", "noeviction", "slave")), Err(Trouble::Replica));
        assert_eq!(check("redis_version:7.0.15\n"), Ok(())); // a service that shows neither
    }
}
