//! Row keys as people can read them. That of a head is [`head_key`](lsm::table::stored_row::head_key); that of an element
//! of a collection is the slot, `e`, 8 bytes of the collection's id, and the element's own key.

use lsm::table::stored_row::{HASH_BITS, head_parts, slot_of};
use serde::Serialize;
use types::Slot;

/// Digits of a key's hash.
const HASH_DIGITS: usize = HASH_BITS as usize / 4;
/// Bytes of a collection's id in the row key of an element.
const ID_BYTES: usize = 8;
const ELEMENT: u8 = b'e';

/// The parts of a row key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RowKey {
    /// The hash slot; `None` if it is too short to have one.
    pub(crate) slot: Option<u16>,
    /// `head`, `element` or `other`.
    pub(crate) kind: &'static str,
    /// Hash of a head's key, id of an element's collection, in hexadecimal digits. Empty if the key does not suit its kind.
    pub(crate) hash: String,
    /// The key of a client, or of an element; else all behind the kind. Escaped as redis-cli does.
    pub(crate) key: String,
}

impl RowKey {
    /// Takes a row key apart.
    pub(crate) fn of(bytes: &[u8]) -> RowKey {
        if let Some((slot, hash, key)) = head_parts(bytes) {
            let hash = format!("{hash:0HASH_DIGITS$x}");
            return RowKey { slot: Some(slot.number()), kind: "head", hash, key: escaped(key) };
        }
        let rest = bytes.get(3..).unwrap_or_default();
        let element = rest.split_at_checked(ID_BYTES).filter(|_| bytes.get(2) == Some(&ELEMENT));
        let kind = if element.is_some() { "element" } else { "other" };
        let (id, key) = element.unwrap_or((&[], rest));
        RowKey { slot: slot_of(bytes).map(Slot::number), kind, hash: hex(id), key: escaped(key) }
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for.
pub(crate) fn parse_hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

/// Bytes in quotation marks, escaped as redis-cli does.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend(['\\', char::from(*byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x07 => text.push_str("\\a"),
            0x08 => text.push_str("\\b"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_escaped_as_redis_cli_does() {
        assert_eq!(escaped(b"plain key"), r#""plain key""#);
        assert_eq!(escaped(b"\"\\\n\r\t\x07\x08\x00\x7f\xc3\xa9"), r#""\"\\\n\r\t\a\b\x00\x7f\xc3\xa9""#);
    }

    #[test]
    fn row_keys_are_taken_apart() {
        let slot = Slot::of_key(b"foo").number().to_be_bytes();
        let head = [&slot[..], b"h", &[1, 2, 3, 4, 5, 255], b"foo"].concat();
        let expected =
            RowKey { slot: Some(12_182), kind: "head", hash: "0102030405ff".into(), key: "\"foo\"".into() };
        assert_eq!(RowKey::of(&head), expected);
        let element = [&slot[..], b"e", &7_u64.to_be_bytes(), b"m"].concat();
        let expected = RowKey { kind: "element", hash: "0000000000000007".into(), key: "\"m\"".into(), ..expected };
        assert_eq!(RowKey::of(&element), expected);
        for short in [&b""[..], b"\x2f", b"\x2f\x96", b"\x2f\x96h", b"\x2f\x96e123", b"\xff\xffx1"] {
            assert_eq!((RowKey::of(short).kind, RowKey::of(short).hash.as_str()), ("other", ""), "{short:?}");
        }
        assert_eq!((RowKey::of(b"").slot, RowKey::of(b"\xff\xffx1").slot), (None, None));
    }

    #[test]
    fn digits_read_back() {
        assert_eq!(parse_hex(&hex(&[0, 0x2F, 255])), Some(vec![0, 0x2F, 255]));
        assert_eq!(parse_hex("2F96"), Some(vec![0x2F, 0x96]));
        assert_eq!([parse_hex("2"), parse_hex("2g"), parse_hex("+f"), parse_hex("é")], [None, None, None, None]);
    }
}
