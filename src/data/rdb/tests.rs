//! Payloads of a Redis 7.0.15, and payloads that nobody sends who means well.

use proptest::prelude::*;
use types::limits::VALUE_BYTES_MAX;

use super::write::checksum;
use super::{Payload, Serialized, payload_bytes};
use crate::outcome::Error;

/// Values and what `DUMP` of a Redis 7.0.15 answers, in hexadecimal digits.
const CAPTURED: [(&[u8], &str); 16] = [
    (b"", "00000a005d9b5c400f7fa2da"),
    (b"a", "0001610a00bffeef9b8f367db4"),
    (b"0", "00c0000a009840a778f8500308"),
    (b"-5", "00c0fb0a0049c4c6f4d7263f68"),
    (b"127", "00c07f0a000db5eb315254c514"),
    (b"-128", "00c0800a009966326d2f0c5bd9"),
    (b"128", "00c180000a00eb7ab3b510cf4b65"),
    (b"-129", "00c17fff0a001760822854808480"),
    (b"32767", "00c1ff7f0a00495a37da17f4d52b"),
    (b"-32769", "00c2ff7fffff0a00aee34c4d06c68536"),
    (b"2147483647", "00c2ffffff7f0a002c74e59ee02eada1"),
    (b"-2147483648", "00c2000000800a00c74f873e33558187"),
    (b"2147483648", "000a323134373438333634380a00e7b129a34c1d76ee"),
    (b"007", "00033030370a007258e27b4c69bad9"),
    (b"-0", "00022d300a00d5411fd9d6d050cc"),
    (b"hello world", "000b68656c6c6f20776f726c640a000bfc49b9a6c7a034"),
];

/// How payloads of so many bytes `a` begin and end, in a Redis without compression.
const CAPTURED_LONG: [(usize, &str, &str); 4] = [
    (63, "003f6161", "0a0084bfc127f06d4f48"),
    (64, "0040406161", "0a002d0c7acd8b920bff"),
    (16_383, "007fff6161", "0a00b4642f4333dce49a"),
    (16_384, "0080000040006161", "0a0016acc3da7a46799d"),
];

/// Text, how often it is repeated, what follows, and the payload of a Redis with compression.
const CAPTURED_COMPRESSED: [(&str, usize, &str, &str); 3] = [
    ("a", 100, "", "00c3094064016161e057000161610a00e8a3b507b06df271"),
    ("0123456789", 10, "xyz", "00c31340670a3031323334353637383930e050090278797a0a000bb2a3c656c54de6"),
    ("abcabcabc", 7, "", "00c30b3f0361626361e030020162630a00022277e4a5464a3a"),
];

/// A list, two sets, a hash, a sorted set and a stream.
const CAPTURED_OTHERS: [&str; 6] = [
    "1201020a0a0000000100816102ff0a0009b9edf594ded995",
    "020101610a006296e97e44d21a6d",
    "0b0a020000000100000001000a00056f61290c490534",
    "100d0d0000000200816102816202ff0a00d93c7f0728f0edcc",
    "110c0c00000002008161020101ff0a00a805ceb8d7a93302",
    "130110000000000000000100000000000000011d1d0000000a0001010001010181610200010201000100018162020401ff01\
     01010101000001000a006f4334ecd7fa5aec",
];

