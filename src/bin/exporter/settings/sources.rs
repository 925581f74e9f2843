//! Where a setting's value comes from: flag, else environment, else config file, else the default. A variable that
//! is set but empty counts as unset. What was looked up is remembered for `--show-settings`.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

use super::config_file::{self, ConfigFile, ConfigLine};
use super::config_path::Environment;
use super::refusal::{HIDDEN, Refusal, is_path, shown};
use super::table::{self, Kind, Setting};

const EMPTY: &str = "it is empty; give a path";

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
    File(ConfigLine),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Argument(name) | Self::Environment(name) => f.write_str(name),
            Self::File(line) => write!(f, "{line}"),
        }
    }
}

/// A value that the user gave.
#[derive(Clone, Debug)]
pub struct Given {
    /// As it was written.
    pub value: OsString,
    pub origin: Origin,
    /// The setting's long flag.
    flag: &'static str,
}

impl Given {
    fn new(setting: &Setting, value: OsString, origin: Origin) -> Self {
        Self { value, origin, flag: setting.flag }
    }

    /// Whether this could be the key itself, given instead of the name of its file: what is no path is not shown.
    pub fn might_be_a_key(&self) -> bool {
        self.flag == table::API_KEY_FILE.flag && !is_path(Path::new(&self.value))
    }

    /// Refuses the value.
    pub fn refuse(&self, why: impl fmt::Display) -> Refusal {
        let shown = if self.might_be_a_key() { HIDDEN.to_owned() } else { shown(&self.value) };
        match &self.origin {
            Origin::File(line) => Refusal::new(format_args!("{line}: {} {shown}", self.flag), why),
            origin => Refusal::new(format_args!("{origin} {shown}"), why),
        }
    }

    /// The value as text; an `Err` of `read` says what is allowed.
    fn read<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Refusal> {
        let text = self.value.to_str().ok_or_else(|| self.refuse("it is not UTF-8"))?;
        read(text).map_err(|why| self.refuse(why))
    }
}

/// A setting that was looked up.
#[derive(Clone, Debug)]
pub struct LookedUp {
    /// The setting's long flag.
    pub flag: &'static str,
    /// All values that were given; none: the default counts.
    pub given: Vec<Given>,
}

/// The layers that a value may come from.
pub struct Sources<'a> {
    args: &'a ArgMatches,
    env: Environment<'a>,
    file: Option<ConfigFile>,
    looked_up: RefCell<Vec<LookedUp>>,
}

impl<'a> Sources<'a> {
    /// The command line and the environment, without a config file.
    pub fn new(args: &'a ArgMatches, env: Environment<'a>) -> Self {
        Self { args, env, file: None, looked_up: RefCell::default() }
    }

