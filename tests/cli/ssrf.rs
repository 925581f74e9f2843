//! Signed URLs that lead inside, end to end: servers really listen at the addresses that must not be dialled. Only in
//! a network namespace without a way out, where `tests/soak/ssrf.sh` makes those addresses; left out of `cargo test`.
//! What is decided and why is tested beside `src/http/address.rs`.

use std::fs;
use std::time::Duration;

use crate::wire::Wire;
use sandbox::faults::ApiFault;
use sandbox::workspace::{Run, Workspace};

/// Where the script puts the file of names.
const HOSTS: &str = "/etc/hosts";
/// Stands for the internet.
const OUTSIDE: &str = "203.0.113.7";
/// Places inside, with a server at each.
const INSIDE: [&str; 5] = ["127.0.0.1", "10.0.0.1", "192.168.7.7", "169.254.169.254", "[fd00::1]"];

/// No other way leads out of here than loopback.
fn alone() {
    assert_eq!(std::env::var("EXPORTER_NAMESPACE").as_deref(), Ok("1"), "to be run by tests/soak/ssrf.sh");
    let routes = fs::read_to_string("/proc/net/route").expect("Linux");
    assert_eq!(routes.lines().count(), 1, "a route leads out of here:\n{routes}");
}

/// The API at a public address, the inside listening.
struct Place {
    workspace: Workspace,
    api: Wire,
    inside: Vec<Wire>,
}

impl Place {
    fn new() -> Self {
        alone();
        names("203.0.113.7 public.example\n10.0.0.1 internal.example proxy.example\n");
        let workspace = Workspace::with_images(1);
        let back =
            workspace.sandbox.api_url().trim_start_matches("http://").trim_end_matches("/v2").to_owned();
        let api = Wire::plain(&format!("{OUTSIDE}:0"), &back);
        let storage = workspace.sandbox.storage_host().to_owned();
        let inside = INSIDE.iter().map(|address| Wire::plain(&format!("{address}:0"), &storage)).collect();
        Self { workspace, api, inside }
    }

    fn port(&self, inside: &str) -> u16 {
        let at = INSIDE.iter().position(|one| *one == inside).expect("one of them");
        self.inside[at].host().rsplit(':').next().expect("a port").parse().expect("a number")
    }

    /// A run where the API hands out this URL (`{target}`: path and signature).
    fn run(&self, url: &str, args: &[&str], env: &[(&str, &str)]) -> Run {
        self.workspace.sandbox.script().api_always(Some(ApiFault::Url(url.to_owned())));
        let fixed = ["run", "manifest.csv", "--allow-http", "--max-attempts", "1", "--max-outage", "2s"];
        let all: Vec<&str> = fixed.iter().chain(args).copied().collect();
        let mut command = self.workspace.command(&all);
        command.env("MAXAI_API_URL", format!("http://{}", self.api.host())).envs(env.iter().copied());
        Run::wait(command.spawn().expect("started"))
    }

    fn refused(&self, url: &str, env: &[(&str, &str)]) {
        let ran = self.run(url, &[], env).assert_code(3);
        let row = self.workspace.report().remove(0);
        assert_eq!((&*row["error_code"], &*row["attempts"]), ("api_error", "1"), "{url}: {row:?}");
        assert!(ran.stderr.contains("signed URL refused"), "{url}: {}", ran.stderr);
        let dialled: u32 = self.inside.iter().map(Wire::connections).sum();
        assert_eq!(dialled, 0, "{url} was dialled");
    }
}

fn names(text: &str) {
    fs::write(HOSTS, format!("127.0.0.1 localhost\n{text}")).expect("the namespace has a file of its own");
}

#[test]
#[ignore = "needs a network namespace of its own: tests/soak/ssrf.sh"]
fn nothing_inside_is_dialled_in_whatever_spelling() {
    let place = Place::new();
    let (loopback, private, meta) =
        (place.port("127.0.0.1"), place.port("10.0.0.1"), place.port("169.254.169.254"));
    for url in [
        format!("http://127.0.0.1:{loopback}{{target}}"),
        format!("http://127.1:{loopback}{{target}}"),
        format!("http://2130706433:{loopback}{{target}}"),
        format!("http://0x7f000001:{loopback}{{target}}"),
        format!("http://0177.0.0.1:{loopback}{{target}}"),
        format!("http://0.0.0.0:{loopback}{{target}}"),
        format!("http://[::ffff:127.0.0.1]:{loopback}{{target}}"),
        format!("http://localhost:{loopback}{{target}}"),
        format!("http://localhost.:{loopback}{{target}}"),
        format!("http://10.0.0.1:{private}{{target}}"),
        format!("http://[::ffff:a00:1]:{private}{{target}}"),
        format!("http://192.168.7.7:{}{{target}}", place.port("192.168.7.7")),
        format!("http://[fd00::1]:{}{{target}}", place.port("[fd00::1]")),
        format!("http://169.254.169.254:{meta}{{target}}"),
        format!("http://2852039166:{meta}{{target}}"),
        format!("http://[::ffff:169.254.169.254]:{meta}{{target}}"),
        format!("http://internal.example:{private}{{target}}"),
        format!("http://user@{OUTSIDE}:{private}{{target}}"),
        format!("http://{OUTSIDE}:22{{target}}"),
    ] {
        place.refused(&url, &[]);
        place.refused(&url.replace("http://", "https://"), &[]);
    }
}

