//! Servers that mean harm: whatever they send costs bounded time and memory, and is harmless where it is shown.

use std::io::{self, Write};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::wire::{Line, Wire};
use sandbox::config::Config;
use sandbox::faults::{ApiFault, StorageFault};
use sandbox::images::jpeg;
use sandbox::tls::Authority;
use sandbox::workspace::{Line as Row, Run, Workspace};

/// A server has so many bytes to say; a program that takes them all is found by its memory, or by their number.
const MUCH: u64 = 256 << 20;

/// Runs it to its end; the most memory that it held, in KiB.
fn watched(child: Child) -> (Run, u64) {
    let status = format!("/proc/{}/status", child.id());
    let peak = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&peak);
    let watcher = std::thread::spawn(move || {
        while let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let Some(kib) = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()) else {
                break;
            };
            seen.fetch_max(kib, Relaxed);
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let ran = Run::wait(child);
    watcher.join().expect("the watcher ends");
    (ran, peak.load(Relaxed))
}

/// What an ordinary run of three images holds, in KiB.
fn ordinary() -> u64 {
    let workspace = Workspace::with_images(3);
    let (ran, peak) = watched(workspace.command(&["run", "manifest.csv"]).spawn().expect("started"));
    ran.assert_code(0);
    peak
}

/// So much more than an ordinary run is a leak, in KiB: a pool's growth, but not a hundredth of what was sent.
const SLACK: u64 = 24 * 1024;

/// One image, and this server for the API. Its row, how long it took, and the most memory.
fn api(server: &Wire, args: &[&str]) -> (Workspace, Run, Duration, u64) {
    let workspace = Workspace::with_images(1);
    let all: Vec<&str> =
        ["run", "manifest.csv", "--max-attempts", "1", "-vv"].iter().chain(args).copied().collect();
    let mut command = workspace.command(&all);
    command.env("MAXAI_API_URL", format!("http://{}", server.host()));
    let start = Instant::now();
    let (ran, peak) = watched(command.spawn().expect("started"));
    (workspace, ran, start.elapsed(), peak)
}

