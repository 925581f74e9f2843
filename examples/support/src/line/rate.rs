//! The rate that all connections of a line share: bytes leave one after the other, each when those before it have left.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub struct SharedRate {
    bytes_per_second: u64,
    /// When the last byte so far has left.
    free_at: Mutex<Option<Instant>>,
}

impl SharedRate {
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), free_at: Mutex::default() }
    }

    /// When the last of these bytes has left, if they are given to the line now.
    pub fn leaves_at(&self, bytes: usize, now: Instant) -> Instant {
        let nanos = bytes as u64 * 1_000_000_000 / self.bytes_per_second;
        let mut free_at = self.free_at.lock().expect("no holder panics");
        let leaves = free_at.map_or(now, |free| free.max(now)) + Duration::from_nanos(nanos);
        *free_at = Some(leaves);
        leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_connections_leave_one_after_the_other() {
        let (rate, start) = (SharedRate::new(1000), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(rate.leaves_at(1000, start), start + second);
        assert_eq!(rate.leaves_at(500, start), start + second * 3 / 2, "behind the others");
        assert_eq!(
            rate.leaves_at(1000, start + second * 9),
            start + second * 10,
            "an idle line saves nothing up"
        );
    }
}
