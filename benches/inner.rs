//! The inner parts, each alone: how many rows or bytes a second, and how that changes from 10⁴ to 10⁶ rows.
//!
//! `cargo bench --bench inner` runs all of it (some minutes, 2 GiB of disk in `TMPDIR`); a part of a name runs
//! those: `cargo bench --bench inner -- reports`.

#![allow(missing_docs, reason = "a program of its own")]

use std::hint::black_box;
use std::io::BufReader;
use std::path::Path;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, bench};
use exporter::item::Sha256;
use exporter::ledger::{self, Cursor, Delivered, Ledger, LedgerConnection, Loading, RunRow, Write};
use exporter::manifest::{self, Manifest, ManifestOptions};
use exporter::store::PartWriter;
use exporter::{layout, report, timestamp};
use rusqlite::Connection;
use tempfile::TempDir;

const ROWS: [usize; 3] = [10_000, 100_000, 1_000_000];

fn main() {
    divan::main();
}

/// Ten images a note, four organizations, UUIDs as the API has them.
fn csv(rows: usize) -> String {
    let mut text = "org,note,image\n".to_owned();
    for n in 0..rows {
        let (org, note) = (n % 4, n / 10);
        text.push_str(&format!(
            "0a6c5b4e-0000-4000-8000-{org:012x},{note:08x}-9c59-403c-a910-8af6c5693b25,{n:08x}-1f2e-4d3c-8b5a-697887766554\n"
        ));
    }
    text
}

fn load(connection: &mut Connection, text: &str) {
    let entries =
        Manifest::open(BufReader::new(text.as_bytes()), &ManifestOptions::default()).expect("sound");
    let sha256 = manifest::fingerprint(text.as_bytes()).expect("readable");
    let loading = Loading {
        sha256: Some(sha256),
        reading: String::new(),
        header: b"org,note,image".to_vec(),
        warnings: Vec::new(),
        entries,
        skip_bad: false,
        shard: None,
        run: None,
    };
    let loaded = ledger::load(connection, loading, |_| Ok(())).expect("loaded");
    assert_eq!(loaded.bad, 0);
}

fn begin(connection: &Connection) -> i64 {
    let run = RunRow {
        started_at: timestamp::now(),
        manifest_sha256: String::new(),
        host: "bench".to_owned(),
        user: "bench".to_owned(),
        version: "0".to_owned(),
        ..RunRow::default()
    };
    ledger::insert_run(connection, &run).expect("written")
}

/// The next rows as they would be delivered.
fn deliveries(connection: &Connection, cursor: &mut Cursor, run: i64, rows: u32) -> Vec<Write> {
    let work = ledger::next_items(connection, cursor, rows).expect("readable");
    let record = |work: ledger::Work| Delivered {
        path: layout::with_extension(&work.item.stem, "jpg"),
        bytes: 64 << 10,
        sha256: Sha256::from_hex(&format!("{:064x}", work.item.seq * 0x9e37_79b9_7f4a)).expect("hex"),
        content_type: "image/jpeg".to_owned(),
        etag: "\"d41d8cd98f00b204e9800998ecf8427e\"".to_owned(),
        object: Sha256::from_hex(&format!("{:064x}", work.item.seq * 0x7f4a_7c15_9e37)).expect("hex"),
        checked_by: "length+etag-md5+image-end".to_owned(),
        attempts: 1,
        stored_at: "2026-01-01T00:00:00.000Z".to_owned(),
        warning: String::new(),
        item: work.item,
    };
    work.into_iter().map(|work| Write::Delivered(run, Box::new(record(work)))).collect()
}

/// An export of which every row is delivered (in the ledger; there are no files).
fn delivered(rows: usize) -> (TempDir, LedgerConnection) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut connection = ledger::open_state(dir.path(), None).expect("a ledger").connection;
    load(&mut connection, &csv(rows));
    let run = begin(&connection);
    ledger::prepare_work(&connection).expect("prepared");
    let mut cursor = Cursor::default();
    let mut batches = Vec::new();
    loop {
        let batch = deliveries(&connection, &mut cursor, run, 10_000);
        if batch.is_empty() {
            break;
        }
        batches.push(batch);
    }
    let (ledger, thread) = Ledger::start(connection).expect("a thread");
    for batch in batches {
        ledger.write_blocking(batch).expect("written");
    }
    drop(ledger);
    thread.join().expect("closed");
    let connection = ledger::open_state(dir.path(), None).expect("a ledger").connection;
    (dir, connection)
}

