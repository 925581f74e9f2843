//! Where a setting's value comes from: flag, else environment, else config file, else the default. A variable that
//! is set but empty counts as unset. What was looked up is remembered, so that it can be shown.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::config_file::{self, ConfigFile, Place};
use super::config_path::Environment;
use super::table::{self, Setting};
use crate::output::redact;

/// Longest value that is shown in a refusal.
const SHOWN: usize = 100;
/// A value without a slash or dot that is as long as this might be a key in the wrong place.
const KEY_LIKE: usize = 20;

const EMPTY: &str = "it is empty; give a path";
/// In the place of such a value.
const HIDDEN: &str = "(not shown here, it might hold a secret)";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The long flag.
    Flag(&'static str),
    /// An argument without a flag, by its name in the help.
    Argument(&'static str),
    /// An environment variable.
    Environment(&'static str),
    /// A config file.
    File(Place),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Argument(name) | Self::Environment(name) => f.write_str(name),
            Self::File(place) => write!(f, "{place}"),
        }
    }
}

/// A value as it was written, and where.
#[derive(Clone, Debug)]
pub struct Found {
    /// As it was written.
    pub value: OsString,
    /// Where.
    pub origin: Origin,
    /// The setting's long flag.
    flag: &'static str,
}

impl Found {
    /// Whether it is a key in the place of a key file's name: what is no path is not shown.
    pub fn might_be_a_key(&self) -> bool {
        self.flag == table::API_KEY_FILE.flag && !is_path(Path::new(&self.value))
    }

    /// Refuses the value.
    pub fn refuse(&self, why: impl fmt::Display) -> Refusal {
        let shown = if self.might_be_a_key() { HIDDEN.to_owned() } else { shown(&self.value) };
        match &self.origin {
            Origin::File(place) => Refusal::new(format_args!("{place}: {} {shown}", self.flag), why),
            origin => Refusal::new(format_args!("{origin} {shown}"), why),
        }
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

/// What was looked up.
#[derive(Clone, Debug)]
pub struct Told {
    /// The setting's long flag.
    pub flag: &'static str,
    /// All values that were given; none: the default counts.
    pub found: Vec<Found>,
}

/// The layers a value may come from, below the flags.
pub struct Sources<'a> {
    env: Environment<'a>,
    file: Option<ConfigFile>,
    named: bool,
    told: RefCell<Vec<Told>>,
}

impl<'a> Sources<'a> {
    /// With that environment, and no config file.
    pub fn new(env: Environment<'a>) -> Self {
        Self { env, file: None, named: false, told: RefCell::default() }
    }

