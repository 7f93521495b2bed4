//! Checked values, and where each came from.

use std::net::IpAddr;
use std::ops::Range;

use super::keys::{Key, Kind};

/// A value that is fit for its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Int(i64),
    Bool(bool),
    Text(String),
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody gave it.
    Default,
    /// A flag, without its dashes.
    Flag(String),
    /// These bytes of the file.
    File(Range<usize>),
    /// Somebody, while the node ran.
    Run,
}

/// A value and where it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// A value as it was given, not yet checked.
#[derive(Clone, Debug)]
pub(crate) enum Raw<'a> {
    /// Digits, which may be more than fit into 64 bits.
    Int {
        digits: &'a str,
        radix: u32,
    },
    Bool(bool),
    Text(&'a str),
    /// From a flag: the key says what it is.
    Word(&'a str),
    /// Something that no key can hold, by its name.
    Other(&'static str),
}

impl Value {
    /// Checks what was given for a key. The error is a sentence without its subject: "must be ..., not ...".
    pub(crate) fn check(key: &Key, raw: &Raw<'_>) -> Result<Value, String> {
        let refuse = |given: String| Err(format!("must be {}, not {given}", key.range()));
        match (&key.kind, raw) {
            (Kind::Int { min, max }, Raw::Int { .. } | Raw::Word(_)) => {
                let (digits, radix) = match raw {
                    Raw::Int { digits, radix } => (*digits, *radix),
                    Raw::Word(word) => (*word, 10),
                    _ => unreachable!("matched just above"),
                };
                match i64::from_str_radix(&digits.replace('_', ""), radix) {
                    Ok(number) if (*min..=*max).contains(&number) => Ok(Value::Int(number)),
                    _ => refuse(shown(digits)),
                }
            }
            (Kind::Bool, Raw::Bool(on)) => Ok(Value::Bool(*on)),
            (Kind::Bool, Raw::Word("true")) => Ok(Value::Bool(true)),
            (Kind::Bool, Raw::Word("false")) => Ok(Value::Bool(false)),
            (Kind::Text { .. } | Kind::Path | Kind::Address | Kind::Choice(_), Raw::Text(text) | Raw::Word(text)) => {
                let fits = !text.is_empty() && text.len() <= key.text_bytes_max();
                let fits = fits && !text.chars().any(char::is_control);
                let fits = fits
                    && match &key.kind {
                        Kind::Address => text.parse::<IpAddr>().is_ok_and(|addr| !addr.is_unspecified()),
                        Kind::Choice(words) => words.contains(text),
                        _ => true,
                    };
                if fits { Ok(Value::Text((*text).to_owned())) } else { refuse(format!("\"{}\"", shown(text))) }
            }
            (_, Raw::Word(word)) => refuse(format!("\"{}\"", shown(word))),
            (_, Raw::Int { .. }) => refuse("a whole number".to_owned()),
            (_, Raw::Bool(on)) => refuse(on.to_string()),
            (_, Raw::Text(_)) => refuse("a text".to_owned()),
            (_, Raw::Other(name)) => refuse(format!("{} {name}", article(name))),
        }
    }

    /// The value as it would stand in the file.
    pub(crate) fn to_toml(&self) -> String {
        match self {
            Value::Int(number) => number.to_string(),
            Value::Bool(on) => on.to_string(),
            Value::Text(text) => toml::Value::from(text.as_str()).to_string(),
        }
    }
}

/// What was given, short enough for a message and without control characters.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut shown: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > CHARS_MAX {
        shown.push_str("...");
    }
    shown
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" }
}
