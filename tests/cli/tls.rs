//! HTTPS as it may be met: whom to trust, what stops a run, and proxies.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::wire::Wire;
use sandbox::faults::ApiFault;
use sandbox::tls::Authority;
use sandbox::workspace::{Run, Workspace};

/// The sandbox behind TLS: the API's front, and that of the storage.
struct Fronts {
    workspace: Workspace,
    api: Wire,
    storage: Wire,
}

impl Fronts {
    /// Both with good certificates of an authority whose certificate is in `ca.pem`.
    fn new() -> Self {
        let authority = Authority::new();
        let (api, storage) = (authority.good(), authority.good());
        Self::with(&authority, &api, &storage)
    }

    fn with(
        authority: &Authority,
        api: &std::sync::Arc<rustls::ServerConfig>,
        storage: &std::sync::Arc<rustls::ServerConfig>,
    ) -> Self {
        let workspace = Workspace::with_images(40);
        workspace.write("ca.pem", &authority.pem);
        let host =
            workspace.sandbox.api_url().trim_start_matches("http://").trim_end_matches("/v2").to_owned();
        let api = Wire::tls(api.clone(), &host);
        let storage = Wire::tls(storage.clone(), workspace.sandbox.storage_host());
        let url = format!("https://{}{{target}}", storage.host());
        workspace.sandbox.script().api_always(Some(ApiFault::Url(url)));
        Self { workspace, api, storage }
    }

    fn command(&self, args: &[&str]) -> Command {
        let all: Vec<&str> = ["run", "manifest.csv"].iter().chain(args).copied().collect();
        let mut command = self.workspace.command(&all);
        command.env("MAXAI_API_URL", format!("https://{}", self.api.host()));
        // a slim container: no certificate of the system is there
        command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        Run::wait(self.command(args).spawn().expect("started"))
    }
}

#[test]
fn a_whole_export_needs_nothing_but_the_ca_file_where_the_system_trusts_nobody() {
    let fronts = Fronts::new();
    fronts.run(&["--ca-file", "ca.pem"]).assert_code(0);
    assert_eq!(fronts.workspace.states(), vec!["stored"; 40]);
    assert!(fronts.api.heads().iter().all(|head| head.to_lowercase().contains("\nauthorization: bearer ")));
    let asked = fronts.storage.heads();
    assert_eq!(asked.len(), 40);
    for head in asked {
        let head = head.to_lowercase();
        for header in ["authorization", "x-organization-id", "referer", "cookie"] {
            assert!(!head.contains(&format!("\n{header}:")), "{head}");
        }
    }
}

#[test]
fn where_nobody_is_trusted_https_is_refused_before_any_request() {
    let fronts = Fronts::new();
    let ran = fronts.run(&[]).assert_code(2);
    assert!(ran.stderr.contains("certificate") && ran.stderr.contains("--ca-file"), "{}", ran.stderr);
    assert_eq!(fronts.api.connections(), 0);
    // a plain API of this machine needs no certificate
    fronts.workspace.sandbox.script().api_always(None);
    let mut command = fronts.command(&[]);
    command.env("MAXAI_API_URL", fronts.workspace.sandbox.api_url());
    Run::wait(command.spawn().expect("started")).assert_code(0);
}

/// The run stops at once, without a storm, and says so; the rows are left to the next run.
fn stops(fronts: &Fronts, bad: &Wire, word: &str) {
    let start = Instant::now();
    let ran = fronts.run(&["--ca-file", "ca.pem"]).assert_code(1);
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    assert!(!ran.stderr.contains("X-Amz"), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("stopped early"), "{}", ran.stdout);
    assert!((1..=32).contains(&bad.connections()), "{} connections", bad.connections());
    let report = fronts.workspace.report();
    assert!(report.iter().all(|line| line["state"] == "untried"), "{report:?}");
    assert!(report.iter().any(|line| line["error_code"] == "network" && line["error"].contains(word)));
    assert_eq!(fronts.workspace.images().len(), 0);
}

#[test]
fn a_certificate_that_is_not_trusted_stops_the_run_at_once() {
    let authority = Authority::new();
    let good = authority.good();
    for bad in [
        Authority::new().good(),
        authority.server(&["other.example"], (2020, 2100)),
        authority.server(&["127.0.0.1"], (2020, 2021)),
        authority.server(&["127.0.0.1"], (2090, 2100)),
    ] {
        let fronts = Fronts::with(&authority, &bad, &good);
        stops(&fronts, &fronts.api, "certificate");
        assert_eq!(fronts.storage.connections(), 0);
        let fronts = Fronts::with(&authority, &good, &bad);
        stops(&fronts, &fronts.storage, "certificate");
    }
}

