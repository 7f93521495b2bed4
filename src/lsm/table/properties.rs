//! The body of the properties unit: what is known of a table as a whole. The manifest holds the same.

use crate::codec::{Input, len_u32, put_string};
use crate::error::FormatError;
use crate::ids::FileId;

use super::ranges::RangeTombstones;
use super::slot_counts::SlotCounts;
use super::stored_row::{BlobRef, Content, ROW_KEY_BYTES_MAX, StoredRow, Value, is_head, slot_of};
use super::widest_ranges::WidestRanges;

/// Most blob files that the rows of one table lead to.
pub const BLOB_USES_COUNT_MAX: usize = 4_096;

/// How much of a blob file the rows of a table lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobUse {
    /// The file.
    pub file: FileId,
    /// How many values.
    pub values: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is known of a table as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Rows, tombstones included.
    pub rows: u64,
    /// Heads that have a value.
    pub heads: u64,
    /// Tombstones of heads.
    pub head_tombstones: u64,
    /// All tombstones.
    pub tombstones: u64,
    /// Rows with an expiry.
    pub expiring: u64,
    /// The smallest expiry, Unix time in ms; `u64::MAX` if there is none.
    pub expiry_ms_min: u64,
    /// The largest expiry; 0 if there is none.
    pub expiry_ms_max: u64,
    /// Time of the merge that wrote the table, Unix time in ms; 0 if none did. Rows that had expired by then are those
    /// that no merge may drop.
    pub merged_ms: u64,
    /// Range tombstones.
    pub range_tombstones: u64,
    /// Bytes of keys and of values, but for those in blob files.
    pub raw_bytes: u64,
    /// Bytes of the units before the properties.
    pub stored_bytes: u64,
    /// The first key that the table says something of.
    pub smallest: Vec<u8>,
    /// The last key that the table says something of, or the end of a range tombstone behind it.
    pub largest: Vec<u8>,
    /// Heads by slots.
    pub slots: SlotCounts,
    /// Blob files that its rows lead to, ascending.
    pub blobs: Vec<BlobUse>,
    /// Where its range tombstones lie, about.
    pub widest_ranges: WidestRanges,
}

impl Default for Properties {
    fn default() -> Properties {
        Properties {
            rows: 0,
            heads: 0,
            head_tombstones: 0,
            tombstones: 0,
            expiring: 0,
            expiry_ms_min: u64::MAX,
            expiry_ms_max: 0,
            merged_ms: 0,
            range_tombstones: 0,
            raw_bytes: 0,
            stored_bytes: 0,
            smallest: Vec::new(),
            largest: Vec::new(),
            slots: SlotCounts::default(),
            blobs: Vec::new(),
            widest_ranges: WidestRanges::default(),
        }
    }
}

impl Properties {
    /// About how many rows have expired by a time, but for those that had when the table was written by a merge. As if
    /// expiries were spread evenly between the smallest and the largest.
    pub fn expired_about(&self, time_ms: u64) -> u64 {
        let from = self.expiry_ms_min.max(self.merged_ms);
        if self.expiring == 0 || time_ms < from || self.expiry_ms_max < from {
            return 0;
        }
        if time_ms >= self.expiry_ms_max && from == self.expiry_ms_min {
            return self.expiring;
        }
        let passed = u128::from(time_ms.min(self.expiry_ms_max) - from);
        let all = u128::from((self.expiry_ms_max - self.expiry_ms_min).max(1));
        // It is not greater than `expiring`.
        (u128::from(self.expiring) * passed / all) as u64
    }

