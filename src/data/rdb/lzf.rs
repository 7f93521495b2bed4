//! LZF, the compression of Marc Lehmann's liblzf: only taken apart here, never made.
//!
//! A stream is a row of tokens, each of which begins with a byte:
//!
//! ```text
//! 000lllll                          l + 1 bytes as they are follow
//! lllddddd dddddddd                 l + 2 bytes again that begin d + 1 bytes back; l is 1 to 6
//! 111ddddd llllllll dddddddd        l + 9 bytes again that begin d + 1 bytes back
//! ```
//!
//! What is to be repeated may reach into what it becomes: one byte back, and a byte is repeated.

/// How long the stream becomes, at most 88 times as long as it is; `None` if it is none. It costs a step for each token, and no memory.
pub(super) fn measure(stream: &[u8]) -> Option<usize> {
    let mut tokens = Tokens { rest: stream };
    let mut len = 0;
    while !tokens.rest.is_empty() {
        len += match tokens.next()? {
            Token::Literal(bytes) => bytes.len(),
            Token::Again { distance, len: again_len } if distance <= len => again_len,
            Token::Again { .. } => return None,
        };
    }
    Some(len)
}

/// What the stream becomes, `len` being what [`measure`] said.
pub(super) fn expand(stream: &[u8], len: usize) -> Vec<u8> {
    let mut tokens = Tokens { rest: stream };
    let mut out = Vec::with_capacity(len);
    while let Some(token) = tokens.next() {
        match token {
            Token::Literal(bytes) => out.extend_from_slice(bytes),
            Token::Again { distance, len } => repeat(&mut out, distance, len),
        }
    }
    assert_eq!(out.len(), len, "a stream that was measured");
    out
}

enum Token<'a> {
    Literal(&'a [u8]),
    /// Invariant: `distance` is not 0.
    Again {
        distance: usize,
        len: usize,
    },
}

struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// The next token, `None` if it is cut short or there is none.
    fn next(&mut self) -> Option<Token<'a>> {
        let first = self.byte()?;
        let upper = usize::from(first >> 5);
        if upper == 0 {
            let (bytes, rest) = self.rest.split_at_checked(usize::from(first) + 1)?;
            self.rest = rest;
            return Some(Token::Literal(bytes));
        }
        let len = upper + 2 + if upper == 7 { usize::from(self.byte()?) } else { 0 };
        let distance = (usize::from(first & 0b1_1111) << 8 | usize::from(self.byte()?)) + 1;
        Some(Token::Again { distance, len })
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }
}

/// Appends `len` bytes that begin `distance` bytes back.
fn repeat(out: &mut Vec<u8>, distance: usize, len: usize) {
    let begin = out.len() - distance;
    let end = out.len() + len;
    // What has been appended goes on as it began, so each round finds twice as much.
    while out.len() < end {
        let some = (out.len() - begin).min(end - out.len());
        out.extend_from_within(begin..begin + some);
    }
}
