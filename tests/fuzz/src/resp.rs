//! Requests of clients: whatever the bytes and however they are cut, the same commands or the same error come out, and
//! memory follows what came. Each command is then looked up as the engine does.

use resp::{ArgRange, Args, Limits, Parsed, Parser, ProtocolError};

/// What a parser may hold whatever it reads, in bytes.
const HELD_BYTES_MAX: usize = 16 << 10;

type Words = Vec<Vec<u8>>;

/// The first byte says how the rest is cut, and whether it is before login.
pub fn check(data: &[u8]) {
    let Some((first, input)) = data.split_first() else { return };
    let limits = if first & 1 == 1 { Limits::before_login() } else { Limits::default() };
    let whole = commands(&[input], &limits);
    let piece = 1 + usize::from(first >> 1) % 17;
    let pieces: Vec<&[u8]> = input.chunks(piece).collect();
    assert_eq!(commands(&pieces, &limits), whole, "the cut makes a difference");
    for words in whole.unwrap_or_default() {
        looked_up(&words);
    }
    if let [pattern, text] = input.split(|byte| *byte == b'\n').take(2).collect::<Vec<_>>()[..] {
        // Patterns made to explode would show as an input that takes too long.
        let _ = resp::glob::matches(pattern, text, true) | resp::glob::matches(pattern, text, false);
    }
    if let Some(number) = resp::number::parse_i64(input) {
        let mut again = Vec::new();
        resp::number::write_i64(&mut again, number);
        assert_eq!(again, input, "one number has one form");
    }
}

/// Feeds pieces as they arrive and collects the commands, as a connection would.
pub(crate) fn commands(pieces: &[&[u8]], limits: &Limits) -> Result<Vec<Words>, ProtocolError> {
    let (mut parser, mut input, mut found) = (Parser::new(), Vec::new(), Vec::new());
    let mut longest = 0;
    for piece in pieces {
        input.extend_from_slice(piece);
        longest = input.len().max(longest);
        loop {
            match parser.parse(&input, limits)? {
                Parsed::Incomplete => break,
                Parsed::Empty { consumed } => drop(input.drain(..consumed)),
                Parsed::Complete { consumed } => {
                    found.push(parser.args(&input).iter_from(0).map(<[u8]>::to_vec).collect());
                    input.drain(..consumed);
                }
            }
        }
        assert!(parser.held_bytes() <= HELD_BYTES_MAX + 9 * longest, "memory follows what was claimed");
        assert!(parser.needed_bytes() > input.len(), "more input is needed than there is");
    }
    Ok(found)
}

fn looked_up(words: &Words) {
    let mut bytes = Vec::new();
    let mut ranges = Vec::new();
    for word in words {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(word);
        ranges.push(ArgRange { start, end: bytes.len() as u32 });
    }
    let args = Args::new(&bytes, &ranges);
    match resp::resolve(args) {
        Ok(command) => assert!(std::ptr::eq(resp::table::by_id(command.id), command)),
        Err(refusal) => {
            let mut line = Vec::new();
            resp::Reply::new(&mut line, resp::Protocol::Resp2).error_bytes(&refusal.message(args));
            let text = line.strip_prefix(b"-").and_then(|text| text.strip_suffix(b"\r\n"));
            let is_one_line = text.is_some_and(|text| !text.contains(&b'\r') && !text.contains(&b'\n'));
            assert!(is_one_line, "an error is one line: {}", line.escape_ascii());
        }
    }
}
