//! Which of several machines fetches a row: the arithmetic behind `--shard K/N`. Pure.
//!
//! A row belongs to the shard that its organization and note hash to. So the images of a note stay together, a row never
//! moves when the manifest grows, and every machine comes to the same answer without asking another one.
//!
//! ```
//! use exporter::shard::Shard;
//!
//! let own: Shard = "4/8".parse().expect("a shard");
//! assert_eq!((own.number(), own.of()), (4, 8));
//! assert_eq!(Shard::of_note("clinic", "note", 8), own);
//! assert!(own.owns("clinic", "note"));
//! ```

use std::fmt;
use std::num::IntErrorKind;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// Number of the rule of [`Shard::of_note`]: another number if a row could come to another shard by it.
pub const HASH_EDITION: u32 = 1;
/// More machines than any allowance can feed: a shard has a folder, and `merge` opens each of them.
pub const SHARDS_MAX: u32 = 10_000;

/// One of the parts in which a manifest is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    number: u32,
    of: u32,
}

impl Shard {
    /// `None` unless `number` is from 1 to `of`, and `of` at most [`SHARDS_MAX`].
    #[must_use]
    pub const fn new(number: u32, of: u32) -> Option<Self> {
        if number >= 1 && number <= of && of <= SHARDS_MAX { Some(Self { number, of }) } else { None }
    }

    /// From 1 to [`Shard::of`].
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }

    /// How many shards there are.
    #[must_use]
    pub const fn of(self) -> u32 {
        self.of
    }

    /// The shard of all images of a note: 1 + the first 8 bytes, big-endian, of SHA-256 over organization, NUL and note,
    /// modulo `of`. `of` must not be 0.
    #[must_use]
    pub fn of_note(org: &str, note: &str, of: u32) -> Self {
        let hash = Sha256::new().chain_update(org).chain_update([0]).chain_update(note).finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        let rest = u64::from_be_bytes(first) % u64::from(of);
        Self { number: u32::try_from(rest).map_or(1, |rest| rest + 1), of }
    }

    /// Whether the images of that note belong to this shard.
    #[must_use]
    pub fn owns(self, org: &str, note: &str) -> bool {
        Self::of_note(org, note, self.of) == self
    }

    /// The name of its folder: `3-of-8`.
    #[must_use]
    pub fn folder_name(self) -> String {
        format!("{}-of-{}", self.number, self.of)
    }

    /// The shard whose folder has that name.
    #[must_use]
    pub fn from_folder_name(name: &str) -> Option<Self> {
        let (number, of) = name.split_once("-of-")?;
        Self::new(whole(number).ok()?, whole(of).ok()?)
    }

    /// All shards of `of`.
    pub fn all(of: u32) -> impl Iterator<Item = Self> {
        (1..=of).map(move |number| Self { number, of })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.number, self.of)
    }
}

/// Why a text is no shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// It has not the form `K/N`.
    #[error("write K/N, the number of this shard and how many there are, such as 3/8")]
    Form,
    /// K is 0.
    #[error(
        "shards count from 1: K is from 1 to N. If the engine counts from 0, add 1 to its number in the command"
    )]
    Zero,
    /// K is larger than N.
    #[error("there is no shard {number} of {of}: K is from 1 to N")]
    Beyond {
        /// K.
        number: u32,
        /// N.
        of: u32,
    },
    /// N is too large.
    #[error("at most {SHARDS_MAX} shards are possible")]
    TooMany,
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let (number, of) = text.split_once('/').ok_or(ShardError::Form)?;
        match (whole(number)?, whole(of)?) {
            (0, _) => Err(ShardError::Zero),
            (_, of) if of > SHARDS_MAX => Err(ShardError::TooMany),
            (number, of) => Self::new(number, of).ok_or(ShardError::Beyond { number, of }),
        }
    }
}

/// Digits alone: no sign and no blank.
fn whole(text: &str) -> Result<u32, ShardError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ShardError::Form);
    }
    text.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => ShardError::TooMany,
        _ => ShardError::Form,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_comes_to_the_known_answers() {
        // printf 'clinic\0note' | sha256sum, its first 16 digits, 1 + that modulo N
        const KNOWN: [(&str, &str, u32, u32); 11] = [
            ("clinic", "note", 8, 4),
            ("clinic", "note", 1, 1),
            ("org0", "note0", 4, 4),
            ("org1", "note0", 4, 1),
            ("org0", "note1", 4, 4),
            ("Org", "note", 7, 2),
            ("org", "note", 7, 6),
            ("org", "Note", 7, 6),
            ("", "", 3, 3),
            ("7e2c8cfe", "é=ü/ ", 16, 15),
            ("o", "n", 10000, 9176),
        ];
        for (org, note, of, number) in KNOWN {
            assert_eq!(Shard::of_note(org, note, of).number(), number, "{org} {note} {of}");
        }
    }

    #[test]
    fn a_row_belongs_to_exactly_one_shard_and_all_shards_get_about_as_many() {
        const NOTES: usize = 8000;
        let mut rows = [0; 8];
        for note in 0..NOTES {
            let note = format!("note{note}");
            let owners: Vec<_> = Shard::all(8).filter(|shard| shard.owns("org", &note)).collect();
            assert_eq!(owners.len(), 1, "{note}");
            rows[owners[0].number() as usize - 1] += 1;
        }
        assert!(rows.iter().all(|rows| (850..1150).contains(rows)), "{rows:?}");
    }

    #[test]
    fn only_k_of_n_is_a_shard() {
        let shard = |text: &str| text.parse::<Shard>();
        assert_eq!(shard("1/1"), Ok(Shard { number: 1, of: 1 }));
        assert_eq!(shard("8/8").map(Shard::folder_name), Ok("8-of-8".to_owned()));
        assert_eq!(Shard::from_folder_name("3-of-8"), shard("3/8").ok());
        assert_eq!(Shard::from_folder_name("0-of-8").or(Shard::from_folder_name("3")), None);
        assert_eq!(shard("0/8"), Err(ShardError::Zero));
        assert_eq!(shard("0/0"), Err(ShardError::Zero));
        assert_eq!(shard("9/8"), Err(ShardError::Beyond { number: 9, of: 8 }));
        assert_eq!(shard("1/0"), Err(ShardError::Beyond { number: 1, of: 0 }));
        for text in ["1/10001", "1/99999999999999999999", "99999999999999999999/8"] {
            assert_eq!(shard(text), Err(ShardError::TooMany), "{text}");
        }
        for text in [
            "", "1", "/", "1/", "/8", "a/8", "1/b", "-1/8", "+1/8", " 1/8", "1 /8", "1/8 ", "1/8/2", "1.5/8",
            "1-of-8",
        ] {
            assert_eq!(shard(text), Err(ShardError::Form), "{text}");
        }
    }
}
