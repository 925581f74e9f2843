//! The file as processes leave it that live, are killed, or write garbage.

use std::io::{Seek, SeekFrom, Write};

use proptest::prelude::*;

use super::*;
use crate::limit::shared::boot::Process;
use crate::limit::shared::file_name;
use crate::limit::shared::message::{Stake, Step};
use crate::remote::rate_headers::RateHeaders;

/// The database that a process of [`a_process_that_is_killed_in_the_middle_leaves_a_sound_file`] writes to.
const CHILD_FILE: &str = "EXPORTER_TEST_TABLE";

#[expect(clippy::unnecessary_wraps, reason = "the clock's type")]
fn noon() -> io::Result<Duration> {
    Ok(Duration::from_secs(43_200))
}

fn message(request: u32, at: u64) -> Message {
    Message {
        at: Duration::from_secs(at),
        run: 7,
        process: Process { pid: 1, started: 2 },
        stake: Stake::WHOLE,
        request,
        step: Step::Granted { left: 5 },
    }
}

/// All that these tests write matters.
const DAY: Memory = Memory { time: Duration::from_hours(24), messages: MESSAGES_MIN };

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("exporter/name.sqlite")
    }

    fn open(&self) -> Table {
        Table::open(&self.path(), noon, DAY).expect("a table")
    }
}

fn write(table: &mut Table, messages: &[Message]) {
    table.sync(|_, _| ((), messages.to_vec())).expect("an exchange").1.expect("written");
}

fn news(table: &mut Table) -> Vec<Message> {
    table.sync(|_, news| (news, Vec::new())).expect("an exchange").0
}

#[test]
fn a_message_comes_back_as_it_was_written() {
    let headers = RateHeaders {
        limited: true,
        retry_after: Some(Duration::from_hours(24)),
        reset: None,
        limit: Some(1000),
        remaining: Some(0),
    };
    let steps = [
        Step::Granted { left: u32::MAX },
        Step::Waiting { left: 4 },
        Step::Released,
        Step::Abandoned,
        Step::Answered(headers),
        Step::Answered(RateHeaders::default()),
    ];
    let home = Home::new();
    let messages = steps.map(|step| Message {
        at: Duration::from_nanos(12_345_678_901),
        run: u32::MAX,
        process: Process { pid: 2, started: 4 },
        stake: Stake::WHOLE,
        request: 3,
        step,
    });
    write(&mut home.open(), &messages);
    assert_eq!(news(&mut home.open()), messages);
}

#[test]
fn each_run_reads_what_another_one_published_once() {
    let home = Home::new();
    let (mut one, mut other) = (home.open(), home.open());
    write(&mut one, &[message(1, 10), message(2, 11)]);
    assert_eq!(news(&mut other), [message(1, 10), message(2, 11)]);
    assert_eq!(news(&mut other), []);
    write(&mut other, &[message(3, 12)]);
    assert_eq!(news(&mut one), [message(3, 12)]);
    assert_eq!(news(&mut home.open()).len(), 3, "a later run reads all");
}

#[test]
fn messages_of_the_future_are_passed_over() {
    let home = Home::new();
    write(&mut home.open(), &[message(1, 43_200), message(2, 43_201), message(3, u64::from(u32::MAX))]);
    assert_eq!(news(&mut home.open()), [message(1, 43_200)]);
}

#[test]
fn old_messages_are_passed_over_unless_they_close_the_gate() {
    let home = Home::new();
    let headers = RateHeaders { limited: true, ..RateHeaders::default() };
    let refused = Message { step: Step::Answered(headers), ..message(1, 10) };
    write(&mut home.open(), &[refused.clone(), message(2, 10), message(3, 43_190)]);
    let memory = Memory { time: Duration::from_secs(30), ..DAY };
    let mut table = Table::open(&home.path(), noon, memory).expect("a table");
    assert_eq!(news(&mut table), [refused, message(3, 43_190)]);
}

#[test]
fn as_much_is_kept_as_the_run_with_the_largest_allowance_wants() {
    let home = Home::new();
    let large = Memory::new(DAY.time, 5_000);
    assert_eq!(large.messages, 30_000, "two for each request of three windows");
    write(&mut Table::open(&home.path(), noon, large).expect("a table"), &[message(0, 1)]);
    let messages: Vec<Message> = (0..30_010).map(|request| message(request, 1)).collect();
    // a run with a small one does not delete what the other needs
    write(&mut home.open(), &messages);
    assert_eq!(news(&mut home.open()).len(), 30_000);
    let huge = Memory::new(DAY.time, u32::MAX);
    assert_eq!(huge.messages, MESSAGES_MAX);
}