#[test]
fn a_server_that_shows_the_authoritys_own_certificate_is_told_apart() {
    let authority = Authority::new();
    let (own, pem) = Authority::own(&["127.0.0.1"], true);
    let fronts = Fronts::with(&authority, &own, &own);
    fronts.workspace.write("ca.pem", pem);
    stops(&fronts, &fronts.api, "certificate");
    assert!(fronts.workspace.report().iter().any(|line| line["error"].contains("an authority's own")));
}

#[test]
fn a_certificate_that_a_server_signed_itself_can_be_trusted_by_the_ca_file() {
    let authority = Authority::new();
    let ((api, first), (storage, second)) =
        (Authority::own(&["127.0.0.1"], false), Authority::own(&["127.0.0.1"], false));
    let fronts = Fronts::with(&authority, &api, &storage);
    // one file holds both
    fronts.workspace.write("ca.pem", first + &second);
    fronts.run(&["--ca-file", "ca.pem"]).assert_code(0);
    assert_eq!(fronts.workspace.states(), vec!["stored"; 40]);
}

#[test]
fn what_is_no_tls_or_too_old_stops_the_run_at_once() {
    // an alert `protocol_version`; a ServerHello of TLS 1.1; HTTP; noise
    let mut hello = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 0x2f, 0]);
    let noise: Vec<u8> = (0..2000_u32).map(|n| (n * 7919 % 251) as u8).collect();
    for (answer, word) in [
        (vec![21, 3, 1, 0, 2, 2, 70], "TLS refused"),
        (hello, "TLS refused"),
        (b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_vec(), "no TLS"),
        (noise, "no TLS"),
    ] {
        let mut fronts = Fronts::new();
        fronts.api = Wire::new(move |mut line| {
            let mut hello = [0; 5];
            std::io::Read::read_exact(&mut line.socket, &mut hello)?;
            line.socket.write_all(&answer)?;
            line.close()
        });
        stops(&fronts, &fronts.api, word);
    }
}

#[test]
fn a_handshake_or_a_proxy_without_a_word_has_ten_seconds() {
    let silent = || {
        Wire::new(|_line| {
            std::thread::sleep(Duration::from_secs(40));
            Ok(())
        })
    };
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut fronts = Fronts::new();
            fronts.api = silent();
            let start = Instant::now();
            (fronts.run(&["--ca-file", "ca.pem", "--max-outage", "1s"]), start.elapsed())
        });
        let proxy = scope.spawn(|| {
            let (fronts, proxy) = (Fronts::new(), silent());
            let mut command = fronts.command(&["--ca-file", "ca.pem", "--max-outage", "1s"]);
            command.env("HTTPS_PROXY", format!("http://{}", proxy.host()));
            let start = Instant::now();
            let ran = Run::wait(command.spawn().expect("started"));
            let through = format!(" through the proxy {}: no connection", proxy.host());
            assert!(ran.stderr.contains(&through), "{}", ran.stderr);
            (ran, start.elapsed())
        });
        for run in [server, proxy] {
            let (ran, time) = run.join().expect("it ends");
            let ran = ran.assert_code(1);
            assert!(ran.stderr.contains("no connection within 10 s"), "{}", ran.stderr);
            assert!(time < Duration::from_secs(35), "{time:?}");
        }
    });
}

/// A proxy that lets through to these servers, or answers this.
fn proxy(answer: Option<&'static str>) -> Wire {
    Wire::new(move |mut line| {
        let head = line.head()?;
        if let Some(answer) = answer {
            line.socket.write_all(answer.as_bytes())?;
            return line.close();
        }
        let to = head.split(' ').nth(1).unwrap_or_default().to_owned();
        assert!(to.starts_with("127.0.0.1:"), "{head}");
        line.socket.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        line.join(&to)
    })
}

const SECRET: &str = "c4narypassword";

