//! Replies of RESP, read from bytes that nobody vouches for.

use std::io::{self, BufRead, Read};

/// Deepest nesting of a reply.
const DEPTH_MAX: usize = 8;
/// Longest string in a reply, in bytes.
const BULK_BYTES_MAX: i64 = 64 << 20;
/// Most elements of a list.
const LIST_LEN_MAX: i64 = 1 << 20;
/// Longest line, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// A number.
    Int(i64),
    /// A text, however it is written.
    Text(String),
    /// A refusal.
    Error(String),
    /// A list; a map is one of names and values in turn.
    List(Vec<Value>),
}

impl Value {
    /// Reads one reply.
    ///
    /// # Errors
    /// Those of the stream; [`io::ErrorKind::InvalidData`] for what is no reply.
    pub(crate) fn read(stream: &mut impl BufRead) -> io::Result<Value> {
        read_nested(stream, 0)
    }

    /// A number, if it is one.
    pub(crate) fn int(&self) -> Option<i64> {
        if let Value::Int(number) = self { Some(*number) } else { None }
    }

    /// A text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// The elements of a list; none of anything else.
    pub(crate) fn list(&self) -> &[Value] {
        if let Value::List(list) = self { list } else { &[] }
    }

    /// Names and values of a map.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &Value)> {
        let pairs = self.list().chunks_exact(2);
        pairs.filter_map(|pair| Some((pair.first()?.text()?, pair.get(1)?)))
    }

    /// The value of a name of a map.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.pairs().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

fn read_nested(stream: &mut impl BufRead, depth: usize) -> io::Result<Value> {
    if depth > DEPTH_MAX {
        return Err(broken("lists in lists in lists"));
    }
    let line = read_line(stream)?;
    let (kind, rest) = line.split_at_checked(1).ok_or_else(|| broken("an empty line"))?;
    let number = || rest.parse::<i64>().map_err(|_| broken("a number that is none"));
    match kind {
        "+" => Ok(Value::Text(rest.to_owned())),
        "-" => Ok(Value::Error(rest.to_owned())),
        ":" => Ok(Value::Int(number()?)),
        "_" => Ok(Value::Null),
        "$" | "=" => match number()? {
            -1 => Ok(Value::Null),
            len if (0..=BULK_BYTES_MAX).contains(&len) => read_bulk(stream, len as usize).map(Value::Text),
            _ => Err(broken("a length that cannot be")),
        },
        "*" | "%" | "~" => match number()? {
            -1 => Ok(Value::Null),
            len if (0..=LIST_LEN_MAX).contains(&len) => {
                let count = if kind == "%" { 2 * len } else { len };
                let mut list = Vec::new();
                for _ in 0..count {
                    list.push(read_nested(stream, depth + 1)?);
                }
                Ok(Value::List(list))
            }
            _ => Err(broken("a length that cannot be")),
        },
        _ => Err(broken("a kind of reply that is not known")),
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    (&mut *stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None if line.is_empty() => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")),
        None => Err(broken("a line without an end")),
    }
}

fn read_bulk(stream: &mut impl BufRead, len: usize) -> io::Result<String> {
    let mut bytes = Vec::new();
    (&mut *stream).take(len as u64 + 2).read_to_end(&mut bytes)?;
    if bytes.len() < len + 2 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
    }
    match bytes.strip_suffix(b"\r\n") {
        Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        None => Err(broken("a string without an end")),
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("whoever listens there does not speak RESP: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Value, io::ErrorKind> {
        Value::read(&mut &bytes[..]).map_err(|error| error.kind())
    }

    #[test]
    fn replies_of_both_protocols_are_read() {
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(read(b"+OK\r\n"), Ok(text("OK")));
        assert_eq!(read(b"$3\r\na\r\n\r\n"), Ok(text("a\r\n")));
        assert_eq!(read(b"$-1\r\n"), Ok(Value::Null));
        assert_eq!(read(b":-7\r\n"), Ok(Value::Int(-7)));
        assert_eq!(read(b"-ERR no\r\n"), Ok(Value::Error("ERR no".to_owned())));
        let map = Value::List(vec![text("a"), Value::Int(1), text("b"), Value::List(vec![Value::Null])]);
        assert_eq!(read(b"%2\r\n+a\r\n:1\r\n$1\r\nb\r\n*1\r\n_\r\n"), Ok(map.clone()));
        assert_eq!(read(b"*4\r\n+a\r\n:1\r\n$1\r\nb\r\n*1\r\n$-1\r\n"), Ok(map.clone()));
        assert_eq!((map.get("a"), map.get("c")), (Some(&Value::Int(1)), None));
    }

    #[test]
    fn what_is_no_reply_is_an_error_and_takes_no_memory() {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        for (bytes, kind) in [
            (&b""[..], UnexpectedEof),
            (b"$9\r\nshort", UnexpectedEof),
            (b"*1000000\r\n+a\r\n", UnexpectedEof),
            (b"HTTP/1.1 400 Bad Request\r\n", InvalidData),
            (b"\r\n", InvalidData),
            (b"$99999999999\r\n", InvalidData),
            (b"*99999999\r\n", InvalidData),
            (b"$-2\r\n", InvalidData),
            (b":x\r\n", InvalidData),
            (b"$1\r\nab\r\n", InvalidData),
            (b"+no end", InvalidData),
            (&b"*1\r\n".repeat(20), InvalidData),
        ] {
            assert_eq!(read(bytes), Err(kind), "{}", bytes.escape_ascii());
        }
    }
}
