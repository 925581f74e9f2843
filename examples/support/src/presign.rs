//! Presigned GET URLs by AWS Signature Version 4 (query string form), path style, `host` the only
//! signed header. Written by hand over `sha2`, so that the sandbox signs as a real signer does and
//! needs no SDK.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

/// Everything but the unreserved characters of RFC 3986.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// S3 keys keep their slashes.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Signs, and checks what it signed.
#[derive(Debug)]
pub struct Signer {
    pub access_key: String,
    pub secret_key: String,
    pub region: String,
    /// The day's signing key: four of the five HMACs change only at midnight.
    day_key: Mutex<(String, [u8; 32])>,
}

/// Why a URL is refused, in the words of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Malformed,
    Expired,
    WrongSignature,
}

impl Signer {
    pub fn new(access_key: &str, secret_key: &str, region: &str) -> Self {
        Self {
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            region: region.to_owned(),
            day_key: Mutex::new((String::new(), [0; 32])),
        }
    }

    /// `/path?X-Amz-…`: the signed target for `path` (percent-encoded already) at `host`.
    pub fn target(&self, host: &str, path: &str, at: Timestamp, lifetime: Duration) -> String {
        let time = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let scope = format!("{}/{}/s3/aws4_request", &time[..8], self.region);
        let credential = format!("{}/{scope}", self.access_key);
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={time}&X-Amz-Expires={}&X-Amz-SignedHeaders=host",
            utf8_percent_encode(&credential, QUERY),
            lifetime.as_secs(),
        );
        let signature = self.signature(host, path, &query, &time, &scope);
        format!("{path}?{query}&X-Amz-Signature={signature}")
    }

    /// Checks a target that this signer made. Used where no S3 implementation stands behind the URL.
    pub fn check(&self, host: &str, path: &str, query: &str, now: Timestamp) -> Result<(), Refusal> {
        let (signed, signature) = query.rsplit_once("&X-Amz-Signature=").ok_or(Refusal::Malformed)?;
        let field = |name: &str| {
            let (_, rest) = signed.split_once(name).ok_or(Refusal::Malformed)?;
            Ok(rest.split('&').next().unwrap_or(rest))
        };
        let time = field("X-Amz-Date=")?;
        let lifetime: i64 = field("X-Amz-Expires=")?.parse().map_err(|_| Refusal::Malformed)?;
        let at = parse_time(time).ok_or(Refusal::Malformed)?;
        if now.as_second() - at.as_second() > lifetime {
            return Err(Refusal::Expired);
        }
        let scope = format!("{}/{}/s3/aws4_request", &time[..8], self.region);
        if self.signature(host, path, signed, time, &scope) == signature {
            Ok(())
        } else {
            Err(Refusal::WrongSignature)
        }
    }

    fn signature(&self, host: &str, path: &str, query: &str, time: &str, scope: &str) -> String {
        let request = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let hash = hex(&Sha256::digest(request.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
        hex(&hmac(&self.key_of(&time[..8]), to_sign.as_bytes()))
    }

    fn key_of(&self, day: &str) -> [u8; 32] {
        let mut cached = self.day_key.lock().expect("no holder panics");
        if cached.0 != day {
            let secret = format!("AWS4{}", self.secret_key);
            let by_day = hmac(secret.as_bytes(), day.as_bytes());
            let by_region = hmac(&by_day, self.region.as_bytes());
            let by_service = hmac(&by_region, b"s3");
            *cached = (day.to_owned(), hmac(&by_service, b"aws4_request"));
        }
        cached.1
    }
}

/// The time of an `X-Amz-Date`.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    jiff::tz::TimeZone::UTC.to_timestamp(time).ok()
}

/// `/bucket/key` as it stands in a URL and in the canonical request.
pub fn object_path(bucket: &str, key: &str) -> String {
    format!("/{bucket}/{}", utf8_percent_encode(key, PATH))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    /// SHA-256's block.
    const BLOCK: usize = 64;
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Example: Presigned URL", from the page named at the top.
    #[test]
    fn the_documented_example_comes_out() {
        let signer =
            Signer::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1");
        let at: Timestamp = "2013-05-24T00:00:00Z".parse().expect("a time");
        let target =
            signer.target("examplebucket.s3.amazonaws.com", "/test.txt", at, Duration::from_hours(24));
        assert_eq!(
            target,
            "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn hmac_matches_rfc_4231() {
        let mac = hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(&mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let mac = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(&mac), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn keys_are_encoded_once_and_keep_their_slashes() {
        assert_eq!(object_path("b", "o/p q/a+ü?#%.jpg"), "/b/o/p%20q/a%2B%C3%BC%3F%23%25.jpg");
    }

    #[test]
    fn its_own_targets_hold_until_they_expire_or_change() {
        let signer = Signer::new("A", "s", "us-east-1");
        let at: Timestamp = "2026-05-24T00:00:00Z".parse().expect("a time");
        let target = signer.target("h:1", "/b/k", at, Duration::from_mins(1));
        let (path, query) = target.split_once('?').expect("a query");
        let later = |seconds| at + jiff::SignedDuration::from_secs(seconds);
        assert_eq!(signer.check("h:1", path, query, later(60)), Ok(()));
        assert_eq!(signer.check("h:1", path, query, later(61)), Err(Refusal::Expired));
        assert_eq!(signer.check("h:2", path, query, later(1)), Err(Refusal::WrongSignature));
        assert_eq!(signer.check("h:1", "/b/other", query, later(1)), Err(Refusal::WrongSignature));
        assert_eq!(signer.check("h:1", path, "", later(1)), Err(Refusal::Malformed));
    }
}
