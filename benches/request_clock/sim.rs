//! Clients against a server's allowance, on tokio's paused clock: the real [`Limiter`] with its waits and wake-ups,
//! simulated latencies, and the sandbox's three ways to count. Nothing here takes real time, and the same seed
//! gives the same figures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use exporter::limit::Limiter;
use exporter::options;
use exporter::remote::rate_headers::RateHeaders;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use sandbox::limiter::{Limiter as Server, Rate, SendHeaders};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Case {
    /// The server's rule.
    pub server: Rate,
    /// How far into its window the server is when the first client begins, 0 to 1.
    pub phase: f64,
    /// Each client's `--rate`.
    pub rate: options::Rate,
    /// Clients on machines of their own.
    pub clients: u32,
    /// Rows of each.
    pub rows: u64,
    /// Each client begins so much later than the one before.
    pub stagger: Duration,
    /// Requests that a client has in flight at most.
    pub concurrency: u32,
    /// Shortest and longest time of a request, in milliseconds.
    pub latency: (u64, u64),
    /// Somebody else on the same app sends at an even pace: requests a window, from when until when.
    pub stranger: Option<(u32, Duration, Duration)>,
    /// Own requests that the server counted just before the clients began: a run that has just ended.
    pub before: u32,
    /// Clients that know nothing of an allowance, and try again a second after a 429.
    pub naive: bool,
    /// Chance's beginning.
    pub seed: u64,
}

impl Case {
    /// One client, a server with the same allowance.
    pub fn new(server: Rate, rows: u64) -> Self {
        Self {
            server,
            phase: 0.0,
            rate: options::Rate { requests: server.limit, window: server.window },
            clients: 1,
            rows,
            stagger: Duration::ZERO,
            concurrency: 32,
            latency: (2, 6),
            stranger: None,
            before: 0,
            naive: false,
            seed: 1,
        }
    }
}

/// A request as the server saw it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Since the first client began.
    pub at: Duration,
    /// Its number; the stranger's is the one after the last.
    pub client: u32,
    /// Or a 429.
    pub admitted: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// All requests.
    pub seen: Vec<Seen>,
    /// When each client had its last row, in the order in which they came to that.
    pub ends: Vec<Duration>,
    /// Each client's time from its begin to its end, in the same order.
    pub spans: Vec<Duration>,
}

impl Outcome {
    /// When all was done.
    pub fn makespan(&self) -> Duration {
        self.ends.iter().max().copied().unwrap_or_default()
    }

    /// 429s of the clients.
    pub fn limited(&self, case: &Case) -> usize {
        self.seen.iter().filter(|seen| !seen.admitted && seen.client < case.clients).count()
    }

    /// Part of the allowance that was used between two moments.
    pub fn share(&self, case: &Case, from: Duration, until: Duration) -> f64 {
        let used =
            self.seen.iter().filter(|seen| seen.admitted && seen.at >= from && seen.at < until).count();
        let allowed = f64::from(case.server.limit) * until.saturating_sub(from).as_secs_f64()
            / case.server.window.as_secs_f64();
        f64::from(u32::try_from(used).unwrap_or(u32::MAX)) / allowed
    }

    /// Part of the allowance that was used between the first full window and the first client's end.
    pub fn busy_share(&self, case: &Case) -> f64 {
        let first = self.ends.iter().min().copied().unwrap_or_default();
        self.share(case, case.server.window.min(first), first)
    }
}

