//! Frames, greetings, batches, memberships and reports of peers: any bytes give a value or an error, and a value that is sent
//! again reads the same.

use bytes::Bytes;
use wire::{
    Batch, FRAME_HEADER_BYTES, Frame, FrameHeader, HELLO_BYTES, Hello, Membership, Report, VERDICT_BYTES, Verdict,
};

/// The first byte says what the rest is.
pub fn check(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    match first % 5 {
        0 => raw(rest),
        // Random bytes never carry a sound checksum: seal them, so that what lies behind it is reached.
        1 => sealed(rest),
        2 => greeting(rest),
        3 => batch(rest),
        _ => {
            membership(rest);
            report(rest);
        }
    }
}

fn raw(data: &[u8]) {
    let Some((header, body)) = data.split_first_chunk::<FRAME_HEADER_BYTES>() else { return };
    if let Ok(header) = FrameHeader::decode(header) {
        assert!(header.body_len() <= types::limits::FRAME_BYTES_MAX);
        let _ = header.decode_body(Bytes::copy_from_slice(body));
    }
}

/// Metadata and payloads of a frame, with a header made to fit. The first two bytes say where they part.
fn sealed(data: &[u8]) {
    let Some(([low, high], body)) = data.split_first_chunk::<2>() else { return };
    let head_len = usize::from(u16::from_le_bytes([*low, *high])).min(body.len());
    let (head, payloads) = body.split_at(head_len);
    let words = [
        u32::from_le_bytes(*b"CRF2"),
        head.len() as u32,
        payloads.len() as u32,
        crc32fast::hash(head),
        crc32fast::hash(payloads),
    ];
    let mut header = [0; FRAME_HEADER_BYTES];
    for (place, word) in header.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let crc = crc32fast::hash(&header[..20]);
    header[20..].copy_from_slice(&crc.to_le_bytes());
    let header = FrameHeader::decode(&header).expect("a header that was made to fit");
    // An archive lies aligned for any type of ours: they are all unaligned.
    let Ok(mut frame) = header.decode_body(Bytes::copy_from_slice(body)) else { return };
    let shown = format!("{frame:?}");
    let again = reread(&mut frame);
    assert_eq!(format!("{again:?}"), shown, "a frame sent again reads the same");
}

fn reread(frame: &mut Frame) -> Frame {
    let mut parts = Vec::new();
    frame.encode(&mut parts);
    let bytes = parts.concat();
    let (header, body) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>().expect("a frame has a header");
    let header = FrameHeader::decode(header).expect("a header of ours");
    header.decode_body(Bytes::copy_from_slice(body)).expect("a frame of ours")
}

fn greeting(data: &[u8]) {
    if let Some(bytes) = data.first_chunk::<HELLO_BYTES>()
        && let Ok(hello) = Hello::decode(bytes)
    {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
    if let Some(bytes) = data.first_chunk::<VERDICT_BYTES>()
        && let Some(verdict) = Verdict::decode(bytes)
    {
        assert_eq!(Verdict::decode(&verdict.encode()), Some(verdict));
    }
}

fn batch(data: &[u8]) {
    let Ok(batch) = Batch::access(data) else { return };
    let mut count = 0;
    let outcome = batch.for_each(|_, arguments| {
        count += 1;
        for (start, end) in arguments {
            assert!(start <= end && end as usize <= batch.arguments().len(), "an argument lies outside the batch");
        }
    });
    assert!(outcome.is_err() || count == batch.commands_count());
}

fn membership(data: &[u8]) {
    if let Ok(membership) = Membership::decode(data) {
        assert_eq!(&membership.encode()[..], data, "one membership has one form");
    }
}

fn report(data: &[u8]) {
    if let Ok(report) = Report::decode(data) {
        assert_eq!(&report.encode()[..], data, "one report has one form");
    }
}
