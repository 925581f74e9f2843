//! Sample images made from a number: a real JPEG and a real PNG, encoded here because a test bed
//! should not need an image library. Equal seed and size give equal bytes; other seeds, others.

/// The part of a JPEG that differs by seed: comment, tables, picture, end. Its length is the same for
/// all seeds, which lets a bulk store share everything before it.
pub const JPEG_TAIL: usize = 1024;

/// Blocks of 8 x 8 pixels along each side of the picture.
const BLOCKS: u64 = 8;

/// A baseline JPEG of 64 x 64 pixels that is `size` bytes long (at least 1,044), padded by comments.
pub fn jpeg(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = jpeg_head(size);
    let tail = size.saturating_sub(bytes.len()).max(JPEG_TAIL);
    bytes.extend(jpeg_tail(seed, tail));
    bytes
}

/// What all JPEGs of one size begin with: start, JFIF header and padding.
pub fn jpeg_head(size: usize) -> Vec<u8> {
    /// A segment's length field counts itself and at most this much.
    const LONGEST: usize = 65_535 + 2;
    /// Marker and length field.
    const SHORTEST: usize = 4;
    let mut bytes = vec![0xff, 0xd8];
    segment(&mut bytes, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    let mut padding = size.saturating_sub(bytes.len() + JPEG_TAIL);
    while padding >= SHORTEST {
        let mut part = padding.min(LONGEST);
        if (1..SHORTEST).contains(&(padding - part)) {
            part -= SHORTEST;
        }
        segment(&mut bytes, 0xfe, &vec![b'.'; part - SHORTEST]);
        padding -= part;
    }
    bytes
}

/// Everything behind [`jpeg_head`], exactly `length` bytes ([`JPEG_TAIL`] or a little more).
pub fn jpeg_tail(seed: u64, length: usize) -> Vec<u8> {
    let picture = jpeg_picture(seed);
    let mut comment = format!("sandbox image {seed:020} ").into_bytes();
    comment.resize(length - picture.len() - 4, b' ');
    let mut bytes = Vec::with_capacity(length);
    segment(&mut bytes, 0xfe, &comment);
    bytes.extend(picture);
    bytes
}

/// Tables, scan and end. Each block is one flat colour, so only DC coefficients occur: the DC table has
/// twelve codes of four bits (code = category), the AC table the one code `0` for "end of block".
fn jpeg_picture(seed: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A quantiser of 8 makes a block's coefficient its level minus 128.
    segment(&mut bytes, 0xdb, &[&[0_u8][..], &[8; 64]].concat());
    segment(&mut bytes, 0xc0, &[8, 0, 64, 0, 64, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    let mut dc = [0_u8; 29];
    dc[4] = 12;
    (0..12).for_each(|category| dc[17 + usize::from(category)] = category);
    segment(&mut bytes, 0xc4, &dc);
    let mut ac = [0_u8; 18];
    ac[0] = 0x10;
    ac[1] = 1;
    segment(&mut bytes, 0xc4, &ac);
    segment(&mut bytes, 0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    let mut scan = Bits::default();
    let mut last = [0_i32; 3];
    for block in 0..BLOCKS * BLOCKS {
        let noise = mix(seed.wrapping_mul(64).wrapping_add(block)).to_le_bytes();
        for (plane, last) in last.iter_mut().enumerate() {
            // Brightness moves widely, colour a little, as in a photograph.
            let level = i32::from(noise[plane]) / if plane == 0 { 1 } else { 4 };
            let level = level - if plane == 0 { 128 } else { 32 };
            let change = level - *last;
            *last = level;
            let category = 32 - change.unsigned_abs().leading_zeros();
            scan.push(category, 4);
            let bits = if change < 0 { change - 1 } else { change };
            scan.push(bits.cast_unsigned() & ((1 << category) - 1), category);
            scan.push(0, 1);
        }
    }
    bytes.extend(scan.finish());
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// Appends a JPEG segment: marker, length, content.
fn segment(bytes: &mut Vec<u8>, marker: u8, content: &[u8]) {
    let length = u16::try_from(content.len() + 2).expect("segments are cut to fit");
    bytes.extend([0xff, marker]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(content);
}

/// Bits of a JPEG scan, most significant first, with the zero byte that must follow every `ff`.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits {
    fn push(&mut self, value: u32, bits: u32) {
        self.held = self.held << bits | value;
        self.count += bits;
        while self.count >= 8 {
            self.count -= 8;
            let byte = self.held >> self.count & 0xff;
            self.bytes.push(u8::try_from(byte).expect("masked to a byte"));
            if byte == 0xff {
                self.bytes.push(0);
            }
        }
        self.held &= (1 << self.count) - 1;
    }

    fn finish(mut self) -> Vec<u8> {
        let missing = (8 - self.count) % 8;
        self.push((1 << missing) - 1, missing);
        self.bytes
    }
}

/// A PNG with a colour gradient, `width` x `height`, about `3 * width * height` bytes long since its
/// pixels are stored, not compressed.
pub fn png(seed: u64, width: u32, height: u32) -> Vec<u8> {
    let [red, green, blue, ..] = mix(seed).to_le_bytes();
    let mut pixels = Vec::new();
    for y in 0..height {
        pixels.push(0); // this row's filter: none
        for x in 0..width {
            let [x, y] = [x.to_le_bytes()[0], y.to_le_bytes()[0]];
            pixels.extend([red.wrapping_add(x), green.wrapping_add(y), blue.wrapping_add(x ^ y)]);
        }
    }
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]); // 8 bits, RGB
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut bytes, *b"IHDR", &header);
    chunk(&mut bytes, *b"tEXt", format!("Comment\0sandbox image {seed}").as_bytes());
    chunk(&mut bytes, *b"IDAT", &stored_zlib(&pixels));
    chunk(&mut bytes, *b"IEND", b"");
    bytes
}

/// Appends a PNG chunk: length, kind, content, CRC.
fn chunk(bytes: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) {
    let length = u32::try_from(content.len()).expect("samples are small");
    bytes.extend(length.to_be_bytes());
    let from = bytes.len();
    bytes.extend(kind);
    bytes.extend(content);
    let crc = crc32(&bytes[from..]);
    bytes.extend(crc.to_be_bytes());
}

/// A zlib stream of stored blocks (RFC 1950, RFC 1951 section 3.2.4).
fn stored_zlib(data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x78, 0x01];
    let blocks = data.chunks(65_535).count();
    for (index, block) in data.chunks(65_535).enumerate() {
        let length = u16::try_from(block.len()).expect("chunks of 65,535");
        bytes.push(u8::from(index + 1 == blocks));
        bytes.extend(length.to_le_bytes());
        bytes.extend((!length).to_le_bytes());
        bytes.extend(block);
    }
    let (mut low, mut high) = (1_u32, 0_u32);
    for &byte in data {
        low = (low + u32::from(byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    bytes.extend((high << 16 | low).to_be_bytes());
    bytes
}

fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !data.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

/// `SplitMix64`: every number gives another, evenly spread one.
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jpeg_has_the_size_that_was_asked_for() {
        for size in [1044, 1045, 1046, 1047, 1048, 5000, 66_580, 66_582, 66_585, 200_000] {
            let bytes = jpeg(7, size);
            assert_eq!(bytes.len(), size);
            assert!(bytes.starts_with(&[0xff, 0xd8, 0xff, 0xe0]) && bytes.ends_with(&[0xff, 0xd9]));
        }
        assert_eq!(jpeg(7, 0).len(), 1044, "the smallest there is");
    }

    #[test]
    fn seeds_give_different_bytes_and_equal_seeds_equal_ones() {
        assert_ne!(jpeg(1, 2000), jpeg(2, 2000));
        assert_eq!(jpeg(1, 2000), jpeg(1, 2000));
        assert_ne!(png(1, 9, 9), png(2, 9, 9));
    }

    #[test]
    fn the_checksum_is_the_one_of_png() {
        assert_eq!(crc32(b"IEND"), 0xae42_6082);
    }
}
