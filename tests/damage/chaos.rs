//! Many images, each with a list of faults drawn at random (by a fixed seed): all that is delivered is true, and
//! what is not delivered is named.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::case::{all, assert_consistent, each};
use sandbox::faults::{ApiFault, StorageFault as Fault};
use sandbox::images::{jpeg, mix};
use sandbox::workspace::Workspace;

/// Runs, and rows in each: five that fail at the same time would be an outage.
const RUNS: u64 = 40;
const ROWS: u64 = 4;

/// A fault that passes, or changes the object; `dice` is as good as random.
fn fault(dice: u64, versions: &mut Vec<Vec<u8>>) -> Vec<Fault> {
    let size = versions.last().map_or(1, Vec::len);
    let place = usize::try_from(mix(dice ^ 1)).unwrap_or(7) % size;
    let cut = Fault::Short { after: place.clamp(1, size - 2) };
    let one = match dice % 14 {
        0 => Fault::Cut { after: place },
        1 | 2 => Fault::Short { after: place },
        3 => Fault::ChunkedCut { after: place },
        4 => Fault::FlipBit(place * 8),
        5 => Fault::error("SlowDown"),
        6 => Fault::Close,
        // these two answer a continued request
        7 => return vec![cut, Fault::Unsatisfiable],
        8 => all([Fault::IgnoreRange, Fault::Short { after: place }]),
        9 => return vec![cut, Fault::ContentRange("bytes 3-4/5".to_owned())],
        10 => {
            all([Fault::Stall { after: place, pause: Duration::from_secs(3) }, Fault::Short { after: size }])
        }
        11 | 12 => {
            let new = jpeg(mix(dice), if dice & 16 == 0 { size } else { 3000 + place });
            versions.push(new.clone());
            all([Fault::Swap(new), Fault::Short { after: place / 2 }])
        }
        _ => {
            let new = jpeg(mix(dice), size);
            versions.push(new.clone());
            all([Fault::Swap(new), Fault::IgnoreIfMatch, Fault::Short { after: place / 2 }])
        }
    };
    vec![one]
}

#[test]
fn whatever_is_met_in_whatever_order_each_file_is_one_whole_version() {
    each(1..=RUNS, |round| {
        let workspace = Workspace::new();
        let mut manifest = "org,note,image\n".to_owned();
        let mut all_versions = BTreeMap::new();
        for row in 0..ROWS {
            let seed = mix(round << 32 | row);
            let image = format!("i{row}");
            let mut versions = vec![jpeg(seed, 20_000 + usize::try_from(seed % 90_000).expect("small"))];
            workspace.sandbox.add_image("o", "n", &image, versions[0].clone(), "image/jpeg");
            manifest.push_str(&format!("o,n,{image}\n"));
            for n in 0..mix(seed) % 4 {
                for fault in fault(mix(seed + n), &mut versions) {
                    workspace.sandbox.script().storage(&image, fault);
                }
            }
            if seed.is_multiple_of(7) {
                workspace.sandbox.script().api(&image, ApiFault::status(503));
            }
            all_versions.insert(image, versions);
        }
        workspace.manifest(&manifest);
        let ran = workspace.run(&["--max-attempts", "30", "--stall-timeout", "1s"]).assert_code(0);
        assert_consistent(&workspace, &ran, |line| all_versions[&line["image"]].clone());
        assert_eq!(workspace.count("stored"), ROWS);
    });
}
