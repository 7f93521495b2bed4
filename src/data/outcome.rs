//! What applying a write answers.

use resp::Reply;

/// Why a command failed. The texts are those of Redis 7.0 wherever Redis has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum Error {
    /// Too few or too many arguments. Clients get this from the command table, with the command's name.
    ArgumentsCount,
    /// `MSET` with a key without a value.
    MSetArgumentsCount,
    /// `MSETNX` with a key without a value.
    MSetNxArgumentsCount,
    /// An unknown option, or options that exclude each other.
    Syntax,
    /// An argument or a value that is no 64-bit integer in its canonical form.
    NotAnInteger,
    /// An argument or a value that is no number.
    NotAFloat,
    /// The sum of two floats is no finite number.
    NanOrInfinity,
    /// The sum of two integers leaves 64 bits.
    Overflow,
    /// `DECRBY` with the one decrement that has no negative.
    DecrementOverflow,
    /// A negative offset.
    OffsetOutOfRange,
    /// A value longer than [`types::limits::VALUE_BYTES_MAX`].
    ValueTooLong,
    /// A key longer than [`types::limits::KEY_BYTES_MAX`].
    KeyTooLong,
    /// A time of expiry that is not positive, or too far away.
    ExpiryInvalid(ExpiryCommand),
    /// An option of `EXPIRE` and its like that there is not.
    UnsupportedOption,
    /// `EXPIRE` with `NX` and another condition.
    NxWithOthers,
    /// `EXPIRE` with `GT` and `LT`.
    GtWithLt,
    /// `RENAME` of a key that does not exist.
    NoSuchKey,
    /// `RESTORE` of a key that exists, without `REPLACE`.
    BusyKey,
    /// `RESTORE` with a negative time to live.
    TtlNegative,
    /// `RESTORE` with a negative idle time.
    IdleTimeNegative,
    /// `RESTORE` with a frequency that is none.
    FreqOutOfRange,
    /// A payload of another version, or whose checksum is another.
    PayloadChecksum,
    /// A payload whose checksum is right and whose content is none.
    PayloadFormat,
    /// A payload that holds another type than a string.
    PayloadType,
    /// `OBJECT FREQ` of a key that exists.
    FreqNotTracked,
    /// `OBJECT IDLETIME` of a key that exists.
    IdleTimeNotTracked,
    /// `COPY` of a key to itself.
    SameObject,
    /// `COPY` to another database than the one that there is.
    DbIndexOutOfRange,
    /// A cursor that no `SCAN` has answered.
    InvalidCursor,
    /// `KEYS` where there are too many keys to look at all of them at once.
    TooManyKeys,
    /// More keys or values than a reply may hold.
    ReplyTooLong,
    /// A command that does not work on keys, or a read where a write is expected and the other way round.
    Unsupported,
}

