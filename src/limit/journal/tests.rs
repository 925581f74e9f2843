//! The file, as processes leave it that live, die or write nonsense.

use proptest::prelude::*;

use super::*;
use crate::remote::rate_headers::RateHeaders;

#[expect(clippy::unnecessary_wraps, reason = "the clock's type")]
fn noon() -> io::Result<Duration> {
    Ok(Duration::from_secs(43_200))
}

fn entry(number: u32, at: u64) -> Entry {
    Entry { at: Duration::from_secs(at), client: 7, pid: 1, number, fact: Fact::Sent { left: 5 } }
}

fn hints() -> RateHeaders {
    RateHeaders {
        limited: true,
        retry_after: Some(Duration::from_hours(24)),
        reset: None,
        limit: Some(1000),
        remaining: Some(0),
    }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("exporter/name.clock")
    }

    fn open(&self) -> Journal {
        Journal::open(self.path(), noon).expect("a journal")
    }
}

fn write(journal: &mut Journal, entries: Vec<Entry>) {
    journal.visit(|_, _| ((), entries)).expect("visited").1.expect("written");
}

fn news(journal: &mut Journal) -> Vec<Entry> {
    journal.visit(|_, news| (news, Vec::new())).expect("read").0
}

#[test]
fn an_entry_comes_back_as_it_was_written_and_only_in_its_place() {
    let facts = [
        Fact::Sent { left: u32::MAX },
        Fact::Wants { left: 4 },
        Fact::Unsent,
        Fact::Answered(hints()),
        Fact::Answered(RateHeaders::default()),
    ];
    for fact in facts {
        let entry = Entry { at: Duration::from_nanos(12_345_678_901), client: 1, pid: 2, number: 3, fact };
        let bytes = entry.write(9);
        assert_eq!(Entry::read(&bytes, 9), Some(entry.clone()));
        assert_eq!(Entry::read(&bytes, 9 + RING), None, "of an earlier round");
        for at in 0..SIZE {
            let mut torn = bytes;
            torn[at] ^= 1;
            assert_eq!(Entry::read(&torn, 9), None, "{entry:?}, byte {at}");
        }
    }
}

#[test]
fn each_hears_what_the_other_told_once() {
    let place = Place::new();
    let (mut one, mut other) = (place.open(), place.open());
    write(&mut one, vec![entry(1, 10), entry(2, 11)]);
    assert_eq!(news(&mut other), [entry(1, 10), entry(2, 11)]);
    assert_eq!(news(&mut other), []);
    write(&mut other, vec![entry(3, 12)]);
    assert_eq!(news(&mut one), [entry(3, 12)]);
    assert_eq!(news(&mut place.open()).len(), 3, "a later one hears all");
}

#[test]
fn what_is_of_the_future_is_passed_over() {
    let place = Place::new();
    write(&mut place.open(), vec![entry(1, 43_200), entry(2, 43_201), entry(3, u64::from(u32::MAX))]);
    assert_eq!(news(&mut place.open()), [entry(1, 43_200)]);
}

#[test]
fn the_ring_forgets_its_oldest_entries() {
    let place = Place::new();
    let (mut one, mut slow) = (place.open(), place.open());
    let count = u32::try_from(RING).expect("small") + 10;
    write(&mut one, (0..count).map(|number| entry(number, 1)).collect());
    let heard = news(&mut slow);
    assert_eq!((heard.len() as u64, heard[0].number), (RING, 10));
    let length = std::fs::metadata(place.path()).expect("a file").len();
    assert_eq!(length, SIZE as u64 * (RING + 1));
}

#[test]
fn a_file_of_an_earlier_boot_is_begun_anew() {
    let place = Place::new();
    write(&mut place.open(), vec![entry(1, 10), entry(2, 11)]);
    let mut later = place.open();
    later.boot = [1; 16];
    assert_eq!(news(&mut later), []);
    write(&mut later, vec![entry(3, 12)]);
    let mut last = place.open();
    last.boot = [1; 16];
    assert_eq!(news(&mut last), [entry(3, 12)]);
}

