//! The status with which a proxy refuses to connect.
//!
//! hyper-util's tunnel reports a refusal without its status, so the proxy is asked a second time here. What it answers
//! decides whether the run stops or waits; no tunnel that it may open now is used. Only a proxy that speaks plain HTTP
//! can be asked: for one behind TLS the status stays unknown.

use std::io;
use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use tokio::net::TcpStream;

use super::names::Names;
use super::proxy::ProxySettings;
use crate::options::CONNECT_TIMEOUT;

/// A status line is shorter.
const STATUS_LINE_MAX: usize = 1024;

/// Asks the proxy to connect to the host of `target`. `None` if it does now, or gives no answer.
pub(super) async fn ask(proxy: &ProxySettings, target: &Url, names: &Names) -> Option<u16> {
    let address = proxy.url().filter(|url| url.scheme() == "http")?;
    let asked = tokio::time::timeout(CONNECT_TIMEOUT, connect(&address, target, names)).await.ok()?;
    asked.ok().and_then(|line| status(&line)).filter(|status| *status != 200)
}

async fn connect(proxy: &Url, target: &Url, names: &Names) -> io::Result<Vec<u8>> {
    let host = proxy.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = proxy.port_or_known_default().unwrap_or(80);
    let found = names.addresses(host).await?;
    let addresses: Vec<_> = found.iter().map(|address| SocketAddr::new(address.ip(), port)).collect();
    let stream = TcpStream::connect(&*addresses).await?;
    write(&stream, request(proxy, target).as_bytes()).await?;
    read_line(&stream).await
}

fn request(proxy: &Url, target: &Url) -> String {
    let port = target.port_or_known_default().unwrap_or(443);
    let host = format!("{}:{port}", target.host_str().unwrap_or_default());
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let password = decoded(proxy.password().unwrap_or_default());
    let authorization = if proxy.username().is_empty() && password.is_empty() {
        String::new()
    } else {
        let pair = BASE64_STANDARD.encode(format!("{}:{password}", decoded(proxy.username())));
        format!("Proxy-Authorization: Basic {pair}\r\n")
    };
    format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n")
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The bytes up to the end of the first line, or of the connection.
async fn read_line(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut buffer = [0; STATUS_LINE_MAX];
    while !line.contains(&b'\n') && line.len() < STATUS_LINE_MAX {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => line.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(line)
}

/// The status of `HTTP/1.1 403 Forbidden`.
fn status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line.split(|byte| *byte == b'\n').next()?).ok()?;
    let status = line.strip_prefix("HTTP/1.")?.split_ascii_whitespace().nth(1)?;
    status.parse().ok().filter(|status| (100..1000).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_read_and_anything_else_is_none() {
        for (line, expected) in [
            (&b"HTTP/1.1 403 Forbidden\r\nx: y\r\n"[..], Some(403)),
            (b"HTTP/1.0 302\r\n", Some(302)),
            (b"HTTP/1.1 503", Some(503)),
            (b"HTTP/1.1 99999 x\r\n", None),
            (b"SSH-2.0-x\r\n", None),
            (b"", None),
            (b"\xff\xfe", None),
        ] {
            assert_eq!(status(line), expected, "{line:?}");
        }
    }

    #[test]
    fn the_request_names_host_and_port_and_the_user_of_the_proxy() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        let asked = request(
            &url("http://me:p%40ss@proxy:3128"),
            &url("https://s3.example.com/b/k?X-Amz-Signature=1"),
        );
        assert_eq!(
            asked,
            "CONNECT s3.example.com:443 HTTP/1.1\r\nHost: s3.example.com:443\r\nProxy-Authorization: Basic \
             bWU6cEBzcw==\r\n\r\n"
        );
        assert!(!request(&url("http://proxy"), &url("https://[fd00::1]:8443/")).contains("Authorization"));
    }
}
