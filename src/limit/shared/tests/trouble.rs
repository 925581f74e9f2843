//! Runs whose shared count fails for a while: they go on with a part of the allowance, and come back.

use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc::UnboundedReceiver;

use super::*;

/// Run after run: when each request was sent.
type Sent = Arc<Mutex<Vec<Instant>>>;

/// Two runs that send as fast as they may, until they are dropped.
struct Two {
    runs: Vec<Arc<Limiter>>,
    sent: Sent,
    reported: Vec<UnboundedReceiver<Event>>,
    tasks: JoinSet<()>,
}

impl Two {
    fn start(machine: &Machine, now: Now) -> Self {
        let mut two =
            Self { runs: Vec::new(), sent: Sent::default(), reported: Vec::new(), tasks: JoinSet::new() };
        for _ in 0..2 {
            let (events, reported) = Events::channel();
            let shared = Shared::new(machine.path(), now, RATE);
            let limiter = Arc::new(Limiter::with(RATE, Some(shared), events));
            two.runs.push(Arc::clone(&limiter));
            two.reported.push(reported);
            let sent = Arc::clone(&two.sent);
            two.tasks.spawn(async move {
                loop {
                    let mut permit = limiter.acquire(10_000).await;
                    permit.sent();
                    lock(&sent).push(Instant::now());
                    sleep(Duration::from_millis(1)).await;
                    permit.answered(&RateHeaders::default());
                }
            });
        }
        two
    }

    fn shared(&self) -> impl Iterator<Item = &Shared> {
        self.runs.iter().map(|run| run.core.shared.as_ref().expect("shared"))
    }

    /// Requests of both within that time.
    fn count(&self, from: Instant, until: Instant) -> usize {
        lock(&self.sent).iter().filter(|at| **at >= from && **at < until).count()
    }

    /// Most requests in a window, and that at the beginning and the end of the trouble nothing slipped through.
    fn most(&self) -> usize {
        most_in_a_window(lock(&self.sent).clone())
    }

    /// Each run reports the trouble once, then its end.
    fn assert_reported(&mut self, cause: &str) {
        for reported in &mut self.reported {
            let first = reported.try_recv();
            let Ok(Event::Warning { line: None, what }) = first else { panic!("{first:?}") };
            assert!(what.contains("cannot be shared") && what.contains(cause), "{what}");
            let second = reported.try_recv();
            assert!(matches!(&second, Ok(Event::Notice { what }) if what.contains("again")), "{second:?}");
            assert!(reported.try_recv().is_err(), "once");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_divides_the_allowance_only_while_it_lasts() {
    let machine = Machine::new();
    let mut two = Two::start(&machine, paused);
    sleep(2 * WINDOW).await;
    for shared in two.shared() {
        shared.run(|table| table.as_ref().expect("open").fill_disk()).expect("a thread");
    }
    let full = Instant::now();
    sleep(6 * WINDOW).await;
    let meanwhile = two.count(full + WINDOW, full + 5 * WINDOW);
    assert!((360..=400).contains(&meanwhile), "{meanwhile} in four windows, half for each");
    for shared in two.shared() {
        shared.run(|table| table.as_ref().expect("open").free_disk()).expect("a thread");
    }
    sleep(Duration::from_secs(12)).await;
    let free = Instant::now();
    assert!(two.shared().all(|shared| shared.link().is_attached()), "both are back");
    sleep(4 * WINDOW).await;
    let after = two.count(free, free + 4 * WINDOW);
    assert!((380..=400).contains(&after), "{after} in four windows");
    assert!(two.most() <= 100, "{} in a window", two.most());
    two.assert_reported("full");
}

#[tokio::test(start_paused = true)]
async fn a_run_alone_in_trouble_keeps_to_half_and_then_has_all_again() {
    let machine = Machine::new();
    let (limiter, _reported) = run_on_a_full_disk(&machine, RATE);
    let begin = Instant::now();
    let sent = send(&limiter, 120).await;
    assert!(most_in_a_window(sent) <= 50);
    assert!(begin.elapsed() >= 2 * WINDOW);
    let shared = limiter.core.shared.as_ref().expect("shared");
    shared.run(|table| table.as_ref().expect("open").free_disk()).expect("a thread");
    sleep(Duration::from_secs(20)).await;
    send(&limiter, 1).await;
    sleep(2 * WINDOW).await;
    let begin = Instant::now();
    send(&limiter, 99).await;
    assert!(begin.elapsed() < WINDOW / 10, "a job that fits is not slowed any more");
}

static FROZEN: Mutex<()> = Mutex::new(());
static ASKED_WHILE_FROZEN: AtomicBool = AtomicBool::new(false);

/// [`paused`] on a disk that freezes.
fn freezing() -> io::Result<Duration> {
    if is_clock_thread() {
        if FROZEN.try_lock().is_err() {
            ASKED_WHILE_FROZEN.store(true, Ordering::Relaxed);
        }
        let _until = lock(&FROZEN);
    }
    paused()
}

#[tokio::test(start_paused = true)]
#[expect(clippy::await_holding_lock, reason = "the lock is the disk's")]
async fn a_frozen_disk_divides_the_allowance_only_while_it_lasts() {
    let machine = Machine::new();
    let mut two = Two::start(&machine, freezing);
    sleep(2 * WINDOW).await;
    let (frozen, start) = (lock(&FROZEN), Instant::now());
    // a thread that hangs holds the clock
    while start.elapsed() < Duration::from_secs(40) {
        tokio::time::advance(Duration::from_millis(5)).await;
        if !ASKED_WHILE_FROZEN.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let (from, until) = (start + Duration::from_secs(9), start + Duration::from_secs(39));
    let meanwhile = two.count(from, until);
    assert!((850..=1000).contains(&meanwhile), "{meanwhile} in ten windows, half for each");
    drop(frozen);
    sleep(Duration::from_secs(12)).await;
    let thawed = Instant::now();
    assert!(two.shared().all(|shared| shared.link().is_attached()), "both are back");
    sleep(4 * WINDOW).await;
    let after = two.count(thawed, thawed + 4 * WINDOW);
    assert!((380..=400).contains(&after), "{after} in four windows");
    assert!(two.most() <= 100, "{} in a window", two.most());
    // one waits for the disk, the other perhaps for the one's lock
    two.assert_reported("");
}

#[test]
fn threads_that_hang_elsewhere_do_not_touch_the_shared_count() {
    let machine = Machine::new();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).max_blocking_threads(1).enable_all().build().expect("a runtime");
    let (release, hang) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || hang.recv());
    let (events, mut reported) = Events::channel();
    let shared = Shared::new(machine.path(), since_boot, RATE);
    let limiter = Limiter::with(RATE, Some(shared), events);
    runtime.block_on(async {
        let sent = tokio::time::timeout(Duration::from_secs(4), send(&limiter, 20)).await;
        assert_eq!(sent.expect("it waits for a thread").len(), 20);
    });
    assert!(limiter.core.shared.as_ref().expect("shared").link().was_used());
    assert!(reported.try_recv().is_err(), "no trouble");
    drop(release);
}