    /// With the config file that `--config` names, else the usual one, if it exists.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn with_config(
        args: &'a ArgMatches,
        env: Environment<'a>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Refusal> {
        let mut sources = Self::new(args, env);
        let named = sources.argument(table::CONFIG.flag);
        sources.file = config_file::find(named.as_deref().map(Path::new), env, warnings)?;
        Ok(sources)
    }

    /// The config file that was read.
    pub fn config(&self) -> Option<&Path> {
        self.file.as_ref().map(ConfigFile::path)
    }

    /// Whether the config file was named with `--config`.
    pub fn config_is_named(&self) -> bool {
        self.is_flagged(&table::CONFIG)
    }

    /// All settings that were looked up so far.
    pub fn looked_up(&self) -> Vec<LookedUp> {
        self.looked_up.borrow().clone()
    }

    /// An argument of the command line by its id, whether it is a setting or not.
    pub fn argument(&self, id: &str) -> Option<OsString> {
        self.arguments(id).pop()
    }

    /// All values of it; none if the command has no such argument.
    pub fn arguments(&self, id: &str) -> Vec<OsString> {
        self.args.try_get_many::<OsString>(id).ok().flatten().into_iter().flatten().cloned().collect()
    }

    /// Whether the command line has the setting's flag.
    pub fn is_flagged(&self, setting: &Setting) -> bool {
        !self.flags(setting).is_empty()
    }

    /// The setting's flag, as many times as it was given; a switch as `true`, a level as its number.
    fn flags(&self, setting: &Setting) -> Vec<OsString> {
        match setting.kind {
            Kind::Switch => {
                let on = self.args.try_get_one::<bool>(setting.flag).ok().flatten();
                on.filter(|on| **on).map(|_| "true".into()).into_iter().collect()
            }
            Kind::Level => {
                let level = self.args.try_get_one::<u8>(setting.flag).ok().flatten();
                level.filter(|level| **level > 0).map(|level| level.to_string().into()).into_iter().collect()
            }
            _ => self.arguments(setting.flag),
        }
    }

    /// The value that counts, if any was given.
    pub fn value(&self, setting: &Setting) -> Option<Given> {
        let mut given = self.all(setting);
        given.drain(..given.len().saturating_sub(1));
        self.remember(setting, given.clone());
        given.pop()
    }

    /// The values of a setting that may be repeated.
    fn values(&self, setting: &Setting) -> Vec<Given> {
        let given = self.all(setting);
        self.remember(setting, given.clone());
        given
    }

    /// All values of the highest layer that has any.
    fn all(&self, setting: &Setting) -> Vec<Given> {
        let given = |value, origin| Given::new(setting, value, origin);
        let flags = self.flags(setting);
        if !flags.is_empty() {
            return flags.into_iter().map(|value| given(value, Origin::Flag(setting.flag))).collect();
        }
        // a shell expands `~/` in a flag, but nothing does in a config file, a unit of systemd or a container
        let expanded = |value| if setting.is_path() { self.with_home(value) } else { value };
        if let Some((name, value)) = setting.env.and_then(|name| Some((name, self.variable(name)?))) {
            return vec![given(expanded(value), Origin::Environment(name))];
        }
        let Some((values, line)) = self.file.as_ref().and_then(|file| file.get(setting)) else {
            return Vec::new();
        };
        values.iter().map(|value| given(expanded(value.into()), Origin::File(line.clone()))).collect()
    }

    /// A path with the home folder in the place of a `~` before its first slash.
    fn with_home(&self, value: OsString) -> OsString {
        let Ok(below) = Path::new(&value).strip_prefix("~") else { return value };
        if below.as_os_str().is_empty() {
            return value;
        }
        match self.variable("HOME").map(PathBuf::from).or_else(std::env::home_dir) {
            Some(home) => home.join(below).into(),
            None => value,
        }
    }

    fn remember(&self, setting: &Setting, given: Vec<Given>) {
        let mut looked_up = self.looked_up.borrow_mut();
        looked_up.retain(|earlier| earlier.flag != setting.flag);
        looked_up.push(LookedUp { flag: setting.flag, given });
    }

    /// An environment variable that is not empty.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// A setting that is on or off; its flag can only turn it on.
    pub fn switch(&self, setting: &Setting) -> bool {
        self.value(setting).is_some_and(|given| given.value == "true")
    }

    /// A setting that counts as not given, since another flag overrides it.
    pub fn overridden(&self, setting: &Setting) {
        self.remember(setting, Vec::new());
    }

    /// A value that is text; an `Err` of `read` says what is allowed.
    pub fn text<T>(
        &self,
        setting: &Setting,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Refusal> {
        self.value(setting).map(|given| given.read(read)).transpose()
    }

    /// Values that are text, for a setting that may be repeated.
    pub fn texts<T>(
        &self,
        setting: &Setting,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Refusal> {
        self.values(setting).iter().map(|given| given.read(&read)).collect()
    }

    /// A path.
    pub fn path(&self, setting: &Setting) -> Result<Option<PathBuf>, Refusal> {
        self.value(setting).map(not_empty).transpose()
    }

    /// A path that is given as the argument `name`, else as a setting is.
    pub fn path_or_argument(
        &self,
        setting: &Setting,
        name: &'static str,
    ) -> Result<Option<PathBuf>, Refusal> {
        let Some(value) = self.argument(name) else { return self.path(setting) };
        let given = Given::new(setting, value, Origin::Argument(name));
        self.remember(setting, vec![given.clone()]);
        not_empty(given).map(Some)
    }

    /// The path of a file that can be read now.
    pub fn readable(&self, setting: &Setting) -> Result<Option<PathBuf>, Refusal> {
        let Some(given) = self.value(setting) else { return Ok(None) };
        // without fs_err: the refusal names the path already
        match std::fs::File::open(&given.value).and_then(|file| file.metadata()) {
            Ok(meta) if meta.is_dir() => Err(given.refuse("it is a folder; give a file")),
            Ok(_) => Ok(Some(given.value.into())),
            Err(error) => Err(given.refuse(format_args!("it cannot be read: {error}"))),
        }
    }
}

fn not_empty(given: Given) -> Result<PathBuf, Refusal> {
    if given.value.is_empty() { Err(given.refuse(EMPTY)) } else { Ok(given.value.into()) }
}

/// A command line that has every setting, for tests.
#[cfg(test)]
pub fn command_line(args: &[&str]) -> ArgMatches {
    use clap::{Arg, ArgAction, Command, value_parser};
    let arg = |setting: &'static Setting| {
        let arg = Arg::new(setting.flag).long(setting.flag);
        match setting.kind {
            Kind::Switch => arg.action(ArgAction::SetTrue),
            Kind::Level => arg.action(ArgAction::Count),
            _ => arg.action(ArgAction::Append).value_parser(value_parser!(OsString)),
        }
    };
    Command::new("test").no_binary_name(true).args(table::ALL.map(arg)).get_matches_from(args)
}

