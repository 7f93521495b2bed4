//! Rust source as words: enough of its grammar to find what a module declares, imports and implements.
//!
//! Comments and literals are no tokens, and `#[cfg(test)]` takes the item behind it away.

use std::path::{Path, PathBuf};

/// The files with one of these extensions under a folder or file of the repository. What is built is no source.
///
/// # Panics
/// If a folder cannot be read.
pub fn files(path: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("a folder of the repository").flatten();
        let entries = entries.filter(|entry| entry.file_name() != "target");
        return entries.flat_map(|entry| files(&entry.path(), extensions)).collect();
    }
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    if extensions.contains(&&*extension) { vec![path.to_owned()] } else { Vec::new() }
}

/// A word, a number, or one character of punctuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// Its text.
    pub text: &'a str,
    /// Its line, from 1.
    pub line: usize,
}

impl Token<'_> {
    /// Whether it is a name or a keyword.
    pub fn is_word(&self) -> bool {
        self.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

/// The tokens of a file.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let (bytes, mut at, mut line, mut found) = (source.as_bytes(), 0, 1, Vec::new());
    while at < bytes.len() {
        let begin = at;
        let is_token = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => {
                at += line_len(&bytes[at..]);
                false
            }
            b'/' if bytes[at..].starts_with(b"/*") => {
                at += block_comment_len(&bytes[at..]);
                false
            }
            b'"' => {
                at += string_len(&bytes[at..]);
                false
            }
            b'\'' => {
                at += quote_len(&source[at..]);
                false
            }
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                false
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => {
                let is_in_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
                at += bytes[at..].iter().take_while(|byte| is_in_word(byte)).count();
                match prefixed_len(&source[begin..at], &bytes[at..]) {
                    0 => true,
                    len => {
                        at += len;
                        false
                    }
                }
            }
            _ => {
                at += 1;
                true
            }
        };
        if is_token {
            found.push(Token { text: &source[begin..at], line });
        }
        line += bytes[begin..at].iter().filter(|byte| **byte == b'\n').count();
    }
    found
}

/// The tokens of a file without what is only for tests.
pub fn tokens_but_tests(source: &str) -> Vec<Token<'_>> {
    let all = tokens(source);
    let (mut kept, mut at) = (Vec::with_capacity(all.len()), 0);
    while at < all.len() {
        if is(&all[at..], &["#", "[", "cfg", "(", "test", ")", "]"]) {
            at = item_end(&all, at + 7);
        } else {
            kept.push(all[at]);
            at += 1;
        }
    }
    kept
}

/// A function, or a method, with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// Its name.
    pub name: &'a str,
    /// The line of its keyword `fn`.
    pub line: usize,
    /// How many lines there are from that one to the bracket that closes its body, both included.
    pub lines_count: usize,
}

/// The functions of a file, those in others and in macros too.
pub fn functions<'a>(tokens: &[Token<'a>]) -> Vec<Function<'a>> {
    let is_begin = |at: &usize| tokens[*at].text == "fn" && tokens.get(at + 1).is_some_and(Token::is_word);
    let begins = (0..tokens.len()).filter(is_begin);
    let function = |at: usize| {
        let (name, line) = (tokens[at + 1].text, tokens[at].line);
        let end = body_end(tokens, at + 2)?;
        Some(Function { name, line, lines_count: tokens[end - 1].line - line + 1 })
    };
    begins.filter_map(function).collect()
}

/// The place behind the body of a function whose signature goes on at `at`; `None` if it has none.
fn body_end(tokens: &[Token<'_>], mut at: usize) -> Option<usize> {
    while at < tokens.len() {
        match tokens[at].text {
            "{" => return Some(closed(tokens, at)),
            ";" => return None,
            "(" | "[" => at = closed(tokens, at),
            _ => at += 1,
        }
    }
    None
}

/// Whether tokens begin with these.
pub fn is(tokens: &[Token<'_>], expected: &[&str]) -> bool {
    tokens.len() >= expected.len() && tokens.iter().zip(expected).all(|(token, text)| token.text == *text)
}

/// The place behind the bracket that closes the one at `open`.
///
/// # Panics
/// If none does.
pub fn closed(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    panic!("line {}: a bracket is never closed", tokens[open].line)
}

/// The place behind the item that begins at `at`, its attributes included.
fn item_end(tokens: &[Token<'_>], mut at: usize) -> usize {
    while at < tokens.len() {
        match tokens[at].text {
            "{" => {
                let end = closed(tokens, at);
                // A `use` with braces has its semicolon behind them.
                return end + usize::from(is(&tokens[end..], &[";"]));
            }
            "(" | "[" => at = closed(tokens, at),
            ";" => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn line_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| **byte != b'\n').count()
}

fn block_comment_len(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_len(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// A character literal, or the quote of a lifetime, whose name is then a word.
fn quote_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let behind = at + escaped.len_utf8();
            behind + text[behind..].find('\'').map_or(0, |end| end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// What of a literal stands behind its prefix: `r"…"`, `r#"…"#`, `b"…"`, `b'…'`, `br"…"`.
fn prefixed_len(prefix: &str, rest: &[u8]) -> usize {
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    match prefix {
        "b" | "c" if rest.first() == Some(&b'"') => string_len(rest),
        "b" if rest.first() == Some(&b'\'') => {
            let escape = usize::from(rest.get(1) == Some(&b'\\'));
            let close = rest.iter().skip(2 + escape).position(|byte| *byte == b'\'');
            close.map_or(0, |close| close + 3 + escape)
        }
        "r" | "br" | "cr" if rest.get(hashes) == Some(&b'"') => {
            let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let behind = &rest[hashes + 1..];
            let close = behind.windows(end.len()).position(|window| window == end).unwrap_or(behind.len());
            (hashes + 1 + close + end.len()).min(rest.len())
        }
        _ => 0,
    }
}
