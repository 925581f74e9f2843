//! Digests of the bytes that pass: always SHA-256, and those that the storage announced a value for. Pure.
//!
//! The names are those of S3 (`x-amz-checksum-<name>`); its values are base64 (RFC 4648, section 4) of the big-endian
//! bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_32_ISCSI, CRC_32_ISO_HDLC, CRC_64_NVME, Crc, Digest as CrcDigest, Table};
use sha2::Digest;

use crate::item::Sha256;

/// Sixteen lookup tables make a CRC cheaper than the SHA-256 beside it.
type Fast = Table<16>;
static CRC32: Crc<u32, Fast> = Crc::<u32, Fast>::new(&CRC_32_ISO_HDLC);
static CRC32C: Crc<u32, Fast> = Crc::<u32, Fast>::new(&CRC_32_ISCSI);
static CRC64NVME: Crc<u64, Fast> = Crc::<u64, Fast>::new(&CRC_64_NVME);

/// A checksum that can be computed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256, always computed.
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA-1.
    Sha1,
    /// MD5, which an ETag may be, too.
    Md5,
    /// CRC-32 as in zip.
    Crc32,
    /// CRC-32 as in iSCSI.
    Crc32c,
    /// CRC-64 as in NVMe: what S3 computes unasked.
    Crc64Nvme,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 7] =
        [Self::Sha256, Self::Sha512, Self::Sha1, Self::Md5, Self::Crc32, Self::Crc32c, Self::Crc64Nvme];

    /// Its name in S3's headers, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Crc64Nvme => "crc64nvme",
        }
    }

    /// Size of its value in bytes.
    const fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
            Self::Sha1 => 20,
            Self::Md5 => 16,
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
        }
    }
}

/// A checksum that the storage announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Of which algorithm.
    pub algorithm: Algorithm,
    /// Its value in base64.
    pub value: String,
}

impl Checksum {
    /// Reads a header's value; `None` if it cannot be one of that algorithm. That of a multipart upload (`…-3`) is a
    /// checksum of checksums, and none of the bytes.
    #[must_use]
    pub fn read(algorithm: Algorithm, value: &str) -> Option<Self> {
        let digits = value.trim_end_matches('=');
        let fits = value.len() == algorithm.size().div_ceil(3) * 4
            && digits.len() == (algorithm.size() * 4).div_ceil(3)
            && digits.bytes().all(|digit| digit.is_ascii_alphanumeric() || matches!(digit, b'+' | b'/'));
        fits.then(|| Self { algorithm, value: value.to_owned() })
    }
}

/// Several hashes of the same bytes, computed in one pass.
#[derive(Clone)]
pub struct MultiHasher {
    sha256: sha2::Sha256,
    others: Vec<(Algorithm, Hasher)>,
}

#[derive(Clone)]
enum Hasher {
    Sha512(sha2::Sha512),
    Sha1(sha1::Sha1),
    Md5(md5::Md5),
    Crc32(CrcDigest<'static, u32, Fast>),
    Crc64(CrcDigest<'static, u64, Fast>),
}

impl MultiHasher {
    /// SHA-256 and these, before the first byte.
    #[must_use]
    pub fn new(algorithms: &[Algorithm]) -> Self {
        let wanted = Algorithm::ALL.into_iter().filter(|one| algorithms.contains(one));
        Self {
            sha256: sha2::Sha256::new(),
            others: wanted.filter_map(|one| Some((one, Hasher::new(one)?))).collect(),
        }
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        for (_, hasher) in &mut self.others {
            hasher.update(bytes);
        }
    }

    /// The digests of all bytes.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests {
            sha256: Sha256(self.sha256.finalize().into()),
            others: self.others.into_iter().map(|(one, hasher)| (one, hasher.finish())).collect(),
        }
    }
}

impl std::fmt::Debug for MultiHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.others.iter().map(|(algorithm, _)| algorithm)).finish()
    }
}