fn unhex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        digits.bytes().map(|digit| char::from(digit).to_digit(16).expect("a digit") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn written(value: &[u8]) -> Vec<u8> {
    Payload::new(value).parts().concat()
}

fn read(payload: &[u8]) -> Result<Vec<u8>, Error> {
    Serialized::parse(payload).map(|serialized| serialized.value().into_owned())
}

/// A payload of this body, with the version and the checksum that belong to it.
fn sealed(body: &[u8], version: u16) -> Vec<u8> {
    let covered = [body, &version.to_le_bytes()].concat();
    let checksum = checksum(&[&covered]).to_le_bytes();
    [&covered, &checksum[..]].concat()
}

#[test]
fn values_are_written_as_redis_writes_them() {
    for (value, payload) in CAPTURED {
        assert_eq!(written(value), unhex(payload), "{}", value.escape_ascii());
        assert_eq!(read(&unhex(payload)).as_deref(), Ok(value));
    }
    for (len, begin, end) in CAPTURED_LONG {
        let value = vec![b'a'; len];
        let payload = written(&value);
        assert!(payload.starts_with(&unhex(begin)) && payload.ends_with(&unhex(end)), "{len} bytes");
        assert!(read(&payload) == Ok(value));
    }
}

#[test]
fn values_that_redis_has_compressed_are_read() {
    for (text, count, tail, payload) in CAPTURED_COMPRESSED {
        assert_eq!(read(&unhex(payload)), Ok((text.repeat(count) + tail).into_bytes()));
    }
}

#[test]
fn other_types_are_told_from_damage() {
    for payload in CAPTURED_OTHERS {
        assert_eq!(read(&unhex(payload)), Err(Error::PayloadType));
    }
    for no_type in [8, 24, 100, 245, 255] {
        assert_eq!(read(&sealed(&[no_type, 1, b'a'], 10)), Err(Error::PayloadFormat), "{no_type}");
    }
}

#[test]
fn versions_that_write_strings_otherwise_or_that_nobody_knows_are_refused() {
    for (version, is_known) in [(0, true), (6, true), (12, true), (13, false), (79, false), (80, true), (81, false)] {
        let expected = if is_known { Ok(b"a".to_vec()) } else { Err(Error::PayloadChecksum) };
        assert_eq!(read(&sealed(b"\x00\x01a", version)), expected, "{version}");
    }
}

#[test]
fn each_bit_of_a_payload_is_covered() {
    for (_, _, _, payload) in CAPTURED_COMPRESSED {
        let payload = unhex(payload);
        for bit in 0..8 * payload.len() {
            let mut changed = payload.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&changed), Err(Error::PayloadChecksum), "bit {bit}");
        }
        for len in 0..payload.len() {
            assert_eq!(read(&payload[..len]), Err(Error::PayloadChecksum), "the first {len} bytes");
        }
    }
}

#[test]
fn bodies_that_end_early_or_hold_what_does_not_exist_are_refused() {
    let bodies: [&[u8]; 24] = [
        b"",
        b"\x00",
        b"\x00\x02a",
        b"\x00\x40",
        b"\x00\x40\x02a",
        b"\x00\x80\x00\x00\x00",
        b"\x00\x80\xff\xff\xff\xffa",
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xffa",
        b"\x00\x81\x00\x00\x00\x00\x00\x00\x01",
        b"\x00\x82\x00\x00\x00\x01a",
        b"\x00\xc0",
        b"\x00\xc1\x00",
        b"\x00\xc2\x00\x00\x00",
        b"\x00\xc4a",
        b"\x00\xff",
        b"\x00\xc3\x03\x02\x01",
        // No literal of two bytes, then none of one.
        b"\x00\xc3\x02\x02\x01a",
        b"\x00\xc3\x01\x01\x00",
        // Repeats what stands before the beginning.
        b"\x00\xc3\x02\x03\x20\x00",
        b"\x00\xc3\x04\x04\x00a\x20\x01",
        // The long form without its length, then without its distance.
        b"\x00\xc3\x03\x0a\x00a\xe0",
        b"\x00\xc3\x04\x0a\x00a\xe0\x00",
        // Less, then more than was said.
        b"\x00\xc3\x02\x02\x00a",
        b"\x00\xc3\x04\x03\x00a\x20\x00",
    ];
    for body in bodies {
        assert_eq!(read(&sealed(body, 10)), Err(Error::PayloadFormat), "{}", body.escape_ascii());
    }
}

#[test]
fn lengths_of_all_forms_are_read() {
    let bodies: [&[u8]; 5] = [
        b"\x00\x01a",
        b"\x00\x40\x01a",
        b"\x00\x80\x00\x00\x00\x01a",
        b"\x00\x81\x00\x00\x00\x00\x00\x00\x00\x01a",
        b"\x00\xc3\x40\x02\x80\x00\x00\x00\x01\x00a",
    ];
    for body in bodies {
        assert_eq!(read(&sealed(body, 10)).as_deref(), Ok(&b"a"[..]), "{}", body.escape_ascii());
    }
    assert_eq!(read(&sealed(b"\x00\x01a and more", 10)).as_deref(), Ok(&b"a"[..]), "what follows is not looked at");
}

