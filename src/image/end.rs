//! Finds the end of a JPEG or a PNG in the bytes as they pass, however they are cut into pieces.
//!
//! What follows the end does not matter: phones append films, cameras and scanners padding. A JPEG's segments are
//! passed over by their lengths, because the thumbnail in one of them has an end of its own. If the bytes do not have
//! the structure of a JPEG, its end is the first end marker that does not belong to an embedded image.
//!
//! It says that an end came, not that the image can be decoded.

use std::io::BufRead;

/// The last chunk of a PNG (RFC 2083, section 4.1.4): no data, and the checksum of its name.
const PNG_END: [u8; 12] = *b"\0\0\0\0IEND\xae\x42\x60\x82";

/// Start of image.
const SOI: u8 = 0xd8;
/// End of image.
const EOI: u8 = 0xd9;
/// Start of scan: compressed data follow its header.
const SOS: u8 = 0xda;

/// Watches for the end of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndFinder {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first byte.
    #[default]
    Start,
    /// A format whose end is not looked for.
    Other,
    /// The end has come.
    Ended,
    /// How many bytes of [`PNG_END`] the last bytes are.
    Png(usize),
    Jpeg(Jpeg),
}

/// Where in a JPEG (ITU T.81, annex B) the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Jpeg {
    position: Position,
    /// The last two bytes.
    before: u16,
    /// Of images embedded in the current segment: those that have begun and not ended.
    open: u32,
    /// An end marker in the current segment, or after the structure was lost, that belongs to no embedded image.
    stray_end: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// A marker must come.
    Marker,
    /// The first byte of a segment's length.
    Length(u8),
    /// The second byte of it.
    LengthLow(u8, u8),
    /// In the segment of this marker, with this many bytes left.
    Segment(u8, u16),
    /// In the compressed data of a scan.
    Scan,
    /// These bytes are no JPEG's.
    Lost,
}

impl EndFinder {
    /// Accepts the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !matches!(self.state, State::Ended | State::Other) {
            if let State::Jpeg(jpeg) = &self.state {
                jpeg.skip_scan(&mut bytes);
            }
            let Some((byte, rest)) = bytes.split_first() else { return };
            self.state = self.state.next(*byte);
            bytes = rest;
        }
    }

    /// Whether the end has come.
    #[must_use]
    pub fn found(&self) -> bool {
        match self.state {
            State::Ended => true,
            State::Jpeg(jpeg) => jpeg.stray_end,
            _ => false,
        }
    }
}

impl State {
    fn next(self, byte: u8) -> Self {
        match self {
            Self::Start => match byte {
                0xff => Self::Jpeg(Jpeg::AFTER_FIRST_BYTE),
                0x89 => Self::Png(0),
                _ => Self::Other,
            },
            Self::Png(matched) => match png_matched(matched, byte) {
                matched if matched == PNG_END.len() => Self::Ended,
                matched => Self::Png(matched),
            },
            Self::Jpeg(jpeg) => jpeg.next(byte).map_or(Self::Ended, Self::Jpeg),
            Self::Other | Self::Ended => self,
        }
    }
}

/// How many bytes of [`PNG_END`] have come, if `matched` of them had come before this byte.
fn png_matched(matched: usize, byte: u8) -> usize {
    match byte {
        _ if PNG_END[matched] == byte => matched + 1,
        // only its zeros can be the start of another match
        0 if matched == 4 => 4,
        0 => 1,
        _ => 0,
    }
}

impl Jpeg {
    const AFTER_FIRST_BYTE: Self =
        Self { position: Position::Marker, before: 0xff, open: 0, stray_end: false };

    const fn is_after_ff(self) -> bool {
        self.before & 0xff == 0xff
    }

    /// Skips compressed data up to the next 0xff: nearly all bytes of an image.
    fn skip_scan(self, bytes: &mut &[u8]) {
        if self.position == Position::Scan && !self.is_after_ff() && bytes.first() != Some(&0xff) {
            let before = *bytes;
            // a slice cannot fail; the delimiter itself is read again
            let skipped = bytes.skip_until(0xff).unwrap_or_default();
            let at_ff = before.get(skipped.wrapping_sub(1)) == Some(&0xff);
            *bytes = &before[skipped - usize::from(at_ff)..];
        }
    }

    /// `None`: the end has come.
    fn next(mut self, byte: u8) -> Option<Self> {
        match self.position {
            Position::Marker if byte == 0xff => {}
            Position::Marker if !self.is_after_ff() => self.position = Position::Lost,
            Position::Marker => self.at_marker(byte)?,
            // 0xff00 is a data byte, what is below 0xc0 is reserved, restarts are part of the scan, and 0xffff fills
            Position::Scan => {
                if self.is_after_ff() && matches!(byte, 0xc0..=0xcf | EOI..=0xfe) {
                    self.at_marker(byte)?;
                }
            }
            Position::Length(marker) => self.position = Position::LengthLow(marker, byte),
            // the length counts its own two bytes
            Position::LengthLow(marker, high) => {
                self.position = match u16::from_be_bytes([high, byte]).checked_sub(2) {
                    Some(left) => in_segment(marker, left),
                    None => Position::Lost,
                };
                self.before = 0;
                return Some(self);
            }
            Position::Segment(marker, left) => {
                self.count_embedded(byte);
                self.position = in_segment(marker, left - 1);
                if left == 1 {
                    self.before = 0;
                    return Some(self);
                }
            }
            Position::Lost => self.count_embedded(byte),
        }
        self.before = self.before << 8 | u16::from(byte);
        Some(self)
    }

