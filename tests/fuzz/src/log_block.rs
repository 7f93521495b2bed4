//! Headers and records of the log: any bytes give a value or an error.

use wal::format::{BlockHeader, HEADER_BYTES, HEADER_CRC_AT};
use wal::record::{self, LogPosition};

/// The first bytes say what the rest is.
pub fn check(data: &[u8]) {
    let Some(([kind, offset], rest)) = data.split_first_chunk::<2>() else { return };
    if kind % 2 == 0 {
        header(rest);
    } else {
        record(rest, u64::from(*offset) * 8);
    }
}

fn header(data: &[u8]) {
    if let Some((header, crc)) = BlockHeader::decode(data) {
        let (bytes, again) = header.encode();
        assert_eq!((&bytes[..HEADER_CRC_AT], again), (&data[..HEADER_CRC_AT], crc), "one header has one form");
    }
    // The same with a checksum made to fit.
    if let Some(bytes) = data.first_chunk::<HEADER_BYTES>() {
        let mut bytes = *bytes;
        bytes[..8].copy_from_slice(&wal::format::MAGIC.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..HEADER_CRC_AT]);
        bytes[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        if let Some((header, _)) = BlockHeader::decode(&bytes) {
            assert!(header.block_bytes() >= HEADER_BYTES + header.records_len as usize);
        }
    }
}

fn record(data: &[u8], offset: u64) {
    let place = LogPosition { segment: 7, offset };
    let _ = record::decode(data, place);
    let mut sealed = data.to_vec();
    if sealed.len() < record::RECORD_HEADER_BYTES {
        return;
    }
    // Length and checksum made to fit, so that what lies behind them is reached.
    let len = sealed.len() as u32;
    sealed[4..8].copy_from_slice(&len.to_le_bytes());
    let crc = checksum(&sealed, place);
    sealed[..4].copy_from_slice(&crc.to_le_bytes());
    if let Ok(record) = record::decode(&sealed, place)
        && let record::Body::Entries(entries) = record.body
    {
        for (_, range) in entries.iter() {
            assert!(range.end <= entries.payloads().len(), "a payload lies outside its record");
        }
        assert_eq!(entries.iter().count(), entries.count as usize);
    }
}

/// What the log's format says about it: over the place, and the record behind its checksum.
fn checksum(record: &[u8], place: LogPosition) -> u32 {
    let parts = [&place.segment.to_le_bytes()[..], &place.offset.to_le_bytes(), &record[4..]];
    crc32fast::hash(&parts.concat())
}
