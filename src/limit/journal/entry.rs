//! One entry of the ring as bytes. Pure.
//!
//! All numbers are little-endian. Entry and header have the same size; the last four bytes that count are a check
//! over the others and the entry's place, so that what is torn or of an earlier round is none.

use std::time::Duration;

use crate::remote::rate_headers::RateHeaders;

/// Bytes of an entry, and of the header.
pub(super) const SIZE: usize = 44;
const MAGIC: [u8; 8] = *b"expclk-1";
/// Where the check stands.
const CHECK: usize = SIZE - 4;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::limit) enum Fact {
    /// Somebody waits, and still needs so many.
    Wants { left: u32 },
    /// A request was sent by one who still needs so many.
    Sent { left: u32 },
    /// Its answer came, or never will.
    Answered(RateHeaders),
    /// It was not sent after all.
    Unsent,
}

/// What one process tells the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::limit) struct Entry {
    /// Since the boot.
    pub at: Duration,
    /// The run, by a number of chance.
    pub client: u32,
    /// Its process.
    pub pid: u32,
    /// Its request's number.
    pub number: u32,
    pub fact: Fact,
}

/// The ring's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub boot: [u8; 16],
    /// Entries ever written.
    pub head: u64,
}

const LIMITED: u8 = 1;
const LIMIT: u8 = 2;
const REMAINING: u8 = 4;
const RETRY_AFTER: u8 = 8;
const RESET: u8 = 16;

impl Entry {
    pub(super) fn write(&self, place: u64) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        put(&mut bytes, 0, &nanos(self.at).to_le_bytes());
        put(&mut bytes, 8, &self.client.to_le_bytes());
        put(&mut bytes, 12, &self.pid.to_le_bytes());
        put(&mut bytes, 16, &self.number.to_le_bytes());
        match &self.fact {
            Fact::Sent { left } => {
                bytes[20] = 1;
                put(&mut bytes, 24, &left.to_le_bytes());
            }
            Fact::Unsent => bytes[20] = 3,
            Fact::Wants { left } => {
                bytes[20] = 4;
                put(&mut bytes, 24, &left.to_le_bytes());
            }
            Fact::Answered(hints) => {
                bytes[20] = 2;
                bytes[21] = if hints.limited { LIMITED } else { 0 };
                let told = [
                    (LIMIT, hints.limit),
                    (REMAINING, hints.remaining),
                    (RETRY_AFTER, hints.retry_after.map(millis)),
                    (RESET, hints.reset.map(millis)),
                ];
                for (at, (flag, number)) in told.into_iter().enumerate() {
                    if let Some(number) = number {
                        bytes[21] |= flag;
                        put(&mut bytes, 24 + 4 * at, &number.to_le_bytes());
                    }
                }
            }
        }
        seal(&mut bytes, place);
        bytes
    }

    /// `None` where it is not what somebody wrote there.
    pub(super) fn read(bytes: &[u8], place: u64) -> Option<Self> {
        let bytes: &[u8; SIZE] = bytes.try_into().ok()?;
        if !is_sealed(bytes, place) {
            return None;
        }
        let told = |flag: u8, at: usize| (bytes[21] & flag != 0).then(|| number(bytes, at));
        let time = |millis: u32| Duration::from_millis(millis.into());
        let fact = match bytes[20] {
            1 => Fact::Sent { left: number(bytes, 24) },
            2 => Fact::Answered(RateHeaders {
                limited: bytes[21] & LIMITED != 0,
                limit: told(LIMIT, 24),
                remaining: told(REMAINING, 28),
                retry_after: told(RETRY_AFTER, 32).map(time),
                reset: told(RESET, 36).map(time),
            }),
            3 => Fact::Unsent,
            4 => Fact::Wants { left: number(bytes, 24) },
            _ => return None,
        };
        Some(Self {
            at: Duration::from_nanos(long(bytes, 0)),
            client: number(bytes, 8),
            pid: number(bytes, 12),
            number: number(bytes, 16),
            fact,
        })
    }
}

impl Header {
    pub(super) fn write(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &self.boot);
        put(&mut bytes, 24, &self.head.to_le_bytes());
        seal(&mut bytes, u64::MAX);
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SIZE] = bytes.try_into().ok()?;
        if !is_sealed(bytes, u64::MAX) || bytes[..8] != MAGIC {
            return None;
        }
        Some(Self { boot: bytes[8..24].try_into().ok()?, head: long(bytes, 24) })
    }
}

fn put(bytes: &mut [u8; SIZE], at: usize, part: &[u8]) {
    bytes[at..at + part.len()].copy_from_slice(part);
}

fn number(bytes: &[u8; SIZE], at: usize) -> u32 {
    bytes[at..].first_chunk().copied().map_or(0, u32::from_le_bytes)
}

fn long(bytes: &[u8; SIZE], at: usize) -> u64 {
    bytes[at..].first_chunk().copied().map_or(0, u64::from_le_bytes)
}

fn seal(bytes: &mut [u8; SIZE], place: u64) {
    let check = check(bytes, place);
    put(bytes, CHECK, &check.to_le_bytes());
}

fn is_sealed(bytes: &[u8; SIZE], place: u64) -> bool {
    number(bytes, CHECK) == check(bytes, place)
}

/// FNV-1a: against accidents, not against malice, since the file is the user's own.
fn check(bytes: &[u8; SIZE], place: u64) -> u32 {
    let all = bytes[..CHECK].iter().copied().chain(place.to_le_bytes());
    all.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Rounded up: a wait is never cut short.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
