//! Storage faults that bend a true answer: its head, its bytes, and how those are sent.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};

use crate::faults::StorageFault;
use crate::refusals::s3_error;
use crate::server::{Answer, AnyError, Body, Line, Step, stepped};

/// How a body is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sending {
    drip: Option<(usize, Duration)>,
    stall: Option<(usize, Duration)>,
    /// Nothing behind this byte.
    end: Option<usize>,
    /// What ends there is the connection, not the body.
    breaks: bool,
    chunked: bool,
    /// The length in the head, where it is not the body's.
    announced: Option<u64>,
    /// Zeros behind the body, up to so many bytes in all.
    padded: u64,
}

/// Bends `answer` by `faults`. `size` is that of the whole object, where it is known.
pub async fn shaped(
    faults: &[StorageFault],
    mut answer: Response<Body>,
    size: Option<usize>,
    line: &Line,
) -> Answer {
    if faults.is_empty() {
        return Ok(answer);
    }
    if faults.iter().any(|fault| matches!(fault, StorageFault::Unsatisfiable)) {
        let message = "The requested range is not satisfiable";
        let span = format!("bytes */{}", size.unwrap_or_default());
        answer = s3_error(416, "InvalidRange", message, "");
        answer.headers_mut().insert(CONTENT_RANGE, span.parse()?);
    }
    let (mut head, body) = answer.into_parts();
    let mut bytes = body.collect().await?.to_bytes();
    let mut sending = Sending::default();
    for fault in faults {
        match fault {
            StorageFault::Headers(headers) => insert(&mut head.headers, headers)?,
            StorageFault::NoEtag => drop(head.headers.remove(ETAG)),
            StorageFault::Etag(etag) => drop(head.headers.insert(ETAG, etag.parse()?)),
            StorageFault::Gzip => {
                head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            StorageFault::ContentRange(range) => {
                head.status = StatusCode::PARTIAL_CONTENT;
                head.headers.insert(CONTENT_RANGE, range.parse()?);
            }
            StorageFault::FlipBit(bit) => bytes = flipped(&bytes, *bit),
            _ => sending.add(fault),
        }
        if matches!(fault, StorageFault::Cut { .. }) {
            line.reset_when_broken();
        }
    }
    head.headers.remove(CONTENT_LENGTH);
    if !sending.chunked {
        head.headers.insert(CONTENT_LENGTH, sending.announced.unwrap_or(bytes.len() as u64).into());
    }
    let zeros = sending.zeros(bytes.len());
    Ok(Response::from_parts(head, stepped(sending.steps(&bytes).into_iter().chain(zeros))))
}

/// Sets headers, whatever stood under those names.
pub fn insert(map: &mut HeaderMap, headers: &[(String, String)]) -> Result<(), AnyError> {
    for (name, value) in headers {
        map.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(value.as_bytes())?);
    }
    Ok(())
}

fn flipped(bytes: &Bytes, bit: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    let bits = bytes.len() * 8;
    if bits > 0 {
        bytes[bit % bits / 8] ^= 1 << (bit % 8);
    }
    bytes.into()
}

impl Sending {
    fn add(&mut self, fault: &StorageFault) {
        match *fault {
            StorageFault::Short { after } | StorageFault::Cut { after } => {
                (self.end, self.breaks) = (Some(after), true);
            }
            StorageFault::ChunkedCut { after } => {
                (self.end, self.breaks, self.chunked) = (Some(after), true, true);
            }
            StorageFault::ChunkedShort { after } => (self.end, self.chunked) = (Some(after), true),
            StorageFault::Chunked => self.chunked = true,
            StorageFault::Announce(length) => (self.announced, self.breaks) = (Some(length), true),
            StorageFault::Padded(total) => (self.padded, self.chunked) = (total, true),
            StorageFault::Stall { after, pause } => self.stall = Some((after, pause)),
            StorageFault::Drip { every, bytes } => self.drip = Some((bytes, every)),
            _ => {}
        }
    }

    /// What comes behind a body of that length, made as it is sent.
    fn zeros(&self, length: usize) -> impl Iterator<Item = Step> + Send + 'static {
        const PIECE: usize = 16 * 1024;
        let pieces = self.padded.saturating_sub(length as u64).div_ceil(PIECE as u64);
        (0..pieces).map(|_| Step::Send(Bytes::from_static(&[0; PIECE])))
    }

    /// The plan for these bytes.
    fn steps(&self, bytes: &Bytes) -> Vec<Step> {
        let end = self.end.unwrap_or(bytes.len()).min(bytes.len());
        let mut steps = Vec::new();
        let mut at = 0;
        if let Some((count, every)) = self.drip {
            while at < count.min(end) {
                steps.extend([Step::Send(bytes.slice(at..=at)), Step::Wait(every)]);
                at += 1;
            }
        }
        if let Some((after, pause)) = self.stall
            && (at..=end).contains(&after)
        {
            steps.extend([Step::Send(bytes.slice(at..after)), Step::Wait(pause)]);
            at = after;
        }
        steps.push(Step::Send(bytes.slice(at..end)));
        // An empty frame would be the last chunk of a chunked body.
        steps.retain(|step| *step != Step::Send(Bytes::new()));
        if self.breaks {
            steps.push(Step::Break);
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(faults: &[StorageFault]) -> Vec<Step> {
        let mut sending = Sending::default();
        for fault in faults {
            sending.add(fault);
        }
        sending.steps(&Bytes::from_static(b"abcdef"))
    }

    fn send(text: &'static str) -> Step {
        Step::Send(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_plan_drips_stalls_and_breaks_where_it_should() {
        let second = Duration::from_secs(1);
        assert_eq!(steps(&[]), [send("abcdef")]);
        assert_eq!(steps(&[StorageFault::Cut { after: 0 }]), [Step::Break]);
        assert_eq!(steps(&[StorageFault::Short { after: 99 }]), [send("abcdef"), Step::Break]);
        assert_eq!(
            steps(&[
                StorageFault::Drip { every: second, bytes: 1 },
                StorageFault::Stall { after: 3, pause: second },
                StorageFault::Cut { after: 5 },
            ]),
            [send("a"), Step::Wait(second), send("bc"), Step::Wait(second), send("de"), Step::Break]
        );
    }

    #[test]
    fn one_bit_is_flipped_and_no_other() {
        let bytes = Bytes::from_static(&[0, 0]);
        assert_eq!(flipped(&bytes, 9)[..], [0, 2]);
        assert_eq!(flipped(&bytes, 16 + 9)[..], [0, 2], "modulo the length");
        assert_eq!(flipped(&Bytes::new(), 3), Bytes::new());
    }
}
