//! Every form in which an address can be written, and every way in which a URL can lead to it.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::Resolve;

use super::resolver::Lookup;
use super::*;

fn kind(address: &str) -> AddressKind {
    AddressKind::of(address.parse().expect("an address"))
}

#[test]
fn special_addresses_are_recognized_in_every_form() {
    for (address, expected) in [
        ("127.0.0.1", AddressKind::Loopback),
        ("::1", AddressKind::Loopback),
        ("::ffff:127.0.0.1", AddressKind::Loopback),
        ("10.1.2.3", AddressKind::Private),
        ("172.31.0.1", AddressKind::Private),
        ("172.32.0.1", AddressKind::Public),
        ("192.168.1.1", AddressKind::Private),
        ("100.64.0.1", AddressKind::Private),
        ("fd00::1", AddressKind::Private),
        ("169.254.169.254", AddressKind::LinkLocal),
        ("::ffff:169.254.169.254", AddressKind::LinkLocal),
        ("64:ff9b::a9fe:a9fe", AddressKind::LinkLocal),
        ("2002:a9fe:a9fe::1", AddressKind::LinkLocal),
        ("fe80::1", AddressKind::LinkLocal),
        ("0.0.0.0", AddressKind::Reserved),
        ("::", AddressKind::Reserved),
        ("198.18.0.1", AddressKind::Private),
        ("192.0.0.8", AddressKind::Private),
        ("fec0::1", AddressKind::Private),
        ("64:ff9b:1::a00:1", AddressKind::Private),
        ("::ffff:0:10.0.0.1", AddressKind::Private),
        ("::10.0.0.1", AddressKind::Private),
        ("2600::5efe:169.254.169.254", AddressKind::LinkLocal),
        ("2001:db8::200:5efe:7f00:1", AddressKind::Loopback),
        ("2001:0:102:304::1", AddressKind::Reserved),
        ("::7", AddressKind::Reserved),
        ("100::1", AddressKind::Reserved),
        ("ff02::1:2", AddressKind::Reserved),
        ("2001:4860::1", AddressKind::Public),
        ("2606:2800::5eff:a00:1", AddressKind::Public),
        ("224.0.0.1", AddressKind::Reserved),
        ("255.255.255.255", AddressKind::Reserved),
        ("ff02::1", AddressKind::Reserved),
        ("8.8.8.8", AddressKind::Public),
        ("2600:1f18::1", AddressKind::Public),
    ] {
        assert_eq!(kind(address), expected, "{address}");
    }
}

fn check(api: &str, hosts: &[&str], allow_http: bool, url: &str) -> Result<(), String> {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let policy = SsrfPolicy::new(&Url::parse(api).expect("a URL"), &hosts, allow_http, None);
    policy.check_url(&Url::parse(url).expect("a URL"))
}

#[test]
fn a_signed_url_must_be_https_to_a_public_host() {
    let api = "https://api.example.com/v2";
    assert_eq!(check(api, &[], false, "https://s3.amazonaws.com/b/k?X=1"), Ok(()));
    for url in [
        "file:///etc/passwd",
        "ftp://s3.amazonaws.com/b",
        "http://s3.amazonaws.com/b",
        "https://user@s3.amazonaws.com/b",
        "https://169.254.169.254/latest",
        "https://[::ffff:169.254.169.254]/latest",
        "https://2852039166/latest",
        "https://10.0.0.1/b",
        "https://127.0.0.1/b",
        "http://127.0.0.1/b",
        "https://0.0.0.0/b",
    ] {
        assert!(check(api, &[], false, url).is_err(), "{url}");
    }
}

#[test]
fn a_loopback_api_may_hand_out_loopback_urls_only() {
    let api = "http://127.0.0.1:8080/v2";
    assert_eq!(check(api, &[], false, "http://127.0.0.1:9000/b"), Ok(()));
    assert!(check(api, &[], false, "http://10.0.0.1/b").is_err());
    assert!(check(api, &[], false, "https://10.0.0.1/b").is_err());
    assert!(check(api, &[], true, "http://169.254.169.254/b").is_err());
}

#[test]
fn storage_hosts_are_the_only_ones_and_may_be_private() {
    let api = "https://api.example.com/v2";
    assert_eq!(check(api, &["10.0.0.1"], false, "https://10.0.0.1/b"), Ok(()));
    assert_eq!(check(api, &["*.amazonaws.com"], false, "https://s3.amazonaws.com/b"), Ok(()));
    for url in ["https://amazonaws.com/b", "https://evilamazonaws.com/b", "https://s3.example.com/b"] {
        assert!(check(api, &["*.amazonaws.com"], false, url).is_err(), "{url}");
    }
}

const PUBLIC_API: &str = "https://api.example.com/v2";

#[test]
fn every_spelling_of_an_internal_host_is_refused() {
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "１２７.０.０.１",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::169.254.169.254]",
        "[2002:a9fe:a9fe::]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[::]",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
    ] {
        for (scheme, allow_http) in [("https", false), ("http", true)] {
            let url = format!("{scheme}://{host}/b?X=1");
            assert!(check(PUBLIC_API, &[], allow_http, &url).is_err(), "{url}");
        }
    }
}

#[test]
fn user_info_schemes_and_ports_of_other_services_are_refused() {
    for url in [
        "https://user@s3.example.com/b",
        "https://:pw@s3.example.com/b",
        "https://s3.example.com:x@evil.example/b",
        "https://s3.example.com:22/b",
        "https://s3.example.com:25/b",
        "https://s3.example.com:6379/b",
        "gopher://s3.example.com/b",
        "data:text/plain,x",
        "javascript:x",
        "unix:/run/docker.sock",
        "ws://s3.example.com/b",
    ] {
        assert!(check(PUBLIC_API, &[], true, url).is_err(), "{url}");
    }
    for url in
        ["https://s3.example.com:443/b", "https://s3.example.com:9000/b", "https://s3.example.com:8443/"]
    {
        assert_eq!(check(PUBLIC_API, &[], false, url), Ok(()), "{url}");
    }
}

