//! Commands as bytes, and replies as outcomes.

use resp::number::write_i64;

use super::reader::Answer;
use crate::history::{Call, Outcome, SetOptions, SetWhen, Text, halves_text};

/// Appends the bytes of a command.
pub(super) fn write(call: &Call, out: &mut Vec<u8>) {
    match call {
        Call::Get(key) => write_parts(out, &[b"GET", key]),
        Call::StrLen(key) => write_parts(out, &[b"STRLEN", key]),
        Call::Set(key, value) => write_parts(out, &[b"SET", key, value]),
        Call::SetWith(key, value, options) => {
            let mut parts: Vec<&[u8]> = vec![b"SET", key, value];
            match options.when {
                SetWhen::Always => {}
                SetWhen::Missing => parts.push(b"NX"),
                SetWhen::Present => parts.push(b"XX"),
            }
            parts.extend(options.get.then_some(&b"GET"[..]));
            parts.extend(options.keep_ttl.then_some(&b"KEEPTTL"[..]));
            write_parts(out, &parts);
        }
        Call::SetRange(key, offset, text) => {
            write_parts(out, &[b"SETRANGE", key, offset.to_string().as_bytes(), text]);
        }
        Call::GetRange(key, start, end) => {
            write_parts(out, &[b"GETRANGE", key, start.to_string().as_bytes(), end.to_string().as_bytes()]);
        }
        Call::IncrByHalves(key, halves) => {
            write_parts(out, &[b"INCRBYFLOAT", key, halves_text(*halves).as_bytes()]);
        }
        Call::SetNx(key, value) => write_parts(out, &[b"SETNX", key, value]),
        Call::GetSet(key, value) => write_parts(out, &[b"GETSET", key, value]),
        Call::GetDel(key) => write_parts(out, &[b"GETDEL", key]),
        Call::Append(key, tail) => write_parts(out, &[b"APPEND", key, tail]),
        Call::Incr(key, 1) => write_parts(out, &[b"INCR", key]),
        Call::Incr(key, -1) => write_parts(out, &[b"DECR", key]),
        Call::Incr(key, by) => {
            let name: &[u8] = if *by < 0 { b"DECRBY" } else { b"INCRBY" };
            write_parts(out, &[name, key, by.unsigned_abs().to_string().as_bytes()]);
        }
        Call::Del(keys) => write_keys(out, if keys.len() > 1 { b"UNLINK" } else { b"DEL" }, keys),
        Call::Exists(keys) => write_keys(out, if keys.len() > 1 { b"TOUCH" } else { b"EXISTS" }, keys),
        Call::MGet(keys) => write_keys(out, b"MGET", keys),
        Call::MSet(pairs) => write_pairs(out, b"MSET", pairs),
        Call::MSetNx(pairs) => write_pairs(out, b"MSETNX", pairs),
        Call::FlushAll => write_parts(out, &[b"FLUSHALL"]),
    }
}

fn write_keys(out: &mut Vec<u8>, name: &[u8], keys: &[Text]) {
    let mut parts = vec![name];
    parts.extend(keys.iter().map(|key| &key[..]));
    write_parts(out, &parts);
}

fn write_pairs(out: &mut Vec<u8>, name: &[u8], pairs: &[(Text, Text)]) {
    let mut parts = vec![name];
    parts.extend(pairs.iter().flat_map(|(key, value)| [&key[..], &value[..]]));
    write_parts(out, &parts);
}