/// A stream that repeats one byte, and how long it becomes.
fn repeating(tokens_count: usize) -> (Vec<u8>, usize) {
    let stream: Vec<u8> = [0, b'a'].into_iter().chain([0xe0, 0xff, 0].repeat(tokens_count)).collect();
    (stream, 1 + 264 * tokens_count)
}

fn compressed(stream: &[u8], claimed_len: u64) -> Vec<u8> {
    let mut body = vec![0, 0xc3, 0x80];
    body.extend_from_slice(&(stream.len() as u32).to_be_bytes());
    body.push(0x81);
    body.extend_from_slice(&claimed_len.to_be_bytes());
    body.extend_from_slice(stream);
    sealed(&body, 10)
}

#[test]
fn a_compressed_value_may_be_as_long_as_a_value_and_no_longer() {
    let (stream, len) = repeating(VALUE_BYTES_MAX / 264);
    assert!(read(&compressed(&stream, len as u64)) == Ok(vec![b'a'; len]), "{len} bytes");
    let (stream, len) = repeating(VALUE_BYTES_MAX / 264 + 1);
    assert_eq!(read(&compressed(&stream, len as u64)), Err(Error::ValueTooLong), "{len} bytes");
    let value = vec![b'v'; VALUE_BYTES_MAX];
    assert!(read(&written(&value)) == Ok(value));
    assert_eq!(read(&written(&vec![b'v'; VALUE_BYTES_MAX + 1])), Err(Error::ValueTooLong));
}

#[test]
fn what_a_compressed_value_claims_to_become_is_not_believed() {
    let (stream, len) = repeating(2);
    for claimed in [0, len as u64 - 1, len as u64 + 1, 1 << 40, u64::MAX] {
        assert_eq!(read(&compressed(&stream, claimed)), Err(Error::PayloadFormat), "{claimed}");
    }
}

/// A part of an LZF stream: bytes as they are, or how far back to repeat how much.
fn token() -> impl Strategy<Value = (Vec<u8>, usize, usize)> {
    (proptest::collection::vec(any::<u8>(), 1..=32), 1usize..=8_192, 3usize..=264)
}

proptest! {
    // A failing case is printed; it is not to leave a file in the tree.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_value_reads_as_it_was_written(value in proptest::collection::vec(any::<u8>(), 0..20_000)) {
        let payload = written(&value);
        prop_assert_eq!(payload.len(), payload_bytes(&value));
        prop_assert_eq!(read(&payload), Ok(value));
    }

    #[test]
    fn any_number_reads_as_it_was_written(number in any::<i64>(), shift in 0u32..64) {
        let value = (number >> shift).to_string().into_bytes();
        prop_assert_eq!(read(&written(&value)), Ok(value));
    }

    #[test]
    fn any_stream_becomes_what_its_tokens_say(tokens in proptest::collection::vec(token(), 1..60)) {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for (literal, distance, len) in tokens {
            stream.push(literal.len() as u8 - 1);
            stream.extend_from_slice(&literal);
            expected.extend_from_slice(&literal);
            let back = distance.min(expected.len()) - 1;
            match len - 2 {
                upper @ 1..7 => stream.push((upper << 5 | back >> 8) as u8),
                more => stream.extend([(7 << 5 | back >> 8) as u8, (more - 7) as u8]),
            }
            stream.push(back as u8);
            (0..len).for_each(|_| expected.push(expected[expected.len() - 1 - back]));
        }
        prop_assert_eq!(read(&compressed(&stream, expected.len() as u64)), Ok(expected));
    }

    #[test]
    fn any_bytes_under_a_right_checksum_are_a_value_or_an_error(
        mut body in proptest::collection::vec(any::<u8>(), 0..200), is_compressed in any::<bool>(),
    ) {
        body.insert(0, 0);
        if is_compressed {
            body.insert(1, 0xc3);
        }
        if let Ok(value) = read(&sealed(&body, 10)) {
            prop_assert!(value.len() <= 88 * body.len());
        }
    }
}
