//! Reads RESP2 and RESP3 replies from a buffer that may end anywhere.

/// How deep arrays may nest. `CLUSTER SLOTS` needs four levels.
const DEPTH_MAX: usize = 8;
/// The longest line that is waited for: an error text or a number.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The longest bulk string that is waited for.
const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;
/// The most elements an array may announce.
const ARRAY_LEN_MAX: usize = 1024 * 1024;

/// One reply. It borrows from the buffer it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `+OK`
    Simple(&'a [u8]),
    /// `-ERR ...`, without the dash.
    Error(&'a [u8]),
    /// `:1`
    Integer(i64),
    /// `$3 foo`, or `=7 txt:foo` without the format
    Bulk(&'a [u8]),
    /// `$-1`, `*-1` or `_`
    Nil,
    /// `*2 ...`, or `~2 ...`, a set
    Array(Vec<Reply<'a>>),
    /// `%1 ...`: keys and values in turn
    Map(Vec<Reply<'a>>),
    /// `#t`
    Bool(bool),
    /// `,1.5` or `(123`: a number as text
    Number(&'a [u8]),
    /// `>2 ...`: nobody asked for it
    Push(Vec<Reply<'a>>),
}

/// A reply and how many bytes it took.
pub type Decoded<'a> = (Reply<'a>, usize);

/// Reads the first reply of `buf`. `Ok(None)` means that its end is still to come: call again with more bytes
/// behind the same start.
///
/// # Errors
/// Says what is wrong with the bytes; the stream cannot be trusted any more.
pub fn decode(buf: &[u8]) -> Result<Option<Decoded<'_>>, String> {
    decode_nested(buf, 0)
}

fn decode_nested(buf: &[u8], depth: usize) -> Result<Option<Decoded<'_>>, String> {
    let Some((&kind, tail)) = buf.split_first() else { return Ok(None) };
    let Some(line) = take_line(tail)? else { return Ok(None) };
    // The type byte, the line, CR and LF.
    let head_len = line.len() + 3;
    let scalar = |reply| Ok(Some((reply, head_len)));
    match kind {
        b'+' => scalar(Reply::Simple(line)),
        b'-' => scalar(Reply::Error(line)),
        b':' => scalar(Reply::Integer(number(line)?)),
        b'$' => match length(line, BULK_BYTES_MAX)? {
            None => scalar(Reply::Nil),
            Some(len) => decode_bulk(buf, head_len, len),
        },
        b'_' => scalar(Reply::Nil),
        b',' | b'(' => scalar(Reply::Number(line)),
        b'#' => match line {
            b"t" | b"f" => scalar(Reply::Bool(line == b"t")),
            _ => Err(format!("`{}` is neither true nor false", line.escape_ascii())),
        },
        b'!' | b'=' => {
            let len = length(line, BULK_BYTES_MAX)?.ok_or("a length of -1")?;
            Ok(decode_bulk(buf, head_len, len)?.map(|(reply, used)| (typed_bulk(kind, reply), used)))
        }
        b'*' | b'~' | b'%' | b'>' | b'|' => decode_aggregate(kind, buf, line, depth),
        other => Err(format!("a reply starts with the byte {other:#04x}")),
    }
}

/// What a bulk string is that came with the type byte `!` or `=`.
fn typed_bulk(kind: u8, bulk: Reply<'_>) -> Reply<'_> {
    match (kind, bulk) {
        (b'!', Reply::Bulk(text)) => Reply::Error(text),
        // Three letters of its format and a colon stand first.
        (_, Reply::Bulk(text)) => Reply::Bulk(text.get(4..).unwrap_or_default()),
        (_, other) => other,
    }
}

/// Everything that has elements; `line` says how many.
fn decode_aggregate<'a>(kind: u8, buf: &'a [u8], line: &[u8], depth: usize) -> Result<Option<Decoded<'a>>, String> {
    let head_len = line.len() + 3;
    let Some(len) = length(line, ARRAY_LEN_MAX)? else { return Ok(Some((Reply::Nil, head_len))) };
    if depth >= DEPTH_MAX {
        return Err(format!("arrays nest deeper than {DEPTH_MAX}"));
    }
    let items_count = if matches!(kind, b'%' | b'|') { 2 * len } else { len };
    let Some((items, used)) = decode_items(buf, head_len, items_count, depth)? else { return Ok(None) };
    match kind {
        // Attributes stand before the reply that they describe, and mean nothing here.
        b'|' => {
            let reply = decode_nested(buf.get(used..).unwrap_or_default(), depth + 1)?;
            Ok(reply.map(|(reply, reply_len)| (reply, used + reply_len)))
        }
        b'%' => Ok(Some((Reply::Map(items), used))),
        b'>' => Ok(Some((Reply::Push(items), used))),
        _ => Ok(Some((Reply::Array(items), used))),
    }
}

fn decode_bulk(buf: &[u8], head_len: usize, len: usize) -> Result<Option<Decoded<'_>>, String> {
    let Some(tail) = buf.get(head_len..) else { return Ok(None) };
    let (Some(body), Some(end)) = (tail.get(..len), tail.get(len..len + 2)) else { return Ok(None) };
    if end != b"\r\n" {
        return Err(format!("a bulk string of {len} bytes is not followed by CRLF"));
    }
    Ok(Some((Reply::Bulk(body), head_len + len + 2)))
}

/// Elements and where they end.
type Items<'a> = (Vec<Reply<'a>>, usize);