    /// Counts a row. Rows come by ascending keys.
    pub(super) fn add(&mut self, row: &StoredRow<'_>) {
        if self.rows == 0 {
            row.key.clone_into(&mut self.smallest);
        }
        self.rows += 1;
        self.raw_bytes += row.key.len() as u64;
        let is_tombstone = row.content == Content::Tombstone;
        self.tombstones += u64::from(is_tombstone);
        if is_head(row.key) {
            self.heads += u64::from(!is_tombstone);
            self.head_tombstones += u64::from(is_tombstone);
            if let Some(slot) = slot_of(row.key) {
                self.slots.add(slot, is_tombstone);
            }
        }
        let Content::Put(put) = row.content else { return };
        if let Some(expiry) = put.expiry_ms {
            self.expiring += 1;
            self.expiry_ms_min = self.expiry_ms_min.min(expiry);
            self.expiry_ms_max = self.expiry_ms_max.max(expiry);
        }
        match put.value {
            Value::Inline(value) => self.raw_bytes += value.len() as u64,
            Value::Blob(blob) => self.add_blob(blob),
        }
    }

    /// Counts what there is besides rows, behind the last row, which has this key.
    pub(super) fn complete(&mut self, last_key: Vec<u8>, ranges: &RangeTombstones) {
        self.range_tombstones = ranges.count() as u64;
        self.widest_ranges = WidestRanges::of(ranges);
        self.largest = last_key;
        let (Some(first), Some(last)) = (ranges.iter().next(), ranges.iter().next_back()) else { return };
        if self.rows == 0 || first.from < self.smallest {
            first.from.clone_into(&mut self.smallest);
        }
        if last.to > self.largest {
            last.to.clone_into(&mut self.largest);
        }
    }

    fn add_blob(&mut self, blob: BlobRef) {
        let bytes = u64::from(blob.len);
        match self.blobs.binary_search_by_key(&blob.file, |of| of.file) {
            Ok(idx) => {
                self.blobs[idx].values += 1;
                self.blobs[idx].bytes += bytes;
            }
            Err(idx) => self.blobs.insert(idx, BlobUse { file: blob.file, values: 1, bytes }),
        }
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let numbers = [
            self.rows,
            self.heads,
            self.head_tombstones,
            self.tombstones,
            self.expiring,
            self.expiry_ms_min,
            self.expiry_ms_max,
            self.merged_ms,
            self.range_tombstones,
            self.raw_bytes,
            self.stored_bytes,
        ];
        out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        put_string(out, &self.smallest);
        put_string(out, &self.largest);
        self.slots.encode(out);
        out.extend_from_slice(&len_u32(self.blobs.len()).to_le_bytes());
        for of in &self.blobs {
            let numbers = [of.file.store, of.file.number, of.values, of.bytes];
            out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        }
        self.widest_ranges.encode(out);
    }

    /// Reads a body, and nothing but that.
    pub fn decode(body: &[u8]) -> Result<Properties, FormatError> {
        let mut input = Input::new(body);
        let properties = Properties::read(&mut input)?;
        input.end()?;
        Ok(properties)
    }

    /// Reads a body that something may follow.
    pub(crate) fn read(input: &mut Input<'_>) -> Result<Properties, FormatError> {
        let properties = Properties {
            rows: input.u64()?,
            heads: input.u64()?,
            head_tombstones: input.u64()?,
            tombstones: input.u64()?,
            expiring: input.u64()?,
            expiry_ms_min: input.u64()?,
            expiry_ms_max: input.u64()?,
            merged_ms: input.u64()?,
            range_tombstones: input.u64()?,
            raw_bytes: input.u64()?,
            stored_bytes: input.u64()?,
            smallest: input.string()?.to_vec(),
            largest: input.string()?.to_vec(),
            slots: SlotCounts::decode(input)?,
            blobs: read_blobs(input)?,
            widest_ranges: WidestRanges::decode(input)?,
        };
        let keys_are_sound =
            properties.smallest <= properties.largest && properties.largest.len() <= ROW_KEY_BYTES_MAX;
        let counts = [properties.tombstones, properties.expiring, properties.heads];
        if !keys_are_sound || counts.into_iter().any(|count| count > properties.rows) {
            return Err(FormatError::Malformed("the properties of a table contradict each other"));
        }
        Ok(properties)
    }
}