/// One image, and this server for the storage.
fn storage(server: &Wire, args: &[&str]) -> (Workspace, Run, Duration, u64) {
    let workspace = Workspace::with_images(1);
    workspace.sandbox.script().api_always(Some(ApiFault::Url(format!("http://{}{{target}}", server.host()))));
    let all: Vec<&str> = ["run", "manifest.csv", "--max-attempts", "1", "--stall-timeout", "1s", "-vv"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    let start = Instant::now();
    let (ran, peak) = watched(workspace.command(&all).spawn().expect("started"));
    (workspace, ran, start.elapsed(), peak)
}

/// Sends the head, then a piece again and again, [`MUCH`] in all, waiting so long between two.
fn pouring(head: &'static str, piece: Vec<u8>, every: Duration, sent: &Arc<AtomicU64>) -> Wire {
    let sent = Arc::clone(sent);
    Wire::new(move |mut line| {
        line.head()?;
        line.socket.write_all(head.as_bytes())?;
        pour(&mut line.socket, &piece, every, &sent)
    })
}

fn pour(to: &mut impl Write, piece: &[u8], every: Duration, sent: &AtomicU64) -> io::Result<()> {
    let start = Instant::now();
    while sent.load(Relaxed) < MUCH && start.elapsed() < Duration::from_secs(50) {
        to.write_all(piece)?;
        to.flush()?;
        sent.fetch_add(piece.len() as u64, Relaxed);
        std::thread::sleep(every);
    }
    Ok(())
}

/// 64 KiB of one byte, chunked.
fn chunk(of: u8) -> Vec<u8> {
    [b"10000\r\n", &*vec![of; 65_536], b"\r\n"].concat()
}

fn row(workspace: &Workspace) -> Row {
    workspace.report().remove(0)
}

const JSON: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 268435456\r\n\r\n\
                    {\"code\":\"success\",\"data\":{\"url\":\"";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 268435456\r\n\r\n\
                       {\"code\":\"not_found\",\"message\":\"";

#[test]
fn a_body_without_an_end_from_the_api_is_cut_and_not_kept() {
    let usual = ordinary();
    for (head, piece, code) in [
        (JSON, vec![b'a'; 64 * 1024], "api_error"),
        // without its end it is no JSON, and so no word of the API
        (REFUSED, vec![b'a'; 64 * 1024], "api_error"),
        (CHUNKED, chunk(b'a'), "api_error"),
        // each chunk a byte
        (CHUNKED, b"1\r\na\r\n".repeat(1000), "api_error"),
    ] {
        let sent = Arc::default();
        let server = pouring(head, piece, Duration::ZERO, &sent);
        let (workspace, ran, time, peak) = api(&server, &[]);
        let ran = ran.assert_code(3);
        assert_eq!(row(&workspace)["error_code"], code, "{}", ran.stderr);
        assert!(time < Duration::from_secs(20), "{time:?}");
        assert!(sent.load(Relaxed) < 32 << 20, "{} bytes were taken", sent.load(Relaxed));
        assert!(peak < usual + SLACK, "{peak} KiB, usual are {usual}");
        assert!(ran.stderr.len() < 4000, "{}", ran.stderr);
    }
}

#[test]
fn heads_without_measure_are_cut_and_not_kept() {
    let usual = ordinary();
    let megabyte = format!("HTTP/1.1 200 OK\r\nx-large: {}\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    let folded = format!("HTTP/1.1 200 OK\r\nx: y\r\n{}\r\n", " z\r\n".repeat(100_000));
    for head in [megabyte, many, folded] {
        for from_api in [true, false] {
            let server = Wire::saying(head.clone());
            let (workspace, ran, time, peak) =
                if from_api { api(&server, &[]) } else { storage(&server, &[]) };
            let ran = ran.assert_code(3);
            assert!(
                ["network", "api_error", "storage_error"].contains(&&*row(&workspace)["error_code"]),
                "{}",
                ran.stderr
            );
            assert!(time < Duration::from_secs(20), "{time:?}");
            assert!(peak < usual + SLACK, "{peak} KiB, usual are {usual}");
        }
    }
    // a head without an end, at full speed
    for from_api in [true, false] {
        let sent = Arc::default();
        let server = pouring("HTTP/1.1 200 OK\r\n", b"x-more: y\r\n".repeat(1000), Duration::ZERO, &sent);
        let (_, ran, time, peak) = if from_api { api(&server, &[]) } else { storage(&server, &[]) };
        ran.assert_code(3);
        assert!(time < Duration::from_secs(20) && sent.load(Relaxed) < 32 << 20, "{time:?}");
        assert!(peak < usual + SLACK, "{peak} KiB, usual are {usual}");
    }
}

#[test]
fn answers_that_are_no_http_end_the_try() {
    for answer in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZZ\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;a=\u{1b}[2J\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        "HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "\u{1b}]0;title\u{7}\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\0\0\0\0\0\0\0\0",
        "",
    ] {
        for from_api in [true, false] {
            let server = Wire::saying(answer);
            let (workspace, ran, time, _) = if from_api { api(&server, &[]) } else { storage(&server, &[]) };
            let ran = ran.assert_code(3);
            let row = row(&workspace);
            let codes = ["network", "timeout", "api_error", "storage_error", "integrity"];
            assert!(codes.contains(&&*row["error_code"]), "{answer:?}: {row:?}");
            assert!(time < Duration::from_secs(20), "{answer:?}: {time:?}");
            assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
            assert_eq!(workspace.images().len(), 0, "{answer:?}");
        }
    }
}

#[test]
fn a_storage_that_never_ends_is_cut_at_the_largest_size() {
    let usual = ordinary();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: image/jpeg\r\ntransfer-encoding: chunked\r\n\r\n";
    let error = "HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n";
    let piece = chunk(b'<');
    for (head, code) in [(head, "storage_error"), (error, "storage_denied")] {
        let sent = Arc::default();
        let server = pouring(head, piece.clone(), Duration::ZERO, &sent);
        let (workspace, ran, time, peak) = storage(&server, &["--max-size", "4M"]);
        let ran = ran.assert_code(3);
        assert_eq!(row(&workspace)["error_code"], code, "{}", ran.stderr);
        assert!(time < Duration::from_secs(20), "{time:?}");
        assert!(sent.load(Relaxed) < 48 << 20, "{} bytes were taken", sent.load(Relaxed));
        assert!(peak < usual + SLACK, "{peak} KiB, usual are {usual}");
        assert_eq!(workspace.images().len(), 0);
    }
    // interim answers without an end, and a byte now and then that is none of the image: the silence is found
    for (head, piece, every) in [
        ("", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100), Duration::ZERO),
        ("", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(10), Duration::from_millis(1)),
        ("HTTP/1.1 200 OK\r\nx: ", vec![b'a'], Duration::from_millis(100)),
    ] {
        let sent = Arc::default();
        let server = pouring(head, piece, every, &sent);
        let (workspace, ran, time, peak) = storage(&server, &[]);
        let ran = ran.assert_code(3);
        let code = row(&workspace)["error_code"].clone();
        assert!(["timeout", "network"].contains(&&*code), "{code}: {}", ran.stderr);
        assert!(time < Duration::from_secs(20), "{time:?}");
        assert!(peak < usual + SLACK, "{peak} KiB, usual are {usual}");
    }
}

#[test]
fn an_image_that_comes_byte_by_byte_costs_no_more_memory_than_another() {
    let usual = ordinary();
    let server = Wire::new(|mut line| {
        line.head()?;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: image/jpeg\r\ntransfer-encoding: chunked\r\n\r\n";
        line.socket.write_all(head.as_bytes())?;
        for _ in 0..50 {
            line.socket.write_all(&b"1\r\na\r\n".repeat(2000))?;
        }
        // and no end: all of them wait at the same time
        std::thread::sleep(Duration::from_secs(6));
        Ok(())
    });
    let workspace = Workspace::new();
    workspace.manifest(&workspace.add_images(32));
    workspace.sandbox.script().api_always(Some(ApiFault::Url(format!("http://{}{{target}}", server.host()))));
    let args = ["run", "manifest.csv", "--max-attempts", "1", "--stall-timeout", "5s", "--max-outage", "1s"];
    let (ran, peak) = watched(workspace.command(&args).spawn().expect("started"));
    assert!(matches!(ran.code, Some(1 | 3)), "{}", ran.stderr);
    assert!(server.connections() >= 32);
    // each of the 32 may hold 512 KiB, and what it reads into
    assert!(peak < usual + 2 * SLACK, "{peak} KiB, usual are {usual}");
}

#[test]
fn an_answer_that_nobody_asked_for_is_never_the_next_rows() {
    let answer = |bytes: &[u8]| {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: image/jpeg\r\ncontent-length: {}\r\n\r\n", bytes.len());
        [head.as_bytes(), bytes].concat()
    };
    let images = [jpeg(0, 2000), jpeg(1, 2001), jpeg(2, 2002), jpeg(3, 2003)];
    // in the same packet, and while the connection is idle: behind a request that is on its way none can be told
    for (pause, latency) in
        [(Duration::ZERO, Duration::ZERO), (Duration::from_millis(50), Duration::from_millis(400))]
    {
        let (own, extra) = (images.clone(), answer(&jpeg(99, 3000)));
        let server = Wire::new(move |mut line| {
            loop {
                let head = line.head()?;
                let n = (0..4).find(|n| head.contains(&format!("i{n}."))).expect("an image of ours");
                let mut bytes = answer(&own[n]);
                if pause.is_zero() {
                    bytes.extend_from_slice(&extra);
                }
                line.socket.write_all(&bytes)?;
                if !pause.is_zero() {
                    std::thread::sleep(pause);
                    line.socket.write_all(&extra)?;
                }
            }
        });
        let workspace = Workspace::with(Config { api_latency: latency, ..Config::default() });
        let mut manifest = "org,note,image\n".to_owned();
        for n in 0..4 {
            let image = sandbox::registry::ImageRef::new("o", "n", format!("i{n}"));
            workspace.sandbox.add_image_at(image, &format!("o/p/i{n}.jpg"), jpeg(n, 3000), "image/jpeg");
            manifest.push_str(&format!("o,n,i{n}\n"));
        }
        workspace.manifest(&manifest);
        workspace
            .sandbox
            .script()
            .api_always(Some(ApiFault::Url(format!("http://{}{{target}}", server.host()))));
        workspace.run(&["--concurrency", "1"]).assert_code(0);
        for (line, own) in workspace.report().iter().zip(&images) {
            let bytes = std::fs::read(workspace.out().join(&line["path"])).expect("the image");
            assert!(&bytes == own, "another's picture: {line:?}");
        }
    }
}

#[test]
fn what_servers_say_is_escaped_and_cut_wherever_it_is_shown() {
    const EVIL: &str =
        "=cmd|' /C calc'!A0\u{1b}]0;x\u{7}\u{1b}[2J\r\n\u{202e}gpj.exe\u{2066}\u{85}\u{feff}\u{2028}";
    let workspace = Workspace::with_images(5);
    let json = serde_json::json!({
        "code": EVIL, "message": format!("{EVIL}{}", "x".repeat(60_000)), "trace_id": EVIL,
    });
    let answer = |status| ApiFault::Answer { status, headers: vec![], body: json.to_string().into() };
    workspace.sandbox.script().api("i0", answer(400));
    workspace.sandbox.script().api("i1", answer(404));
    let xml =
        format!("<Error><Code>{EVIL}</Code><Message>{EVIL}</Message><RequestId>{EVIL}</RequestId></Error>");
    let refused = StorageFault::Answer { status: 409, headers: vec![], body: xml.into() };
    workspace.sandbox.script().storage("i2", refused);
    workspace
        .sandbox
        .script()
        .storage("i3", StorageFault::header("content-type", &format!("={}", "t".repeat(20_000))));
    for name in ["content-encoding", "x-amz-request-id"] {
        workspace.sandbox.script().storage("i4", StorageFault::header(name, &"e".repeat(20_000)));
    }
    let check = |text: &str| {
        for char in text.chars() {
            let steers = char.is_control() && char != '\n' && char != '\r'
                || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            assert!(!steers, "{char:?} in {text}");
        }
        assert!(text.lines().all(|line| line.len() < 3000), "{text}");
    };
    for format in ["text", "json"] {
        let ran = workspace.run(&["-vv", "--log-format", format]);
        check(&ran.stdout);
        check(&ran.stderr);
        assert!(!ran.stderr.contains('\r'), "{}", ran.stderr);
        if format == "json" {
            for line in ran.stderr.lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line}"));
            }
        } else {
            assert!(
                ran.stderr.contains("\\u{1b}[2J") && ran.stderr.contains("\\u{202e}gpj"),
                "{}",
                ran.stderr
            );
        }
        for file in ["report.csv", "failed.csv", "notes.csv", "summary.json"] {
            check(&workspace.read(file));
        }
        for line in workspace.report() {
            for column in ["error", "trace_id", "warning", "content_type"] {
                assert!(!line[column].starts_with(['=', '+', '-', '@']), "{line:?}");
                assert!(line[column].chars().count() <= 700, "{column}: {line:?}");
            }
        }
    }
}

