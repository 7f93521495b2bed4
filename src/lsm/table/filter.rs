//! A split-block Bloom filter: says of most rows that are not there that they are not, with one cache line read.
//!
//! Its bits are documented in the format of a leaf. With ten bits a row about one row in a hundred that is not there
//! passes.

use xxhash_rust::xxh3::xxh3_64;

/// What each of the eight words of a block multiplies a hash by. Those of Parquet's filter, chosen at random and odd.
pub const SALT: [u32; 8] =
    [0x47B6_137B, 0x4497_4D91, 0x8824_AD5B, 0xA2B7_289D, 0x7054_95C7, 0x2DF1_424B, 0x9EFC_4947, 0x5C6B_FB31];
/// Bytes of a block of the filter.
pub const FILTER_BLOCK_BYTES: usize = 32;

/// The hash of a row key, as filters take it. The keyed hash within the row key keeps clients from choosing it.
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// A filter of these hashes, with about so many bits for each; with 0 bits an empty one.
pub fn build(hashes: &[u64], bits_per_row: usize) -> Vec<u8> {
    let blocks_count = (hashes.len() * bits_per_row).div_ceil(FILTER_BLOCK_BYTES * 8);
    let mut filter = vec![0; blocks_count * FILTER_BLOCK_BYTES];
    if filter.is_empty() {
        return filter;
    }
    for hash in hashes {
        let begin = block_idx(*hash, blocks_count) * FILTER_BLOCK_BYTES;
        for (word, salt) in filter[begin..begin + FILTER_BLOCK_BYTES].as_chunks_mut().0.iter_mut().zip(SALT) {
            *word = (u32::from_le_bytes(*word) | bit(*hash, salt)).to_le_bytes();
        }
    }
    filter
}

/// Whether a row with this hash may be among those that a filter was built of. An empty filter says yes.
pub fn may_contain(filter: &[u8], hash: u64) -> bool {
    let blocks = filter.as_chunks::<FILTER_BLOCK_BYTES>().0;
    let Some(block) = blocks.get(block_idx(hash, blocks.len())) else { return true };
    let words = block.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    words.zip(SALT).all(|(word, salt)| word & bit(hash, salt) != 0)
}

fn block_idx(hash: u64, blocks_count: usize) -> usize {
    // Both factors are less than 2^32, so the product fits.
    (((hash >> 32) * blocks_count as u64) >> 32) as usize
}

fn bit(hash: u64, salt: u32) -> u32 {
    1 << ((hash as u32).wrapping_mul(salt) >> 27)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_went_in_is_found_and_little_else() {
        for count in [1, 2, 100, 16_384_u32] {
            let hashes: Vec<u64> = (0..count).map(|i| hash(&i.to_le_bytes())).collect();
            let filter = build(&hashes, 10);
            assert_eq!(filter.len() % FILTER_BLOCK_BYTES, 0);
            assert!(filter.len() <= count as usize * 10 / 8 + FILTER_BLOCK_BYTES);
            assert!(hashes.iter().all(|hash| may_contain(&filter, *hash)));
            let passing = (count..count + 100_000).filter(|i| may_contain(&filter, hash(&i.to_le_bytes()))).count();
            assert!(passing < 2_000, "{passing} of 100,000 pass a filter of {count} rows");
        }
    }

    #[test]
    fn an_empty_filter_says_nothing() {
        assert!(build(&[], 10).is_empty());
        assert!(may_contain(&[], 5));
    }

    #[test]
    fn the_bits_are_those_of_parquet() {
        let filter = build(&[0x0123_4567_89AB_CDEF], 10);
        let bits = filter.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word).trailing_zeros());
        assert_eq!(
            bits.collect::<Vec<_>>(),
            [18, 19, 30, 23, 4, 16, 12, 24],
            "worked out by the definition in the description of Parquet"
        );
    }
}