#[test]
fn a_proxy_of_the_environment_is_named_first_and_its_password_never() {
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let (fronts, proxy) = (Fronts::new(), proxy(None));
        let mut command = fronts.command(&["--ca-file", "ca.pem", "-vv"]);
        command.env(name, format!("http://me:{SECRET}@{}", proxy.host()));
        let ran = Run::wait(command.spawn().expect("started")).assert_code(0);
        let first = ran.stderr.lines().next().unwrap_or_default();
        assert!(first.contains("proxy") && first.contains(&proxy.host()), "{}", ran.stderr);
        assert!(!ran.stderr.contains(SECRET) && !ran.stdout.contains(SECRET), "{}", ran.stderr);
        assert_eq!(fronts.workspace.states(), vec!["stored"; 40]);
        let heads = proxy.heads();
        assert!(heads.len() >= 2, "API and storage went through it");
        for head in heads {
            let head = head.to_lowercase();
            assert!(head.starts_with("connect ") && head.contains("\nproxy-authorization: basic "), "{head}");
            for header in ["authorization", "x-organization-id", "referer"] {
                assert!(!head.contains(&format!("\n{header}:")), "{head}");
            }
        }
        crate::secrets::search(&fronts.workspace.out(), &[SECRET, "proxy-authorization"]);
    }
}

#[test]
fn a_proxy_that_asks_for_a_password_stops_the_run_at_once() {
    let answers = [
        "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"x\"\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.0 407 No\r\n\r\n",
    ];
    for answer in answers {
        let (fronts, proxy) = (Fronts::new(), proxy(Some(answer)));
        let start = Instant::now();
        let mut command = fronts.command(&["--ca-file", "ca.pem", "-vv"]);
        command.env("HTTPS_PROXY", format!("http://me:{SECRET}@{}", proxy.host()));
        let ran = Run::wait(command.spawn().expect("started")).assert_code(1);
        assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
        let through = format!("127.0.0.1 through the proxy {}: the proxy answered 407", proxy.host());
        assert!(ran.stderr.contains(&through), "{}", ran.stderr);
        assert!(ran.stdout.contains("proxy") && ran.stdout.contains("407"), "{}", ran.stdout);
        assert!(!ran.stderr.contains(SECRET) && !ran.stdout.contains(SECRET), "{}", ran.stderr);
        assert!(!ran.stderr.contains("outage"), "{}", ran.stderr);
        assert!((1..=32).contains(&proxy.connections()), "{} connections", proxy.connections());
        let report = fronts.workspace.report();
        assert!(report.iter().all(|line| line["state"] == "untried"), "{report:?}");
        assert!(report.iter().any(|line| line["error_code"] == "network"), "{report:?}");
    }
}

#[test]
fn exceptions_from_the_proxy_are_obeyed_and_http_proxy_is_never_read() {
    for (proxies, exception) in
        [(["HTTPS_PROXY", "https_proxy"], "NO_PROXY"), (["HTTPS_PROXY", "https_proxy"], "no_proxy")]
    {
        let (fronts, proxy) = (Fronts::new(), proxy(None));
        let mut command = fronts.command(&["--ca-file", "ca.pem"]);
        for name in proxies {
            command.env(name, format!("http://{}", proxy.host()));
        }
        command.env(exception, "example.com, 127.0.0.0/8");
        Run::wait(command.spawn().expect("started")).assert_code(0);
        assert_eq!(proxy.connections(), 0, "{exception}");
    }
    let (fronts, proxy) = (Fronts::new(), proxy(None));
    for url in [fronts.workspace.sandbox.api_url().to_owned(), format!("https://{}", fronts.api.host())] {
        let mut command = fronts.command(&["--ca-file", "ca.pem"]);
        command.env("MAXAI_API_URL", url);
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env(name, format!("http://{}", proxy.host()));
        }
        let ran = Run::wait(command.spawn().expect("started")).assert_code(0);
        assert!(!ran.stderr.contains("proxy"), "{}", ran.stderr);
    }
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_instead_of_passed_by() {
    for url in
        ["socks5://me:c4narypassword@127.0.0.1:1", "ftp://127.0.0.1:1", "http://", "http://c4narypassword@:x"]
    {
        let fronts = Fronts::new();
        let mut command = fronts.command(&["--ca-file", "ca.pem"]);
        let ran = Run::wait(command.env("HTTPS_PROXY", url).spawn().expect("started")).assert_code(2);
        assert!(ran.stderr.contains("HTTPS_PROXY"), "{}", ran.stderr);
        assert!(!ran.stderr.contains(SECRET), "{}", ran.stderr);
        assert_eq!(fronts.api.connections(), 0);
    }
}

