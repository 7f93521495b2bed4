//! The commands of a run: their bytes, and what a sound answer looks like.

use crate::load::keys::{KEY_BYTES, key_name};
use crate::load::mix::{Kind, Mix};
use crate::load::rng::Rng;
use crate::load::sizes::ValueSizes;
use crate::load::values::Values;
use crate::reply::Reply;

/// A command as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `SET key value`
    Set,
    /// `GET key`
    Get,
    /// `DEL key`
    Del,
    /// `PING`
    Ping,
}

impl Verb {
    const ALL: [Verb; 4] = [Verb::Set, Verb::Get, Verb::Del, Verb::Ping];

    /// The first command of a kind.
    pub fn first_of(kind: Kind) -> Verb {
        match kind {
            Kind::Set | Kind::Insert => Verb::Set,
            Kind::Get | Kind::Rmw => Verb::Get,
            Kind::Del => Verb::Del,
            Kind::Ping => Verb::Ping,
        }
    }

    /// The command that a sound answer to this one calls for, if it is of this kind.
    pub fn next_of(self, kind: Kind) -> Option<Verb> {
        (self == Verb::Get && kind == Kind::Rmw).then_some(Verb::Set)
    }

    /// The bytes of a command up to its key.
    fn head(self) -> Vec<u8> {
        let (args_count, name) = match self {
            Verb::Set => (3, "SET"),
            Verb::Get => (2, "GET"),
            Verb::Del => (2, "DEL"),
            Verb::Ping => return b"*1\r\n$4\r\nPING\r\n".to_vec(),
        };
        format!("*{args_count}\r\n$3\r\n{name}\r\n${KEY_BYTES}\r\n").into_bytes()
    }
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// As it should be.
    Sound,
    /// A `GET` found nothing.
    Missing,
    /// An answer of a wrong form, or a value that was not written: what is wrong.
    Wrong(&'static str),
    /// An error reply: its bytes.
    Error(&'a [u8]),
}

/// What is sent, and what is made of the answers.
#[derive(Clone, Debug)]
pub struct Workload {
    mix: Mix,
    sizes: ValueSizes,
    check: bool,
    values: Values,
    // In the order of `Verb::ALL`; each ends where the key comes.
    heads: [Vec<u8>; Verb::ALL.len()],
}

impl Workload {
    /// Prepares a workload. With `check`, the values read are checked byte by byte.
    pub fn new(mix: Mix, sizes: ValueSizes, check: bool) -> Workload {
        Workload { mix, sizes, check, values: Values::new(), heads: Verb::ALL.map(Verb::head) }
    }

    /// The same with other values.
    pub fn with_values(self, values: Values) -> Workload {
        Workload { values, ..self }
    }

    /// The kinds and their weights.
    pub fn mix(&self) -> &Mix {
        &self.mix
    }

    /// Appends a command. The length and the tag of a value come from `rng`.
    pub fn encode(&self, verb: Verb, key: u32, rng: &mut Rng, out: &mut Vec<u8>) {
        let [set, get, del, ping] = &self.heads;
        let head = match verb {
            Verb::Set => set,
            Verb::Get => get,
            Verb::Del => del,
            Verb::Ping => return out.extend_from_slice(ping),
        };
        out.extend_from_slice(head);
        out.extend_from_slice(&key_name(key));
        if verb == Verb::Set {
            let (len, tag) = (self.sizes.draw(rng), rng.bits() as u32);
            out.extend_from_slice(b"\r\n$");
            append_number(len, out);
            out.extend_from_slice(b"\r\n");
            self.values.append(key, tag, len, out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Judges the answer to a command.
    pub fn judge<'a>(&self, verb: Verb, key: u32, reply: &Reply<'a>) -> Verdict<'a> {
        match (verb, reply) {
            (_, Reply::Error(text)) => Verdict::Error(text),
            (Verb::Set, Reply::Simple(b"OK")) | (Verb::Ping, Reply::Simple(b"PONG")) => Verdict::Sound,
            (Verb::Del, Reply::Integer(0 | 1)) => Verdict::Sound,
            (Verb::Get, Reply::Nil) => Verdict::Missing,
            (Verb::Get, Reply::Bulk(value)) if self.check => match self.values.check(key, value) {
                Ok(()) => Verdict::Sound,
                Err(what) => Verdict::Wrong(what),
            },
            (Verb::Get, Reply::Bulk(_)) => Verdict::Sound,
            _ => Verdict::Wrong("a reply of a wrong form for its command"),
        }
    }
}

fn append_number(number: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let (mut rest, mut first) = (number, digits.len());
    for (idx, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10) as u8;
        (rest, first) = (rest / 10, idx);
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::decode;

    fn workload(sizes: &str, check: bool) -> Workload {
        Workload::new(Mix::only(Kind::Set), sizes.parse().unwrap(), check)
    }

    #[test]
    fn a_set_is_what_a_client_would_send() {
        for len in ["1", "20", "99", "100", "5000"] {
            let (workload, mut rng) = (workload(len, true), Rng::new(1));
            let mut out = Vec::new();
            workload.encode(Verb::Set, 1_234, &mut rng, &mut out);
            let (Reply::Array(args), used) = decode(&out).unwrap().unwrap() else { panic!("not an array") };
            assert_eq!(used, out.len());
            let [Reply::Bulk(b"SET"), Reply::Bulk(b"key:000000001234"), Reply::Bulk(value)] = args.as_slice() else {
                panic!("{args:?}")
            };
            assert_eq!(value.len().to_string(), len);
            assert_eq!(workload.judge(Verb::Get, 1_234, &Reply::Bulk(value)), Verdict::Sound);
        }
    }

    #[test]
    fn values_of_other_keys_are_wrong_if_they_are_looked_at() {
        let mut value = Vec::new();
        Values::new().append(7, 1, 100, &mut value);
        let judge = |check: bool| workload("8", check).judge(Verb::Get, 8, &Reply::Bulk(&value));
        assert!(matches!(judge(true), Verdict::Wrong(_)));
        assert_eq!(judge(false), Verdict::Sound);
    }

    #[test]
    fn answers_are_judged_by_their_command() {
        let workload = workload("8", false);
        assert_eq!(workload.judge(Verb::Get, 0, &Reply::Nil), Verdict::Missing);
        assert_eq!(workload.judge(Verb::Get, 0, &Reply::Error(b"x")), Verdict::Error(b"x"));
        assert!(matches!(workload.judge(Verb::Set, 0, &Reply::Nil), Verdict::Wrong(_)));
        assert!(matches!(workload.judge(Verb::Set, 0, &Reply::Simple(b"QUEUED")), Verdict::Wrong(_)));
    }

    #[test]
    fn a_write_follows_the_read_of_a_read_modify_write_only() {
        assert_eq!(Verb::first_of(Kind::Rmw).next_of(Kind::Rmw), Some(Verb::Set));
        assert_eq!(Verb::Set.next_of(Kind::Rmw), None);
        assert_eq!(Verb::first_of(Kind::Get).next_of(Kind::Get), None);
    }
}
