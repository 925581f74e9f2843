//! Memory that a body is gathered in until it is worth a hand-over to a blocking thread.

/// Bytes of a whole block: what one write gives to the disk. With half of it 3 x 512 MiB took a fifth longer; with
/// twice of it 5 % less, but 64 images of 4 MiB at a time took half as much memory again.
pub(super) const SIZE: usize = 512 * 1024;

/// Bytes of the first allocation: most images of a kind are either smaller or many times larger.
const FIRST: usize = 64 * 1024;

/// Writes that pass by the page cache want memory, place and length in multiples of the disk's blocks (open(2), under
/// `O_DIRECT`); of 512 or 4,096 bytes they are nearly everywhere.
const ALIGNED: usize = 4096;

/// Bytes that a block has room for whose first one has this place in the file: blocks end at multiples of [`SIZE`], so
/// that also behind a part that was gone on from anywhere the next one begins where the disk wants it.
pub(super) fn room_at(place: u64) -> usize {
    SIZE - usize::try_from(place % SIZE as u64).unwrap_or(0)
}

/// At most [`SIZE`] bytes, in memory that begins at a multiple of [`ALIGNED`].
#[derive(Debug, Default)]
pub(super) struct Buffer {
    memory: Vec<u8>,
    /// The bytes begin here.
    start: usize,
}

impl Buffer {
    fn with_room(room: usize) -> Self {
        let mut memory: Vec<u8> = Vec::with_capacity(room + ALIGNED);
        // where it cannot be told the disk refuses such a write, and gets it through the cache
        let start = memory.as_ptr().align_offset(ALIGNED).min(ALIGNED);
        memory.resize(start, 0);
        Self { memory, start }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Forgets its bytes, keeps their memory.
    pub(super) fn clear(&mut self) {
        self.memory.truncate(self.start);
    }

    /// Takes more bytes, at most [`SIZE`] in all; where they are now.
    pub(super) fn extend(&mut self, more: &[u8]) -> &[u8] {
        let before = self.bytes().len();
        let after = before + more.len();
        // a vector that grows by itself moves its bytes to where they are not aligned
        if self.memory.capacity() < self.start + after {
            let mut larger = Self::with_room(after.max(FIRST).next_power_of_two());
            larger.memory.extend_from_slice(self.bytes());
            *self = larger;
        }
        self.memory.extend_from_slice(more);
        &self.bytes()[before..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_aligned_however_a_block_grows() {
        let mut block = Buffer::default();
        let mut expected = Vec::new();
        for length in [1, 4095, 70_000, 0, 200_000, SIZE - 274_096] {
            let more: Vec<u8> = (0..249).cycle().take(length).collect();
            assert_eq!(block.extend(&more), more);
            expected.extend_from_slice(&more);
            assert!(block.bytes() == expected, "after {length} more");
            assert_eq!(block.bytes().as_ptr().align_offset(ALIGNED), 0, "after {length} more");
        }
        assert_eq!(block.bytes().len(), SIZE);
        let memory = block.memory.capacity();
        block.clear();
        assert!(block.is_empty());
        block.extend(&expected);
        assert!(block.bytes() == expected && block.memory.capacity() == memory, "the same memory");
    }
}
