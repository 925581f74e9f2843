//! Many rows in succession that fail in the same way: the fault is not theirs, and the rest would fail as well.
//!
//! Pure. Not an outage, in which a service gives no answer: here each row has its answer, and it is always the same
//! useless one.

use std::cmp::Ordering;

use crate::error::ErrorCode;

/// Rows in succession that fail with the same code and nothing received between, after which the run stops.
const ROWS: u32 = 20;

/// The rows that failed last.
#[derive(Debug, Default)]
pub(super) struct Alike {
    /// Their common code.
    code: Option<ErrorCode>,
    rows: u32,
    /// An image was received in this run.
    received: bool,
}

impl Alike {
    /// An image was received whole: the way is free.
    pub(super) const fn image_received(&mut self) {
        *self = Self { code: None, rows: 0, received: true };
    }

    /// Images come, and no row has failed since the last one.
    pub(super) const fn is_sound(&self) -> bool {
        self.received && self.rows == 0
    }

    /// A row has failed.
    pub(super) fn row_failed(&mut self, code: Option<ErrorCode>) -> Blame {
        if self.code != code {
            self.code = code;
            self.rows = 0;
        }
        self.rows += 1;
        if !code.is_some_and(is_shared) {
            return Blame::Row;
        }
        match self.rows.cmp(&ROWS) {
            Ordering::Less => Blame::Row,
            Ordering::Equal => Blame::TooMany(ROWS),
            Ordering::Greater => Blame::Common,
        }
    }
}

/// What a failed row's failure says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// Something about this row.
    Row,
    /// This many rows in succession have failed alike: the run stops.
    TooMany(u32),
    /// Nothing new: the row was in flight as the run stopped for the common cause.
    Common,
}

/// Whether what causes this code may concern every row. The others say something about one row each.
const fn is_shared(code: ErrorCode) -> bool {
    match code {
        ErrorCode::ApiError
        | ErrorCode::StorageDenied
        | ErrorCode::StorageError
        | ErrorCode::NotAnImage
        | ErrorCode::Network
        | ErrorCode::Timeout => true,
        // the last three have a rule of their own
        ErrorCode::BadRow
        | ErrorCode::BadRequest
        | ErrorCode::Forbidden
        | ErrorCode::NotFound
        | ErrorCode::StorageMissing
        | ErrorCode::StorageArchived
        | ErrorCode::Integrity
        | ErrorCode::Unauthorized
        | ErrorCode::RateLimited
        | ErrorCode::Disk => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of rows that have failed when the run stops.
    fn stops_after(rows: impl IntoIterator<Item = ErrorCode>) -> Option<usize> {
        let mut alike = Alike::default();
        rows.into_iter().position(|code| alike.row_failed(Some(code)) != Blame::Row).map(|index| index + 1)
    }

    #[test]
    fn twenty_rows_that_fail_alike_stop_the_run_if_the_cause_can_be_a_common_one() {
        let stopping: Vec<&str> = ErrorCode::ALL
            .into_iter()
            .filter(|code| stops_after([*code; 100]) == Some(20))
            .map(ErrorCode::as_str)
            .collect();
        assert_eq!(
            stopping,
            ["api_error", "storage_denied", "storage_error", "network", "timeout", "not_an_image"]
        );
        for code in ErrorCode::ALL {
            assert_eq!(stops_after([code; 19]), None, "{code}");
            if !is_shared(code) {
                assert_eq!(stops_after([code; 100]), None, "{code}");
            }
        }
    }

    #[test]
    fn another_end_between_starts_the_count_again() {
        let mut rows = vec![ErrorCode::StorageDenied; 19];
        for other in [ErrorCode::NotFound, ErrorCode::StorageError] {
            rows.push(other);
            rows.extend([ErrorCode::StorageDenied; 19]);
        }
        assert_eq!(stops_after(rows.iter().copied()), None);
        rows.push(ErrorCode::StorageDenied);
        assert_eq!(stops_after(rows), Some(60));
    }

    #[test]
    fn an_image_that_was_received_starts_the_count_again() {
        let mut alike = Alike::default();
        let fail = |alike: &mut Alike, times| {
            let blames = (0..times).map(|_| alike.row_failed(Some(ErrorCode::StorageDenied)));
            blames.filter(|blame| matches!(blame, Blame::TooMany(_))).count()
        };
        assert_eq!(fail(&mut alike, 19), 0);
        assert!(!alike.is_sound());
        alike.image_received();
        assert!(alike.is_sound());
        assert_eq!(fail(&mut alike, 19), 0);
        assert_eq!(fail(&mut alike, 50), 1, "said once");
    }
}
