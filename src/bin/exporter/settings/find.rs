//! Where a setting's value comes from: flag, else environment, else (to come, one more arm of
//! [`Sources::value`]) the config file, else the default. A variable that is set but empty counts as unset.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use super::table::Setting;
use crate::human;

/// Longest value that is shown in a refusal.
const SHOWN: usize = 100;
/// A value without a slash or dot that is as long as this might be a key in the wrong place.
const KEY_LIKE: usize = 20;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The long flag.
    Flag(&'static str),
    /// An environment variable.
    Environment(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Environment(name) => f.write_str(name),
        }
    }
}

/// A value as it was written, and where.
#[derive(Debug)]
pub struct Found {
    /// As it was written.
    pub value: OsString,
    /// Where.
    pub origin: Origin,
}

impl Found {
    /// Refuses the value.
    pub fn refuse(&self, why: impl fmt::Display) -> Refusal {
        Refusal::new(format_args!("{} {}", self.origin, shown(&self.value)), why)
    }
}

/// A setting that cannot be used: its name, its value, what is allowed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

impl Refusal {
    /// `name: why`.
    pub fn new(name: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self(format!("{name}: {why}"))
    }
}

/// The layers a value may come from, below the flags.
pub struct Sources<'a> {
    env: &'a dyn Fn(&str) -> Option<OsString>,
}

impl<'a> Sources<'a> {
    /// With that environment.
    pub fn new(env: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self { env }
    }

    /// The value that counts, if any was given.
    pub fn value(&self, setting: &Setting, flag: Option<&OsStr>) -> Option<Found> {
        if let Some(value) = flag {
            return Some(Found { value: value.to_owned(), origin: Origin::Flag(setting.flag) });
        }
        let name = setting.env?;
        Some(Found { value: self.variable(name)?, origin: Origin::Environment(name) })
    }

    /// An environment variable that is not empty.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// A value that is text; `read` answers what is allowed where it is not.
    pub fn text<T>(
        &self,
        setting: &Setting,
        flag: Option<&OsStr>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Refusal> {
        let Some(found) = self.value(setting, flag) else { return Ok(None) };
        let text = found.value.to_str().ok_or_else(|| found.refuse("it is not UTF-8"))?;
        read(text).map(Some).map_err(|why| found.refuse(why))
    }

    /// A value that is a path.
    pub fn path(&self, setting: &Setting, flag: Option<&OsStr>) -> Result<Option<PathBuf>, Refusal> {
        match self.value(setting, flag) {
            Some(found) if found.value.is_empty() => Err(found.refuse("it is empty; give a path")),
            found => Ok(found.map(|found| found.value.into())),
        }
    }

    /// A value that is the path of a file which can be read now.
    pub fn readable(&self, setting: &Setting, flag: Option<&OsStr>) -> Result<Option<PathBuf>, Refusal> {
        let Some(found) = self.value(setting, flag) else { return Ok(None) };
        // without fs_err: the refusal names the path already
        match std::fs::File::open(&found.value).and_then(|file| file.metadata()) {
            Ok(meta) if meta.is_dir() => Err(found.refuse("it is a folder; give a file")),
            Ok(_) => Ok(Some(found.value.into())),
            Err(error) => Err(found.refuse(format_args!("it cannot be read: {error}"))),
        }
    }
}

/// A value for the eyes: quoted, cut, nothing that steers a terminal, and no secret that strayed: neither the
/// user info and query of an address nor what might be a key in the place of a file's name.
fn shown(value: &OsStr) -> String {
    let text = value.to_string_lossy();
    let address = text.contains("://") && text.contains(['@', '?', '#']);
    let key = text.len() >= KEY_LIKE && !text.contains(['/', '.', '\\', ' ', '=', ':']);
    if address || key {
        return "(not shown here, it might hold a secret)".to_owned();
    }
    let mut short = human::safe(&text.chars().take(SHOWN).collect::<String>());
    if text.chars().nth(SHOWN).is_some() {
        short.push_str("...");
    }
    format!("'{short}'")
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    fn whole(text: &str) -> Result<u32, String> {
        text.parse().map_err(|_| "give a whole number".to_owned())
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_an_empty_variable_is_none() {
        let env = |name: &str| match name {
            "EXPORTER_RATE" => Some("7".into()),
            "EXPORTER_OUT" => Some(OsString::new()),
            _ => None,
        };
        let sources = Sources::new(&env);
        assert_eq!(sources.text(&table::RATE, Some("8".as_ref()), whole), Ok(Some(8)));
        assert_eq!(sources.text(&table::RATE, None, whole), Ok(Some(7)));
        assert_eq!(sources.path(&table::OUT, None), Ok(None));
        assert!(sources.path(&table::OUT, Some("".as_ref())).is_err());
    }

    #[test]
    fn a_refusal_names_the_place_the_value_and_what_is_allowed() {
        let env = |_: &str| Some("x\n".into());
        let sources = Sources::new(&env);
        let refuse = |flag| sources.text(&table::RATE, flag, whole).map_err(|refusal| refusal.to_string());
        assert_eq!(refuse(None), Err(r"EXPORTER_RATE 'x\u{a}': give a whole number".to_owned()));
        assert_eq!(refuse(Some("y".as_ref())), Err("--rate 'y': give a whole number".to_owned()));
    }

    #[test]
    fn a_strayed_secret_is_not_shown() {
        for value in ["max_prd_ak_0123456789", "https://me:pw@host/v2", "https://host/v2?token=abc"] {
            assert!(shown(value.as_ref()).contains("not shown"), "{value}");
        }
        assert_eq!(shown("/etc/exporter/key".as_ref()), "'/etc/exporter/key'");
    }
}
