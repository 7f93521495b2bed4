//! What commands do to the keys of the server in memory. Written apart from the model of the checkers, so that neither proves
//! itself right.

use std::collections::BTreeMap;

use bytes::Bytes;
use resp::Reply;

/// Keys and values.
#[derive(Default)]
pub(super) struct Store {
    values: BTreeMap<Bytes, Bytes>,
    /// The value of each key before it was last set.
    before: BTreeMap<Bytes, Option<Bytes>>,
}

impl Store {
    /// The values, to be put back later.
    pub(super) fn values(&self) -> BTreeMap<Bytes, Bytes> {
        self.values.clone()
    }

    /// Puts values back.
    pub(super) fn set_values(&mut self, values: BTreeMap<Bytes, Bytes>) {
        self.values = values;
    }

    /// Runs a command. A `GET` answers the value before if `reads_old`.
    pub(super) fn run(&mut self, parts: &[Bytes], reads_old: bool, reply: &mut Reply<'_>) {
        let held = parts.get(1).and_then(|key| self.values.get(key)).cloned();
        let pairs = || parts[1..].chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        match &parts[0][..] {
            b"GET" => match self.before.get(&parts[1]).filter(|_| reads_old) {
                Some(before) => bulk(before.as_ref(), reply),
                None => bulk(held.as_ref(), reply),
            },
            b"STRLEN" => reply.integer(held.map_or(0, |value| value.len()) as i64),
            b"SET" => self.set_with_options(parts, held, reply),
            b"SETRANGE" => self.set_range(parts, held, reply),
            b"GETRANGE" => reply.bulk(range(&held.unwrap_or_default(), integer(&parts[2]), integer(&parts[3]))),
            b"INCRBYFLOAT" => self.add_float(parts, held, reply),
            b"SETNX" => {
                if held.is_none() {
                    self.set(&parts[1], parts[2].clone());
                }
                reply.integer(i64::from(held.is_none()));
            }
            b"GETSET" => {
                self.set(&parts[1], parts[2].clone());
                bulk(held.as_ref(), reply);
            }
            b"GETDEL" => {
                self.values.remove(&parts[1]);
                bulk(held.as_ref(), reply);
            }
            b"APPEND" => {
                let value: Bytes = [held.unwrap_or_default(), parts[2].clone()].concat().into();
                reply.integer(value.len() as i64);
                self.set(&parts[1], value);
            }
            b"INCR" | b"INCRBY" | b"DECR" | b"DECRBY" => self.add(parts, held, reply),
            b"DEL" | b"UNLINK" => {
                reply.integer(parts[1..].iter().filter(|key| self.values.remove(*key).is_some()).count() as i64)
            }
            b"EXISTS" | b"TOUCH" => {
                reply.integer(parts[1..].iter().filter(|key| self.values.contains_key(*key)).count() as i64)
            }
            b"MGET" => {
                reply.array(parts.len() - 1);
                parts[1..].iter().for_each(|key| bulk(self.values.get(key), reply));
            }
            b"MSETNX" if pairs().any(|(key, _)| self.values.contains_key(&key)) => reply.integer(0),
            b"MSET" | b"MSETNX" => {
                pairs().for_each(|(key, value)| self.set(&key, value));
                if parts[0] == "MSET" { reply.ok() } else { reply.integer(1) }
            }
            b"FLUSHALL" => {
                self.values.clear();
                reply.ok();
            }
            other => panic!("an unknown command {}", other.escape_ascii()),
        }
    }

    fn set(&mut self, key: &Bytes, value: Bytes) {
        let before = self.values.insert(key.clone(), value);
        self.before.insert(key.clone(), before);
    }

    fn set_with_options(&mut self, parts: &[Bytes], held: Option<Bytes>, reply: &mut Reply<'_>) {
        let has = |option: &str| parts[3..].iter().any(|part| part == option);
        let sets = !(has("NX") && held.is_some() || has("XX") && held.is_none());
        if sets {
            self.set(&parts[1], parts[2].clone());
        }
        match (has("GET"), sets) {
            (true, _) => bulk(held.as_ref(), reply),
            (false, true) => reply.ok(),
            (false, false) => reply.null(),
        }
    }

    fn set_range(&mut self, parts: &[Bytes], held: Option<Bytes>, reply: &mut Reply<'_>) {
        let (offset, text) = (integer(&parts[2]) as usize, &parts[3]);
        let mut value = held.unwrap_or_default().to_vec();
        if !text.is_empty() {
            value.resize(value.len().max(offset + text.len()), 0);
            value[offset..offset + text.len()].copy_from_slice(text);
            self.set(&parts[1], value.clone().into());
        }
        reply.integer(value.len() as i64);
    }

    fn add_float(&mut self, parts: &[Bytes], held: Option<Bytes>, reply: &mut Reply<'_>) {
        let float = |text: &[u8]| str::from_utf8(text).unwrap().parse::<f64>().unwrap();
        let sum = (held.map_or(0.0, |value| float(&value)) + float(&parts[2])).to_string();
        self.set(&parts[1], sum.clone().into());
        reply.bulk(sum.as_bytes());
    }

    fn add(&mut self, parts: &[Bytes], held: Option<Bytes>, reply: &mut Reply<'_>) {
        let by = parts.get(2).map_or(1, integer);
        let by = if parts[0].starts_with(b"DECR") { -by } else { by };
        let sum = held.as_ref().map_or(0, integer) + by;
        self.set(&parts[1], sum.to_string().into());
        reply.integer(sum);
    }
}

fn bulk(value: Option<&Bytes>, reply: &mut Reply<'_>) {
    match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    }
}

/// The bytes from `start` to `end`, both included, counted from the end if negative.
fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    let is_backwards = end < start && start < 0;
    let place = |place: i64| if place < 0 { (value.len() as i64 + place).max(0) } else { place };
    let (start, end) = (place(start), (place(end) + 1).min(value.len() as i64));
    if start < end && !is_backwards { &value[start as usize..end as usize] } else { &[] }
}

fn integer(text: &Bytes) -> i64 {
    resp::number::parse_i64(text).expect("sessions send integers, and counters hold them")
}