#[cfg(test)]
mod tests {
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
        let args = command_line(&["--rate", "8", "--out", ""]);
        let sources = Sources::new(&args, &env);
        assert_eq!(sources.text(&table::RATE, whole), Ok(Some(8)));
        assert!(sources.path(&table::OUT).is_err());
        let args = command_line(&[]);
        let sources = Sources::new(&args, &env);
        assert_eq!(sources.text(&table::RATE, whole), Ok(Some(7)));
        assert_eq!(sources.path(&table::OUT), Ok(None));
    }

    #[test]
    fn a_refusal_names_the_place_the_value_and_what_is_allowed() {
        let env = |_: &str| Some("x\n".into());
        let refuse = |args: &[&str]| {
            let args = command_line(args);
            let read = Sources::new(&args, &env).text(&table::RATE, whole);
            read.map_err(|refusal| refusal.to_string())
        };
        assert_eq!(refuse(&[]), Err(r"EXPORTER_RATE 'x\u{a}': give a whole number".to_owned()));
        assert_eq!(refuse(&["--rate", "y"]), Err("--rate 'y': give a whole number".to_owned()));
    }

    #[test]
    fn a_tilde_is_the_home_folder_in_a_variable_and_stays_in_a_flag() {
        let out = |args: &[&str], value: &'static str| {
            let env = move |name: &str| match name {
                "EXPORTER_OUT" | "EXPORTER_RATE" => Some(value.into()),
                "HOME" => Some("/home/a".into()),
                _ => None,
            };
            let args = command_line(args);
            let sources = Sources::new(&args, &env);
            (sources.path(&table::OUT).expect("a path"), sources.value(&table::RATE).expect("given").value)
        };
        assert_eq!(out(&[], "~/export").0, Some("/home/a/export".into()));
        assert_eq!(out(&[], "~/export").1, "~/export", "no path");
        assert_eq!(out(&["--out", "~/export"], "x").0, Some("~/export".into()));
        for other in ["~", "~b/export", "a/~/b", "./~/b", "/~/b"] {
            assert_eq!(out(&[], other).0, Some(other.into()));
        }
    }

    #[test]
    fn in_the_place_of_a_key_file_only_a_path_is_shown() {
        let refused = |value: &str| {
            let flag = Origin::Flag(table::API_KEY_FILE.flag);
            Given::new(&table::API_KEY_FILE, value.into(), flag).refuse("no").to_string()
        };
        for value in ["short", "Zm9v/YmFy", "/abc", "./abc", "key.txt"] {
            assert!(refused(value).contains("not shown"), "{value}");
        }
        for value in ["src", "src/no-such-key", "/etc/no-such-key"] {
            assert_eq!(refused(value), format!("--api-key-file '{value}': no"));
        }
    }
}
