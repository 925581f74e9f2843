//! The parser of the command line, made from the [`table`] of settings and the nine commands; and how wrong usage is
//! answered. What a value means is decided in [`crate::settings`], so that a flag, a variable and a config file are
//! read by the same rules.

mod commands;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::builder::{PossibleValue, StyledStr, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, ValueHint, value_parser};
use tracing_subscriber::filter::LevelFilter;

pub use self::commands::{ADOPT, JSON, RECEIPTS, REPAIR, RUNS, SHELL, WATCH};
use crate::settings::MANIFEST;
use crate::settings::table::{self, Command, Kind, Setting};
use crate::{
    exit,
    output::{self, log, redact},
};

const ABOUT: &str = "Exports a clinic's note images, completely and provably";
const LONG_ABOUT: &str = "\
Exports a clinic's note images: downloads every image that a CSV manifest lists, verifies it, and accounts for every \
row.

The manifest has one row per image, with the ids of the organization (clinic), the note and the image. For each image \
exporter asks the Max AI API for a presigned URL, downloads and verifies the image, and stores it. Reports say what \
became of every row. To continue after an interruption, give the same command again.";
const EXAMPLE: &str = "Example: exporter run manifest.csv --api-key-file key.txt";
const EXAMPLE_AND_CODES: &str = "\
Example:
  exporter run manifest.csv --api-key-file key.txt -o export

Exit codes:
  0    every row is delivered
  1    the run had to stop; doctor: there is a problem
  2    wrong usage, settings or manifest: nothing was attempted
  3    at least one row failed; verify: a file is missing, changed, unreadable or foreign
  4    stopped at --until or --max-duration
  130  stopped by Ctrl-C (143: SIGTERM, 129: SIGHUP)";

/// Reads the command line.
///
/// # Errors
/// The exit code, if there is nothing more to do: the user asked for help, or the usage is wrong.
pub fn parse() -> Result<(Command, ArgMatches), ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let mut matches =
        parser_for(&arguments).try_get_matches_from(arguments).map_err(|error| answer(&error))?;
    let (name, args) = matches.remove_subcommand().unwrap_or_default();
    let command = commands::ALL.into_iter().find(|command| commands::name(*command) == name);
    // the parser lets no other name pass
    command.map(|command| (command, args)).ok_or(ExitCode::from(exit::USAGE))
}

/// The parser of these arguments. The help calls the manifest required, as it is but for `--show-settings`.
fn parser_for(arguments: &[OsString]) -> clap::Command {
    let flag = format!("--{}", table::SHOW_SETTINGS.flag);
    let needs_manifest = !arguments.iter().any(|argument| *argument == *flag);
    parser().mut_subcommands(|command| {
        // a merge knows the manifest of its shards
        if command.get_name() == commands::name(Command::Merge) {
            return command;
        }
        command.mut_args(|arg| if arg.get_id() == MANIFEST { arg.required(needs_manifest) } else { arg })
    })
}

/// The whole command line.
pub fn parser() -> clap::Command {
    clap::Command::new("exporter")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help(EXAMPLE)
        .after_long_help(EXAMPLE_AND_CODES)
        .max_term_width(100)
        .subcommand_value_name("COMMAND")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(commands::ALL.map(|command| {
            let flags = table::of(command).map(argument);
            commands::describe(command).args(flags)
        }))
}

/// The flag of a setting.
fn argument(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.flag).long(setting.flag).help_heading(setting.heading);
    let arg = match setting.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    let arg = match setting.kind {
        Kind::Switch => arg.action(ArgAction::SetTrue),
        Kind::Level => arg.action(ArgAction::Count),
        Kind::List => valued(arg, setting).action(ArgAction::Append),
        Kind::Text | Kind::Amount | Kind::Number => valued(arg, setting),
    };
    let arg = match setting.flag {
        flag if flag == table::QUIET.flag => arg.conflicts_with(table::VERBOSE.flag),
        flag if flag == table::DELIMITER.flag => arg.allow_hyphen_values(true),
        _ => arg,
    };
    with_help(arg, setting)
}

/// The value of a flag: its name, and how a shell completes it.
fn valued(arg: Arg, setting: &'static Setting) -> Arg {
    let arg = arg.value_name(setting.value);
    let choices = setting.choices();
    match setting.value {
        _ if !choices.is_empty() => arg.value_parser(Suggested(choices)).hide_possible_values(true),
        "FILE" => arg.value_parser(value_parser!(OsString)).value_hint(ValueHint::FilePath),
        "DIR" => arg.value_parser(value_parser!(OsString)).value_hint(ValueHint::DirPath),
        // no completion but files is known for it otherwise
        _ => arg.value_parser(value_parser!(OsString)).value_hint(ValueHint::Other),
    }
}

/// The help of a setting, with its variable and its default.
fn with_help(arg: Arg, setting: &Setting) -> Arg {
    let mut notes = Vec::new();
    notes.extend(setting.env.map(|name| format!("[env: {name}]")));
    notes.extend(setting.default.or(setting.default_words).map(|value| format!("[default: {value}]")));
    let notes = notes.join(" ");
    let paragraphs = |texts: &[&str], between: &str| {
        let texts: Vec<&str> = texts.iter().copied().filter(|text| !text.is_empty()).collect();
        StyledStr::from(texts.join(between))
    };
    arg.help(paragraphs(&[setting.help, &notes], " "))
        .long_help(paragraphs(&[setting.help, setting.more, &notes], "\n\n"))
}

