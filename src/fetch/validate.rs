//! Is a part the whole image, and an image at all? A list of checks; pure.
//!
//! A check vouches for the bytes, condemns them, or says nothing because the storage announced nothing that they could
//! be held against. What is odd but condemns nothing becomes a warning.

use crate::checksum::Algorithm;
use crate::error::Failure;
use crate::error::advice::NO_IMAGE_FROM;
use crate::image::{Format, not_an_image};
use crate::item::{Sha256, hex};
use crate::remote::ObjectMeta;
use crate::store::Part;

/// A part that passed every check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Validated {
    /// What vouches for the bytes, in the order of the contract.
    pub by: Vec<String>,
    /// Of the final name.
    pub extension: &'static str,
    pub warnings: Vec<String>,
}

/// What is known of an object.
struct Evidence<'a> {
    part: &'a Part,
    meta: &'a ObjectMeta,
    /// The manifest's hash.
    wanted: Option<Sha256>,
    /// By the first bytes.
    format: Option<Format>,
}

impl Evidence<'_> {
    /// Whether the bytes have the manifest's hash, or a checksum that the storage announced.
    fn has_matching_hash(&self) -> bool {
        self.wanted == Some(self.part.digests.sha256)
            || self.meta.checksums.iter().any(|checksum| self.part.digests.matches(checksum) == Some(true))
    }
}

type Check = fn(&Evidence<'_>, &mut Validated) -> Result<(), Failure>;

/// In the order in which `by` names what vouches.
const CHECKS: [Check; 6] = [length, not_a_document, etag_md5, checksums, manifest_sha256, image_end];

/// Holds a part against everything that is known of the object. `wanted` is the manifest's hash.
///
/// # Errors
/// [`Failure::Corrupt`], [`Failure::NotAnImage`], or [`Failure::PartUnusable`] if only a continued download may be at
/// fault.
pub(crate) fn validate(part: &Part, meta: &ObjectMeta, wanted: Option<Sha256>) -> Result<Validated, Failure> {
    let evidence = Evidence { part, meta, wanted, format: Format::of(&part.head) };
    let extension = evidence.format.or(Format::of_content_type(&meta.content_type));
    let mut validated =
        Validated { extension: extension.map_or("bin", Format::extension), ..Validated::default() };
    CHECKS.iter().try_for_each(|check| check(&evidence, &mut validated))?;
    remark(&evidence, &mut validated);
    Ok(validated)
}

fn length(it: &Evidence<'_>, validated: &mut Validated) -> Result<(), Failure> {
    let Some(length) = it.meta.length else { return Ok(()) };
    if it.part.bytes != length {
        return Err(Failure::Corrupt(format!("{} of {length} bytes came", it.part.bytes)));
    }
    validated.by.push("length".to_owned());
    Ok(())
}

/// A proxy's or a gateway's page is no image, whatever its length.
fn not_a_document(it: &Evidence<'_>, _: &mut Validated) -> Result<(), Failure> {
    match not_an_image(&it.part.head, &it.meta.content_type) {
        Some(kind) => Err(Failure::NotAnImage(format!("{kind}{NO_IMAGE_FROM}{}", it.meta.host))),
        None => Ok(()),
    }
}

/// Some stores make ETags of 32 hex digits that are no MD5, those of encrypted objects for one. So a mismatch condemns
/// nothing if a better witness is there.
fn etag_md5(it: &Evidence<'_>, validated: &mut Validated) -> Result<(), Failure> {
    let (Some(expected), Some(found)) = (it.meta.md5, it.part.digests.of(Algorithm::Md5)) else {
        return Ok(());
    };
    if expected != *found {
        if it.has_matching_hash() {
            return Ok(());
        }
        let (found, expected) = (hex(found), hex(&expected));
        return Err(Failure::Corrupt(format!("the bytes have MD5 {found}, the ETag is {expected}")));
    }
    validated.by.push("etag-md5".to_owned());
    Ok(())
}

fn checksums(it: &Evidence<'_>, validated: &mut Validated) -> Result<(), Failure> {
    for checksum in &it.meta.checksums {
        let name = checksum.algorithm.name();
        match it.part.digests.matches(checksum) {
            Some(true) => validated.by.push(format!("x-amz-checksum-{name}")),
            Some(false) if it.meta.of_range => {
                let what = format!("the {name} checksum of the continued download may be that of its range");
                return Err(Failure::PartUnusable(what));
            }
            Some(false) => {
                let what = format!("the bytes do not have the {name} checksum that the storage announced");
                return Err(Failure::Corrupt(what));
            }
            None => {}
        }
    }
    Ok(())
}

fn manifest_sha256(it: &Evidence<'_>, validated: &mut Validated) -> Result<(), Failure> {
    let Some(wanted) = it.wanted else { return Ok(()) };
    let found = it.part.digests.sha256;
    if wanted != found {
        let what = format!("the bytes have SHA-256 {found}, the manifest asks for {wanted}");
        return Err(Failure::Corrupt(what));
    }
    validated.by.push("manifest-sha256".to_owned());
    Ok(())
}

/// An image without its end is stored only if something else vouches for its bytes: then the storage has no more. A
/// length alone says so of the storage's answer only, which deserves a warning.
fn image_end(it: &Evidence<'_>, validated: &mut Validated) -> Result<(), Failure> {
    if !it.format.is_some_and(Format::has_end) {
        return Ok(());
    }
    let vouched = validated.by.iter().any(|by| by != "length");
    if it.part.end.found() {
        validated.by.push("image-end".to_owned());
    } else if validated.by.is_empty() {
        let what = "the image has no end, and nothing vouches for its length";
        return Err(Failure::Corrupt(what.to_owned()));
    } else if !vouched {
        validated.warnings.push("the image has no end, it is stored as the storage serves it".to_owned());
    }
    Ok(())
}

/// What is odd about an image that passed, and condemns nothing.
fn remark(it: &Evidence<'_>, validated: &mut Validated) {
    if validated.by.is_empty() {
        let what = "nothing vouches that these are all bytes: no length, MD5 or checksum came";
        validated.warnings.push(what.to_owned());
    }
    let encoding = &it.meta.content_encoding;
    if !encoding.is_empty() {
        validated.warnings.push(format!("stored as served, in Content-Encoding {encoding}"));
    }
    if it.format.is_none() {
        validated.warnings.push("the bytes are of no known image format".to_owned());
    }
}

#[cfg(test)]
mod tests;
