//! `exporter completions` and `exporter man`, both made from the parser, so that no flag is missing.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use clap::{ArgMatches, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::settings::table;
use crate::{cli, exit, output};

/// Prints the completion script.
pub fn completions(args: &ArgMatches) -> ExitCode {
    // the parser requires a shell
    let shell = args.get_one::<Shell>(cli::SHELL).copied().unwrap_or(Shell::Bash);
    let mut command = cli::parser();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Prints the manual page.
pub fn man() -> ExitCode {
    match page(cli::parser()) {
        Ok(page) => print(&page),
        Err(error) => failed(&error),
    }
}

fn print(text: &str) -> ExitCode {
    match output::stdout(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> ExitCode {
    output::stderr_line(&format!("exporter: error: standard output cannot be written: {error}"));
    ExitCode::from(exit::FAILURE)
}

/// One page: the program, a chapter for each command, exit codes, variables, files.
fn page(command: Command) -> io::Result<String> {
    let subcommands: Vec<Command> = command.get_subcommands().cloned().collect();
    let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command.disable_help_subcommand(true));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    for subcommand in subcommands {
        page.push_str(&chapter(subcommand)?);
    }
    page.push_str(".SH \"EXAMPLES AND EXIT CODES\"\n");
    page.push_str(&as_written(&after));
    page.push_str(
        ".SH ENVIRONMENT\n.TP\n.B MAXAI_API_KEY\nThe API key; \\-\\-api\\-key\\-file takes precedence.\n",
    );
    for setting in table::ALL {
        if let Some(variable) = setting.env {
            let flag = setting.flag.replace('-', "\\-");
            let _ = write!(page, ".TP\n.B {variable}\nThe same as \\-\\-{flag}, which takes precedence.\n");
        }
    }
    page.push_str(
        ".TP\n.B HTTPS_PROXY, NO_PROXY\nThe proxy, and the hosts to reach without it.\n.SH FILES\n\
         .TP\n.I exporter.toml\nConfig file in the working folder, used if \\-\\-config names none.\n\
         .TP\n.I ~/.config/exporter/config.toml\nConfig file of the user, used if there is no exporter.toml; in $XDG_CONFIG_HOME if that is set.\n",
    );
    Ok(page)
}

/// The page of one command as a chapter: its sections become subsections.
fn chapter(command: Command) -> io::Result<String> {
    let name = format!("exporter {}", command.get_name());
    let after = command.get_after_long_help().or_else(|| command.get_after_help()).map(ToString::to_string);
    let man = Man::new(command.bin_name(&name).display_name(&name).disable_help_flag(true));
    let mut sections = Vec::new();
    man.render_description_section(&mut sections)?;
    man.render_synopsis_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    let sections = String::from_utf8_lossy(&sections).replace("\n.SH ", "\n.SS ");
    // the description comes first, without a heading
    let sections = sections.split_once(".SS DESCRIPTION\n").map_or(&*sections, |(_, text)| text);
    let mut chapter = format!(".SH \"{}\"\n{sections}", name.to_uppercase());
    if let Some(after) = after {
        chapter.push_str(".SS EXAMPLE\n");
        chapter.push_str(&as_written(&after));
    }
    Ok(chapter)
}

/// Lines that are not filled.
fn as_written(text: &str) -> String {
    let mut lines = ".nf\n".to_owned();
    for line in text.lines() {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        // a dot or a quote at the start of a line would be a request
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        let _ = writeln!(lines, "{guard}{line}");
    }
    lines + ".fi\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_and_none_is_a_request() {
        assert_eq!(as_written(".a\n  -b \\"), ".nf\n\\&.a\n  \\-b \\e\n.fi\n");
    }
}
