//! The part of the allowance that this machine may use: that of a run's own shard, and those of the other runs that share
//! its count. It is applied once, to what all of them send together.

use crate::options::RateShare;

/// The whole allowance.
const WHOLE: u64 = 1_000_000_000;
/// Thirds add up to less than a whole by less than this.
const ROUNDING: u64 = 1_000_000;

/// A part of the allowance, in billionths, at most the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part(u32);

impl Part {
    /// The whole allowance.
    pub const WHOLE: Self = Self(1_000_000_000);

    /// Nothing of it.
    pub const NONE: Self = Self(0);

    /// The part as it is published; one that is larger than the whole is the whole.
    #[must_use]
    pub const fn from_billionths(billionths: u32) -> Self {
        if billionths > Self::WHOLE.0 { Self::WHOLE } else { Self(billionths) }
    }

    /// In billionths.
    #[must_use]
    pub const fn billionths(self) -> u32 {
        self.0
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self::from_billionths(self.0.saturating_add(other.0))
    }

    /// This part of `requests`, rounded down, at least 1.
    #[must_use]
    pub fn of(self, requests: u32) -> u32 {
        let part = (u64::from(requests) * u64::from(self.0) + ROUNDING) / WHOLE;
        u32::try_from(part).unwrap_or(u32::MAX).clamp(1, requests.max(1))
    }
}

impl From<RateShare> for Part {
    fn from(share: RateShare) -> Self {
        let billionths = u64::from(share.part) * WHOLE / u64::from(share.of.max(1));
        Self::from_billionths(u32::try_from(billionths).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_add_up_to_the_whole_and_never_to_more() {
        for of in 1..=64 {
            let part = Part::from(RateShare { part: 1, of });
            for requests in [1, 7, 100, 1000, 5000] {
                assert!(
                    u64::from(part.of(requests)) * u64::from(of) <= u64::from(requests.max(of)),
                    "{of} {requests}"
                );
            }
            let all = (0..of).fold(Part::NONE, |sum, _| sum.plus(part));
            assert_eq!(all.of(1000), 1000, "{of}");
            assert_eq!(all.plus(Part::WHOLE), Part::WHOLE);
        }
    }
}
