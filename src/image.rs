//! What the bytes are, by their first bytes, and whether they are all there, by their end. Pure; bytes are never altered.

mod end;

use std::borrow::Cow;

pub use end::EndFinder;

/// Bytes of the start that are looked at.
pub const HEAD: usize = 512;

/// A format that is known by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG (ITU T.81).
    Jpeg,
    /// PNG (RFC 2083).
    Png,
    /// WebP in RIFF.
    WebP,
    /// GIF 87a or 89a.
    Gif,
    /// HEIC or HEIF (ISO 23008-12).
    Heic,
    /// AVIF.
    Avif,
    /// TIFF, either byte order, `BigTIFF` too.
    Tiff,
    /// Windows bitmap.
    Bmp,
    /// PDF.
    Pdf,
    /// DICOM part 10.
    Dicom,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 10] = [
        Self::Jpeg,
        Self::Png,
        Self::WebP,
        Self::Gif,
        Self::Heic,
        Self::Avif,
        Self::Tiff,
        Self::Bmp,
        Self::Pdf,
        Self::Dicom,
    ];

    /// The extension of its files.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Heic => "heic",
            Self::Avif => "avif",
            Self::Tiff => "tif",
            Self::Bmp => "bmp",
            Self::Pdf => "pdf",
            Self::Dicom => "dcm",
        }
    }

    /// Knows a format by the first bytes of a file.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        let at = |offset: usize, magic: &[u8]| {
            head.get(offset..offset + magic.len()).is_some_and(|bytes| bytes == magic)
        };
        Some(match head {
            _ if at(0, b"\xff\xd8\xff") => Self::Jpeg,
            _ if at(0, b"\x89PNG\r\n\x1a\n") => Self::Png,
            _ if at(0, b"RIFF") && at(8, b"WEBP") => Self::WebP,
            _ if at(0, b"GIF87a") || at(0, b"GIF89a") => Self::Gif,
            _ if at(4, b"ftyp") => return brand(head),
            // before TIFF: a DICOM file may begin with a TIFF header in its preamble, to be read as either
            _ if at(128, b"DICM") => Self::Dicom,
            _ if at(0, b"II*\0") || at(0, b"MM\0*") || at(0, b"II+\0") || at(0, b"MM\0+") => Self::Tiff,
            // two letters are little to go by: the reserved words must be 0 too
            _ if at(0, b"BM") && at(6, &[0; 4]) => Self::Bmp,
            _ if at(0, b"%PDF-") => Self::Pdf,
            _ => return None,
        })
    }

    /// The format that a `Content-Type` names.
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match &*kind {
            "image/jpeg" | "image/jpg" | "image/pjpeg" => Self::Jpeg,
            "image/png" => Self::Png,
            "image/webp" => Self::WebP,
            "image/gif" => Self::Gif,
            "image/heic" | "image/heif" => Self::Heic,
            "image/avif" => Self::Avif,
            "image/tiff" => Self::Tiff,
            "image/bmp" | "image/x-ms-bmp" => Self::Bmp,
            "application/pdf" => Self::Pdf,
            "application/dicom" => Self::Dicom,
            _ => return None,
        })
    }

    /// Whether a whole file has an end that [`EndFinder`] finds.
    #[must_use]
    pub const fn has_end(self) -> bool {
        matches!(self, Self::Jpeg | Self::Png)
    }
}

/// ISO base media files (ISO 14496-12) name their brands in the first box.
fn brand(head: &[u8]) -> Option<Format> {
    let size = head.get(..4).map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]))?;
    let end = (size as usize).min(head.len());
    let brands = head.get(8..end)?;
    let known = |brand: &[u8]| match brand {
        b"avif" | b"avis" => Some(Format::Avif),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => Some(Format::Heic),
        _ => None,
    };
    let major = brands.get(..4)?;
    // `mif1` says only "an image": a more telling brand among the compatible ones wins
    let telling = brands.chunks_exact(4).skip(2).find(|brand| matches!(*brand, b"avif" | b"avis"));
    if matches!(major, b"mif1" | b"msf1") {
        return telling.and_then(known).or_else(|| known(major));
    }
    known(major).or_else(|| brands.chunks_exact(4).skip(2).find_map(known))
}

/// A text without its byte order mark; of one in UTF-16 the low bytes, which are enough to know markup by.
fn ascii(head: &[u8]) -> Cow<'_, [u8]> {
    match head {
        [0xef, 0xbb, 0xbf, rest @ ..] => rest.into(),
        [0xff, 0xfe, rest @ ..] => rest.iter().copied().step_by(2).collect(),
        [0xfe, 0xff, rest @ ..] => rest.iter().copied().skip(1).step_by(2).collect(),
        _ => head.into(),
    }
}

