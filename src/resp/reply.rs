//! Writing replies, RESP2 or RESP3, straight into a connection's output.

use crate::number::Line;

/// The protocol version a connection has chosen with `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RESP2, what every connection begins with.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

impl Protocol {
    /// The number that `HELLO` knows it by.
    pub const fn number(self) -> i64 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }

    /// The protocol of that number, if there is one.
    pub const fn from_number(number: i64) -> Option<Protocol> {
        match number {
            2 => Some(Protocol::Resp2),
            3 => Some(Protocol::Resp3),
            _ => None,
        }
    }
}

/// Longest reply that says that there is no value.
pub const NULL_BYTES_MAX: usize = 5;

/// How long a bulk string of `len` bytes is as a reply.
pub const fn bulk_bytes(len: usize) -> usize {
    array_header_bytes(len) + len + 2
}

/// How long the header of an array of `len` elements is.
pub const fn array_header_bytes(len: usize) -> usize {
    let digits = match len.checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    };
    1 + digits + 2
}

/// Appends replies to a buffer.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Reply<'a> {
    /// Appends to `out`.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Reply<'a> {
        Reply { out, protocol }
    }

    /// The version written.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// `+text`: a short status without CR or LF.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.bytes().any(|byte| byte == b'\r' || byte == b'\n'), "a status is one line");
        self.out.reserve(text.len() + 3);
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// `-message`, where the message begins with its code (`ERR ...`, `MOVED ...`). CR, LF and NUL within
    /// it are replaced by spaces.
    pub fn error(&mut self, message: &str) {
        self.error_bytes(message.as_bytes());
    }

    /// As [`Reply::error`], for a message that echoes what a client sent and so may not be UTF-8.
    #[cold]
    pub fn error_bytes(&mut self, message: &[u8]) {
        self.out.reserve(message.len() + 3);
        self.out.push(b'-');
        self.out.extend(message.iter().map(|&byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { byte }));
        self.out.extend_from_slice(b"\r\n");
    }

    /// `:number`.
    #[inline]
    pub fn integer(&mut self, number: i64) {
        self.header(b':', number);
    }

    /// `$len bytes`.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        let line = Line::header(b'$', bytes.len() as i64);
        self.out.reserve(line.bytes().len() + bytes.len() + 2);
        self.out.extend_from_slice(line.bytes());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// As [`Reply::bulk`], of parts that lie apart, one behind the other.
    pub fn bulk_of_parts(&mut self, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.out.reserve(bulk_bytes(len));
        self.header(b'$', len as i64);
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
        self.out.extend_from_slice(b"\r\n");
    }

    /// No value: `_` in RESP3, the null bulk `$-1` in RESP2.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Begins an array of `len` elements, which are written next.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    /// Begins a map of `len` pairs, which are written next; a flat array of `2 * len` in RESP2.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', 2 * len as i64),
            Protocol::Resp3 => self.header(b'%', len as i64),
        }
    }

    /// Begins a set of `len` elements, which are written next; an array in RESP2.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len as i64),
            Protocol::Resp3 => self.header(b'~', len as i64),
        }
    }

    /// Text for people: verbatim `txt` in RESP3, a bulk string in RESP2.
    pub fn verbatim(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.header(b'=', text.len() as i64 + 4);
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text.as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Bytes that are replies already, as they are: from a cache or from another core. They must be in this
    /// connection's protocol.
    #[inline]
    pub fn raw(&mut self, replies: &[u8]) {
        self.out.extend_from_slice(replies);
    }

    #[inline]
    fn header(&mut self, kind: u8, number: i64) {
        self.out.extend_from_slice(Line::header(kind, number).bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(write: impl Fn(&mut Reply<'_>)) -> [String; 2] {
        [Protocol::Resp2, Protocol::Resp3].map(|protocol| {
            let mut out = Vec::new();
            write(&mut Reply::new(&mut out, protocol));
            String::from_utf8(out).unwrap()
        })
    }

    #[test]
    fn forms_that_both_versions_share() {
        for (written, expected) in [
            (both(|reply| reply.ok()), "+OK\r\n"),
            (both(|reply| reply.simple("PONG")), "+PONG\r\n"),
            (both(|reply| reply.integer(i64::MIN)), ":-9223372036854775808\r\n"),
            (both(|reply| reply.integer(1)), ":1\r\n"),
            (both(|reply| reply.bulk(b"")), "$0\r\n\r\n"),
            (both(|reply| reply.bulk(b"hello\r\n")), "$7\r\nhello\r\n\r\n"),
            (both(|reply| reply.bulk_of_parts(&[b"hel", b"", b"lo"])), "$5\r\nhello\r\n"),
            (both(|reply| reply.array(12)), "*12\r\n"),
            (both(|reply| reply.raw(b"+A\r\n+B\r\n")), "+A\r\n+B\r\n"),
        ] {
            assert_eq!(written, [expected, expected]);
        }
    }

    #[test]
    fn forms_that_differ() {
        assert_eq!(both(|reply| reply.null()), ["$-1\r\n", "_\r\n"]);
        assert_eq!(both(|reply| reply.map(3)), ["*6\r\n", "%3\r\n"]);
        assert_eq!(both(|reply| reply.set(3)), ["*3\r\n", "~3\r\n"]);
        assert_eq!(both(|reply| reply.verbatim("a\r\n")), ["$3\r\na\r\n\r\n", "=7\r\ntxt:a\r\n\r\n"]);
    }

    #[test]
    fn an_error_stays_on_its_line() {
        assert_eq!(both(|reply| reply.error("ERR a\r\nb\0c"))[0], "-ERR a  b c\r\n");
        let mut out = Vec::new();
        Reply::new(&mut out, Protocol::Resp2).error_bytes(b"ERR '\xff'");
        assert_eq!(out, b"-ERR '\xff'\r\n");
    }

    #[test]
    fn protocols_have_their_numbers() {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            assert_eq!(Protocol::from_number(protocol.number()), Some(protocol));
        }
        assert_eq!(Protocol::from_number(4), None);
    }
}
