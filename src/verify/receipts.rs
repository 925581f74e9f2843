//! `verify --receipts`: is the chain of `receipts.jsonl` whole, and is the receipt in it that somebody kept?
//!
//! The file alone is enough; a copy of an export without its ledger can be checked, too. If there is a ledger, the lines
//! that it knows must be in the file. A torn line is what a power cut leaves, and no finding: nothing in it counts, and
//! what came before it is whole.

use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use crate::disk::presence::cannot_look_at;
use crate::error::RunError;
use crate::item::{Sha256, hex};
use crate::ledger::{self, sqlite_error};
use crate::report::receipts::{Chain, Fault, NAME, present_tags};

/// What a check of the receipts found. Serialized, it is the answer in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifiedReceipts {
    /// Receipts in the file.
    pub receipts: u64,
    /// SHA-256 of the newest one, in hex.
    pub head: Option<String>,
    /// Whether the hash that was asked for is that of a receipt; `None` if none was.
    pub head_found: Option<bool>,
    /// Lines that are no receipts, as a power cut leaves them. They are no finding.
    pub torn: Vec<u64>,
    /// What is wrong.
    pub problems: Vec<String>,
    /// What the user should know besides.
    #[serde(skip)]
    pub notices: Vec<String>,
}

impl VerifiedReceipts {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.problems.is_empty() && self.head_found != Some(false)
    }
}

/// What the ledger knows of the receipts.
#[derive(Default)]
struct Known {
    lines: Vec<String>,
    /// The newest run has no receipt yet.
    is_one_owed: bool,
    is_running: bool,
}

/// Checks the receipts of an export. Changes nothing.
///
/// # Errors
/// [`RunError::NoExport`] if there is neither a ledger nor a file of receipts; or if the file cannot be read.
pub fn verify_receipts(
    out: &Path,
    state_dir: Option<&Path>,
    head: Option<Sha256>,
) -> Result<VerifiedReceipts, RunError> {
    let path = out.join(NAME);
    let mut verified = VerifiedReceipts::default();
    // the ledger first: a run that goes on writes each line there before the file
    let known = match ledger::open_read_only(out, state_dir) {
        Ok(connection) => Some(known(&connection, out, state_dir)?),
        Err(error @ RunError::NoExport(_))
            if !crate::disk::presence::exists(&path).map_err(cannot_look_at(&path))? =>
        {
            return Err(error);
        }
        Err(RunError::NoExport(_)) => None,
        Err(error) => {
            verified.notices.push(format!("the receipts are not compared with the ledger: {error}"));
            None
        }
    };
    let chain =
        Chain::read(&path).map_err(RunError::io(format!("reading {}", path.display())))?.unwrap_or_default();
    verified.receipts = chain.receipts();
    verified.head = (chain.seq() > 0).then(|| hex(&chain.head()));
    verified.head_found = head.map(|head| chain.holds(&head.0));
    verified.problems.extend(chain.faults().iter().map(|fault| describe(*fault)));
    verified.add_torn(&chain);
    let known = known.unwrap_or_default();
    verified.compare_with_ledger(&chain, &known);
    verified.compare_with_tags(out, &chain, &known)?;
    Ok(verified)
}

fn known(connection: &Connection, out: &Path, state_dir: Option<&Path>) -> Result<Known, RunError> {
    Ok(Known {
        lines: ledger::receipt_lines(connection).map_err(sqlite_error)?,
        is_one_owed: !ledger::runs_without_receipt(connection).map_err(sqlite_error)?.is_empty(),
        is_running: ledger::holder(out, state_dir)?.is_some(),
    })
}

fn describe(fault: Fault) -> String {
    match fault {
        Fault::Previous { line } => format!(
            "line {line} does not name the hash of the receipt before it: one of the two was changed, or receipts between \
             them were removed"
        ),
        Fault::Sequence { line, expected, found } => {
            format!(
                "line {line} has seq {found} instead of {expected}: receipts are missing, or in another order"
            )
        }
    }
}

impl VerifiedReceipts {
    fn add_torn(&mut self, chain: &Chain) {
        self.torn = chain.torn_lines().to_vec();
        for line in &self.torn {
            self.notices
                .push(format!("line {line} is no receipt: torn, as by a power cut; it does not count"));
        }
        if !chain.torn_end().is_empty() {
            self.torn.push(chain.receipts() + self.torn.len() as u64 + 1);
            self.notices.push(
                "the last line is torn, as by a power cut: the next run completes it, or goes on behind it"
                    .to_owned(),
            );
        }
    }

    /// Each line that the ledger knows must be in the file, but for the last ones after a kill or a power cut.
    fn compare_with_ledger(&mut self, chain: &Chain, known: &Known) {
        let missing = chain.lacks(&known.lines);
        let is_torn = missing.first().is_some_and(|line| {
            chain.is_followed_by(line.as_bytes()) && line.as_bytes().starts_with(chain.torn_end())
        });
        let of_all = known.lines.iter().filter(|line| !chain.holds_line(line)).count();
        match (of_all, is_torn) {
            (0, _) => {}
            (1, true) if known.is_running || !chain.torn_end().is_empty() => {}
            (n, true) if n == missing.len() => self.problems.push(format!(
                "the last {n} of the receipts that the ledger knows are not in the file: it was cut off, or a power cut \
                 took them; the next run appends them again"
            )),
            (n, _) => self.problems.push(format!(
                "{n} of the receipts that the ledger knows are not in the file: it was changed, or is that of another time"
            )),
        }
    }

    /// The newest receipt must name the list of hashes that is there.
    fn compare_with_tags(&mut self, out: &Path, chain: &Chain, known: &Known) -> Result<(), RunError> {
        let Some(named) = chain.tags() else { return Ok(()) };
        let present =
            present_tags(out).map_err(RunError::io(format!("reading the hashes of {}", out.display())))?;
        if present.as_deref() == Some(named) || known.is_running {
            return Ok(());
        }
        if known.is_one_owed || !chain.torn_end().is_empty() {
            let what = "the newest run has no receipt: it was killed while it wrote its reports. `exporter report` or \
                        the next run adds one";
            self.notices.push(what.to_owned());
        } else {
            let what = "tagmanifest-sha256.txt is missing, or is not the one that the newest receipt names: it was changed";
            self.problems.push(what.to_owned());
        }
        Ok(())
    }
}
