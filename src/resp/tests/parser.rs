//! The parser on its own: any cut, any bytes, every limit.

// All of this is test code, its helpers too.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use common::request;
use proptest::prelude::*;
use resp::{Limits, Parsed, Parser, ProtocolError};

type Words = Vec<Vec<u8>>;

/// What a parser may hold whatever it reads.
const HELD_BYTES_MAX: usize = 16 << 10;

/// Feeds `pieces` as they arrive and collects the commands, as a connection would.
fn commands(pieces: &[&[u8]], limits: &Limits) -> Result<Vec<Words>, ProtocolError> {
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
        assert!(
            parser.held_bytes() <= HELD_BYTES_MAX + 9 * longest,
            "memory follows what came, not what was claimed"
        );
        assert!(parser.needed_bytes() > input.len(), "more input is needed than there is");
        assert!(parser.needed_bytes() <= limits.command_bytes_max.max(limits.inline_bytes_max + 2));
    }
    Ok(found)
}

fn error_of(input: &[u8], limits: &Limits) -> ProtocolError {
    let whole = commands(&[input], limits).unwrap_err();
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(commands(&bytes, limits).unwrap_err(), whole, "the cut makes no difference");
    whole
}

#[test]
fn pipelined_commands_of_every_form() {
    let input = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n\r\n*0\r\n*-1\r\nPING\r\n  set  k \"a b\"\n\n*1\r\n$0\r\n\r\n";
    let found = commands(&[input], &Limits::default()).unwrap();
    let expected: Vec<Words> = vec![
        vec![b"GET".to_vec(), b"k".to_vec()],
        vec![b"PING".to_vec()],
        vec![b"set".to_vec(), b"k".to_vec(), b"a b".to_vec()],
        vec![b"".to_vec()],
    ];
    assert_eq!(found, expected);
}

