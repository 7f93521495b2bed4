//! Inline commands: a line of words, as a person types them.
//!
//! Words are parted by white space. `"double quotes"` know the escapes `\n \r \t \b \a \xHH` and `\` before any
//! other byte, which stands for that byte; `'single quotes'` know only `\'`. A closing quote must end its word.

use crate::args::ArgRange;

/// A quote that is not closed, or that is closed in the middle of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnbalancedQuotes;

/// Splits `line` (without its end) into words, which are appended to `words`; `ranges` says where each of them lies
/// there. Both are appended to only, and never grow by more than the line is long.
pub(crate) fn split(line: &[u8], words: &mut Vec<u8>, ranges: &mut Vec<ArgRange>) -> Result<(), UnbalancedQuotes> {
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = words.len() as u32;
        rest = word(rest, words)?;
        ranges.push(ArgRange { start, end: words.len() as u32 });
    }
}

/// Takes one word off the front of `rest`. A quote may begin in the middle of a word, but not end there.
fn word<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    while let [first, tail @ ..] = rest {
        match first {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' => return ends_word(double_quoted(tail, words)?),
            b'\'' => return ends_word(single_quoted(tail, words)?),
            byte => words.push(*byte),
        }
        rest = tail;
    }
    Ok(rest)
}

/// What follows the opening double quote, up to and without the closing one; returns what is behind it.
fn double_quoted<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                words.push(hex(*high) << 4 | hex(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                words.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                tail
            }
            [byte, tail @ ..] => {
                words.push(*byte);
                tail
            }
        };
    }
}

/// As [`double_quoted`], for single quotes.
fn single_quoted<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                words.push(b'\'');
                tail
            }
            [byte, tail @ ..] => {
                words.push(*byte);
                tail
            }
        };
    }
}

/// Behind a closing quote there is white space or nothing.
fn ends_word(rest: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(UnbalancedQuotes),
        _ => Ok(rest),
    }
}

/// White space as C's `isspace` has it, which counts the vertical tab too.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// The value of a hexadecimal digit; 0 for any other byte.
fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or(0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
        let (mut words, mut ranges) = (Vec::new(), Vec::new());
        split(line, &mut words, &mut ranges)?;
        Ok(ranges.iter().map(|range| words[range.start as usize..range.end as usize].to_vec()).collect())
    }

    #[test]
    fn words_quotes_and_escapes() {
        let cases: [(&[u8], &[&[u8]]); 12] = [
            (b"", &[]),
            (b"  \t ", &[]),
            (b"PING", &[b"PING"]),
            (b"  set  k \t v ", &[b"set", b"k", b"v"]),
            (b"set k \"a b\"", &[b"set", b"k", b"a b"]),
            (b"set k 'a b'", &[b"set", b"k", b"a b"]),
            (br#""\n\r\t\b\a\\\"\q""#, &[b"\n\r\t\x08\x07\\\"q"]),
            (br#""\x00\xfF\xZ1""#, &[b"\x00\xffxZ1"]),
            (br"'it\'s \n'", &[br"it's \n"]),
            (b"foo\"bar\" x", &[b"foobar", b"x"]),
            (b"\"\" ''", &[b"", b""]),
            (b"a\x0bb \x0c c", &[b"a\x0bb", b"c"]),
        ];
        for (line, expected) in cases {
            assert_eq!(words_of(line).unwrap(), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        let cases: [&[u8]; 8] = [b"\"", b"'", b"\"abc", b"'abc", b"\"a\"b", b"'a'b", b"\"abc\\", b"x \"y\\\""];
        for line in cases {
            assert_eq!(words_of(line), Err(UnbalancedQuotes), "{}", line.escape_ascii());
        }
    }
}
