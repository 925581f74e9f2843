//! Whole runs over a line with latency, behind TLS.

use std::time::{Duration, Instant};

use sandbox::config::Config;
use sandbox::line::LineShape;
use sandbox::tls::Authority;
use sandbox::workspace::Workspace;

#[test]
fn a_whole_export_goes_over_a_line_with_latency() {
    let authority = Authority::new();
    let round_trip = Duration::from_millis(30);
    let line = LineShape { round_trip, window: 16 << 10, bytes_per_second: 10_000_000 };
    let workspace =
        Workspace::with(Config { tls: Some(authority.good()), line: Some(line), ..Config::default() });
    workspace.manifest(&workspace.add_images(40));
    workspace.write("ca.pem", &authority.pem);
    let start = Instant::now();
    workspace.run(&["--ca-file", "ca.pem"]).assert_code(0);
    // for each service: TCP, TLS 1.3, request
    assert!(start.elapsed() >= round_trip * 6, "{:?}", start.elapsed());
    assert_eq!(workspace.states(), ["stored"; 40]);
    let connections = workspace.sandbox.storage_traffic().expect("a line").connections();
    assert!((1..=40).contains(&connections), "{connections} connections");
}
