//! `exporter verify --receipts`: the chain of receipts, and whether one that was kept elsewhere is in it.

use std::process::ExitCode;

use clap::ArgMatches;
use exporter::verify::{VerifiedReceipts, verify_receipts};

use crate::output::facts::Facts;
use crate::output::{format, redact};
use crate::settings::{self, Export};
use crate::{cli, commands, exit};

/// Checks the receipts.
pub fn run(args: &ArgMatches) -> ExitCode {
    let read = |sources: &settings::Sources<'_>| Ok((settings::export(sources)?, settings::head(sources)?));
    let (Export { out, state_dir }, head) = match commands::begin(args, read) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let verified = match verify_receipts(&out, state_dir.as_deref(), head) {
        Ok(verified) => verified,
        Err(error) => return exit::failed(&error),
    };
    for notice in &verified.notices {
        tracing::warn!("{notice}");
    }
    let text = if args.get_flag(cli::JSON) { commands::json(&verified) } else { text(&verified) };
    commands::answer(&text, if verified.is_well() { 0 } else { exit::FINDINGS })
}

/// The answer, one fact a line, and then every problem.
fn text(verified: &VerifiedReceipts) -> String {
    let mut facts = Facts::new(headline(verified));
    facts.add("receipts", format::count(verified.receipts));
    if let Some(head) = &verified.head {
        facts.add("newest", head);
    }
    if let Some(found) = verified.head_found {
        facts.add("head", if found { "is the hash of one of them" } else { "is the hash of none of them" });
    }
    for problem in &verified.problems {
        facts.add("problem", redact::safe(problem));
    }
    facts.into_text()
}

fn headline(verified: &VerifiedReceipts) -> String {
    if !verified.problems.is_empty() {
        return format!("not well: {}", format::counted(verified.problems.len() as u64, "problem"));
    }
    match (verified.head_found, verified.receipts) {
        (Some(false), _) => "not well: the head is not in the chain".to_owned(),
        (_, 0) => "nothing to check: there is no receipt yet".to_owned(),
        (Some(true), _) => "all well: the chain is whole, and the head is in it".to_owned(),
        (None, _) => "all well: the chain is whole".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_chain_without_the_head_is_never_called_well() {
        let verified =
            VerifiedReceipts { receipts: 3, head: Some("ab".repeat(32)), ..VerifiedReceipts::default() };
        assert_snapshot!(text(&verified), @"
        all well: the chain is whole
        receipts  3
        newest    abababababababababababababababababababababababababababababababab
        ");
        let other = VerifiedReceipts { head_found: Some(false), ..verified.clone() };
        assert!(headline(&other).starts_with("not well: "));
        let broken =
            VerifiedReceipts { problems: vec!["line 2".to_owned()], head_found: Some(true), ..verified };
        assert!(headline(&broken).starts_with("not well: 1 problem"));
        assert!(headline(&VerifiedReceipts::default()).starts_with("nothing to check"));
    }
}