/// Frames of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Greets, and waits for the request: preface, settings and a head, in one or more records.
fn http2_asked(
    config: &Arc<rustls::ServerConfig>,
    socket: std::net::TcpStream,
) -> io::Result<rustls::StreamOwned<rustls::ServerConnection, std::net::TcpStream>> {
    let connection = rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(connection, socket);
    let (mut buffer, mut taken) = ([0; 4096], Vec::new());
    while !taken.windows(4).any(|window| window == [1, 5, 0, 0]) {
        let count = io::Read::read(&mut stream, &mut buffer)?;
        if count == 0 || taken.len() > 64 * 1024 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        taken.extend_from_slice(&buffer[..count]);
    }
    stream.write_all(&frame(4, 0, 0, &[]))?;
    stream.write_all(&frame(4, 1, 0, &[]))?;
    Ok(stream)
}

#[test]
fn a_connection_that_takes_its_leave_costs_no_try() {
    // GOAWAY without an error before any stream, and a stream that was refused before anything was done with it
    let goaway = frame(7, 0, 0, &[0; 8]);
    for leave in [goaway.clone(), [frame(3, 0, 1, &[0, 0, 0, 7]), goaway].concat()] {
        let authority = Authority::new();
        let mut config = Arc::unwrap_or_clone(authority.good());
        config.alpn_protocols = vec![b"h2".to_vec()];
        let config = Arc::new(config);
        let workspace = Workspace::with_images(1);
        workspace.write("ca.pem", &authority.pem);
        let image = sandbox::registry::ImageRef::new("org0", "note0", "i0");
        let url = workspace.sandbox.signed_url(&image, Duration::from_hours(1)).expect("known");
        let body = serde_json::json!({"code": "success", "data": {"url": url}}).to_string();
        let first = std::sync::atomic::AtomicBool::new(true);
        let server = Wire::new(move |Line { socket, .. }| {
            let mut stream = http2_asked(&config, socket)?;
            if first.swap(false, Relaxed) {
                stream.write_all(&leave)?;
            } else {
                stream.write_all(&frame(1, 4, 1, &[0x88]))?;
                stream.write_all(&frame(0, 1, 1, body.as_bytes()))?;
            }
            stream.flush()?;
            std::thread::sleep(Duration::from_millis(200));
            stream.conn.send_close_notify();
            stream.flush()
        });
        let mut command = workspace.command(&["run", "manifest.csv", "--ca-file", "ca.pem", "-vv"]);
        command.env("MAXAI_API_URL", format!("https://{}", server.host()));
        let ran = Run::wait(command.spawn().expect("started")).assert_code(0);
        assert_eq!(row(&workspace)["attempts"], "1", "{}", ran.stderr);
        assert_eq!(server.connections(), 2);
    }
}