#[bench(args = ROWS, sample_count = 3, sample_size = 1)]
fn manifest_check(bencher: Bencher<'_, '_>, rows: usize) {
    let text = csv(rows);
    bencher.counter(ItemsCount::new(rows)).bench(|| {
        let checked = manifest::check(BufReader::new(text.as_bytes()), &ManifestOptions::default());
        assert_eq!(checked.expect("sound").rows, rows as u64);
    });
}

#[bench(args = ROWS, sample_count = 3, sample_size = 1)]
fn ledger_load(bencher: Bencher<'_, '_>, rows: usize) {
    let text = csv(rows);
    bencher
        .counter(ItemsCount::new(rows))
        .with_inputs(|| tempfile::tempdir().expect("a folder"))
        .bench_values(|dir| {
            let mut state = ledger::open_state(dir.path(), None).expect("a ledger");
            load(&mut state.connection, &text);
            dir
        });
}

/// Deliveries in commits of so many; each commit is flushed.
#[bench(args = [1_u32, 32, 512], sample_count = 5, sample_size = 1)]
fn ledger_commit(bencher: Bencher<'_, '_>, batch: u32) {
    const COMMITS: usize = 50;
    bencher
        .counter(ItemsCount::new(COMMITS * batch as usize))
        .with_inputs(|| {
            let dir = tempfile::tempdir().expect("a folder");
            let mut connection = ledger::open_state(dir.path(), None).expect("a ledger").connection;
            load(&mut connection, &csv(COMMITS * batch as usize));
            let run = begin(&connection);
            ledger::prepare_work(&connection).expect("prepared");
            let mut cursor = Cursor::default();
            let batches: Vec<_> =
                (0..COMMITS).map(|_| deliveries(&connection, &mut cursor, run, batch)).collect();
            (dir, Ledger::start(connection).expect("a thread"), batches)
        })
        .bench_values(|(dir, (ledger, thread), batches)| {
            for batch in batches {
                ledger.write_blocking(batch).expect("written");
            }
            drop(ledger);
            thread.join().expect("closed");
            dir
        });
}

#[bench(args = ROWS, sample_count = 3, sample_size = 1)]
fn reports(bencher: Bencher<'_, '_>, rows: usize) {
    let (dir, connection) = delivered(rows);
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        let summary = report::write_all(&connection, dir.path(), &report::Occasion::Report).expect("written");
        assert_eq!(summary.counts.rows, rows as u64);
    });
}

/// What a run again asks of the ledger before it knows that there is nothing to do; files are looked for, too.
#[bench(args = ROWS, sample_count = 3, sample_size = 1)]
fn nothing_left(bencher: Bencher<'_, '_>, rows: usize) {
    let (_dir, connection) = delivered(rows);
    begin(&connection);
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        assert_eq!(ledger::prepare_work(&connection).expect("prepared"), 0);
        assert_eq!(report::counts(&connection).expect("counted").skipped, rows as u64);
    });
}

/// Bytes hashed on their way into a part file.
#[bench(args = [64 << 10, 4 << 20, 64 << 20], sample_count = 5)]
fn hash_and_write(bencher: Bencher<'_, '_>, size: usize) {
    let dir = tempfile::tempdir().expect("a folder");
    let body = Bytes::from(vec![0x5a; 64 << 10]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        runtime.block_on(write(&dir.path().join("a.part"), &body, size));
    });
}

async fn write(path: &Path, body: &Bytes, size: usize) {
    let mut writer = PartWriter::new(path.to_owned(), &[]);
    for _ in 0..size / body.len() {
        writer.push(body.clone()).await.expect("taken");
    }
    assert_eq!(writer.finish().await.expect("written").bytes, size as u64);
}

#[bench]
fn layout_path(bencher: Bencher<'_, '_>) {
    let id = "3cc73cb6-9c59-403c-a910-8af6c5693b25";
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let segment = layout::segment(black_box(id));
        layout::with_extension(&layout::path(&segment, &segment, &segment), "jpg")
    });
}
