//! Reads profiles as pprof does: gzip, and within that `profile.proto` of <https://github.com/google/pprof>.
//!
//! It is written from that file and not from what writes profiles here, so that both can be wrong only apart.

use std::collections::BTreeMap;
use std::io::Read;

/// A sample: functions from the innermost to the outermost, the values in the order of [`Profile::types`], and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The names of functions.
    pub functions: Vec<String>,
    /// The file of each.
    pub files: Vec<String>,
    /// One for each type.
    pub values: Vec<i64>,
    /// By their keys.
    pub labels: BTreeMap<String, String>,
}

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Name and unit of each value.
    pub types: Vec<(String, String)>,
    /// The samples.
    pub samples: Vec<Sample>,
    /// When it was begun, in nanoseconds since 1970, and how long it took.
    pub time: (i64, i64),
    /// Of what a sample is taken per period, and that.
    pub period: ((String, String), i64),
    /// What else it tells.
    pub comments: Vec<String>,
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(&self) -> u64 {
        match self {
            Field::Number(number) => *number,
            Field::Bytes(_) => panic!("a number"),
        }
    }

    fn bytes(&self) -> &'a [u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Number(_) => panic!("bytes"),
        }
    }

    /// The numbers of a repeated field, packed or not.
    fn numbers(&self) -> Vec<u64> {
        match self {
            Field::Number(number) => vec![*number],
            &Field::Bytes(mut bytes) => {
                std::iter::from_fn(|| (!bytes.is_empty()).then(|| varint(&mut bytes))).collect()
            }
        }
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let (first, rest) = bytes.split_first().expect("a varint ends");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
        shift += 7;
    }
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            2 => {
                let len = usize::try_from(varint(&mut bytes)).expect("a length");
                let (value, rest) = bytes.split_at(len);
                bytes = rest;
                Field::Bytes(value)
            }
            other => panic!("a profile has no fields of wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

/// The numbers of the fields of a message, by their places; texts and messages are left out.
fn numbers(bytes: &[u8]) -> BTreeMap<u64, u64> {
    let numbers = fields(bytes).into_iter().filter(|(_, field)| matches!(field, Field::Number(_)));
    numbers.map(|(place, field)| (place, field.number())).collect()
}

/// Reads a profile.
///
/// # Panics
/// If it is none, or names what is not in it.
pub fn read(gzip: &[u8]) -> Profile {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(gzip).read_to_end(&mut bytes).expect("a profile is compressed with gzip");
    let all = fields(&bytes);
    let of = |place: u64| all.iter().filter(move |(known, _)| *known == place).map(|(_, field)| field);
    let strings: Vec<String> =
        of(6).map(|text| String::from_utf8(text.bytes().to_vec()).expect("texts are UTF-8")).collect();
    assert_eq!(strings.first().map(String::as_str), Some(""), "the first text is empty");
    let text = |place: Option<&u64>| strings[place.map_or(0, |place| *place as usize)].clone();
    let value_type = |bytes: &[u8]| {
        let numbers = numbers(bytes);
        (text(numbers.get(&1)), text(numbers.get(&2)))
    };
    let functions: BTreeMap<u64, (String, String)> = of(5)
        .map(|function| numbers(function.bytes()))
        .map(|function| (function[&1], (text(function.get(&2)), text(function.get(&4)))))
        .collect();
    let mappings: Vec<u64> = of(3).map(|mapping| numbers(mapping.bytes())[&1]).collect();
    let location = |bytes: &[u8]| {
        let plain = numbers(bytes);
        assert!(plain.get(&2).is_none_or(|mapping| mappings.contains(mapping)), "{plain:?}");
        let all = fields(bytes).into_iter();
        let lines = all.filter(|(place, _)| *place == 4).map(|(_, line)| numbers(line.bytes())[&1]);
        (plain[&1], lines.map(|function| functions[&function].clone()).collect())
    };
    let locations: BTreeMap<u64, Vec<(String, String)>> = of(4).map(|field| location(field.bytes())).collect();
    let sample = |bytes: &[u8]| {
        let mut sample =
            Sample { functions: Vec::new(), files: Vec::new(), values: Vec::new(), labels: BTreeMap::new() };
        for (place, field) in fields(bytes) {
            match place {
                1 => {
                    for (name, file) in field.numbers().iter().flat_map(|id| &locations[id]) {
                        sample.functions.push(name.clone());
                        sample.files.push(file.clone());
                    }
                }
                2 => sample.values.extend(field.numbers().iter().map(|value| *value as i64)),
                3 => {
                    let label = numbers(field.bytes());
                    sample.labels.insert(text(label.get(&1)), text(label.get(&2)));
                }
                other => panic!("a sample has no field {other}"),
            }
        }
        sample
    };
    let number = |place: u64| of(place).next().map_or(0, |field| field.number() as i64);
    Profile {
        types: of(1).map(|field| value_type(field.bytes())).collect(),
        samples: of(2).map(|field| sample(field.bytes())).collect(),
        time: (number(9), number(10)),
        period: (of(11).next().map_or_else(Default::default, |field| value_type(field.bytes())), number(12)),
        comments: of(13).flat_map(Field::numbers).map(|place| text(Some(&place))).collect(),
    }
}
