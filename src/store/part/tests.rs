use super::super::buffer::BUFFER_SIZE;
use super::*;
use sha2::{Digest, Sha256 as Hasher};

fn hash(bytes: &[u8]) -> Sha256 {
    Sha256(Hasher::digest(bytes).into())
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[tokio::test]
async fn the_hashed_bytes_are_those_in_the_file() {
    let dir = folder();
    let path = dir.path().join("a.part");
    let mut writer = PartWriter::new(path.clone(), &[Algorithm::Md5]);
    let body: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
    // large pieces and small ones, in any order
    let (mut rest, mut lengths) = (&*body, [77_777, 1, 5, 4095, 4096, 3].into_iter().cycle());
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(rest.len().min(lengths.next().expect("endless")));
        writer.push(Bytes::copy_from_slice(piece)).await.expect("written");
        rest = more;
    }
    let part = writer.finish().await.expect("finished");
    let on_disk = std::fs::read(&path).expect("readable");
    assert_eq!(on_disk, body);
    assert_eq!(part.digests.sha256.0, <[u8; 32]>::from(Hasher::digest(&on_disk)));
    assert_eq!(part.digests.of(Algorithm::Md5), Some(&*md5::Md5::digest(&on_disk)));
    assert_eq!(part.head, body[..HEAD]);
    assert_eq!(part.bytes, 1_000_003);
}

#[tokio::test]
async fn a_resumed_part_drops_what_follows_the_recorded_bytes() {
    let dir = folder();
    let path = dir.path().join("a.part");
    std::fs::write(&path, b"0123456789garbage").expect("written");
    let mut writer =
        PartWriter::resume(path.clone(), 10, hash(b"0123456789"), Vec::new()).await.expect("resumed");
    writer.push(Bytes::from_static(b"abc")).await.expect("written");
    let part = writer.finish().await.expect("finished");
    assert_eq!(std::fs::read(&path).expect("readable"), b"0123456789abc");
    assert_eq!(part.digests.sha256.0, <[u8; 32]>::from(Hasher::digest(b"0123456789abc")));
}

#[tokio::test]
async fn a_part_shorter_than_recorded_is_unusable() {
    let dir = folder();
    let path = dir.path().join("a.part");
    std::fs::write(&path, b"0123").expect("written");
    let resumed = PartWriter::resume(path, 10, hash(b"0123456789"), Vec::new()).await;
    assert!(matches!(resumed, Err(Failure::PartUnusable(_))), "{resumed:?}");
}

#[tokio::test]
async fn a_part_that_is_gone_or_has_become_a_link_is_unusable() {
    let dir = folder();
    let (target, path) = (dir.path().join("target"), dir.path().join("a.part"));
    let resumed = PartWriter::resume(path.clone(), 4, hash(b"0123"), Vec::new()).await;
    assert!(matches!(resumed, Err(Failure::PartUnusable(_))), "{resumed:?}");
    std::fs::write(&target, b"precious").expect("written");
    std::os::unix::fs::symlink(&target, &path).expect("linked");
    let resumed = PartWriter::resume(path, 4, hash(b"0123"), Vec::new()).await;
    assert!(matches!(resumed, Err(Failure::PartUnusable(_))), "{resumed:?}");
    assert_eq!(std::fs::read(&target).expect("readable"), b"precious");
}

#[tokio::test]
async fn a_part_that_has_become_a_pipe_is_unusable_and_opening_it_does_not_block() {
    let dir = folder();
    let pipe = dir.path().join("a.part");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("made");
    let resumed = tokio::time::timeout(
        std::time::Duration::from_secs(20),
        PartWriter::resume(pipe.clone(), 4, hash(b"0123"), Vec::new()),
    );
    let resumed = resumed.await.expect("it does not wait");
    assert!(matches!(resumed, Err(Failure::PartUnusable(_))), "{resumed:?}");
    let mut writer = PartWriter::new(pipe.clone(), &[]);
    writer.push(Bytes::from_static(b"image")).await.expect("accepted");
    writer.flush_buffer().await.expect("written");
    assert_eq!(std::fs::read(&pipe).expect("a file now"), b"image");
}