#[test]
fn the_oldest_messages_are_deleted() {
    let home = Home::new();
    let (mut one, mut slow) = (home.open(), home.open());
    let kept = u32::try_from(MESSAGES_MIN).expect("small");
    let messages: Vec<Message> = (0..kept + 10).map(|request| message(request, 1)).collect();
    write(&mut one, &messages);
    let read = news(&mut slow);
    assert_eq!((read.len(), read[0].request), (kept as usize, 10));
    let length = || std::fs::metadata(home.path()).expect("a file").len();
    // what is deleted makes room for what comes
    write(&mut one, &messages[..1000]);
    let before = length();
    for _ in 0..10 {
        write(&mut one, &messages[..1000]);
    }
    assert!(length() <= before + 8 * 4096, "the file grows from {before} to {} bytes", length());
}

#[test]
fn messages_of_an_earlier_boot_do_not_count() {
    let home = Home::new();
    write(&mut home.open(), &[message(1, 10), message(2, 11)]);
    let later = || Table { boot: "another boot".to_owned(), ..home.open() };
    let mut table = later();
    assert_eq!(news(&mut table), []);
    write(&mut table, &[message(3, 12)]);
    assert_eq!(news(&mut later()), [message(3, 12)]);
}

#[test]
fn a_removed_file_is_created_again_and_all_runs_meet_there() {
    let home = Home::new();
    let (mut one, mut other) = (home.open(), home.open());
    write(&mut one, &[message(1, 10)]);
    std::fs::remove_file(home.path()).expect("removed");
    write(&mut one, &[message(2, 11)]);
    assert_eq!(news(&mut other), [message(2, 11)]);
}