    /// The second byte of a marker outside segments; `None`: the end has come.
    fn at_marker(&mut self, marker: u8) -> Option<()> {
        // the segment before it was one: what was in it was not the image's own
        (self.open, self.stray_end) = (0, false);
        self.position = match marker {
            EOI => return None,
            // without a segment
            SOI | 0x01 => Position::Marker,
            0xc0..=0xfe => Position::Length(marker),
            _ => Position::Lost,
        };
        Some(())
    }

    /// Counts the images that begin and end inside a segment.
    fn count_embedded(&mut self, byte: u8) {
        if self.before == 0xff00 | u16::from(SOI) && byte == 0xff {
            self.open += 1;
        }
        if self.is_after_ff() && byte == EOI {
            self.stray_end |= self.open == 0;
            self.open = self.open.saturating_sub(1);
        }
    }
}

/// In the segment of a marker, or behind it.
const fn in_segment(marker: u8, left: u16) -> Position {
    match left {
        0 if marker == SOS => Position::Scan,
        0 => Position::Marker,
        _ => Position::Segment(marker, left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same, whatever the pieces.
    fn found(bytes: &[u8]) -> bool {
        let in_pieces = |size: usize| {
            let mut finder = EndFinder::default();
            bytes.chunks(size).for_each(|piece| finder.update(piece));
            finder.found()
        };
        let whole = in_pieces(bytes.len().max(1));
        for size in 1..9 {
            assert_eq!(in_pieces(size), whole, "{size} bytes at a time: {bytes:?}");
        }
        whole
    }

    fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len() + 2).expect("short").to_be_bytes();
        [&[0xff, marker], &length[..], data].concat()
    }

    fn jpeg(segments: &[Vec<u8>], scan: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xff, SOI];
        for segment in segments {
            bytes.extend(segment);
        }
        bytes.extend(segment(SOS, &[1, 1, 0, 0, 63, 0]));
        bytes.extend(scan);
        bytes
    }

    const SCAN: &[u8] = b"ab\xff\x00c\xff\xd0d\xff\xff\xd7e\xff\xd9";

    #[test]
    fn the_end_of_a_jpeg_counts_whatever_follows_it() {
        let whole = jpeg(&[segment(0xe0, b"JFIF\0")], SCAN);
        assert!(found(&whole));
        for trailer in
            [&b"\0\x01\x0a\x0eImage_UTC_Data SEFT"[..], &[0; 9000], b"\xff\xd8\xff\xe0cut", b"\xff"]
        {
            assert!(found(&[&whole, trailer].concat()), "{trailer:?}");
        }
        for cut in 0..whole.len() {
            assert!(!found(&whole[..cut]), "{cut}");
        }
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_its_image() {
        let thumbnail = jpeg(&[], SCAN);
        let exif = segment(0xe1, &[b"Exif\0\0", &thumbnail[..], b"more"].concat());
        let stray = segment(0xe2, b"a note with \xff\xd9 in it");
        let whole = jpeg(&[exif, stray, segment(0xdb, b"table")], b"scan\xff\xd9");
        assert!(found(&whole));
        let note = whole.windows(4).position(|four| four == b"note").expect("there");
        // in between it cannot be known yet that the segment is one
        for cut in (0..note + 12).chain(note + 20..whole.len()) {
            assert!(!found(&whole[..cut]), "{cut}");
        }
    }

    #[test]
    fn a_progressive_jpeg_has_tables_between_its_scans() {
        let mut bytes = jpeg(&[segment(0xc2, b"frame")], b"first scan");
        bytes.extend(segment(0xc4, b"a table with \xff\xd8 and \xff\xd9"));
        bytes.extend(segment(SOS, b"header"));
        bytes.extend(b"second scan");
        assert!(!found(&bytes));
        bytes.extend(b"\xff\xd9");
        assert!(found(&bytes));
    }

    #[test]
    fn bytes_without_the_structure_of_a_jpeg_have_its_end_all_the_same() {
        for bytes in [
            &b"\xff\xd8\xff\xe0 image \xff\xd9"[..],
            b"\xff\xd8\xff\xe0 image \xff\xd9 and a trailer",
            b"\xff\xd8\xff\xe0\0\x04ab no marker \xff\xd9 x",
            b"\xff\xd8\xff\xe0\0\x00 no length \xff\xd9",
            b"\xff\xd8\xff\xd9",
        ] {
            assert!(found(bytes), "{bytes:?}");
        }
        for bytes in [&b""[..], b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xe0 image ", b"GIF89a \xff\xd9"] {
            assert!(!found(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn the_end_of_a_png_counts_whatever_follows_it() {
        let start = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0\0IEN";
        assert!(!found(start));
        let whole = [&start[..], &PNG_END].concat();
        assert!(found(&whole) && found(&[&whole[..], b"trailer"].concat()));
        assert!(found(&[&start[..], b"\0\0", &PNG_END].concat()), "more zeros than its own");
        assert!(!found(&whole[..whole.len() - 1]));
    }
}
