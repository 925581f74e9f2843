//! `exporter completions` and `exporter man`.

use clap::Args;
use clap_complete::Shell;

/// Print a shell's completion script
///
/// Where the script belongs depends on the shell:
///
///   bash  ~/.local/share/bash-completion/completions/exporter
///   zsh   a file _exporter in a folder of $fpath
///   fish  ~/.config/fish/completions/exporter.fish
#[derive(Debug, Args)]
#[command(after_help = "Example: exporter completions fish > ~/.config/fish/completions/exporter.fish")]
#[command(verbatim_doc_comment)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Print the manual page, all commands in one
///
/// To read it: exporter man | man -l -
#[derive(Debug, Args)]
#[command(after_help = "Example: exporter man > ~/.local/share/man/man1/exporter.1")]
pub struct ManArgs {}