#[test]
fn folder_and_file_are_the_users_alone() {
    let home = Home::new();
    let folder = home.0.path().join("exporter");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("a mode");
    std::fs::write(home.path(), "").expect("a file");
    std::fs::set_permissions(home.path(), Permissions::from_mode(0o644)).expect("a mode");
    write(&mut home.open(), &[message(1, 10)]);
    let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in std::fs::read_dir(&folder).expect("a folder") {
        let path = file.expect("a file").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn no_link_is_followed_and_no_pipe_waited_for() {
    let home = Home::new();
    std::fs::create_dir(home.0.path().join("exporter")).expect("a folder");
    std::os::unix::fs::symlink(home.0.path().join("elsewhere"), home.path()).expect("a link");
    assert!(Table::open(&home.path(), noon, DAY).is_err());
    assert!(!home.0.path().join("elsewhere").exists());
    std::fs::remove_file(home.path()).expect("removed");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        home.path(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .expect("a pipe");
    assert!(Table::open(&home.path(), noon, DAY).is_err());
}

#[test]
fn a_state_folder_behind_a_link_is_used() {
    let home = Home::new();
    let (real, link) = (home.0.path().join("real"), home.0.path().join("exporter"));
    std::fs::create_dir(&real).expect("a folder");
    std::os::unix::fs::symlink(&real, &link).expect("a link");
    write(&mut home.open(), &[message(1, 10)]);
    assert!(real.join("name.sqlite").exists());
}

#[test]
fn a_lock_that_is_never_released_is_not_waited_for() {
    let home = Home::new();
    let mut table = home.open();
    let holder = Connection::open(home.path()).expect("a connection");
    holder.execute_batch("BEGIN EXCLUSIVE").expect("the lock");
    let start = std::time::Instant::now();
    let exchange = table.sync(|_, _| ((), Vec::new()));
    assert!(matches!(exchange, Err(TableError::Locked)), "{exchange:?}");
    assert!(start.elapsed() < Duration::from_secs(20));
    drop(holder);
    write(&mut table, &[message(1, 1)]);
}

#[test]
fn a_decision_counts_even_if_it_cannot_be_written() {
    let home = Home::new();
    let mut table = home.open();
    table.fill_disk();
    let (decided, written) = table.sync(|_, _| ("go", vec![message(1, 10)])).expect("an exchange");
    assert_eq!(decided, "go");
    assert!(written.is_err());
    write(&mut home.open(), &[message(2, 11)]);
    assert_eq!(news(&mut table), [message(2, 11)]);
}

#[test]
fn the_name_tells_nothing_of_the_key() {
    let name = file_name("https://api.maxcare.ai/v2", "max_prd_ak_secret", "one");
    assert!(!name.contains("secret") && name.len() == 64 + ".sqlite".len());
    assert_ne!(name, file_name("https://api.maxcare.ai/v2", "max_prd_ak_secres", "one"));
    assert_ne!(name, file_name("https://api.maxcare.ai/v", "2max_prd_ak_secret", "one"));
    assert_ne!(name, file_name("https://api.maxcare.ai/v2", "max_prd_ak_secret", "two"), "another machine");
}

#[test]
fn a_file_of_another_program_or_version_is_replaced() {
    for foreign in ["CREATE TABLE messages (x)", "CREATE TABLE other (x); PRAGMA user_version = 7"] {
        let home = Home::new();
        std::fs::create_dir(home.0.path().join("exporter")).expect("a folder");
        Connection::open(home.path()).expect("a file").execute_batch(foreign).expect("a table");
        write(&mut home.open(), &[message(1, 10)]);
        assert_eq!(news(&mut home.open()), [message(1, 10)], "{foreign}");
    }
}

#[test]
fn a_file_that_is_overwritten_under_a_run_is_replaced() {
    let home = Home::new();
    let (mut one, mut other) = (home.open(), home.open());
    write(&mut one, &[message(1, 10)]);
    std::fs::write(home.path(), vec![0xa5; 20_000]).expect("garbage");
    write(&mut one, &[message(2, 11)]);
    assert_eq!(news(&mut other), [message(2, 11)]);
}

#[test]
fn runs_that_begin_at_once_lose_no_message() {
    let home = Home::new();
    let begin = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for run in 0..4 {
            let (home, begin) = (&home, &begin);
            scope.spawn(move || {
                begin.wait();
                let mut table = home.open();
                for request in 0..50 {
                    write(&mut table, &[Message { run, ..message(request, 10) }]);
                }
            });
        }
    });
    let mut all: Vec<_> =
        news(&mut home.open()).iter().map(|message| (message.run, message.request)).collect();
    all.sort_unstable();
    let expected: Vec<_> = (0..4).flat_map(|run| (0..50).map(move |request| (run, request))).collect();
    assert_eq!(all, expected);
}

#[test]
fn a_process_that_is_killed_in_the_middle_leaves_a_sound_file() {
    if let Some(path) = std::env::var_os(CHILD_FILE) {
        let mut table = Table::open(Path::new(&path), noon, DAY).expect("a table");
        for request in (0..).step_by(2) {
            write(&mut table, &[message(request, 10), message(request + 1, 10)]);
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let home = Home::new();
    let mut reader = home.open();
    for pause in 0..10 {
        let name = "limit::shared::table::tests::a_process_that_is_killed_in_the_middle_leaves_a_sound_file";
        let mut child = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args([name, "--exact", "--nocapture"])
            .env(CHILD_FILE, home.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("a process");
        // it writes
        while news(&mut reader).is_empty() {
            assert!(child.try_wait().expect("its state").is_none(), "it ended by itself");
        }
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().expect("killed");
        child.wait().expect("its end");
        news(&mut reader);
        let all = news(&mut home.open());
        assert!(all.len().is_multiple_of(2), "a transaction is there as a whole or not at all");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_in_the_file_is_survived(
        garbage in prop::collection::vec(any::<u8>(), 1..400),
        at in 0_u64..200,
        page in 0_u64..3,
    ) {
        let home = Home::new();
        write(&mut home.open(), &[message(1, 10), message(2, 11)]);
        let mut file = OpenOptions::new().write(true).open(home.path()).expect("the file");
        file.seek(SeekFrom::Start(page * 4096 + at)).expect("a position");
        file.write_all(&garbage).expect("written");
        drop(file);
        let mut table = home.open();
        prop_assert!(news(&mut table).len() <= 2);
        write(&mut table, &[message(3, 12)]);
        prop_assert_eq!(news(&mut home.open()).last().cloned(), Some(message(3, 12)));
    }
}
