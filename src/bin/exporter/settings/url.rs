//! The API's base URL, and the hosts that a presigned URL may name. An `Err` says what is allowed.

use std::net::{IpAddr, Ipv6Addr};

use reqwest::Url;

/// Added to a URL that names no version.
const VERSION: &str = "/v2";

/// The API's base URL, without a trailing slash.
pub fn api(text: &str, allow_http: bool) -> Result<Url, String> {
    if text.chars().any(|char| char.is_control() || char.is_whitespace()) {
        return Err("a URL has no spaces".to_owned());
    }
    let mut url = Url::parse(text)
        .map_err(|error| format!("{error}; write a URL such as https://api.maxcare.ai/v2"))?;
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => {}
        "http" if allow_http || is_loopback(host) => {}
        "http" => {
            return Err(
                "plain http is allowed to this machine only; write https, or add --allow-http".to_owned()
            );
        }
        _ => return Err("write a URL that begins with https://".to_owned()),
    }
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user and password must not be in it".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a base URL has no ? and no #".to_owned());
    }
    let mut path = url.path().trim_end_matches('/').to_owned();
    if !path.split('/').any(is_version) {
        path.push_str(VERSION);
    }
    url.set_path(&path);
    Ok(url)
}

/// `v2`, `v10`.
fn is_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
}

/// `127.0.0.0/8`, `::1`, `localhost`.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A host, or `*.` and a domain, in lower case.
pub fn storage_host(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("*.").unwrap_or(text);
    let v6 = host.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>().is_ok();
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if v6 && host.len() == text.len() || !host.is_empty() && host.bytes().all(name) && !host.contains("..") {
        return Ok(text.to_ascii_lowercase());
    }
    Err("write a host name without scheme, port or path, for example s3.eu-central-1.amazonaws.com, or \
         *.amazonaws.com for every host in a domain"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_ends_in_its_version_without_a_slash() {
        for (text, expected) in [
            ("https://api.maxcare.ai", "https://api.maxcare.ai/v2"),
            ("https://api.maxcare.ai/", "https://api.maxcare.ai/v2"),
            ("https://api.maxcare.ai/v2/", "https://api.maxcare.ai/v2"),
            ("https://api.maxcare.ai/v3", "https://api.maxcare.ai/v3"),
            ("https://host/prefix", "https://host/prefix/v2"),
            ("https://host/prefix/v2//", "https://host/prefix/v2"),
            ("https://host/v2/gateway", "https://host/v2/gateway"),
            ("https://host/video", "https://host/video/v2"),
            ("HTTPS://Host:8443", "https://host:8443/v2"),
        ] {
            assert_eq!(api(text, false).map(String::from), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for text in ["http://127.0.0.1:8080", "http://127.9.9.9/v2", "http://[::1]:1", "http://localhost"] {
            assert!(api(text, false).is_ok(), "{text}");
        }
        for text in ["http://api.maxcare.ai", "http://10.0.0.1", "http://localhost.evil.com", "http://[::2]"]
        {
            assert!(api(text, false).is_err_and(|error| error.contains("--allow-http")), "{text}");
            assert!(api(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_address_is_nothing_but_an_address() {
        for text in [
            "",
            "api.maxcare.ai",
            "ftp://host",
            "https://",
            "https://user@host",
            "https://:pw@host",
            "https://host?x=1",
            "https://host/#a",
            "https://ho st",
            "https://host\n",
            "file:///etc/passwd",
        ] {
            assert!(api(text, true).is_err(), "{text}");
        }
    }

    #[test]
    fn a_storage_pattern_is_a_host_or_a_domain() {
        for (text, expected) in [
            ("*.amazonaws.com", "*.amazonaws.com"),
            ("S3.local", "s3.local"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(storage_host(text), Ok(expected.to_owned()));
        }
        for text in ["", "*", "*.", "s3.*.com", "https://host", "host:9000", "host/path", "a..b", "*.[::1]"] {
            assert!(storage_host(text).is_err(), "{text}");
        }
    }
}
