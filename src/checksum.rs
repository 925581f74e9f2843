//! MultiHasher of bytes that pass: always SHA-256, and those that something will be held against. Pure.
//!
//! The names are S3's (`x-amz-checksum-<name>`); its values are base64 of the big-endian bytes.

use crc::{CRC_32_ISCSI, CRC_32_ISO_HDLC, CRC_64_NVME, Crc, Digest as CrcDigest, Table};
use sha2::Digest;

use crate::item::Sha256;

/// Sixteen tables: a CRC then costs less than the SHA-256 beside it.
type Fast = Table<16>;
static CRC32: Crc<u32, Fast> = Crc::<u32, Fast>::new(&CRC_32_ISO_HDLC);
static CRC32C: Crc<u32, Fast> = Crc::<u32, Fast>::new(&CRC_32_ISCSI);
static CRC64NVME: Crc<u64, Fast> = Crc::<u64, Fast>::new(&CRC_64_NVME);

/// A checksum that can be computed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256, computed in any case.
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA-1.
    Sha1,
    /// MD5: what an ETag may be, too.
    Md5,
    /// CRC-32 as in zip.
    Crc32,
    /// CRC-32 as in iSCSI.
    Crc32c,
    /// CRC-64 as in NVMe: what S3 computes by itself.
    Crc64Nvme,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Sha256, Self::Sha512, Self::Sha1, Self::Md5, Self::Crc32, Self::Crc32c, Self::Crc64Nvme];

    /// S3's name, in lower case.
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

    /// Bytes of its value.
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

/// What the storage says that the bytes have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Of which kind.
    pub algorithm: Algorithm,
    /// In base64.
    pub value: String,
}

impl Checksum {
    /// Takes a header's value; `None` where it cannot be a value of that kind, as that of an object whose parts
    /// were checksummed (`…-3`) cannot.
    #[must_use]
    pub fn read(algorithm: Algorithm, value: &str) -> Option<Self> {
        let digits = value.trim_end_matches('=');
        let fits = value.len() == algorithm.size().div_ceil(3) * 4
            && digits.len() == (algorithm.size() * 4).div_ceil(3)
            && digits.bytes().all(|digit| digit.is_ascii_alphanumeric() || matches!(digit, b'+' | b'/'));
        fits.then(|| Self { algorithm, value: value.to_owned() })
    }
}

/// MultiHasher that grow with the bytes.
#[derive(Clone)]
pub struct MultiHasher {
    sha256: sha2::Sha256,
    more: Vec<(Algorithm, Hasher)>,
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
    /// Of no byte yet: SHA-256, and these.
    #[must_use]
    pub fn new(algorithms: &[Algorithm]) -> Self {
        let more = Algorithm::ALL.into_iter().filter(|one| algorithms.contains(one));
        Self {
            sha256: sha2::Sha256::new(),
            more: more.filter_map(|one| Some((one, Hasher::new(one)?))).collect(),
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        for (_, growing) in &mut self.more {
            growing.update(bytes);
        }
    }

    /// What became of them.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests {
            sha256: Sha256(self.sha256.finalize().into()),
            more: self.more.into_iter().map(|(one, growing)| (one, growing.finish())).collect(),
        }
    }
}

impl std::fmt::Debug for MultiHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.more.iter().map(|(algorithm, _)| algorithm)).finish()
    }
}

impl Hasher {
    /// `None` for SHA-256, which is there already.
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

/// MultiHasher of all bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// The one that the ledger remembers.
    pub sha256: Sha256,
    more: Vec<(Algorithm, Vec<u8>)>,
}

impl Digests {
    /// The hash of that kind; `None` where it was not asked for.
    #[must_use]
    pub fn of(&self, algorithm: Algorithm) -> Option<&[u8]> {
        if algorithm == Algorithm::Sha256 {
            return Some(&self.sha256.0);
        }
        self.more.iter().find(|(one, _)| *one == algorithm).map(|(_, sum)| &**sum)
    }

    /// Whether the bytes have this checksum; `None` where that kind was not computed.
    #[must_use]
    pub fn matches(&self, checksum: &Checksum) -> Option<bool> {
        Some(base64(self.of(checksum.algorithm)?) == checksum.value)
    }
}

/// RFC 4648, section 4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            if digit <= three.len() {
                text.push(char::from(ALPHABET[(bits >> (18 - 6 * digit) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::hex;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn each_hash_has_its_published_check_value_however_the_bytes_come() {
        let mut hashes = MultiHasher::new(&Algorithm::ALL);
        for piece in ["12", "", "3456", "789"] {
            hashes.update(piece.as_bytes());
        }
        let sums = hashes.finish();
        // the check values of the CRC catalogue, and of the RFCs' functions over the same nine digits
        for (algorithm, sum) in [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            assert_eq!(sums.of(algorithm).map(hex).as_deref(), Some(sum), "{algorithm:?}");
        }
        assert_eq!(sums.of(Algorithm::Sha512).map(<[u8]>::len), Some(64));
    }

    #[test]
    fn only_what_was_asked_for_is_computed() {
        let sums = MultiHasher::new(&[Algorithm::Crc32]).finish();
        assert!(sums.of(Algorithm::Crc32).is_some() && sums.of(Algorithm::Sha256).is_some());
        assert!(sums.of(Algorithm::Md5).is_none());
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