pub(super) fn write_parts(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let header = |out: &mut Vec<u8>, kind: u8, len: usize| {
        out.push(kind);
        write_i64(out, len as i64);
        out.extend_from_slice(b"\r\n");
    };
    header(out, b'*', parts.len());
    for part in parts {
        header(out, b'$', part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// What a reply that is no error says about a command; `None` if no server may answer it so.
pub(super) fn outcome(call: &Call, answer: Answer) -> Option<Outcome> {
    match (call, answer) {
        (Call::Set(..) | Call::MSet(_) | Call::FlushAll, Answer::Simple(text)) if text == "OK" => Some(Outcome::Ok),
        (Call::SetWith(_, _, SetOptions { get: false, .. }), Answer::Simple(text)) if text == "OK" => {
            Some(Outcome::Ok)
        }
        (Call::SetWith(_, _, options), Answer::Null) if options.get || options.when != SetWhen::Always => {
            Some(Outcome::Value(None))
        }
        (Call::SetWith(_, _, SetOptions { get: true, .. }), Answer::Bulk(value)) => Some(Outcome::Value(Some(value))),
        (Call::GetRange(..) | Call::IncrByHalves(..), Answer::Bulk(value)) => Some(Outcome::Value(Some(value))),
        (Call::Get(_) | Call::GetSet(..) | Call::GetDel(_), Answer::Null) => Some(Outcome::Value(None)),
        (Call::Get(_) | Call::GetSet(..) | Call::GetDel(_), Answer::Bulk(value)) => Some(Outcome::Value(Some(value))),
        (Call::MGet(keys), Answer::Array(answers)) if answers.len() == keys.len() => {
            let value = |answer| match answer {
                Answer::Null => Some(None),
                Answer::Bulk(value) => Some(Some(value)),
                _ => None,
            };
            answers.into_iter().map(value).collect::<Option<_>>().map(Outcome::Values)
        }
        (Call::Incr(..), Answer::Integer(number)) => Some(Outcome::Integer(number)),
        (call, Answer::Integer(number)) => {
            let most = match call {
                Call::StrLen(_) | Call::Append(..) | Call::SetRange(..) => i64::MAX,
                Call::SetNx(..) | Call::MSetNx(_) => 1,
                Call::Del(keys) | Call::Exists(keys) => keys.len() as i64,
                _ => return None,
            };
            (0..=most).contains(&number).then_some(Outcome::Integer(number))
        }
        _ => None,
    }
}

/// What an error says about a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It has not run and never will.
    NotApplied,
    /// It may have run.
    Unknown,
    /// Ask this address.
    Moved(u16, std::net::SocketAddr),
    /// No server may answer so.
    Unexpected,
}

/// Reads an error.
pub(super) fn failure(call: &Call, error: &str) -> Failure {
    match error.split(' ').next().unwrap_or_default() {
        // Some groups may have been flushed.
        "TRYAGAIN" | "CLUSTERDOWN" | "DISKFULL" if *call == Call::FlushAll => Failure::Unknown,
        _ => failure_of_one(call.is_write(), call.adds_data(), error),
    }
}

/// Reads an error that a command on keys of one slot was answered with.
pub(super) fn failure_of_one(is_write: bool, adds_data: bool, error: &str) -> Failure {
    let mut words = error.split(' ');
    match words.next().unwrap_or_default() {
        "TRYAGAIN" | "CLUSTERDOWN" => Failure::NotApplied,
        "DISKFULL" if is_write => Failure::NotApplied,
        "OOM" if adds_data => Failure::NotApplied,
        "UNKNOWNOUTCOME" if is_write => Failure::Unknown,
        "MOVED" => match (words.next().map(str::parse), words.next().map(str::parse), words.next()) {
            (Some(Ok(slot)), Some(Ok(addr)), None) => Failure::Moved(slot, addr),
            _ => Failure::Unexpected,
        },
        _ => Failure::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn full_memory_refuses_what_adds_data_and_nothing_else() {
        let error = "OOM command not allowed when used memory > 'maxmemory'.";
        let key = Bytes::from_static(b"key");
        for call in
            [Call::Set(key.clone(), key.clone()), Call::Incr(key.clone(), 1), Call::Append(key.clone(), key.clone())]
        {
            assert_eq!(failure(&call, error), Failure::NotApplied, "{call:?}");
        }
        for call in [Call::Get(key.clone()), Call::Del(vec![key.clone()]), Call::GetDel(key), Call::FlushAll] {
            assert_eq!(failure(&call, error), Failure::Unexpected, "{call:?}");
        }
    }
}