impl Error {
    /// The text of the error reply, its code first.
    pub const fn message(self) -> &'static str {
        match self {
            Error::ArgumentsCount => "ERR wrong number of arguments",
            Error::MSetArgumentsCount => "ERR wrong number of arguments for 'mset' command",
            Error::MSetNxArgumentsCount => "ERR wrong number of arguments for 'msetnx' command",
            Error::Syntax => "ERR syntax error",
            Error::NotAnInteger => "ERR value is not an integer or out of range",
            Error::NotAFloat => "ERR value is not a valid float",
            Error::NanOrInfinity => "ERR increment would produce NaN or Infinity",
            Error::Overflow => "ERR increment or decrement would overflow",
            Error::DecrementOverflow => "ERR decrement would overflow",
            Error::OffsetOutOfRange => "ERR offset is out of range",
            // The setting Redis names here is its own; clients match on the text before the parenthesis.
            Error::ValueTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Error::KeyTooLong => "ERR key exceeds maximum allowed size (65536 bytes)",
            Error::ExpiryInvalid(command) => command.invalid(),
            // Redis goes on with the option's name.
            Error::UnsupportedOption => "ERR Unsupported option",
            Error::NxWithOthers => "ERR NX and XX, GT or LT options at the same time are not compatible",
            Error::GtWithLt => "ERR GT and LT options at the same time are not compatible",
            Error::NoSuchKey => "ERR no such key",
            Error::BusyKey => "BUSYKEY Target key name already exists.",
            Error::TtlNegative => "ERR Invalid TTL value, must be >= 0",
            Error::IdleTimeNegative => "ERR Invalid IDLETIME value, must be >= 0",
            Error::FreqOutOfRange => "ERR Invalid FREQ value, must be >= 0 and <= 255",
            Error::PayloadChecksum => "ERR DUMP payload version or checksum are wrong",
            Error::PayloadFormat => "ERR Bad data format",
            Error::PayloadType => {
                "ERR DUMP payload holds another type than a string: strings are the only values here"
            }
            // Redis goes on about changing the policy, which cannot be changed here.
            Error::FreqNotTracked => "ERR An LFU maxmemory policy is not selected, access frequency not tracked.",
            Error::IdleTimeNotTracked => "ERR idle time not tracked: nothing here tells when a key was last used",
            Error::SameObject => "ERR source and destination objects are the same",
            Error::DbIndexOutOfRange => "ERR DB index is out of range",
            Error::InvalidCursor => "ERR invalid cursor",
            Error::TooManyKeys => {
                "ERR a group has more than 10000 keys, too many for KEYS to look at all at once: use SCAN, which goes step by step"
            }
            Error::ReplyTooLong => "ERR the reply would be longer than 32 MiB: ask for fewer keys at a time",
            Error::Unsupported => "ERR command cannot be applied to the keys of a group",
        }
    }
}

/// A command that states when a key expires, by the name that its error tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called as the commands are")]
pub enum ExpiryCommand {
    Set,
    SetEx,
    PSetEx,
    GetEx,
    Expire,
    PExpire,
    ExpireAt,
    PExpireAt,
    Restore,
}

impl ExpiryCommand {
    const fn invalid(self) -> &'static str {
        match self {
            ExpiryCommand::Set => "ERR invalid expire time in 'set' command",
            ExpiryCommand::SetEx => "ERR invalid expire time in 'setex' command",
            ExpiryCommand::PSetEx => "ERR invalid expire time in 'psetex' command",
            ExpiryCommand::GetEx => "ERR invalid expire time in 'getex' command",
            ExpiryCommand::Expire => "ERR invalid expire time in 'expire' command",
            ExpiryCommand::PExpire => "ERR invalid expire time in 'pexpire' command",
            ExpiryCommand::ExpireAt => "ERR invalid expire time in 'expireat' command",
            ExpiryCommand::PExpireAt => "ERR invalid expire time in 'pexpireat' command",
            ExpiryCommand::Restore => "ERR invalid expire time in 'restore' command",
        }
    }
}

const _: () = assert!(types::limits::KEY_BYTES_MAX == 65_536, "the text of KeyTooLong names the limit");
const _: () = assert!(types::limits::REPLY_BYTES_MAX == 32 << 20, "the text of ReplyTooLong names the limit");

/// What a write answers. Nothing is formatted or copied until [`Outcome::write`]: a follower only drops it.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// `OK`.
    Ok,
    /// No value.
    Null,
    /// A number.
    Integer(i64),
    /// A value, of the keyspace or taken out of it: it is there until the next command is applied.
    Bulk(&'a [u8]),
    /// The command failed and changed nothing.
    Error(Error),
}

impl Outcome<'_> {
    /// About how long the reply will be, in bytes: exact but for a few dozen.
    pub fn reply_bytes(&self) -> usize {
        match self {
            Outcome::Ok | Outcome::Null | Outcome::Integer(_) | Outcome::Error(_) => 0,
            Outcome::Bulk(bytes) => bytes.len(),
        }
    }

    /// Appends the reply.
    #[inline]
    pub fn write(&self, reply: &mut Reply<'_>) {
        match self {
            Outcome::Ok => reply.ok(),
            Outcome::Null => reply.null(),
            Outcome::Integer(number) => reply.integer(*number),
            Outcome::Bulk(bytes) => reply.bulk(bytes),
            Outcome::Error(error) => reply.error(error.message()),
        }
    }
}