#[test]
fn a_ca_file_without_certificates_is_refused() {
    for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let fronts = Fronts::new();
        fronts.workspace.write("empty.pem", text);
        let ran = fronts.run(&["--ca-file", "empty.pem"]).assert_code(2);
        assert!(ran.stderr.contains("--ca-file"), "{}", ran.stderr);
        assert_eq!(fronts.api.connections(), 0);
    }
}

/// A proxy that answers CONNECT with this status.
fn refusing(status: &'static str) -> Wire {
    Wire::new(move |mut line| {
        line.head()?;
        line.socket.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
        line.close()
    })
}

#[test]
fn a_proxy_that_refuses_to_connect_stops_the_run_at_once_with_its_status() {
    for status in ["302 Found", "403 Forbidden", "404 Not Found"] {
        let (fronts, proxy) = (Fronts::new(), refusing(status));
        let start = Instant::now();
        let mut command = fronts.command(&["--ca-file", "ca.pem", "-vv"]);
        command.env("HTTPS_PROXY", format!("http://me:{SECRET}@{}", proxy.host()));
        let ran = Run::wait(command.spawn().expect("started")).assert_code(1);
        assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
        let number = &status[..3];
        let through = format!("127.0.0.1 through the proxy {}: the proxy answered {number}", proxy.host());
        assert!(ran.stderr.contains(&through), "{}", ran.stderr);
        assert!(ran.stdout.contains(number) && ran.stdout.contains("NO_PROXY"), "{}", ran.stdout);
        assert!(!ran.stderr.contains(SECRET) && !ran.stdout.contains(SECRET), "{}", ran.stderr);
        assert!(!ran.stderr.contains("outage"), "{}", ran.stderr);
        assert!(
            proxy.heads().iter().all(|head| head.starts_with("CONNECT 127.0.0.1:")),
            "asked for a tunnel only"
        );
        let report = fronts.workspace.report();
        assert!(report.iter().all(|line| line["state"] == "untried"), "{report:?}");
        let met = fronts.workspace.failed().into_iter().find(|line| line["error_code"] == "network");
        let advice = met.map(|line| line["advice"].clone()).unwrap_or_default();
        assert!(advice.contains(&proxy.host()) && advice.contains("127.0.0.1"), "{advice}");
    }
}

#[test]
fn a_proxy_that_cannot_reach_the_host_is_an_outage() {
    for status in ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"] {
        let (fronts, proxy) = (Fronts::new(), refusing(status));
        let mut command = fronts.command(&["--ca-file", "ca.pem", "--max-outage", "1s"]);
        command.env("HTTPS_PROXY", format!("http://{}", proxy.host()));
        let ran = Run::wait(command.spawn().expect("started")).assert_code(1);
        let number = &status[..3];
        assert!(ran.stderr.contains("outage"), "{}", ran.stderr);
        let said = format!("the proxy answered {number}");
        assert!(ran.stdout.contains("could not be reached") && ran.stdout.contains(&said), "{}", ran.stdout);
    }
}

/// A balancer that takes the request and passes nothing on, while it keeps the connection open.
#[test]
fn an_http2_connection_without_a_sign_of_life_ends_in_ten_seconds() {
    let authority = Authority::new();
    let mut config = std::sync::Arc::unwrap_or_clone(authority.good());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = std::sync::Arc::new(config);
    let workspace = Workspace::with_images(1);
    workspace.write("ca.pem", &authority.pem);
    let server = Wire::new(move |line| {
        let connection =
            rustls::ServerConnection::new(std::sync::Arc::clone(&config)).map_err(std::io::Error::other)?;
        let mut stream = rustls::StreamOwned::new(connection, line.socket);
        // SETTINGS, and the acknowledgement of the client's
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0])?;
        stream.flush()?;
        std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
    });
    let args = ["run", "manifest.csv", "--ca-file", "ca.pem", "--max-attempts", "1"];
    let start = Instant::now();
    let mut command = workspace.command(&args);
    command.env("MAXAI_API_URL", format!("https://{}", server.host()));
    let ran = Run::wait(command.spawn().expect("started")).assert_code(3);
    let line = workspace.report().remove(0);
    assert!(["network", "timeout"].contains(&&*line["error_code"]), "{line:?} {}", ran.stderr);
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
}