impl Hasher {
    /// `None` for SHA-256, which [`MultiHasher`] computes anyway.
    fn new(algorithm: Algorithm) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Sha256 => return None,
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
            Algorithm::Sha1 => Self::Sha1(sha1::Sha1::new()),
            Algorithm::Md5 => Self::Md5(md5::Md5::new()),
            Algorithm::Crc32 => Self::Crc32(CRC32.digest()),
            Algorithm::Crc32c => Self::Crc32(CRC32C.digest()),
            Algorithm::Crc64Nvme => Self::Crc64(CRC64NVME.digest()),
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha512(hash) => hash.update(bytes),
            Self::Sha1(hash) => hash.update(bytes),
            Self::Md5(hash) => hash.update(bytes),
            Self::Crc32(crc) => crc.update(bytes),
            Self::Crc64(crc) => crc.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha512(hash) => hash.finalize().to_vec(),
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Md5(hash) => hash.finalize().to_vec(),
            Self::Crc32(crc) => crc.finalize().to_be_bytes().to_vec(),
            Self::Crc64(crc) => crc.finalize().to_be_bytes().to_vec(),
        }
    }
}

/// The digests of all bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// The one that the ledger records.
    pub sha256: Sha256,
    others: Vec<(Algorithm, Vec<u8>)>,
}

impl Digests {
    /// The digest of that algorithm; `None` if it was not computed.
    #[must_use]
    pub fn of(&self, algorithm: Algorithm) -> Option<&[u8]> {
        if algorithm == Algorithm::Sha256 {
            return Some(&self.sha256.0);
        }
        self.others.iter().find(|(one, _)| *one == algorithm).map(|(_, digest)| &**digest)
    }

    /// Whether the bytes have this checksum; `None` if that algorithm was not computed.
    #[must_use]
    pub fn matches(&self, checksum: &Checksum) -> Option<bool> {
        Some(STANDARD.encode(self.of(checksum.algorithm)?) == checksum.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::hex;

    #[test]
    fn each_hash_has_its_published_check_value_however_the_bytes_come() {
        let mut hasher = MultiHasher::new(&Algorithm::ALL);
        for piece in ["12", "", "3456", "789"] {
            hasher.update(piece.as_bytes());
        }
        let digests = hasher.finish();
        // the check values of the CRC catalogue, and of the RFCs' functions over the same nine digits
        for (algorithm, sum) in [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            assert_eq!(digests.of(algorithm).map(hex).as_deref(), Some(sum), "{algorithm:?}");
        }
        assert_eq!(digests.of(Algorithm::Sha512).map(<[u8]>::len), Some(64));
    }

    #[test]
    fn only_what_was_asked_for_is_computed() {
        let digests = MultiHasher::new(&[Algorithm::Crc32]).finish();
        assert!(digests.of(Algorithm::Crc32).is_some() && digests.of(Algorithm::Sha256).is_some());
        assert!(digests.of(Algorithm::Md5).is_none());
    }

    #[test]
    fn a_value_that_cannot_be_one_is_no_checksum() {
        for (algorithm, value, fits) in [
            (Algorithm::Crc32, "y/Q5Jg==", true),
            (Algorithm::Crc32, "y/Q5Jg==-2", false),
            (Algorithm::Crc32, "y/Q5Jg", false),
            (Algorithm::Crc32, "y/Q5J===", false),
            (Algorithm::Crc32, "y/Q5Jgg=", false),
            (Algorithm::Crc32, "y-Q5Jg==", false),
            (Algorithm::Crc32, "", false),
            (Algorithm::Crc64Nvme, "rosUhgp5mIg=", true),
            (Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE=", true),
            (Algorithm::Sha256, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", true),
            (Algorithm::Sha256, "y/Q5Jg==", false),
        ] {
            assert_eq!(Checksum::read(algorithm, value).is_some(), fits, "{value}");
        }
    }
}