#[test]
fn no_reserved_address_can_be_allowed() {
    for (api, hosts) in [("http://127.0.0.1:1/v2", vec![]), (PUBLIC_API, vec!["0.0.0.0"])] {
        let why = check(api, &hosts, true, "http://0.0.0.0/b").expect_err("refused");
        assert!(!why.contains("allows it"), "{why}");
    }
}

/// Answers one lookup after the other.
#[derive(Clone)]
struct Script(Arc<std::sync::Mutex<Vec<Vec<&'static str>>>>);

impl Script {
    fn new(answers: &[&[&'static str]]) -> Self {
        Self(Arc::new(std::sync::Mutex::new(answers.iter().rev().map(|one| one.to_vec()).collect())))
    }
}

impl Lookup for Script {
    async fn addresses(&self, _: &str) -> std::io::Result<Vec<SocketAddr>> {
        let next = self.0.lock().expect("no holder panics").pop().expect("an answer is left");
        Ok(next.into_iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 0)).collect())
    }
}

fn policy(api: &str, hosts: &[&str], proxy: Option<&str>) -> Arc<SsrfPolicy> {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let proxy = proxy.map(str::to_owned);
    Arc::new(SsrfPolicy::new(&Url::parse(api).expect("a URL"), &hosts, false, proxy))
}

async fn resolve(resolver: &Resolver<Script>, host: &str) -> Result<usize, String> {
    let found = resolver.resolve(host.parse().expect("a name")).await;
    found.map(Iterator::count).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_name_that_turns_into_another_address_is_refused_when_it_is_dialled() {
    let policy = policy(PUBLIC_API, &[], None);
    assert_eq!(policy.check_url(&Url::parse("https://rebind.example/b").expect("a URL")), Ok(()));
    let script = Script::new(&[
        &["203.0.113.7"],
        &["127.0.0.1"],
        &["203.0.113.7", "169.254.169.254"],
        &["::ffff:10.0.0.1"],
        &["0.0.0.0"],
    ]);
    let resolver = Resolver { policy, service: Service::Storage, lookup: script };
    assert_eq!(resolve(&resolver, "rebind.example").await, Ok(1));
    for _ in 0..4 {
        let why = resolve(&resolver, "rebind.example").await.expect_err("refused");
        assert!(why.contains("rebind.example leads to a"), "{why}");
    }
}

#[tokio::test]
async fn the_apis_network_is_that_of_its_own_name_not_of_its_proxy() {
    let policy = policy(PUBLIC_API, &[], Some("proxy.corp"));
    let for_api = |answers: &[&[&'static str]]| Resolver {
        policy: Arc::clone(&policy),
        service: Service::Api,
        lookup: Script::new(answers),
    };
    let for_storage = |answers: &[&[&'static str]]| Resolver {
        policy: Arc::clone(&policy),
        service: Service::Storage,
        lookup: Script::new(answers),
    };
    // the proxy is dialled for both, wherever it is
    assert_eq!(resolve(&for_api(&[&["10.0.0.5"]]), "proxy.corp").await, Ok(1));
    assert_eq!(resolve(&for_storage(&[&["10.0.0.5"]]), "proxy.corp").await, Ok(1));
    // which opens no other host of its network
    assert!(resolve(&for_storage(&[&["10.0.0.6"]]), "storage.corp").await.is_err());
    // and a URL cannot reach it by naming it
    let named = Url::parse("https://proxy.corp/b").expect("a URL");
    assert!(policy.check_url(&named).is_err());
    // an API in that network does
    assert_eq!(resolve(&for_api(&[&["10.0.0.7"]]), "api.example.com").await, Ok(1));
    assert_eq!(resolve(&for_storage(&[&["10.0.0.6"]]), "storage.corp").await, Ok(1));
    assert!(resolve(&for_storage(&[&["127.0.0.1"]]), "storage.corp").await.is_err());
}

#[tokio::test]
async fn a_named_storage_host_may_be_private_and_no_other() {
    let policy = policy(PUBLIC_API, &["*.corp"], None);
    let lookup = Script::new(&[&["10.0.0.6"], &["10.0.0.6"]]);
    let resolver = Resolver { policy, service: Service::Storage, lookup };
    assert_eq!(resolve(&resolver, "s3.corp").await, Ok(1));
    assert!(resolve(&resolver, "s3.elsewhere").await.is_err());
}

#[tokio::test]
async fn an_address_refused_at_the_lookup_is_never_dialled_and_keeps_its_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let resolver = Resolver {
        policy: policy(PUBLIC_API, &[], None),
        service: Service::Storage,
        lookup: Script::new(&[&["127.0.0.1"]]),
    };
    let client =
        reqwest::Client::builder().no_proxy().dns_resolver(Arc::new(resolver)).build().expect("a client");
    let url = format!("http://rebind.example:{port}/b?X-Amz-Signature=secret");
    let error = client.get(url).send().await.expect_err("refused");
    let failure = super::super::transport_error::failure(error, Service::Storage, "rebind.example");
    let crate::error::Failure::UrlRefused(why) = failure else { panic!("{failure:?}") };
    assert_eq!(why, "rebind.example leads to a loopback address (--storage-host rebind.example allows it)");
    let dialled = tokio::time::timeout(std::time::Duration::from_millis(200), listener.accept()).await;
    assert!(dialled.is_err(), "a connection came");
}
