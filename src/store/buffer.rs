//! Memory that gathers a body until it is worth handing to a blocking thread.

use super::direct_io::ALIGNMENT;

/// Bytes of a full buffer, which one write gives to the disk. Half of it made 3 x 512 MiB take a fifth longer; twice of
/// it 5 % less, but 64 images of 4 MiB at a time then took half as much memory again.
pub(super) const BUFFER_SIZE: usize = 512 * 1024;

/// Bytes of the first allocation: most images are either smaller, or many times larger.
const FIRST_ALLOCATION: usize = 64 * 1024;

/// Bytes that a buffer has room for if its first one is at this offset of the file. Buffers end at multiples of
/// [`BUFFER_SIZE`], so even after a resume from anywhere the next one begins where a direct write can.
pub(super) fn room_at(offset: u64) -> usize {
    BUFFER_SIZE - usize::try_from(offset % BUFFER_SIZE as u64).unwrap_or(0)
}

/// At most [`BUFFER_SIZE`] bytes, in memory that begins at a multiple of [`ALIGNMENT`].
#[derive(Debug, Default)]
pub(super) struct Buffer {
    memory: Vec<u8>,
    /// Index of the first byte.
    start: usize,
}

impl Buffer {
    fn with_room(room: usize) -> Self {
        let mut memory: Vec<u8> = Vec::with_capacity(room + ALIGNMENT);
        // if this cannot be computed the disk refuses a direct write, and the bytes go through the cache
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        memory.resize(start, 0);
        Self { memory, start }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Removes the bytes, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.memory.truncate(self.start);
    }

    /// Copies more bytes in, at most [`BUFFER_SIZE`] in all, and returns the copy.
    pub(super) fn extend(&mut self, more: &[u8]) -> &[u8] {
        let before = self.bytes().len();
        let after = before + more.len();
        // a vector that grows by itself moves its bytes to memory that is not aligned
        if self.memory.capacity() < self.start + after {
            let mut larger = Self::with_room(after.max(FIRST_ALLOCATION).next_power_of_two());
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
    fn bytes_stay_aligned_however_a_buffer_grows() {
        let mut buffer = Buffer::default();
        let mut expected = Vec::new();
        for length in [1, 4095, 70_000, 0, 200_000, BUFFER_SIZE - 274_096] {
            let more: Vec<u8> = (0..249).cycle().take(length).collect();
            assert_eq!(buffer.extend(&more), more);
            expected.extend_from_slice(&more);
            assert!(buffer.bytes() == expected, "after {length} more");
            assert_eq!(buffer.bytes().as_ptr().align_offset(ALIGNMENT), 0, "after {length} more");
        }
        assert_eq!(buffer.bytes().len(), BUFFER_SIZE);
        let memory = buffer.memory.capacity();
        buffer.clear();
        assert!(buffer.is_empty());
        buffer.extend(&expected);
        assert!(buffer.bytes() == expected && buffer.memory.capacity() == memory, "the same memory");
    }
}
