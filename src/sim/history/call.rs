//! Commands as clients mean them, and how what they write is spelled.

use bytes::Bytes;

/// A key or a value.
pub type Text = Bytes;

/// What ends a token in a log. A key counts as a log if all that is ever done to change it is to append texts that end with
/// this and hold it nowhere else.
pub(crate) const TOKEN_END: u8 = b';';

/// The options of a `SET` that has any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SetOptions {
    /// When it sets.
    pub when: SetWhen,
    /// Whether it answers the value from before.
    pub get: bool,
    /// Whether it names `KEEPTTL`, which changes nothing where no key expires.
    pub keep_ttl: bool,
}

/// When a `SET` sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SetWhen {
    /// Whatever there is.
    #[default]
    Always,
    /// `NX`: if there is no value.
    Missing,
    /// `XX`: if there is one.
    Present,
}

/// A command as a client means it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// `GET key`.
    Get(Text),
    /// `STRLEN key`.
    StrLen(Text),
    /// `SET key value`.
    Set(Text, Text),
    /// `SET key value` with options.
    SetWith(Text, Text, SetOptions),
    /// `SETRANGE key offset text`.
    SetRange(Text, u64, Text),
    /// `GETRANGE key start end`.
    GetRange(Text, i64, i64),
    /// `INCRBYFLOAT key increment`, in halves, which sum up exactly.
    IncrByHalves(Text, i64),
    /// `SETNX key value`.
    SetNx(Text, Text),
    /// `GETSET key value`.
    GetSet(Text, Text),
    /// `GETDEL key`.
    GetDel(Text),
    /// `APPEND key tail`.
    Append(Text, Text),
    /// `INCRBY key increment`; sent as `INCR` or `DECR` if it is one, and as `DECRBY` if it is negative.
    Incr(Text, i64),
    /// `DEL key [key ...]`, all in one slot; several are sent as `UNLINK`.
    Del(Vec<Text>),
    /// `EXISTS key [key ...]`, all in one slot; several are sent as `TOUCH`.
    Exists(Vec<Text>),
    /// `MGET key [key ...]`, all in one slot.
    MGet(Vec<Text>),
    /// `MSET key value [key value ...]`, all in one slot.
    MSet(Vec<(Text, Text)>),
    /// `MSETNX key value [key value ...]`, all in one slot.
    MSetNx(Vec<(Text, Text)>),
    /// `FLUSHALL`: every key goes, each group's at a moment of its own.
    FlushAll,
}

impl Call {
    /// Whether it may change something.
    pub fn is_write(&self) -> bool {
        !matches!(self, Call::Get(_) | Call::StrLen(_) | Call::GetRange(..) | Call::Exists(_) | Call::MGet(_))
    }

    /// Whether it may add something to what is kept.
    pub fn adds_data(&self) -> bool {
        self.is_write() && !matches!(self, Call::GetDel(_) | Call::Del(_) | Call::FlushAll)
    }

    /// Calls `visit` for each key named; for none by [`Call::FlushAll`], which means all.
    pub fn for_each_key<'a>(&'a self, mut visit: impl FnMut(&'a Text)) {
        match self {
            Call::Get(key)
            | Call::StrLen(key)
            | Call::Set(key, _)
            | Call::SetWith(key, ..)
            | Call::SetRange(key, ..)
            | Call::GetRange(key, ..)
            | Call::IncrByHalves(key, _)
            | Call::SetNx(key, _)
            | Call::GetSet(key, _)
            | Call::GetDel(key)
            | Call::Append(key, _)
            | Call::Incr(key, _) => visit(key),
            Call::Del(keys) | Call::Exists(keys) | Call::MGet(keys) => keys.iter().for_each(visit),
            Call::MSet(pairs) | Call::MSetNx(pairs) => pairs.iter().for_each(|(key, _)| visit(key)),
            Call::FlushAll => {}
        }
    }
}

/// A number of halves as `INCRBYFLOAT` writes it.
pub(crate) fn halves_text(halves: i64) -> String {
    let sign = if halves < 0 { "-" } else { "" };
    let half = if halves % 2 == 0 { "" } else { ".5" };
    format!("{sign}{}{half}", halves.unsigned_abs() / 2)
}
