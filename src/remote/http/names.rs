//! Names → addresses, on threads of their own: a name service that hangs holds up neither the disk's threads nor the
//! tasks that talk to known hosts, and a disk that hangs holds up no look-up.
//!
//! A name is looked up once at a time, whatever the number of tasks that wait for it. What was found is used for
//! [`NAME_LIFETIME`] and never longer: an old address is no answer to a look-up that failed. Failures are not kept, and
//! after a connection that failed every name is looked up again, since the service may have moved.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use crate::options::CONNECT_TIMEOUT;

/// How long an address is used. `getaddrinfo`, the only interface that knows all of a system's name services, does not
/// tell for how long its answer holds; what lives for a shorter time than this is rare (S3's names: 5 s and more, with
/// addresses that stay good much longer), and the system's own cache keeps to the true time.
const NAME_LIFETIME: Duration = Duration::from_secs(30);
/// A look-up that takes longer has failed. Less than connecting may take, so that the error names the name service.
const LOOKUP_TIMEOUT: Duration = CONNECT_TIMEOUT.saturating_sub(Duration::from_secs(1));
/// Look-ups at a time. A run asks for three names: of the API, the storage and the proxy. One that hangs cannot be ended,
/// and keeps its thread until the system gives it up.
const LOOKUP_THREADS_MAX: usize = 8;
/// Names that are remembered. Presigned URLs may name any number of hosts.
const NAMES_MAX: usize = 256;

type Addresses = Arc<[SocketAddr]>;
type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The system's name service, asked with care. Clones share what they know.
#[derive(Clone)]
pub(super) struct Names(Arc<Inner>);

struct Inner {
    lookup: Box<Lookup>,
    threads: Arc<Semaphore>,
    known: Mutex<HashMap<String, Known>>,
    lifetime: Duration,
    timeout: Duration,
}

/// What is known about a name, and since when.
struct Known {
    since: Instant,
    /// `None` while the look-up that began then has no result.
    answer: watch::Receiver<Option<Answer>>,
}

/// The result of a look-up, for all that wait for it.
#[derive(Clone, Debug)]
enum Answer {
    Found(Addresses),
    Failed(io::ErrorKind, String),
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    /// Asks the system.
    pub(super) fn of_system() -> Self {
        let lookup = |host: &str| Ok((host, 0).to_socket_addrs()?.collect());
        Self::with(lookup, NAME_LIFETIME, LOOKUP_TIMEOUT)
    }

    fn with(
        lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
        lifetime: Duration,
        timeout: Duration,
    ) -> Self {
        Self(Arc::new(Inner {
            lookup: Box::new(lookup),
            threads: Arc::new(Semaphore::new(LOOKUP_THREADS_MAX)),
            known: Mutex::default(),
            lifetime,
            timeout,
        }))
    }

    /// All addresses of a host, with port 0.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::TimedOut`] if it says nothing in time.
    pub(super) async fn addresses(&self, host: &str) -> io::Result<Addresses> {
        let mut answer = self.0.answer_of(host);
        let answered = timeout(self.0.timeout, answer.wait_for(Option::is_some)).await;
        match answered.map(|answer| answer.map(|answer| answer.clone())) {
            Ok(Ok(Some(Answer::Found(addresses)))) => Ok(addresses),
            Ok(Ok(Some(Answer::Failed(kind, why)))) => Err(io::Error::new(kind, why)),
            Ok(_) => Err(io::Error::other("the look-up of its name ended without an answer")),
            Err(_) => {
                let seconds = self.0.timeout.as_secs_f64();
                let why = format!("the name service gave no answer within {seconds} s");
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            }
        }
    }

    /// Looks every name up again when it is next needed.
    pub(super) fn forget(&self) {
        self.0.known().retain(|_, known| known.answer.borrow().is_none());
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer that is known or being waited for, else that of a look-up which begins now.
    fn answer_of(self: &Arc<Self>, host: &str) -> watch::Receiver<Option<Answer>> {
        let mut all = self.known();
        if let Some(known) = all.get(host).filter(|known| self.is_usable(known)) {
            return known.answer.clone();
        }
        if all.len() >= NAMES_MAX {
            all.retain(|_, known| self.is_usable(known));
        }
        if all.len() >= NAMES_MAX {
            all.clear();
        }
        let (sender, answer) = watch::channel(None);
        all.insert(host.to_owned(), Known { since: Instant::now(), answer: answer.clone() });
        drop(all);
        self.start(host.to_owned(), sender);
        answer
    }

    /// An answer that is young enough, or a look-up that may still give one.
    fn is_usable(&self, known: &Known) -> bool {
        match *known.answer.borrow() {
            Some(Answer::Found(_)) => known.since.elapsed() < self.lifetime,
            Some(Answer::Failed(..)) => false,
            // not one whose thread has died
            None => known.since.elapsed() < self.timeout && known.answer.has_changed().is_ok(),
        }
    }

    /// Looks a name up on a thread, as soon as there may be one more.
    fn start(self: &Arc<Self>, host: String, answer: watch::Sender<Option<Answer>>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(permit) = Arc::clone(&this.threads).acquire_owned().await else { return };
            // it was forgotten before it began, and no task waits for it
            if answer.is_closed() {
                return;
            }
            let work = move || {
                let found = (this.lookup)(&host);
                answer.send_replace(Some(Answer::from(found)));
                drop(permit);
            };
            // without a thread the sender is dropped, and all that wait for it learn that there is no answer
            let _ = std::thread::Builder::new().name("name-lookup".to_owned()).spawn(work);
        });
    }
}

