//! Key and signature are nowhere: not on the screen, not in a file, not in the ledger.

use std::path::Path;

use crate::support::config::{API_KEY, Config};
use crate::support::faults::{ApiFault, StorageFault};
use crate::support::images::jpeg;
use crate::world::World;

const CANARY: &str = "CANARYACCESSKEY";

/// No file below the folder holds one of these words, nor does its name.
pub fn search(folder: &Path, words: &[&str]) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            search(&path, words);
            continue;
        }
        let bytes = std::fs::read(&path).expect("readable");
        for word in words {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{word} is in {}", path.display());
            assert!(!path.to_string_lossy().contains(word), "{word} is in the name {}", path.display());
        }
    }
}

#[test]
fn under_every_fault_at_the_highest_log_level_no_secret_is_written_anywhere() {
    let world = World::with(Config { access_key: CANARY.to_owned(), ..Config::default() });
    let mut manifest = "org,note,image\n".to_owned();
    let api = [
        ApiFault::status(400),
        ApiFault::status(500),
        ApiFault::html(200),
        ApiFault::json("{}"),
        ApiFault::Close,
        ApiFault::Reset { after: 20 },
        ApiFault::Expired,
        ApiFault::redirect(302, "http://127.0.0.1:1/"),
        ApiFault::Url("file:///etc/passwd".to_owned()),
        ApiFault::Url("{url}#fragment".to_owned()),
        ApiFault::Url("{url} with blanks".to_owned()),
        ApiFault::Url("http://127.0.0.1:1{target}".to_owned()),
        ApiFault::retry_after("1"),
    ];
    let storage = [
        StorageFault::error("ExpiredToken"),
        StorageFault::error("SlowDown"),
        StorageFault::error("NoSuchKey"),
        StorageFault::html(200),
        StorageFault::empty(),
        StorageFault::Close,
        StorageFault::Cut { after: 500 },
        StorageFault::Short { after: 10 },
        StorageFault::FlipBit(5),
        StorageFault::ChunkedCut { after: 7 },
        StorageFault::redirect("http://127.0.0.1:1/"),
        StorageFault::Gzip,
    ];
    let faults = api
        .into_iter()
        .map(|fault| (Some(fault), None))
        .chain(storage.into_iter().map(|fault| (None, Some(fault))));
    for (n, (api, storage)) in faults.enumerate() {
        let image = format!("i{n}");
        world.sandbox.add_image("o", "n", &image, jpeg(n as u64, 5000), "image/jpeg");
        manifest.push_str(&format!("o,n,{image}\n"));
        for _ in 0..2 {
            if let Some(fault) = &api {
                world.sandbox.script().api(&image, fault.clone());
            }
            if let Some(fault) = &storage {
                world.sandbox.script().storage(&image, fault.clone());
            }
        }
    }
    world.manifest(&manifest);
    for format in ["text", "json"] {
        let ran = world.run(&["-vvv", "--max-attempts", "2", "--log-format", format, "--max-outage", "5s"]);
        for word in [CANARY, API_KEY, "X-Amz-", "Bearer"] {
            assert!(!ran.stdout.contains(word), "{word} on standard output:\n{}", ran.stdout);
            assert!(!ran.stderr.contains(word), "{word} on standard error:\n{}", ran.stderr);
        }
        assert!(matches!(ran.code, Some(0..=3)), "{:?}: {}", ran.code, ran.stderr);
    }
    search(&world.out(), &[CANARY, API_KEY, "X-Amz-Signature", "Bearer "]);
}
