//! Values as they are written in options and in the file: times, sizes, addresses, variables.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf, str::FromStr, time::Duration};

use http::HeaderName;
use serde::{Deserialize, Deserializer, de};

/// A time: a whole number and a unit, such as `15s`, `500ms`, `2m` or `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str = "write a whole number and a unit, such as 15s, 500ms, 2m or 1h";
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            _ => return Err(HELP),
        };
        // 32 bits: even in hours longer than anybody waits, and such a deadline still fits an `Instant`.
        number.parse::<u32>().map(|number| Self(unit * number)).map_err(|_| HELP)
    }
}

/// A number of bytes: a whole number, alone or with `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str = "write a whole number of bytes, or one with KiB, MiB or GiB, such as 16MiB";
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit: usize = match unit.trim_start() {
            "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(HELP),
        };
        number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit)).map(Self).ok_or(HELP)
    }
}

/// Where the gateway listens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bind {
    /// A host and a port. Port 0 picks a free one.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Bind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("write the path after unix:, such as unix:/run/mcp/gateway.sock"),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let is_address = text
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && (port.parse::<u16>().is_ok()));
        let bare_v6 = text.matches(':').count() > 1 && !text.starts_with('[');
        if !is_address || bare_v6 {
            return Err(
                "write a host and a port, such as 127.0.0.1:8000, [::1]:8000 or localhost:0, or unix:PATH",
            );
        }
        Ok(Self::Tcp(text.to_owned()))
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A variable of a child. Its value may be a secret and is not printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(
                "write NAME=VALUE; to pass on a variable of the gateway, --inherit-env NAME".to_owned()
            );
        };
        Ok(Self { name: variable_name(name)?, value: value.to_owned() })
    }
}

/// A program or an argument: text in the file, any bytes on the command line. It may be a secret and is not printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct OsText(pub(crate) OsString);

impl fmt::Debug for OsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OsText(..)")
    }
}

impl<'de> Deserialize<'de> for OsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// A header of `initialize`, and the variable that it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderVariable {
    pub(crate) header: HeaderName,
    pub(crate) variable: String,
}

impl HeaderVariable {
    fn new(header: &str, variable: &str) -> Result<Self, String> {
        let name = HeaderName::from_str(header)
            .map_err(|_| format!("{header:?} is no name of a header, such as x-api-token"))?;
        Ok(Self { header: name, variable: variable_name(variable)? })
    }
}

impl FromStr for HeaderVariable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (header, variable) =
            text.split_once('=').ok_or("write HEADER=VARIABLE, such as x-api-token=API_TOKEN")?;
        Self::new(header, variable)
    }
}

fn variable_name(name: &str) -> Result<String, String> {
    let is_name = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name {
        Ok(name.to_owned())
    } else {
        Err(format!("{name:?} is no name of a variable: write letters, digits and _, such as API_TOKEN"))
    }
}

/// Reads a value that is written as text.
macro_rules! deserialize_from_str {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

deserialize_from_str!(Time, Bind);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "write a whole number of bytes, or one with a unit, such as \"16MiB\"")]
        enum Written {
            Number(usize),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

/// Reads a table of variables, `{ NAME = "VALUE" }`.
pub(crate) fn variables<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Variable>, D::Error> {
    let table = BTreeMap::<String, String>::deserialize(deserializer)?;
    let variable = |(name, value): (String, String)| {
        variable_name(&name).map(|name| Variable { name, value }).map_err(de::Error::custom)
    };
    table.into_iter().map(variable).collect()
}

/// Reads a table of headers and variables, `{ "x-api-token" = "API_TOKEN" }`.
pub(crate) fn header_variables<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<HeaderVariable>, D::Error> {
    let table = BTreeMap::<String, String>::deserialize(deserializer)?;
    let variable = |(header, variable): (String, String)| {
        HeaderVariable::new(&header, &variable).map_err(de::Error::custom)
    };
    table.into_iter().map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_a_number_and_a_unit() {
        let time = |text: &str| text.parse::<Time>().ok().map(|Time(time)| time);
        assert_eq!(time("15s"), Some(Duration::from_secs(15)));
        assert_eq!(time("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(time("2m"), Some(Duration::from_secs(120)));
        assert_eq!(time("1h"), Some(Duration::from_secs(3_600)));
        for bad in ["", "15", "s", "-1s", "1.5s", "15 s", "15S", "4294967296s"] {
            assert_eq!(time(bad), None, "{bad:?}");
        }
        let size = |text: &str| text.parse::<Size>().ok().map(|Size(size)| size);
        assert_eq!((size("512"), size("4KiB"), size("16 MiB")), (Some(512), Some(4_096), Some(16 << 20)));
        for bad in ["", "MiB", "16MB", "1.5MiB", "-1", "99999999999999999999", "18446744073709551615KiB"] {
            assert_eq!(size(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_address_is_tcp_or_a_path() {
        for good in ["127.0.0.1:8000", "[::1]:0", "localhost:80", "0.0.0.0:8443"] {
            assert_eq!(good.parse(), Ok(Bind::Tcp(good.to_owned())));
        }
        assert_eq!("unix:/run/a.sock".parse(), Ok(Bind::Unix("/run/a.sock".into())));
        for bad in ["", "8000", ":8000", "127.0.0.1", "::1:80", "127.0.0.1:99999", "unix:"] {
            assert!(bad.parse::<Bind>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn variables_have_names_and_their_values_are_not_shown() {
        let variable: Variable = "TOKEN=hunter2=x".parse().unwrap();
        assert_eq!((variable.name.as_str(), variable.value.as_str()), ("TOKEN", "hunter2=x"));
        assert!(!format!("{variable:?}").contains("hunter2"));
        for bad in ["TOKEN", "=x", "A B=x", "1A=x"] {
            assert!(bad.parse::<Variable>().is_err(), "{bad:?}");
        }
        let header: HeaderVariable = "X-Api-Token=API_TOKEN".parse().unwrap();
        assert_eq!((header.header.as_str(), header.variable.as_str()), ("x-api-token", "API_TOKEN"));
        for bad in ["x-api-token", "a b=C", "x-a=1", "x-a="] {
            assert!(bad.parse::<HeaderVariable>().is_err(), "{bad:?}");
        }
    }
}