struct World {
    server: Mutex<Server>,
    headers: SendHeaders,
    begin: Instant,
    /// Unix time at the begin, in milliseconds: `Reset` is in whole seconds.
    wall: u64,
    chance: AtomicU64,
    outcome: Mutex<Outcome>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl World {
    /// splitmix64.
    fn chance(&self) -> u64 {
        let mut z = self
            .chance
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One request from here to the server and back.
    async fn ask(&self, client: u32, latency: (u64, u64)) -> RateHeaders {
        let whole = latency.0 + self.chance() % (latency.1 - latency.0 + 1);
        let there = if whole == 0 { 0 } else { self.chance() % (whole + 1) };
        pass(there).await;
        let now = Instant::now();
        let decision = lock(&self.server).admit(now.into_std());
        let at = now - self.begin;
        lock(&self.outcome).seen.push(Seen { at, client, admitted: decision.admitted });
        let limit = lock(&self.server).rate.limit;
        pass(whole - there).await;
        let limited = !decision.admitted;
        let shown = match self.headers {
            SendHeaders::Always => true,
            SendHeaders::Only429 => limited,
            SendHeaders::Never => false,
        };
        let mut hints = RateHeaders { limited, ..RateHeaders::default() };
        if shown {
            let wall = self.wall + u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            let reset = (wall + millis(decision.reset_in)).div_ceil(1000);
            // the answer's own clock, in whole seconds too
            hints.reset = Some(Duration::from_secs(reset - wall / 1000)).filter(|reset| !reset.is_zero());
            hints.limit = Some(limit);
            hints.remaining = Some(decision.remaining);
            let retry = decision.reset_in.as_secs() + u64::from(decision.reset_in.subsec_nanos() > 0);
            hints.retry_after = limited.then(|| Duration::from_secs(retry.max(1)));
        }
        hints
    }
}

/// A pause that takes no turn where it is none.
async fn pass(millis: u64) {
    if millis > 0 {
        sleep(Duration::from_millis(millis)).await;
    }
}

/// Simulates it.
pub fn run(case: &Case) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.map(|runtime| runtime.block_on(simulate(case))).unwrap_or_default()
}

async fn simulate(case: &Case) -> Outcome {
    let begin = Instant::now() + case.server.window;
    let mut server = Server::new(case.server, (begin - case.server.window.mul_f64(case.phase)).into_std());
    tokio::time::sleep_until(begin).await;
    for _ in 0..case.before {
        let _ = server.admit(begin.into_std());
    }
    let world = Arc::new(World {
        server: Mutex::new(server),
        headers: case.server.headers,
        begin,
        wall: 1_800_000_000_000 + case.seed % 1000,
        chance: AtomicU64::new(case.seed),
        outcome: Mutex::default(),
    });
    let mut clients = JoinSet::new();
    for number in 0..case.clients {
        clients.spawn(client(Arc::clone(&world), case.clone(), number));
    }
    let stranger = case.stranger.map(|(requests, from, until)| {
        tokio::spawn(stranger(Arc::clone(&world), case.clone(), requests, from, until))
    });
    while clients.join_next().await.is_some() {}
    if let Some(stranger) = stranger {
        stranger.abort();
    }
    std::mem::take(&mut *lock(&world.outcome))
}

async fn client(world: Arc<World>, case: Case, number: u32) {
    sleep(case.stagger * number).await;
    let begin = Instant::now();
    let limiter = Arc::new(Limiter::new(case.rate));
    let (untaken, left) = (Arc::new(AtomicU64::new(case.rows)), Arc::new(AtomicU64::new(case.rows)));
    let mut places = JoinSet::new();
    for _ in 0..case.concurrency {
        let (world, limiter) = (Arc::clone(&world), Arc::clone(&limiter));
        let (untaken, left, case) = (Arc::clone(&untaken), Arc::clone(&left), case.clone());
        places.spawn(async move {
            let take =
                || untaken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |rows| rows.checked_sub(1));
            while take().is_ok() {
                while row(&world, &limiter, &case, number, &left).await.limited {
                    left.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    while places.join_next().await.is_some() {}
    let mut outcome = lock(&world.outcome);
    outcome.ends.push(Instant::now() - world.begin);
    outcome.spans.push(Instant::now() - begin);
}

/// `left` is how many requests the client still needs.
async fn row(world: &World, limiter: &Limiter, case: &Case, number: u32, left: &AtomicU64) -> RateHeaders {
    if case.naive {
        let hints = world.ask(number, case.latency).await;
        if hints.limited {
            sleep(Duration::from_secs(1)).await;
        }
        return hints;
    }
    let mut permit = limiter.acquire_for(|| left.load(Ordering::Relaxed)).await;
    permit.sent();
    left.fetch_sub(1, Ordering::Relaxed);
    let hints = world.ask(number, case.latency).await;
    permit.answered(&hints);
    hints
}

async fn stranger(world: Arc<World>, case: Case, requests: u32, from: Duration, until: Duration) {
    sleep(from).await;
    let gap = case.server.window / requests.max(1);
    while world.begin.elapsed() < until {
        world.ask(case.clients, (0, 0)).await;
        sleep(gap).await;
    }
}

/// The least time that the server's rule and `--rate` allow to one client alone, when it asks as early as it may.
pub fn least(case: &Case) -> Duration {
    let start = std::time::Instant::now();
    let begin = start + case.server.window.mul_f64(case.phase);
    let mut server = Server::new(case.server, start);
    let mut own = std::collections::VecDeque::new();
    let (mut now, mut rows) = (begin, case.rows * u64::from(case.clients));
    let even = case.rate.window.as_secs_f64() / f64::from(case.rate.requests.min(case.server.limit));
    let even = Duration::from_secs_f64(even * f64::from(u32::try_from(rows).unwrap_or(u32::MAX)));
    loop {
        while own.front().is_some_and(|first| now.duration_since(*first) >= case.rate.window) {
            own.pop_front();
        }
        while own.len() < case.rate.requests as usize && server.admit(now).admitted {
            own.push_back(now);
            rows -= 1;
            if rows == 0 {
                let least = now - begin;
                // who is told nothing cannot know that more would pass
                let told = case.server.headers == SendHeaders::Always;
                return if told { least } else { least.max(even) };
            }
        }
        now += Duration::from_millis(1);
    }
}
