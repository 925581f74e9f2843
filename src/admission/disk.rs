//! Is one file in trouble, or the disk? Pure.
//!
//! Different rows in succession that fail on the disk, with no image delivered between, are the disk's fault: the run
//! stops, and none of them has failed. Until that is clear a row that is out of attempts waits for it.

/// Different rows in succession that the disk fails.
const ROWS: usize = 5;
/// Different rows in succession whose files cannot be renamed, each after ten seconds of attempts.
const HELD_ROWS: usize = 2;

/// A row that the disk failed since the last delivery.
#[derive(Debug)]
struct FailedRow {
    seq: i64,
    /// Its file could not be renamed.
    held: bool,
}

/// The rows that the disk failed since it last took an image.
#[derive(Debug, Default)]
pub(super) struct DiskStreak {
    rows: Vec<FailedRow>,
    at_fault: bool,
}

impl DiskStreak {
    /// An image was delivered.
    pub(super) fn delivered(&mut self) {
        // once the run stops, what was in flight changes nothing any more
        if !self.at_fault {
            self.rows.clear();
        }
    }

    /// The disk failed row `seq`; `held`: its file could not be renamed. Returns the number of rows that it failed, if
    /// it is at fault.
    pub(super) fn failed(&mut self, seq: i64, held: bool) -> Option<usize> {
        match self.rows.iter_mut().find(|row| row.seq == seq) {
            Some(row) => row.held |= held,
            None => self.rows.push(FailedRow { seq, held }),
        }
        let held_rows = self.rows.iter().filter(|row| row.held).count();
        self.at_fault |= self.rows.len() >= ROWS || held_rows >= HELD_ROWS;
        self.at_fault.then_some(self.rows.len())
    }

    /// Whether row `seq` is one of them.
    pub(super) fn suspects(&self, seq: i64) -> bool {
        self.rows.iter().any(|row| row.seq == seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_different_rows_in_succession_are_the_disk_and_four_are_not() {
        let mut streak = DiskStreak::default();
        for seq in [1, 2, 1, 3, 3, 4, 1] {
            assert_eq!(streak.failed(seq, false), None);
        }
        assert_eq!(streak.failed(5, false), Some(5));
        assert_eq!(streak.failed(6, false), Some(6), "what is in flight then is none of its row's fault");
        streak.delivered();
        assert!(streak.suspects(1), "a late delivery changes nothing");
    }

    #[test]
    fn a_delivery_clears_the_disk() {
        let mut streak = DiskStreak::default();
        for seq in 1..5 {
            assert_eq!(streak.failed(seq, false), None);
        }
        assert!(streak.suspects(4));
        streak.delivered();
        assert!(!streak.suspects(4));
        assert_eq!(streak.failed(5, false), None);
    }

    #[test]
    fn the_second_file_that_cannot_be_renamed_is_the_disk() {
        let mut streak = DiskStreak::default();
        assert_eq!(streak.failed(1, true), None);
        assert_eq!(streak.failed(2, false), None);
        streak.delivered();
        assert_eq!(streak.failed(3, true), None);
        assert_eq!(streak.failed(3, true), None, "the same row");
        assert_eq!(streak.failed(4, true), Some(2));
    }
}
