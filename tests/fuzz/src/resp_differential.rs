//! The parser of requests against another implementation of the protocol.
//!
//! That one decodes whole frames of any type and knows no limits. Compared is what both must read alike: a request that
//! is an array of bulk strings, within our limits. Ours accepts more (inline commands, empty lines, `*-1`) and less
//! (other types where an argument stands); theirs accepts lengths with a sign or zeros in front, which a server refuses.

use bytes::Bytes;
use redis_protocol::resp2::decode::decode_bytes;
use redis_protocol::resp2::types::BytesFrame;
use resp::{Limits, Parsed, Parser};

/// Reads the front of the input with both.
pub fn check(data: &[u8]) {
    let limits = Limits::default();
    let mut parser = Parser::new();
    let ours = parser.parse(data, &limits);
    let theirs = decode_bytes(&Bytes::copy_from_slice(data));
    if let Ok(Parsed::Complete { consumed }) = ours
        && data[0] == b'*'
    {
        let words: Vec<Vec<u8>> = parser.args(data).iter_from(0).map(<[u8]>::to_vec).collect();
        let (frame, length) = theirs.expect("what we read is sound").expect("what we read is whole");
        assert_eq!(length, consumed, "the request ends elsewhere");
        assert_eq!(bulks(frame).expect("what we read are bulk strings"), words);
        return;
    }
    if let Ok(Some((frame, length))) = theirs
        && data[0] == b'*'
        && is_canonical(&data[..length])
        && let Some(words) = bulks(frame)
        && !words.is_empty()
    {
        panic!("we answer {ours:?} to a sound request of {words:?}");
    }
}

fn bulks(frame: BytesFrame) -> Option<Vec<Vec<u8>>> {
    let BytesFrame::Array(elements) = frame else { return None };
    let bulk = |element| match element {
        BytesFrame::BulkString(bytes) => Some(bytes.to_vec()),
        _ => None,
    };
    elements.into_iter().map(bulk).collect()
}

/// Whether every length in a request of bulk strings has its one proper form, and every string its end of line, which
/// they do not look at.
fn is_canonical(request: &[u8]) -> bool {
    let mut rest = request;
    let mut line = |kind: u8| -> Option<usize> {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let (head, behind) = rest.split_at(end);
        let (first, digits) = head.split_first()?;
        let text = std::str::from_utf8(digits).ok()?;
        let number: usize = text.parse().ok()?;
        if *first != kind || number.to_string() != text {
            return None;
        }
        rest = &behind[2..];
        if kind == b'$' {
            rest = rest.get(number..)?.strip_prefix(b"\r\n")?;
        }
        Some(number)
    };
    let Some(count) = line(b'*') else { return false };
    (0..count).all(|_| line(b'$').is_some())
}