#[tokio::test]
async fn a_flushed_writer_has_written_all_it_received_and_continues() {
    let dir = folder();
    let path = dir.path().join("a.part");
    let mut writer = PartWriter::new(path.clone(), &[]);
    for _ in 0..2 {
        writer.push(Bytes::from_static(b"abc")).await.expect("accepted");
        writer.flush_buffer().await.expect("written");
    }
    assert_eq!(std::fs::read(&path).expect("readable"), b"abcabc");
    writer.push(Bytes::from_static(b"d")).await.expect("accepted");
    assert_eq!(writer.finish().await.expect("finished").bytes, 7);
    assert_eq!(std::fs::read(&path).expect("readable"), b"abcabcd");
}

#[tokio::test]
async fn small_and_large_parts_are_private_files_of_their_own_name() {
    let dir = folder();
    for length in [BUFFER_SIZE - 1, BUFFER_SIZE] {
        for round in 0..2 {
            let path = dir.path().join("a.part");
            let mut writer = PartWriter::new(path.clone(), &[]);
            writer.push(Bytes::from(vec![round; length])).await.expect("accepted");
            let part = writer.finish().await.expect("written");
            assert_eq!(part.path, path);
            assert!(std::fs::read(&path).expect("readable") == vec![round; length]);
            let mode = std::fs::metadata(&path).expect("there").permissions();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
        }
    }
}

#[tokio::test]
async fn a_large_part_continues_from_any_byte_in_aligned_writes() {
    let dir = folder();
    let path = dir.path().join("a.part");
    let mut body: Vec<u8> = (0..251).cycle().take(4 * BUFFER_SIZE + 77).collect();
    body[..4].copy_from_slice(b"\xff\xd8\xff\xd9");
    for from in [1, 4096, BUFFER_SIZE - 1, BUFFER_SIZE, BUFFER_SIZE + 5000] {
        let mut writer = PartWriter::new(path.clone(), &[]);
        writer.push(Bytes::copy_from_slice(&body[..from])).await.expect("written");
        let persisted = writer.persist().await.expect("persisted");
        assert_eq!(persisted, (from as u64, hash(&body[..from])));
        let mut writer =
            PartWriter::resume(path.clone(), persisted.0, persisted.1, Vec::new()).await.expect("resumed");
        let middle = 3 * BUFFER_SIZE + 11;
        writer.push(Bytes::copy_from_slice(&body[from..middle])).await.expect("written");
        writer.flush_buffer().await.expect("written");
        writer.push(Bytes::copy_from_slice(&body[middle..])).await.expect("written");
        let part = writer.finish().await.expect("finished");
        assert!(std::fs::read(&path).expect("readable") == body, "from {from}");
        assert_eq!((part.bytes, part.digests.sha256), (body.len() as u64, hash(&body)), "from {from}");
        assert!(part.end.found(), "in the bytes read again, in those that came later, or in both");
        std::fs::remove_file(&path).expect("removed");
    }
}

#[tokio::test]
async fn nothing_is_written_after_a_part_is_discarded() {
    let dir = folder();
    let path = dir.path().join("a.part");
    let mut writer = PartWriter::new(path.clone(), &[]);
    writer.push(Bytes::from(vec![0; BUFFER_SIZE])).await.expect("accepted");
    writer.discard().await;
    assert!(!path.exists(), "the write had ended, and its file is gone");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_part_whose_bytes_changed_is_unusable() {
    let dir = folder();
    let path = dir.path().join("a.part");
    std::fs::write(&path, b"0123X56789").expect("written");
    let resumed = PartWriter::resume(path, 10, hash(b"0123456789"), Vec::new()).await;
    assert!(matches!(resumed, Err(Failure::PartUnusable(_))), "{resumed:?}");
}

#[tokio::test]
async fn a_persisted_part_returns_its_size_and_hash() {
    let dir = folder();
    let mut writer = PartWriter::new(dir.path().join("a.part"), &[]);
    writer.push(Bytes::from_static(b"0123456789")).await.expect("written");
    assert_eq!(writer.persist().await.expect("persisted"), (10, hash(b"0123456789")));
}

#[tokio::test]
async fn a_symbolic_link_in_the_way_is_replaced_and_never_written_through() {
    let dir = folder();
    let (target, path) = (dir.path().join("target"), dir.path().join("a.part"));
    std::fs::write(&target, b"precious").expect("written");
    std::os::unix::fs::symlink(&target, &path).expect("linked");
    let mut writer = PartWriter::new(path.clone(), &[]);
    writer.push(Bytes::from_static(b"image")).await.expect("written");
    writer.flush_buffer().await.expect("written");
    assert_eq!(std::fs::read(&target).expect("readable"), b"precious");
    assert!(!std::fs::symlink_metadata(&path).expect("there").is_symlink());
}