/// What came instead of an image.
#[must_use]
pub fn not_an_image(head: &[u8], content_type: &str) -> Option<&'static str> {
    if head.is_empty() {
        return Some("nothing (0 bytes)");
    }
    if Format::of(head).is_some() {
        return None;
    }
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // `application/vnd.openxmlformats…` is a zip file
    let named = |syntax: &str| {
        kind.strip_suffix(syntax).is_some_and(|before| before.ends_with('/') || before.ends_with('+'))
    };
    let ascii = ascii(head);
    let text = ascii.trim_ascii_start();
    let starts =
        |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()));
    let markup = text.first() == Some(&b'<')
        && text.get(1).is_some_and(|c| c.is_ascii_alphabetic() || b"!?".contains(c));
    if starts("<!doctype html")
        || starts("<html")
        || starts("<head")
        || starts("<body")
        || kind == "text/html"
    {
        return Some("HTML");
    }
    if markup || named("xml") {
        return Some("XML");
    }
    let json = match text.first() {
        Some(b'{') => text[1..].trim_ascii_start().first().is_some_and(|c| matches!(c, b'"' | b'}')),
        Some(b'[') => {
            text[1..].trim_ascii_start().first().is_some_and(|c| b"{[\"]-0123456789tfn".contains(c))
        }
        _ => false,
    };
    // a binary file may begin with a bracket, but not go on as text
    if json && text.iter().all(|c| !c.is_ascii_control() || c.is_ascii_whitespace()) || named("json") {
        return Some("JSON");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        let mut dicom = vec![0; 128];
        dicom.extend(b"DICM");
        let mut both = b"II*\0\x08\0\0\0".to_vec();
        both.resize(128, 0);
        both.extend(b"DICM");
        let cases: [(&[u8], &str); 17] = [
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "jpg"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "png"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "webp"),
            (b"GIF89a\x01\0", "gif"),
            (b"GIF87a\x01\0", "gif"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "heic"),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "avif"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "avif"),
            (b"II*\0\x08\0\0\0", "tif"),
            (b"MM\0*\0\0\0\x08", "tif"),
            (b"II+\0\x08\0\0\0", "tif"),
            (b"BM\x36\0\x0c\0\0\0\0\0\x36\0\0\0", "bmp"),
            (b"%PDF-1.7\n", "pdf"),
            (&dicom, "dcm"),
            (&both, "dcm"),
            (b"GIF89a", "gif"),
        ];
        for (head, extension) in cases {
            assert_eq!(Format::of(head).map(Format::extension), Some(extension), "{head:?}");
        }
    }

    #[test]
    fn other_bytes_are_no_known_format() {
        for head in [
            &b""[..],
            b"\xff\xd8",
            b"BMW is a car",
            b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
            b"RIFF\0\0\0\0WAVE",
        ] {
            assert_eq!(Format::of(head), None, "{head:?}");
        }
    }

    #[test]
    fn a_content_type_names_the_format_of_its_extension() {
        for (content_type, extension) in [
            ("image/jpeg", "jpg"),
            ("image/jpg", "jpg"),
            ("image/pjpeg", "jpg"),
            ("IMAGE/PNG ; q=1", "png"),
            ("image/webp", "webp"),
            ("image/gif", "gif"),
            ("image/heic", "heic"),
            ("image/heif", "heic"),
            ("image/avif", "avif"),
            ("image/tiff", "tif"),
            ("image/bmp", "bmp"),
            ("image/x-ms-bmp", "bmp"),
            ("application/pdf", "pdf"),
            ("application/dicom", "dcm"),
        ] {
            let named = Format::of_content_type(content_type).map(Format::extension);
            assert_eq!(named, Some(extension), "{content_type}");
        }
        for content_type in ["", "image/", "binary/octet-stream", "image/svg+xml", "text/html"] {
            assert_eq!(Format::of_content_type(content_type), None, "{content_type}");
        }
    }

    #[test]
    fn pages_and_messages_are_no_images() {
        let cases: [(&[u8], &str, Option<&str>); 24] = [
            (b"", "image/jpeg", Some("nothing (0 bytes)")),
            (b"<!DOCTYPE html><html>", "image/jpeg", Some("HTML")),
            (b"\n  <html>", "", Some("HTML")),
            (b"\xef\xbb\xbf<?xml version='1.0'?><Error>", "", Some("XML")),
            (b"<HEAD><title>", "", Some("HTML")),
            (b"<body>", "", Some("HTML")),
            (b"<html", "", Some("HTML")),
            (b"<Error><Code>InternalError</Code>", "image/png", Some("XML")),
            (b"<svg xmlns=", "image/svg+xml", Some("XML")),
            (b"{\"code\":\"success\"}", "image/jpeg", Some("JSON")),
            (b"[1, 2]", "", Some("JSON")),
            (b"login", "text/html; charset=utf-8", Some("HTML")),
            (b"{\"a\0\x01", "", None),
            (b"<\0\x01binary", "", None),
            (b"\xff\xd8\xff\xe0", "text/html", None),
            (b"plain bytes", "application/octet-stream", None),
            (b"\x01\x02\x03", "", None),
            (b"\xff\xfe<\0!\0D\0O\0C\0T\0Y\0P\0E\0 \0h\0t\0m\0l\0>\0", "", Some("HTML")),
            (b"\xfe\xff\0{\0\"\0c\0o\0d\0e\0\"\0:", "", Some("JSON")),
            (b"PK\x03\x04", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", None),
            (b"text", "application/problem+json; charset=utf-8", Some("JSON")),
            (b"text", "application/xml", Some("XML")),
            (b"{}", "application/octet-stream", Some("JSON")),
            (b"<", "application/octet-stream", None),
        ];
        for (head, content_type, expected) in cases {
            assert_eq!(not_an_image(head, content_type), expected, "{head:?} as {content_type}");
        }
    }
}