impl From<io::Result<Vec<SocketAddr>>> for Answer {
    fn from(found: io::Result<Vec<SocketAddr>>) -> Self {
        match found {
            Ok(addresses) => Self::Found(addresses.into()),
            Err(error) => Self::Failed(error.kind(), error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::mpsc;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_mins(1);

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, last], 0))
    }

    /// Names that count how often they are asked; the address is that number.
    fn counting(lifetime: Duration) -> (Names, Arc<AtomicUsize>) {
        let asked = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&asked);
        let lookup = move |host: &str| {
            let number = counter.fetch_add(1, Relaxed) + 1;
            // long enough for others to join
            std::thread::sleep(Duration::from_millis(20));
            match host {
                "gone.example" => Err(io::Error::other("no such name")),
                _ => Ok(vec![address(u8::try_from(number).expect("few"))]),
            }
        };
        (Names::with(lookup, lifetime, LONG), asked)
    }

    #[tokio::test]
    async fn many_tasks_share_one_look_up_and_its_answer_is_used_again() {
        let (names, asked) = counting(LONG);
        let all = futures::future::join_all((0..50).map(|_| names.addresses("s3.example"))).await;
        assert!(all.into_iter().all(|found| *found.expect("found") == [address(1)]));
        assert_eq!(*names.addresses("s3.example").await.expect("found"), [address(1)]);
        assert_eq!(asked.load(Relaxed), 1);
        assert_eq!(*names.addresses("api.example").await.expect("found"), [address(2)], "another name");
    }

    #[tokio::test]
    async fn an_address_is_used_for_its_lifetime_and_until_a_connection_fails() {
        let (names, _) = counting(SHORT);
        assert_eq!(*names.addresses("s3.example").await.expect("found"), [address(1)]);
        tokio::time::sleep(SHORT).await;
        assert_eq!(*names.addresses("s3.example").await.expect("found"), [address(2)]);
        let (names, _) = counting(LONG);
        assert_eq!(*names.addresses("s3.example").await.expect("found"), [address(1)]);
        names.forget();
        assert_eq!(*names.addresses("s3.example").await.expect("found"), [address(2)]);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_that_wait_and_not_kept() {
        let (names, asked) = counting(LONG);
        let all = futures::future::join_all((0..9).map(|_| names.addresses("gone.example"))).await;
        assert!(all.into_iter().all(|found| found.expect_err("fails").to_string() == "no such name"));
        assert_eq!(asked.load(Relaxed), 1);
        names.addresses("gone.example").await.expect_err("fails again");
        assert_eq!(asked.load(Relaxed), 2);
    }

    #[tokio::test]
    async fn a_look_up_that_hangs_ends_in_time_and_holds_up_no_other() {
        let (release, hang) = mpsc::channel::<()>();
        let (hang, asked) = (Mutex::new(hang), AtomicUsize::new(0));
        let lookup = move |host: &str| {
            if host == "hangs.example" && asked.fetch_add(1, Relaxed) == 0 {
                let _ = hang.lock().expect("no holder panics").recv();
            }
            Ok(vec![address(7)])
        };
        let names = Names::with(lookup, LONG, SHORT);
        let error = names.addresses("hangs.example").await.expect_err("it hangs");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "the name service gave no answer within 0.05 s");
        assert_eq!(*names.addresses("api.example").await.expect("found"), [address(7)]);
        // the service answers again: the next attempt does not wait for the one that hangs
        assert_eq!(*names.addresses("hangs.example").await.expect("found"), [address(7)]);
        drop(release);
    }

    #[tokio::test]
    async fn threads_and_memory_are_bounded() {
        let (at_once, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let peak = Arc::clone(&most);
        let lookup = move |_: &str| {
            peak.fetch_max(at_once.fetch_add(1, Relaxed) + 1, Relaxed);
            std::thread::sleep(Duration::from_millis(1));
            at_once.fetch_sub(1, Relaxed);
            Ok(vec![address(7)])
        };
        let names = Names::with(lookup, LONG, LONG);
        let hosts: Vec<String> = (0..NAMES_MAX + 50).map(|n| format!("host{n}.example")).collect();
        let all = futures::future::join_all(hosts.iter().map(|host| names.addresses(host))).await;
        assert!(all.iter().all(Result::is_ok));
        assert!((2..=LOOKUP_THREADS_MAX).contains(&most.load(Relaxed)), "{most:?} at a time");
        assert!(names.0.known().len() <= NAMES_MAX);
    }
}
