//! Several runs that share one count, on a paused clock: each has a limiter of its own, and the file is between them.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio::time::sleep;

use std::io;

mod shares;
mod trouble;

use super::*;
use crate::event::{Event, Events};
use crate::limit::Limiter;
use crate::options::Rate;
use crate::shard::Shard;

use sandbox::limiter::{Algorithm, Limiter as Server, Rate as ServerRate, SendHeaders};

const WINDOW: Duration = Duration::from_secs(3);
const RATE: Rate = Rate { requests: 100, window: WINDOW };

/// The paused clock as if it were the boot's.
#[expect(clippy::unnecessary_wraps, reason = "the clock's type")]
fn paused() -> io::Result<Duration> {
    static BEGIN: OnceLock<std::time::Instant> = OnceLock::new();
    let begin = BEGIN.get_or_init(|| {
        let now = std::time::Instant::now();
        now.checked_sub(Duration::from_mins(10)).unwrap_or(now)
    });
    Ok(Instant::now().into_std().saturating_duration_since(*begin))
}

struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("exporter/count.sqlite")
    }

    fn run(&self, rate: Rate) -> Limiter {
        Limiter::with(rate, Some(Shared::new(self.path(), paused, rate)), Events::none())
    }
}

fn open(path: &Path) -> Table {
    Table::open(path, paused, Memory::new(MEMORY_WINDOWS * WINDOW, RATE.requests)).expect("a table")
}

async fn send(limiter: &Limiter, count: u64) -> Vec<Instant> {
    let mut sent = Vec::new();
    for left in (1..=count).rev() {
        let permit = limiter.acquire(left).await;
        sent.push(Instant::now());
        permit.answered(&RateHeaders::default());
    }
    sent
}