#[test]
fn every_error_has_its_text() {
    let limits = Limits::default();
    let cases: [(&[u8], &str); 25] = [
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*1 \r\n", "invalid multibulk length"),
        (b"*1\rx", "invalid multibulk length"),
        (b"*1000000000\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$abc\r\n", "invalid bulk length"),
        (b"*1\r\n$9999999999\r\n", "invalid bulk length"),
        (b"*1\r\n$8388609\r\n", "invalid bulk length"),
        (b"*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
        (b"*1\r\n$18446744073709551617\r\n", "invalid bulk length"),
        (b"*1\r\nx3\r\n", "expected '$', got 'x'"),
        (b"*1\r\n*3\r\n", "expected '$', got '*'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n\xff\r\n", "expected '$', got '?'"),
        (b"*2\r\n$1\r\na\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*1\r\n$1\r\nabc", "expected an end of line behind a bulk string"),
        (b"set \"k\r\n", "unbalanced quotes in request"),
        (b"set 'k\n", "unbalanced quotes in request"),
        (b"\"a\"b\r\n", "unbalanced quotes in request"),
    ];
    for (input, text) in cases {
        assert_eq!(error_of(input, &limits).to_string(), format!("ERR Protocol error: {text}"));
    }
}

#[test]
fn lines_without_an_end() {
    let limits = Limits::default();
    let long = |start: &[u8]| [start, &b"1".repeat(limits.inline_bytes_max + 1)[..]].concat();
    assert_eq!(error_of(&long(b""), &limits).to_string(), "ERR Protocol error: too big inline request");
    assert_eq!(error_of(&long(b"*"), &limits).to_string(), "ERR Protocol error: too big mbulk count string");
    assert_eq!(error_of(&long(b"*1\r\n$"), &limits).to_string(), "ERR Protocol error: too big bulk count string");
    let longest = [&b"x".repeat(limits.inline_bytes_max)[..], b"\n"].concat();
    assert_eq!(commands(&[&longest], &limits).unwrap().len(), 1);
}

#[test]
fn before_login_little_is_allowed() {
    let limits = Limits::before_login();
    let text = |input: &[u8]| error_of(input, &limits).to_string();
    assert_eq!(text(b"*11\r\n"), "ERR Protocol error: unauthenticated multibulk length");
    assert_eq!(text(b"*1048577\r\n"), "ERR Protocol error: invalid multibulk length");
    assert_eq!(text(b"*1\r\n$16385\r\n"), "ERR Protocol error: unauthenticated bulk length");
    assert_eq!(text(b"*1\r\n$8388609\r\n"), "ERR Protocol error: invalid bulk length");
    assert_eq!(text(b"a b c d e f g h i j k\r\n"), "ERR Protocol error: unauthenticated multibulk length");
    let word = "x".repeat(16_385) + "\n";
    assert_eq!(text(word.as_bytes()), "ERR Protocol error: unauthenticated bulk length");
    // Each argument is allowed, but not all of them together.
    let big = vec![b'x'; 16 << 10];
    assert_eq!(text(&request(&[&big, &big, &big, &big])), "ERR Protocol error: too big request");
    assert_eq!(commands(&[&request(&[&big, &big, &big])], &limits).unwrap().len(), 1);
}

#[test]
fn a_command_is_bounded_as_a_whole() {
    let limits = Limits::default();
    let big = vec![b'x'; limits.bulk_bytes_max];
    assert_eq!(commands(&[&request(&[b"SET", b"k", &big])], &limits).unwrap().len(), 1);
    let error = commands(&[&request(&[b"MSET", b"k", &big, b"l", &big])], &limits).unwrap_err();
    assert_eq!(error, ProtocolError::CommandTooBig);
}

#[test]
fn the_most_arguments_in_small_pieces_take_one_pass() {
    let limits = Limits::default();
    let args: Vec<&[u8]> = vec![b"a"; limits.arguments_count_max];
    let input = request(&args);
    let mut parser = Parser::new();
    // One call for every 64 bytes that come: about 110,000 calls, which would never end if each began anew.
    for end in (64..input.len()).step_by(64) {
        assert_eq!(parser.parse(&input[..end], &limits), Ok(Parsed::Incomplete));
    }
    assert_eq!(parser.parse(&input, &limits), Ok(Parsed::Complete { consumed: input.len() }));
    assert_eq!(parser.args(&input).len(), limits.arguments_count_max);
}

#[test]
fn a_long_value_says_what_it_needs() {
    let limits = Limits::default();
    let input = request(&[b"SET", b"k", &vec![b'x'; 100_000]]);
    let mut parser = Parser::new();
    assert_eq!(parser.parse(&input[..60], &limits), Ok(Parsed::Incomplete));
    assert_eq!(parser.needed_bytes(), input.len());
    assert!(parser.args(&input[..60]).is_empty(), "a command that is not complete shows nothing");
    assert_eq!(parser.parse(&input, &limits), Ok(Parsed::Complete { consumed: input.len() }));
}

#[test]
fn nothing_is_allocated_for_a_claim() {
    let (limits, mut parser) = (Limits::default(), Parser::new());
    assert_eq!(parser.parse(b"*1048576\r\n$8388608\r\n", &limits), Ok(Parsed::Incomplete));
    assert_eq!(parser.held_bytes(), 0);
}

#[test]
fn room_that_a_big_command_took_is_given_back() {
    let (limits, mut parser) = (Limits::default(), Parser::new());
    let input = request(&vec![&b"a"[..]; 100_000]);
    assert_eq!(parser.parse(&input, &limits), Ok(Parsed::Complete { consumed: input.len() }));
    assert!(parser.held_bytes() > 100_000);
    parser.parse(b"PING\r\n", &limits).unwrap();
    assert!(parser.held_bytes() <= HELD_BYTES_MAX);
}

#[test]
fn after_an_error_the_parser_begins_anew() {
    let (limits, mut parser) = (Limits::default(), Parser::new());
    assert!(parser.parse(b"*2\r\n$3\r\nGET\r\nx\r\n", &limits).is_err());
    assert!(parser.parse(b"*1\r\n$3\r\nGET\r\nx\r\n", &limits).is_ok());
    assert_eq!(parser.args(b"*1\r\n$3\r\nGET\r\nx\r\n").len(), 1);
}

/// A command and how it is sent.
fn command() -> impl Strategy<Value = (Words, Vec<u8>)> {
    let multibulk = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6).prop_map(|args| {
        let parts: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let sent = request(&parts);
        (args, sent)
    });
    let inline = proptest::collection::vec("[a-zA-Z0-9]{1,12}", 1..5).prop_map(|args| {
        let sent = format!("{}\r\n", args.join("  ")).into_bytes();
        (args.into_iter().map(String::into_bytes).collect(), sent)
    });
    let escaped = proptest::collection::vec(any::<u8>(), 0..12).prop_map(|word| {
        let digits: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        (vec![b"echo".to_vec(), word], format!("echo \"{digits}\"\n").into_bytes())
    });
    prop_oneof![4 => multibulk, 1 => inline, 1 => escaped]
}

/// Cuts `input` where `cuts` say.
fn cut<'a>(input: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    places.sort();
    places.push(input.len());
    let mut from = 0;
    places.into_iter().map(|to| &input[std::mem::replace(&mut from, to)..to]).collect()
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_commands(
        sent in proptest::collection::vec((command(), 0..3usize), 1..8),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (mut input, mut expected) = (Vec::new(), Vec::new());
        for ((args, bytes), empties) in &sent {
            expected.push(args.clone());
            input.extend_from_slice(bytes);
            input.extend_from_slice([&b""[..], b"\r\n", b"*0\r\n\n"][*empties]);
        }
        prop_assert_eq!(&commands(&cut(&input, &cuts), &Limits::default()).unwrap(), &expected);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(&commands(&bytes, &Limits::default()).unwrap(), &expected);
    }

    #[test]
    fn any_bytes_give_commands_or_an_error_however_they_are_cut(
        input in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[*$0-9a\r\n\"'\\\\x -]{0,80}".prop_map(String::into_bytes),
            "(\\*[0-9]{1,2}\r\n(\\$[0-4]\r\n[ab]{0,4}\r\n){0,4}){0,3}".prop_map(String::into_bytes),
        ],
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let limits = Limits { arguments_count_max: 20, bulk_bytes_max: 100, inline_bytes_max: 60, command_bytes_max: 150 };
        let whole = commands(&[&input], &limits);
        prop_assert_eq!(commands(&cut(&input, &cuts), &limits), whole);
    }
}
