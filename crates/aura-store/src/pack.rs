//! Blobs as they lie on the disk: compressed with zstd, and never unpacked beyond a stated length.

use std::io;

/// The level that costs least; blobs are packed while somebody waits.
const LEVEL: i32 = 1;

/// Compresses `plain`.
pub(crate) fn pack(plain: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(plain, LEVEL)
}

/// The plain bytes; an error if they are damaged or more than `most`.
pub(crate) fn unpack(packed: &[u8], most: usize) -> io::Result<Vec<u8>> {
    zstd::bulk::decompress(packed, most)
}

/// The most bytes that `plain` bytes can become.
pub(crate) fn packed_bound(plain: usize) -> usize {
    zstd::zstd_safe::compress_bound(plain)
}