    /// With the config file that is named, else the usual one, if there is one.
    ///
    /// # Errors
    /// Where the file cannot be used.
    pub fn with_config(
        env: Environment<'a>,
        named: Option<&OsStr>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Refusal> {
        let file = config_file::find(named.map(Path::new), env, warnings)?;
        Ok(Self { file, named: named.is_some(), ..Self::new(env) })
    }

    /// The config file that is read.
    pub fn config(&self) -> Option<&Path> {
        self.file.as_ref().map(ConfigFile::path)
    }

    /// Whether the config file was asked for by name.
    pub fn config_is_named(&self) -> bool {
        self.named
    }

    /// What was looked up so far.
    pub fn told(&self) -> Vec<Told> {
        self.told.borrow().clone()
    }

    /// The value that counts, if any was given.
    pub fn value(&self, setting: &Setting, flag: Option<&OsStr>) -> Option<Found> {
        let found = flag.map(|value| flagged(setting, value)).or_else(|| self.below(setting).pop());
        self.remember(setting, found.iter().cloned().collect());
        found
    }

    /// The values of a setting that may be given again.
    pub fn values(&self, setting: &Setting, flags: &[OsString]) -> Vec<Found> {
        let found: Vec<Found> = match flags {
            [] => self.below(setting),
            flags => flags.iter().map(|value| flagged(setting, value)).collect(),
        };
        self.remember(setting, found.clone());
        found
    }

    /// A setting that is on or off; as a flag it can only be on.
    pub fn switch(&self, setting: &Setting, flag: bool) -> bool {
        self.value(setting, flag.then(|| "true".as_ref())).is_some_and(|found| found.value == "true")
    }

    /// A switch that is off, whatever stands below the flags: another flag outdoes it.
    pub fn unset(&self, setting: &Setting) -> bool {
        self.remember(setting, Vec::new());
        false
    }

    /// From the environment, else from the config file.
    fn below(&self, setting: &Setting) -> Vec<Found> {
        let flag = setting.flag;
        let variable = setting.env.and_then(|name| Some((name, self.variable(name)?)));
        if let Some((name, value)) = variable {
            return vec![Found { value, origin: Origin::Environment(name), flag }];
        }
        let Some((values, place)) = self.file.as_ref().and_then(|file| file.get(setting)) else {
            return Vec::new();
        };
        let found = |value: &String| Found { value: value.into(), origin: Origin::File(place.clone()), flag };
        values.iter().map(found).collect()
    }

    fn remember(&self, setting: &Setting, found: Vec<Found>) {
        let mut told = self.told.borrow_mut();
        told.retain(|told| told.flag != setting.flag);
        told.push(Told { flag: setting.flag, found });
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
        self.value(setting, flag).map(|found| read_text(&found, read)).transpose()
    }

    /// Values that are text, for a setting that may be given again.
    pub fn texts<T>(
        &self,
        setting: &Setting,
        flags: &[OsString],
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Refusal> {
        self.values(setting, flags).iter().map(|found| read_text(found, &read)).collect()
    }

    /// A path that may be given as an argument without a flag, else as a setting below the flags.
    pub fn argument(
        &self,
        setting: &Setting,
        name: &'static str,
        value: Option<&OsStr>,
    ) -> Result<Option<PathBuf>, Refusal> {
        let Some(value) = value else { return self.path(setting, None) };
        let found = Found { value: value.to_owned(), origin: Origin::Argument(name), flag: setting.flag };
        self.remember(setting, vec![found.clone()]);
        if value.is_empty() { Err(found.refuse(EMPTY)) } else { Ok(Some(value.into())) }
    }

    /// A value that is a path.
    pub fn path(&self, setting: &Setting, flag: Option<&OsStr>) -> Result<Option<PathBuf>, Refusal> {
        match self.value(setting, flag) {
            Some(found) if found.value.is_empty() => Err(found.refuse(EMPTY)),
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

fn flagged(setting: &Setting, value: &OsStr) -> Found {
    Found { value: value.to_owned(), origin: Origin::Flag(setting.flag), flag: setting.flag }
}

fn read_text<T>(found: &Found, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Refusal> {
    let text = found.value.to_str().ok_or_else(|| found.refuse("it is not UTF-8"))?;
    read(text).map_err(|why| found.refuse(why))
}

/// A value for the eyes: quoted, cut, nothing that steers a terminal, and no secret that strayed: neither the
/// user info and query of an address nor what might be a key in the place of a file's name.
pub fn shown(value: &OsStr) -> String {
    let text = value.to_string_lossy();
    let key = text.len() >= KEY_LIKE && !text.contains(['/', '.', '\\', ' ', '=', ':']);
    if key || redact::holds_key(&text) || has_credentials(&text) {
        return HIDDEN.to_owned();
    }
    let mut short = redact::safe(&text.chars().take(SHOWN).collect::<String>());
    if text.chars().nth(SHOWN).is_some() {
        short.push_str("...");
    }
    format!("'{short}'")
}

/// Something is there, or could be: in a folder that is there and is neither `.` nor `/`, below which anything is a
/// path.
fn is_path(path: &Path) -> bool {
    let folder =
        path.parent().filter(|folder| folder.components().any(|part| matches!(part, Component::Normal(_))));
    path.exists() || folder.is_some_and(Path::is_dir)
}

/// An address with user info or a query.
pub fn has_credentials(text: &str) -> bool {
    text.contains("://") && text.contains(['@', '?', '#'])
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
        for value in [
            "max_prd_ak_0123456789",
            "max_dev_ak_sandbox",
            "max_prd_ak_Zm9v/YmFy+MTIz==",
            "https://me:pw@host/v2",
            "https://host/v2?token=abc",
        ] {
            assert!(shown(value.as_ref()).contains("not shown"), "{value}");
        }
        assert_eq!(shown("/etc/exporter/key".as_ref()), "'/etc/exporter/key'");
    }

    #[test]
    fn in_the_place_of_a_key_file_only_a_path_is_shown() {
        let refused = |value: &str| flagged(&table::API_KEY_FILE, value.as_ref()).refuse("no").to_string();
        for value in ["short", "Zm9v/YmFy", "/abc", "./abc", "key.txt"] {
            assert!(refused(value).contains("not shown"), "{value}");
        }
        for value in ["src", "src/no-such-key", "/etc/no-such-key"] {
            assert_eq!(refused(value), format!("--api-key-file '{value}': no"));
        }
    }
}