fn decode_items(buf: &[u8], head_len: usize, len: usize, depth: usize) -> Result<Option<Items<'_>>, String> {
    // The announced length is not trusted with memory: each element takes three bytes at least.
    let mut items = Vec::with_capacity(len.min(buf.len() / 3));
    let mut used = head_len;
    for _ in 0..len {
        let Some((item, item_len)) = decode_nested(buf.get(used..).unwrap_or_default(), depth + 1)? else {
            return Ok(None);
        };
        items.push(item);
        used += item_len;
    }
    Ok(Some((items, used)))
}

/// The bytes before the first CRLF, if it is there.
fn take_line(buf: &[u8]) -> Result<Option<&[u8]>, String> {
    let window = buf.get(..LINE_BYTES_MAX).unwrap_or(buf);
    match window.iter().position(|byte| *byte == b'\r') {
        Some(end) => match buf.get(end + 1) {
            Some(b'\n') => Ok(buf.get(..end)),
            Some(_) => Err("a line holds CR without LF".to_owned()),
            None => Ok(None),
        },
        None if buf.len() > LINE_BYTES_MAX => Err(format!("a line is longer than {LINE_BYTES_MAX} bytes")),
        None => Ok(None),
    }
}

fn number(line: &[u8]) -> Result<i64, String> {
    let text = std::str::from_utf8(line).map_err(|_| "a number is not text".to_owned())?;
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

/// A length, or `None` for -1.
fn length(line: &[u8], max: usize) -> Result<Option<usize>, String> {
    match number(line)? {
        -1 => Ok(None),
        value => match usize::try_from(value) {
            Ok(len) if len <= max => Ok(Some(len)),
            _ => Err(format!("a length of {value}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replies one behind the other, and what they are.
    fn samples() -> Vec<(&'static [u8], Reply<'static>)> {
        vec![
            (b"+OK\r\n", Reply::Simple(b"OK")),
            (b"+\r\n", Reply::Simple(b"")),
            (b"-ERR no\r\n", Reply::Error(b"ERR no")),
            (b":-12\r\n", Reply::Integer(-12)),
            (b"$-1\r\n", Reply::Nil),
            (b"*-1\r\n", Reply::Nil),
            (b"$0\r\n\r\n", Reply::Bulk(b"")),
            (b"$5\r\na\r\nbc\r\n", Reply::Bulk(b"a\r\nbc")),
            (b"*0\r\n", Reply::Array(vec![])),
            (
                b"*3\r\n:1\r\n*2\r\n$2\r\nhi\r\n$-1\r\n+x\r\n",
                Reply::Array(vec![
                    Reply::Integer(1),
                    Reply::Array(vec![Reply::Bulk(b"hi"), Reply::Nil]),
                    Reply::Simple(b"x"),
                ]),
            ),
            (b"_\r\n", Reply::Nil),
            (b"#t\r\n", Reply::Bool(true)),
            (b",-1.5\r\n", Reply::Number(b"-1.5")),
            (b"(12345678901234567890\r\n", Reply::Number(b"12345678901234567890")),
            (b"=7\r\ntxt:a\r\n\r\n", Reply::Bulk(b"a\r\n")),
            (b"!6\r\nERR no\r\n", Reply::Error(b"ERR no")),
            (b"~1\r\n:1\r\n", Reply::Array(vec![Reply::Integer(1)])),
            (b"%1\r\n$5\r\nproto\r\n:3\r\n", Reply::Map(vec![Reply::Bulk(b"proto"), Reply::Integer(3)])),
            (b">1\r\n+hi\r\n", Reply::Push(vec![Reply::Simple(b"hi")])),
            (b"|1\r\n+ttl\r\n:9\r\n$1\r\nx\r\n", Reply::Bulk(b"x")),
        ]
    }

    #[test]
    fn a_reply_is_read_only_once_its_last_byte_is_there() {
        for (bytes, reply) in samples() {
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), Ok(None), "{:?} cut at {cut}", bytes.escape_ascii().to_string());
            }
            assert_eq!(decode(bytes), Ok(Some((reply, bytes.len()))));
        }
    }

    #[test]
    fn a_stream_split_at_every_byte_gives_the_same_replies() {
        let stream: Vec<u8> = samples().iter().flat_map(|(bytes, _)| bytes.to_vec()).collect();
        let mut buf = Vec::new();
        let mut seen = 0;
        for byte in stream {
            buf.push(byte);
            if let Some((reply, used)) = decode(&buf).unwrap() {
                assert_eq!(used, buf.len(), "nothing stands behind a reply whose last byte has just come");
                assert_eq!(reply, samples()[seen].1);
                seen += 1;
                buf.clear();
            }
        }
        assert_eq!((seen, buf.len()), (samples().len(), 0));
    }

    #[test]
    fn what_is_not_resp_is_refused() {
        let nested = b"*1\r\n".repeat(DEPTH_MAX + 1);
        let long = [b"+".as_slice(), &vec![b'x'; LINE_BYTES_MAX + 1]].concat();
        let cases: [&[u8]; 11] = [
            b"hello\r\n",
            b":12a\r\n",
            b"$-2\r\n",
            b"$99999999999\r\n",
            b"*9999999999\r\n",
            b"$2\r\nabc\r\n",
            b"+a\rb\r\n",
            b"#x\r\n",
            b"=-1\r\n",
            &nested,
            &long,
        ];
        for bytes in cases {
            assert!(decode(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