fn read_blobs(input: &mut Input<'_>) -> Result<Vec<BlobUse>, FormatError> {
    let mut blobs: Vec<BlobUse> = Vec::new();
    for _ in 0..input.u32()? {
        let file = FileId { store: input.u64()?, number: input.u64()? };
        if blobs.len() == BLOB_USES_COUNT_MAX || blobs.last().is_some_and(|last| last.file >= file) {
            return Err(FormatError::Malformed("the blob files of a table do not ascend"));
        }
        blobs.push(BlobUse { file, values: input.u64()?, bytes: input.u64()? });
    }
    Ok(blobs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::stored_row::Put;

    fn properties() -> Properties {
        let mut properties = Properties::default();
        let put = |value| Content::Put(Put { value_type: 0, expiry_ms: None, value });
        let expiring = Put { value_type: 0, expiry_ms: Some(9), value: Value::Inline(b"xyz") };
        let file = |number| FileId { store: 1, number };
        properties.add(&StoredRow { key: b"\0\x05h1", content: Content::Put(expiring) });
        properties.add(&StoredRow { key: b"\0\x05h2", content: Content::Tombstone });
        for (key, number) in [(b"\0\x06h3", 8), (b"\0\x06h4", 3), (b"\0\x07e5", 8)] {
            let blob = BlobRef { file: file(number), offset: 0, len: 20_000 };
            properties.add(&StoredRow { key, content: put(Value::Blob(blob)) });
        }
        let mut ranges = RangeTombstones::default();
        ranges.push(b"\0\x05", b"\0\x06");
        properties.complete(b"\0\x07e5".to_vec(), &ranges);
        properties
    }

    #[test]
    fn rows_are_counted_by_what_they_are() {
        let properties = properties();
        assert_eq!((properties.rows, properties.heads, properties.tombstones, properties.expiring), (5, 3, 1, 1));
        assert_eq!((properties.expiry_ms_min, properties.expiry_ms_max), (9, 9));
        assert_eq!((properties.raw_bytes, properties.head_tombstones), (5 * 4 + 3, 1));
        assert_eq!((&properties.smallest[..], &properties.largest[..]), (&b"\0\x05"[..], &b"\0\x07e5"[..]));
        let blobs: Vec<_> = properties.blobs.iter().map(|of| (of.file.number, of.values, of.bytes)).collect();
        assert_eq!(blobs, [(3, 1, 20_000), (8, 2, 40_000)]);
        let slots: Vec<_> =
            properties.slots.iter().map(|range| (range.first.number(), range.heads, range.tombstones)).collect();
        assert_eq!(slots, [(5, 1, 1), (6, 2, 0)]);
        let ranges: Vec<_> = properties.widest_ranges.iter().map(|range| range.to - range.from).collect();
        assert_eq!(ranges, [1 << (128 - 16)]);
    }

    #[test]
    fn expiries_are_estimated_behind_the_last_merge() {
        let of = |merged_ms| Properties {
            expiring: 100,
            expiry_ms_min: 1_000,
            expiry_ms_max: 2_000,
            merged_ms,
            ..Properties::default()
        };
        for (merged_ms, time_ms, expired) in [
            (0, 999, 0),
            (0, 1_500, 50),
            (0, 2_000, 100),
            (0, 9_000, 100),
            (1_500, 1_400, 0),
            (1_500, 1_700, 20),
            (1_500, 9_000, 50),
            (2_001, 9_000, 0),
        ] {
            assert_eq!(of(merged_ms).expired_about(time_ms), expired, "merged at {merged_ms}, {time_ms}");
        }
        assert_eq!(Properties::default().expired_about(u64::MAX), 0);
    }

    #[test]
    fn they_read_back_and_no_shorter_body_does() {
        let mut body = Vec::new();
        properties().encode(&mut body);
        let found = Properties::decode(&body).expect("it was encoded");
        let mut again = Vec::new();
        found.encode(&mut again);
        assert_eq!(again, body);
        for len in 0..body.len() {
            assert!(Properties::decode(&body[..len]).is_err(), "{len}");
        }
        body.push(0);
        assert!(Properties::decode(&body).is_err());
    }
}