#[test]
#[ignore = "needs a network namespace of its own: tests/soak/ssrf.sh"]
fn what_is_named_may_be_inside_and_then_it_is_dialled() {
    for inside in INSIDE {
        let place = Place::new();
        let url = format!("http://{inside}:{}{{target}}", place.port(inside));
        place.refused(&url, &[]);
        // so it was the check that kept it away
        place.run(&url, &["--storage-host", inside], &[]).assert_code(0);
        assert_eq!(place.workspace.states(), ["stored"]);
    }
    let place = Place::new();
    let url = format!("http://internal.example:{}{{target}}", place.port("10.0.0.1"));
    place.run(&url, &["--storage-host", "*.example"], &[]).assert_code(0);
    assert_eq!(place.workspace.states(), ["stored"]);
}

#[test]
#[ignore = "needs a network namespace of its own: tests/soak/ssrf.sh"]
fn a_name_that_changes_under_way_is_refused_when_it_is_dialled() {
    let place = Place::new();
    let port = place.port("10.0.0.1");
    // outside, a server at the same port that tells everybody to come again
    let busy = Wire::at(&format!("{OUTSIDE}:{port}"), |mut line| {
        line.head()?;
        names("10.0.0.1 public.example\n");
        std::io::Write::write_all(&mut line.socket, b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\n\r\n")?;
        line.close()
    });
    let url = format!("http://public.example:{port}{{target}}");
    place.workspace.sandbox.script().api_always(Some(ApiFault::Url(url)));
    let mut command =
        place.workspace.command(&["run", "manifest.csv", "--allow-http", "--max-attempts", "4"]);
    command.env("MAXAI_API_URL", format!("http://{}", place.api.host()));
    let ran = Run::wait(command.spawn().expect("started")).assert_code(3);
    assert_eq!(busy.connections(), 1, "dialled while it was outside");
    assert_eq!(place.workspace.report()[0]["error_code"], "api_error", "{}", ran.stderr);
    assert_eq!(place.inside.iter().map(Wire::connections).sum::<u32>(), 0);
    std::thread::sleep(Duration::from_millis(50));
    // one address of several is enough
    names("203.0.113.7 public.example\n10.0.0.1 public.example\n");
    place.refused(&format!("http://public.example:{port}{{target}}"), &[]);
    assert_eq!(busy.connections(), 1);
}

#[test]
#[ignore = "needs a network namespace of its own: tests/soak/ssrf.sh"]
fn a_proxy_is_not_asked_for_what_is_inside_by_its_text() {
    let place = Place::new();
    let proxy = Wire::at("10.0.0.1:0", |mut line| {
        line.head()?;
        std::io::Write::write_all(&mut line.socket, b"HTTP/1.1 403 Forbidden\r\n\r\n")?;
        line.close()
    });
    let port = proxy.host().rsplit(':').next().expect("a port").to_owned();
    let address = format!("http://proxy.example:{port}");
    let env = [("HTTPS_PROXY", &*address)];
    for url in [
        "https://127.0.0.1{target}",
        "https://169.254.169.254{target}",
        "https://[::ffff:10.0.0.1]{target}",
        "https://localhost{target}",
        "https://a.localhost{target}",
        "https://proxy.example{target}",
    ] {
        place.refused(url, &env);
    }
    let direct = [("HTTPS_PROXY", &*address), ("NO_PROXY", "internal.example")];
    place.refused(&format!("https://internal.example:{}{{target}}", place.port("10.0.0.1")), &direct);
    // plain http is not the proxy's: it is looked at as ever
    place.refused(&format!("http://internal.example:{}{{target}}", place.port("10.0.0.1")), &env);
    place.refused(&format!("http://proxy.example:{port}{{target}}"), &env);
    assert_eq!(proxy.connections(), 0);
    // the proxy itself is reached where it is configured to be, and knows what the name stands for
    place.run("https://public.example{target}", &[], &env);
    assert!(proxy.connections() > 0);
    assert!(
        proxy.heads().iter().all(|head| head.starts_with("CONNECT public.example:443 ")),
        "{:?}",
        proxy.heads()
    );
}
