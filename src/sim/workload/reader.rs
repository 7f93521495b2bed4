//! Reading replies, strictly: what a server of the protocol in use would not send is an error.

use bytes::Bytes;
use resp::Protocol;

/// Deepest nesting of arrays; nothing a session asks for is nested deeper.
const DEPTH_MAX: usize = 4;
/// Longest header line, in bytes. Errors are such lines too.
const LINE_BYTES_MAX: usize = 1 << 10;
/// Longest bulk string, in bytes.
const BULK_BYTES_MAX: usize = 64 << 20;
/// Most elements of an array.
const ELEMENTS_COUNT_MAX: usize = 1 << 16;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `+text`.
    Simple(String),
    /// `-text`.
    Error(String),
    /// `:number`.
    Integer(i64),
    /// `$len bytes`.
    Bulk(Bytes),
    /// No value.
    Null,
    /// Several; a map is its keys and values in turn.
    Array(Vec<Answer>),
}

/// Why bytes are no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} in a reply: `{}`", .bytes.escape_ascii())]
pub struct BadReply {
    what: &'static str,
    bytes: Vec<u8>,
}

/// Reads the reply at the beginning of `bytes`. Returns it and its length, or `None` if its end is not there yet.
///
/// # Errors
/// No continuation makes a reply of this.
pub fn read(bytes: &[u8], protocol: Protocol) -> Result<Option<(Answer, usize)>, BadReply> {
    let mut reader = Reader { bytes, at: 0, protocol };
    Ok(reader.answer(0)?.map(|answer| (answer, reader.at)))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    protocol: Protocol,
}

impl<'a> Reader<'a> {
    fn bad<T>(&self, what: &'static str) -> Result<T, BadReply> {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        Err(BadReply { what, bytes: rest[..rest.len().min(64)].to_vec() })
    }

    /// A line without its end.
    fn line(&mut self) -> Result<Option<&'a [u8]>, BadReply> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\r' || *byte == b'\n') else {
            return if rest.len() > LINE_BYTES_MAX { self.bad("an endless line") } else { Ok(None) };
        };
        match rest.get(end..end + 2) {
            Some(b"\r\n") => {
                self.at += end + 2;
                Ok(Some(&rest[..end]))
            }
            None if rest[end] == b'\r' => Ok(None),
            _ => self.bad("a line that does not end in CR LF"),
        }
    }

    fn answer(&mut self, depth: usize) -> Result<Option<Answer>, BadReply> {
        if depth > DEPTH_MAX {
            return self.bad("deep nesting");
        }
        let begin = self.at;
        let Some(line) = self.line()? else { return Ok(None) };
        let Some((kind, rest)) = line.split_first() else { return self.bad("an empty line") };
        let text = || String::from_utf8_lossy(rest).into_owned();
        let is_resp3 = self.protocol == Protocol::Resp3;
        let answer = match kind {
            b'+' => Answer::Simple(text()),
            b'-' => Answer::Error(text()),
            b':' => Answer::Integer(self.number(rest)?),
            b'_' if is_resp3 && rest.is_empty() => Answer::Null,
            b'$' | b'*' if rest == b"-1" && !is_resp3 => Answer::Null,
            b'$' => return self.bulk(rest),
            b'*' => return self.array(rest, 1, depth),
            b'%' if is_resp3 => return self.array(rest, 2, depth),
            _ => {
                self.at = begin;
                return self.bad("a beginning that this protocol does not have");
            }
        };
        Ok(Some(answer))
    }

    fn number(&self, text: &[u8]) -> Result<i64, BadReply> {
        match resp::number::parse_i64(text) {
            Some(number) => Ok(number),
            None => self.bad("a number that is none"),
        }
    }

    fn length(&self, text: &[u8], max: usize) -> Result<usize, BadReply> {
        match usize::try_from(self.number(text)?) {
            Ok(len) if len <= max => Ok(len),
            _ => self.bad("a length that cannot be"),
        }
    }

    fn bulk(&mut self, len: &[u8]) -> Result<Option<Answer>, BadReply> {
        let len = self.length(len, BULK_BYTES_MAX)?;
        let rest = &self.bytes[self.at..];
        if rest.len() < len + 2 {
            return Ok(None);
        }
        if &rest[len..len + 2] != b"\r\n" {
            return self.bad("a bulk string that does not end where it should");
        }
        self.at += len + 2;
        Ok(Some(Answer::Bulk(Bytes::copy_from_slice(&rest[..len]))))
    }

    fn array(&mut self, count: &[u8], per_element: usize, depth: usize) -> Result<Option<Answer>, BadReply> {
        let count = self.length(count, ELEMENTS_COUNT_MAX)? * per_element;
        let mut elements = Vec::new();
        for _ in 0..count {
            let Some(element) = self.answer(depth + 1)? else { return Ok(None) };
            elements.push(element);
        }
        Ok(Some(Answer::Array(elements)))
    }
}
