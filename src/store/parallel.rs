//! The same work for many files beside each other, on a bounded number of threads that end with it. For work that waits
//! for the disk or for a file server, not for a core.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does `work` for each item, with this many threads at most. Returns the results in the order of the items.
pub(super) fn for_each<T: Sync, R: Send>(
    items: &[T],
    threads_max: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work_off = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(item)));
        }
    };
    let mut done = thread::scope(|scope| {
        let start = |_| thread::Builder::new().name("flush".to_owned()).spawn_scoped(scope, work_off);
        // this thread works too, and alone if the system refuses others
        let others: Vec<_> =
            (1..items.len().min(threads_max)).map_while(|number| start(number).ok()).collect();
        let mut done = work_off();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn results_stand_in_the_order_of_the_items_however_long_each_takes() {
        let items: Vec<u64> = (0..40).collect();
        let slow_first = |item: &u64| {
            thread::sleep(Duration::from_millis(if *item == 0 { 30 } else { 1 }));
            item * 10
        };
        let expected: Vec<u64> = items.iter().map(|item| item * 10).collect();
        for threads_max in [1, 2, 16, 100] {
            assert_eq!(for_each(&items, threads_max, slow_first), expected);
        }
        assert_eq!(for_each(&[], 16, slow_first), Vec::<u64>::new());
    }

    #[test]
    fn waits_add_up_only_beyond_the_number_of_threads() {
        let (at_once, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let start = Instant::now();
        for_each(&[(); 64], 16, |()| {
            most.fetch_max(at_once.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(60));
            at_once.fetch_sub(1, Ordering::Relaxed);
        });
        // 4 rounds of 60 ms; one after the other they would take 3.8 s
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(most.into_inner() <= 16);
    }
}