/// Values that completions offer. Any other value is let through, to be refused in [`crate::settings`] like that of a
/// variable or a config file.
#[derive(Clone)]
struct Suggested(Vec<&'static str>);

impl TypedValueParser for Suggested {
    type Value = OsString;

    fn parse_ref(&self, _: &clap::Command, _: Option<&Arg>, value: &OsStr) -> Result<OsString, clap::Error> {
        Ok(value.to_owned())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().copied().map(PossibleValue::new)))
    }
}

/// Prints the help, the version, or what is wrong.
fn answer(error: &clap::Error) -> ExitCode {
    let text = error.render();
    if error.use_stderr() {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        let json = wants_json(&arguments, table::LOG_FORMAT.env.and_then(std::env::var_os));
        let coloured = !json && output::is_coloured(&std::io::stderr());
        let text = if coloured { text.ansi().to_string() } else { text.to_string() };
        let text = without_keys(text.trim_end(), &arguments);
        if json {
            log::start(log::Format::Json, LevelFilter::ERROR);
            tracing::error!("{}", text.trim_start_matches("error: "));
        } else if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            output::stderr_line(&text);
        } else {
            output::stderr_line(&format!("exporter: {text}"));
        }
        return ExitCode::from(exit::USAGE);
    }
    let coloured = output::is_coloured(&std::io::stdout());
    let text = if coloured { text.ansi().to_string() } else { text.to_string() };
    if output::stdout(&text).is_err() { ExitCode::from(exit::FAILURE) } else { ExitCode::SUCCESS }
}

/// Replaces whatever might be an API key (`max_<environment>_ak_<secret>`), wherever it stands on the command line.
fn without_keys(text: &str, arguments: &[OsString]) -> String {
    let arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    let keys = arguments.filter(|argument| redact::holds_key(argument));
    keys.fold(text.to_owned(), |text, key| text.replace(&*key, "(not shown)"))
}

/// Whether a command line that cannot be parsed asks for log lines in JSON.
fn wants_json(arguments: &[OsString], variable: Option<OsString>) -> bool {
    let flag = format!("--{}", table::LOG_FORMAT.flag);
    let joined = OsString::from(format!("{flag}=json"));
    let apart = arguments.windows(2).any(|pair| pair[0] == *flag && pair[1] == "json");
    let flagged = arguments.iter().any(|argument| argument.to_string_lossy().starts_with(&flag));
    apart || arguments.contains(&joined) || !flagged && variable.is_some_and(|format| format == "json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::FOLDER;

    #[test]
    fn clap_finds_no_contradiction_in_the_command_line() {
        parser().debug_assert();
    }

    #[test]
    fn wrong_usage_is_said_in_json_where_that_is_asked_for() {
        let wants = |line: &str, variable: Option<&str>| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            wants_json(&arguments, variable.map(OsString::from))
        };
        assert!(wants("exporter run --log-format json --nope", None));
        assert!(wants("exporter run --log-format=json", Some("text")));
        assert!(wants("exporter run --nope", Some("json")));
        assert!(!wants("exporter run --log-format text", Some("json")));
        assert!(!wants("exporter run json", None));
    }

    #[test]
    fn every_setting_of_the_table_is_a_flag_of_a_command() {
        let command = parser();
        for setting in table::ALL {
            let known = command
                .get_subcommands()
                .any(|command| command.get_arguments().any(|arg| arg.get_long() == Some(setting.flag)));
            assert!(known, "{}", setting.flag);
        }
    }

    #[test]
    fn a_manifest_is_required_but_to_show_the_settings() {
        for (line, parsed) in [
            ("exporter run", false),
            ("exporter plan --json", false),
            ("exporter run --show-settings", true),
            ("exporter run m.csv --show-settings", true),
            ("exporter plan m.csv", true),
        ] {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(parser_for(&arguments).try_get_matches_from(arguments).is_ok(), parsed, "{line}");
        }
    }

    #[test]
    fn only_a_setting_that_is_a_path_is_completed_as_one() {
        let parser = parser();
        for arg in parser.get_subcommands().flat_map(clap::Command::get_arguments) {
            let takes_value = arg.get_action().takes_values() && arg.get_possible_values().is_empty();
            let is_path = matches!(arg.get_value_hint(), ValueHint::FilePath | ValueHint::DirPath);
            let names = arg.get_value_names().unwrap_or_default();
            let named = ["FILE", "DIR", MANIFEST].iter().any(|name| names.iter().any(|it| it == name));
            let path = named || ["DIR", MANIFEST, FOLDER].contains(&arg.get_id().as_str());
            assert!(!takes_value || is_path == path, "{arg:?}");
            assert!(!takes_value || is_path || arg.get_value_hint() == ValueHint::Other, "{arg:?}");
        }
    }

    #[test]
    fn a_value_that_is_not_suggested_is_refused_by_the_settings_and_not_here() {
        let matches = parser().try_get_matches_from(["exporter", "run", "m.csv", "--progress", "loud"]);
        assert!(matches.is_ok(), "{matches:?}");
    }
}
