//! A look at the commands that stand behind each other in a pipeline, before they are parsed.
//!
//! What it tells is a hint: which rows will be looked for soon. It stops at whatever is not written the way client libraries write
//! it, and at a command that is not all there; whoever parses the commands says what they are.

use crate::parser::short_number;

/// Commands with more arguments than that are not looked into.
const ARGUMENTS_COUNT_MAX: u32 = 16;

/// What stands behind the names of the commands at the front of a buffer: for each, its first argument, which is the first key of most,
/// or nothing if it has none.
pub fn first_arguments(buf: &[u8]) -> FirstArguments<'_> {
    FirstArguments { buf, pos: 0 }
}

/// See [`first_arguments`].
#[derive(Clone, Debug)]
pub struct FirstArguments<'a> {
    buf: &'a [u8],
    pos: usize,
}

impl<'a> Iterator for FirstArguments<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (count, mut end) = header(self.buf, self.pos, b'*')?;
        let mut first: &[u8] = b"";
        if count > ARGUMENTS_COUNT_MAX {
            return None;
        }
        for at in 0..count {
            let (length, start) = header(self.buf, end, b'$')?;
            let argument = self.buf.get(start..start + length as usize)?;
            end = start + argument.len() + 2;
            if at == 1 {
                first = argument;
            }
        }
        if end > self.buf.len() {
            return None;
        }
        self.pos = end;
        Some(first)
    }
}

/// The number of the header at `at`, and what lies behind its line.
#[inline]
fn header(buf: &[u8], at: usize, prefix: u8) -> Option<(u32, usize)> {
    if buf.get(at) == Some(&prefix) { short_number(buf, at + 1) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{Limits, Parsed, Parser};

    fn told(buf: &[u8]) -> Vec<&[u8]> {
        first_arguments(buf).collect()
    }

    #[test]
    fn first_arguments_stand_behind_the_names() {
        let buf = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$2\r\nbc\r\n$0\r\n\r\n";
        assert_eq!(told(buf), [&b"a"[..], b"", b"bc"]);
    }

    #[test]
    fn it_ends_where_a_command_is_not_whole_or_unusual() {
        let whole = b"*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n";
        for len in 0..whole.len() {
            assert!(told(&whole[..len]).is_empty(), "{len} bytes");
        }
        assert_eq!(told(&[&whole[..], b"PING\r\n", whole].concat()), [b"hello"]);
        for unusual in ["*2\r\n$3\r\nGET\r\n:5\r\n", "*-1\r\n", "*99\r\n$1\r\na\r\n", "*1\r\n$999999999\r\na\r\n"] {
            assert!(told(unusual.as_bytes()).is_empty(), "{unusual:?}");
        }
    }

    proptest::proptest! {
        /// Whatever the bytes are: it agrees with the parser as far as it goes, and it ends.
        #[test]
        fn it_agrees_with_the_parser(pieces in proptest::collection::vec(piece(), 0..12)) {
            let buf = pieces.concat();
            let mut rest = &buf[..];
            let mut parser = Parser::new();
            for first in first_arguments(&buf) {
                let consumed = match parser.parse(rest, &Limits::default()) {
                    Ok(Parsed::Complete { consumed }) => {
                        assert_eq!(parser.args(rest).get(1).unwrap_or_default(), first);
                        consumed
                    }
                    Ok(Parsed::Empty { consumed }) => {
                        assert!(first.is_empty());
                        consumed
                    }
                    // The end of a line behind an argument is not looked at here.
                    Err(_) => break,
                    Ok(Parsed::Incomplete) => panic!("the parser misses something of a command that is whole"),
                };
                rest = &rest[consumed..];
            }
        }
    }

    fn piece() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::prelude::*;
        let command =
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..4).prop_map(|args| {
                let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
                for arg in args {
                    bytes.extend(format!("${}\r\n", arg.len()).bytes().chain(arg).chain(*b"\r\n"));
                }
                bytes
            });
        prop_oneof![8 => command, 1 => proptest::collection::vec(any::<u8>(), 0..12)]
    }
}