fn most_in_a_window(mut sent: Vec<Instant>) -> usize {
    sent.sort_unstable();
    let inside = |first: usize| sent[first..].iter().take_while(|at| **at < sent[first] + WINDOW).count();
    (0..sent.len()).map(inside).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn all_runs_together_stay_below_the_allowance_each_with_its_own_n() {
    let machine = Machine::new();
    let (one, other) = (machine.run(RATE), machine.run(Rate { requests: 50, window: WINDOW }));
    let (mut sent, more) = tokio::join!(send(&one, 250), send(&other, 60));
    // 50 a window are all that the other sees room for, and the first takes most of them
    assert!(more.windows(60).count() == 1);
    sent.extend(more);
    assert!(most_in_a_window(sent) <= 100);
}

#[tokio::test(start_paused = true)]
async fn a_429_closes_the_gate_for_all() {
    let machine = Machine::new();
    let (one, other) = (machine.run(RATE), machine.run(RATE));
    send(&one, 1).await;
    send(&other, 1).await;
    let wait = Duration::from_secs(7);
    let permit = one.acquire(10).await;
    permit.answered(&RateHeaders { limited: true, retry_after: Some(wait), ..RateHeaders::default() });
    // published in the background: time stands still until that is done
    sleep(Duration::from_millis(1)).await;
    let start = Instant::now();
    let sent = send(&other, 1).await;
    let waited = sent[0] - start;
    assert!(waited >= Duration::from_millis(6_995) && waited <= wait + WINDOW, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_starts_knows_what_the_one_before_sent() {
    let machine = Machine::new();
    let mut sent = send(&machine.run(RATE), 100).await;
    // what it publishes last is written while it ends
    sleep(Duration::from_millis(50)).await;
    sent.extend(send(&machine.run(RATE), 100).await);
    assert!(most_in_a_window(sent) <= 100);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_starts_knows_all_that_the_server_still_counts() {
    let machine = Machine::new();
    let rule =
        ServerRate { limit: 100, window: WINDOW, algorithm: Algorithm::Log, headers: SendHeaders::Always };
    let world = Mutex::new((Server::new(rule, Instant::now().into_std()), Vec::new(), 0_usize));
    let mut took = Vec::new();
    for _ in 0..2 {
        let (limiter, start) = (machine.run(RATE), Instant::now());
        for left in (1..=350).rev() {
            assert!(!ask(&limiter, &world, SendHeaders::Always, left, 1).await, "a 429");
        }
        took.push(start.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    // 350 are three windows and a half; the second run finds one of them used up
    assert!(took[1] <= took[0] + WINDOW.mul_f64(0.7), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_api_named_to_an_earlier_run_is_kept() {
    let machine = Machine::new();
    let one = machine.run(RATE);
    let permit = one.acquire(10).await;
    let wait = Duration::from_mins(5);
    permit.answered(&RateHeaders { limited: true, retry_after: Some(wait), ..RateHeaders::default() });
    sleep(Duration::from_mins(2)).await;
    let start = Instant::now();
    send(&machine.run(RATE), 1).await;
    assert!(start.elapsed() > Duration::from_secs(179), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_killed_run_leaves_nothing_behind_but_what_it_sent() {
    let machine = Machine::new();
    let mut gone = std::process::Command::new("true").spawn().expect("a process");
    gone.wait().expect("its end");
    let mut table = open(&machine.path());
    let message = |request| Message {
        at: paused().expect("a time"),
        run: 1,
        process: Process { pid: gone.id(), started: 0 },
        stake: Stake::WHOLE,
        request,
        step: Step::Granted { left: 1000 },
    };
    table.sync(|_, _| ((), (0..40).map(message).collect())).expect("an exchange").1.expect("written");
    let start = Instant::now();
    let mut sent = send(&machine.run(RATE), 160).await;
    assert!(sent[0] - start < Duration::from_millis(1500), "the dead run's probe is not waited for");
    sent.retain(|at| *at < start + WINDOW);
    assert!(sent.len() <= 60, "{}", sent.len());
    assert!(start.elapsed() < 3 * WINDOW, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_written_is_reported_once() {
    let machine = Machine::new();
    std::fs::write(machine.0.path().join("exporter"), "in the way").expect("a file");
    let (events, mut reported) = Events::channel();
    let limiter = Limiter::with(RATE, Some(Shared::new(machine.path(), paused, RATE)), events);
    let sent = send(&limiter, 150).await;
    assert!(most_in_a_window(sent) <= 100, "its own count holds");
    assert!(
        matches!(reported.try_recv(), Ok(Event::Warning { line: None, what }) if what.contains("cannot be shared"))
    );
    assert!(reported.try_recv().is_err(), "once");
}

/// A run whose file opens, but cannot be written.
fn run_on_a_full_disk(
    machine: &Machine,
    rate: Rate,
) -> (Limiter, tokio::sync::mpsc::UnboundedReceiver<Event>) {
    let (events, reported) = Events::channel();
    let shared = Shared::new(machine.path(), paused, rate);
    let table = open(&machine.path());
    table.fill_disk();
    shared.run(|slot| *slot = Some(table)).expect("a thread");
    (Limiter::with(rate, Some(shared), events), reported)
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_written_costs_no_request_and_is_reported_once() {
    for rate in [RATE, Rate { requests: 1, window: WINDOW }] {
        let machine = Machine::new();
        let (limiter, mut reported) = run_on_a_full_disk(&machine, rate);
        let sent = tokio::time::timeout(Duration::from_mins(10), send(&limiter, 5)).await;
        assert_eq!(sent.expect("the run hangs").len(), 5, "{rate:?}");
        let Ok(Event::Warning { what, .. }) = reported.try_recv() else { panic!("no warning") };
        assert!(what.contains("cannot be shared"), "{what}");
        assert!(reported.try_recv().is_err(), "once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_counts_on_its_own_does_not_wait_for_the_answers_of_others() {
    for rate in [RATE, Rate { requests: 1, window: WINDOW }] {
        let machine = Machine::new();
        let one = machine.run(rate);
        let _in_flight = one.acquire(10).await;
        let (other, _reported) = run_on_a_full_disk(&machine, rate);
        let sent = tokio::time::timeout(Duration::from_mins(10), send(&other, 5)).await;
        assert_eq!(sent.expect("the run hangs").len(), 5, "{rate:?}");
    }
}

static DISK_HANGS: Mutex<()> = Mutex::new(());
static DISK_ASKED: AtomicUsize = AtomicUsize::new(0);

/// [`paused`] on a disk that hangs now and then. The tasks do not notice that, only the thread of the request clock.
fn hanging() -> io::Result<Duration> {
    if is_clock_thread() {
        DISK_ASKED.fetch_add(1, Ordering::Relaxed);
        let _until = lock(&DISK_HANGS);
    }
    paused()
}

fn is_clock_thread() -> bool {
    std::thread::current().name() == Some("request-clock")
}

/// One request a window.
fn on_hanging_disk(machine: &Machine) -> Limiter {
    let rate = Rate { requests: 1, window: WINDOW };
    Limiter::with(rate, Some(Shared::new(machine.path(), hanging, rate)), Events::none())
}

/// Starts to wait, and returns when the disk was asked.
fn ask_the_disk(ready: std::pin::Pin<&mut impl Future>) {
    let before = DISK_ASKED.load(Ordering::Relaxed);
    assert!(ready.now_or_never().is_none(), "it waits for the disk");
    while DISK_ASKED.load(Ordering::Relaxed) == before {
        std::thread::yield_now();
    }
}

// one after the other: there is one disk that hangs
#[tokio::test(start_paused = true)]
async fn a_permit_granted_too_late_or_to_no_task_is_released() {
    granted_too_late().await;
    granted_to_no_task().await;
}

#[expect(clippy::await_holding_lock, reason = "the clock is stopped, and the lock is the disk's")]
async fn granted_too_late() {
    let machine = Machine::new();
    let limiter = on_hanging_disk(&machine);
    let hangs = lock(&DISK_HANGS);
    let mut ready = Box::pin(limiter.acquire(10));
    ask_the_disk(ready.as_mut());
    tokio::time::advance(Duration::from_secs(31)).await;
    ready.await.answered(&RateHeaders::default());
    tokio::time::advance(WINDOW).await;
    // the disk answers, and the first attempt gets a permit that no task waits for
    drop(hangs);
    sleep(Duration::from_millis(1)).await;
    let next = tokio::time::timeout(Duration::from_mins(10), limiter.acquire(9)).await;
    assert!(next.is_ok(), "the run hangs");
}

async fn granted_to_no_task() {
    for granted_first in [true, false] {
        let machine = Machine::new();
        let limiter = on_hanging_disk(&machine);
        let hangs = lock(&DISK_HANGS);
        let mut ready = Box::pin(limiter.acquire(10));
        ask_the_disk(ready.as_mut());
        if granted_first {
            drop(hangs);
            sleep(Duration::from_millis(1)).await;
            drop(ready);
        } else {
            drop((ready, hangs));
        }
        sleep(Duration::from_millis(1)).await;
        let next = tokio::time::timeout(Duration::from_mins(10), limiter.acquire(9)).await;
        assert!(next.is_ok(), "the run hangs, {granted_first}");
    }
}

/// Four runs of one machine, 32 tasks each, against one server.
async fn four(rule: ServerRate) -> (usize, Vec<Duration>, Vec<Instant>) {
    let machine = Machine::new();
    let world = Arc::new(Mutex::new((Server::new(rule, Instant::now().into_std()), Vec::new(), 0_usize)));
    let begin = Instant::now();
    let mut runs = JoinSet::new();
    for run in 0..4_u64 {
        let (limiter, world) = (Arc::new(machine.run(RATE)), Arc::clone(&world));
        runs.spawn(async move {
            let untaken = Arc::new(Mutex::new(163_u64));
            let mut tasks = JoinSet::new();
            for task in 0..32 {
                let (limiter, world, untaken) =
                    (Arc::clone(&limiter), Arc::clone(&world), Arc::clone(&untaken));
                tasks.spawn(async move {
                    loop {
                        let left = std::mem::replace(&mut *lock(&untaken), 0);
                        if left == 0 {
                            return;
                        }
                        *lock(&untaken) = left - 1;
                        while ask(&limiter, &world, rule.headers, left, 1 + (run + task) % 5).await {}
                    }
                });
            }
            while tasks.join_next().await.is_some() {}
            begin.elapsed()
        });
    }
    let mut spans = Vec::new();
    while let Some(span) = runs.join_next().await {
        spans.push(span.expect("no panic"));
    }
    let (_, admitted, limited) =
        std::mem::replace(&mut *lock(&world), (Server::new(rule, Instant::now().into_std()), Vec::new(), 0));
    (limited, spans, admitted)
}

/// Sends one request. True if it has to be sent again.
async fn ask(
    limiter: &Limiter,
    world: &Mutex<(Server, Vec<Instant>, usize)>,
    headers: SendHeaders,
    left: u64,
    latency: u64,
) -> bool {
    let permit = limiter.acquire(left).await;
    sleep(Duration::from_millis(latency)).await;
    let (decision, limit) = {
        let mut world = lock(world);
        let decision = world.0.admit(Instant::now().into_std());
        if decision.admitted {
            world.1.push(Instant::now());
        } else {
            world.2 += 1;
        }
        (decision, world.0.rate.limit)
    };
    let mut hints = RateHeaders { limited: !decision.admitted, ..RateHeaders::default() };
    if headers == SendHeaders::Always {
        (hints.limit, hints.remaining) = (Some(limit), Some(decision.remaining));
    }
    permit.answered(&hints);
    hints.limited
}

#[tokio::test(start_paused = true)]
async fn four_runs_of_one_machine_use_the_allowance_as_well_as_one() {
    for algorithm in [Algorithm::Log, Algorithm::Counter, Algorithm::Fixed] {
        for headers in [SendHeaders::Always, SendHeaders::Never] {
            let rule = ServerRate { limit: 100, window: WINDOW, algorithm, headers };
            let (limited, spans, admitted) = four(rule).await;
            // two runs' requests may reach the server in another order than they got their permits, and the answer that
            // counts as the newest then knows one request too few
            assert!(limited <= 1, "{rule:?}: {limited}");
            assert_eq!(admitted.len(), 652, "{rule:?}");
            let (fastest, slowest) = (spans.iter().min().expect("four"), spans.iter().max().expect("four"));
            let spread = slowest.as_secs_f64() / fastest.as_secs_f64();
            assert!(spread <= 1.7, "{rule:?}: {spans:?}");
            assert!(*slowest <= Duration::from_secs_f64(652.0 * 0.03 * 1.05), "{rule:?}: {slowest:?}");
        }
    }
}