#[test]
fn a_removed_file_is_made_again_and_all_meet_there() {
    let place = Place::new();
    let (mut one, mut other) = (place.open(), place.open());
    write(&mut one, vec![entry(1, 10)]);
    std::fs::remove_file(place.path()).expect("removed");
    write(&mut one, vec![entry(2, 11)]);
    assert_eq!(news(&mut other), [entry(2, 11)]);
}

#[test]
fn folder_and_file_are_the_users_alone() {
    let place = Place::new();
    let folder = place.0.path().join("exporter");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    std::fs::write(place.path(), "").expect("a file");
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o644)).expect("a mode");
    write(&mut place.open(), vec![entry(1, 10)]);
    let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!((mode(&folder), mode(&place.path())), (0o700, 0o600));
}

#[test]
fn no_link_is_followed_and_no_pipe_waited_for() {
    let place = Place::new();
    std::fs::create_dir(place.0.path().join("exporter")).expect("a folder");
    std::os::unix::fs::symlink(place.0.path().join("elsewhere"), place.path()).expect("a link");
    assert!(Journal::open(place.path(), noon).is_err());
    assert!(!place.0.path().join("elsewhere").exists());
    std::fs::remove_file(place.path()).expect("removed");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.path(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .expect("a pipe");
    assert!(Journal::open(place.path(), noon).is_err());
}

#[test]
fn a_holder_who_never_lets_go_is_not_waited_for() {
    let place = Place::new();
    let mut journal = place.open();
    let holder = File::open(place.path()).expect("the file");
    flock(&holder, FlockOperation::LockExclusive).expect("the lock");
    let start = std::time::Instant::now();
    let visited = journal.visit(|_, _| ((), Vec::new()));
    assert_eq!(visited.map(drop).map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
    assert!(start.elapsed() < Duration::from_secs(20));
    drop(holder);
    write(&mut journal, vec![entry(1, 1)]);
}

#[test]
fn what_was_decided_is_told_also_where_it_cannot_be_written_down() {
    let place = Place::new();
    let mut journal = place.open();
    journal.fill_disk();
    let (decided, written) = journal.visit(|_, _| ("go", vec![entry(1, 10)])).expect("visited");
    assert_eq!(decided, "go");
    assert!(written.is_err());
    write(&mut place.open(), vec![entry(2, 11)]);
}

#[test]
fn the_name_tells_nothing_of_the_key() {
    let name = file_name("https://api.maxcare.ai/v2", "max_prd_ak_secret");
    assert!(!name.contains("secret") && name.len() == 64 + ".clock".len());
    assert_ne!(name, file_name("https://api.maxcare.ai/v2", "max_prd_ak_secres"));
    assert_ne!(name, file_name("https://api.maxcare.ai/v", "2max_prd_ak_secret"));
}

#[test]
fn the_clock_of_all_processes_goes_on() {
    let (first, second) = (since_boot().expect("a time"), since_boot().expect("a time"));
    assert!(first <= second && first > Duration::ZERO);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_is_read_as_nothing_and_written_over(
        garbage in prop::collection::vec(any::<u8>(), 0..400),
        at in 0_usize..200,
        behind_a_head in any::<bool>(),
    ) {
        let place = Place::new();
        write(&mut place.open(), vec![entry(1, 10), entry(2, 11)]);
        let mut bytes = std::fs::read(place.path()).expect("read");
        let at = if behind_a_head { SIZE + at } else { at };
        bytes.resize(bytes.len().max(at + garbage.len()), 0);
        bytes[at..at + garbage.len()].copy_from_slice(&garbage);
        std::fs::write(place.path(), bytes).expect("written");
        let mut journal = place.open();
        prop_assert!(news(&mut journal).len() <= 2);
        write(&mut journal, vec![entry(3, 12)]);
        prop_assert_eq!(news(&mut place.open()).last().cloned(), Some(entry(3, 12)));
    }
}