/// The API over HTTP/2: greets, waits for the request, sends the first frames, then the flood.
fn http2(authority: &Authority, first: Vec<u8>, flood: Vec<u8>, sent: &Arc<AtomicU64>) -> Wire {
    let mut config = Arc::unwrap_or_clone(authority.good());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (config, sent) = (Arc::new(config), Arc::clone(sent));
    Wire::new(move |Line { socket, .. }| {
        let mut reader = socket.try_clone()?;
        let mut stream = http2_asked(&config, socket)?;
        // whatever it answers to the flood is thrown away, or both would wait for each other
        let drain = std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        stream.write_all(&first)?;
        let poured = pour(&mut stream, &flood, Duration::ZERO, &sent);
        let _ = drain.join();
        poured
    })
}

/// The slow ones, each with its API answer's whole 30 s, at the same time.
#[test]
fn floods_and_drips_end_with_the_time_of_an_answer_and_memory_stays_flat() {
    let usual = ordinary();
    let second = Duration::from_millis(500);
    let head = frame(1, 4, 1, &[0x88]);
    std::thread::scope(|scope| {
        let mut runs = Vec::new();
        for (name, head, piece, every) in [
            ("a byte now and then", JSON, vec![b'a'], second),
            ("a chunk now and then", CHUNKED, b"1\r\na\r\n".to_vec(), second),
            ("a head's byte now and then", "HTTP/1.1 200 OK\r\nx: ", vec![b'a'], second),
            ("interim answers", "", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100), Duration::from_millis(1)),
        ] {
            runs.push(scope.spawn(move || {
                let sent = Arc::default();
                let server = pouring(head, piece, every, &sent);
                let (workspace, ran, time, peak) = api(&server, &[]);
                (name.to_owned(), row(&workspace), ran, time, peak, sent.load(Relaxed))
            }));
        }
        for (name, first, flood) in [
            ("empty DATA", head.clone(), frame(0, 0, 1, &[]).repeat(1000)),
            ("padded DATA", head.clone(), frame(0, 8, 1, &[255; 256]).repeat(100)),
            ("DATA", head.clone(), frame(0, 0, 1, &[b'a'; 16_384])),
            ("PING", vec![], frame(6, 0, 0, &[0; 8]).repeat(1000)),
            ("SETTINGS", vec![], frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(1000)),
            ("WINDOW_UPDATE", vec![], frame(8, 0, 0, &[0, 0, 0, 1]).repeat(1000)),
            ("CONTINUATION", frame(1, 0, 1, &[0x88]), frame(9, 0, 1, &[0x40, 1, b'x', 1, b'y'].repeat(1000))),
            ("RST_STREAM", vec![], frame(3, 0, 1, &[0, 0, 0, 8]).repeat(1000)),
            ("PUSH_PROMISE", vec![], frame(5, 4, 1, &[0, 0, 0, 2, 0x82]).repeat(1000)),
            ("GOAWAY", vec![], frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11]).repeat(1000)),
            ("PRIORITY", vec![], frame(2, 0, 1, &[0, 0, 0, 3, 1]).repeat(1000)),
            ("unknown frames", vec![], frame(99, 0, 0, &[0; 64]).repeat(1000)),
        ] {
            runs.push(scope.spawn(move || {
                let (authority, sent) = (Authority::new(), Arc::default());
                let server = http2(&authority, first, flood, &sent);
                let workspace = Workspace::with_images(1);
                workspace.write("ca.pem", &authority.pem);
                let args = ["run", "manifest.csv", "--max-attempts", "1", "--ca-file", "ca.pem", "-vv"];
                let mut command = workspace.command(&args);
                command.env("MAXAI_API_URL", format!("https://{}", server.host()));
                let start = Instant::now();
                let (ran, peak) = watched(command.spawn().expect("started"));
                assert!(server.connections() < 8, "{name}: {} connections", server.connections());
                (format!("HTTP/2 {name}"), row(&workspace), ran, start.elapsed(), peak, sent.load(Relaxed))
            }));
        }
        for run in runs {
            let (name, row, ran, time, peak, sent) = run.join().expect("the run ends");
            let ran = ran.assert_code(3);
            let codes = ["network", "timeout", "api_error"];
            assert!(codes.contains(&&*row["error_code"]), "{name}, {sent} bytes: {row:?} {}", ran.stderr);
            assert!(time < Duration::from_secs(50), "{name}: {time:?}");
            assert!(peak < usual + SLACK, "{name}: {peak} KiB, usual are {usual}");
        }
    });
}
