//! Commands on strings.

use super::builder::{ALL, ONE, PAIRS};
use crate::command::{Categories, Command, Flags, FreesRoom, KeyFlags};
use crate::command_id::CommandId;

const DENYOOM: Flags = Flags::DENYOOM;
const DENYOOM_FAST: Flags = Flags::DENYOOM.union(Flags::FAST);
const READ_AND_UPDATE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE);

const fn string(id: CommandId, name: &'static str, arity: i32) -> Command {
    Command::new(id, name, arity, "string").categories(Categories::STRING)
}

/// A command that changes a number in place.
const fn counter(id: CommandId, name: &'static str, arity: i32) -> Command {
    string(id, name, arity).writes(ONE, READ_AND_UPDATE).flags(DENYOOM_FAST)
}

pub(super) const COMMANDS: &[Command] = &[
    string(CommandId::Get, "get", 2).reads(ONE, KeyFlags::ACCESS).flags(Flags::FAST).docs(
        "key",
        "Returns a key's value.",
        "1.0.0",
    ),
    string(CommandId::Set, "set", -3)
        .writes(ONE, READ_AND_UPDATE.union(KeyFlags::VARIABLE_FLAGS))
        .key_notes("Reads the key only if GET is given.")
        .flags(DENYOOM)
        .docs(
            "key value [NX | XX | IFEQ comparison-value] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
             PXAT unix-time-milliseconds | KEEPTTL]",
            "Gives a key a value, whatever it held before.",
            "1.0.0",
        ),
    string(CommandId::SetEx, "setex", 4)
        .writes(ONE, KeyFlags::OW.union(KeyFlags::UPDATE))
        .flags(DENYOOM)
        .docs("key seconds value", "Gives a key a value and the time in seconds for which it lives.", "2.0.0")
        .deprecated("2.6.12", "`SET` with the `EX` argument"),
    string(CommandId::PSetEx, "psetex", 4)
        .writes(ONE, KeyFlags::OW.union(KeyFlags::UPDATE))
        .flags(DENYOOM)
        .docs("key milliseconds value", "Gives a key a value and the time in milliseconds for which it lives.", "2.6.0")
        .deprecated("2.6.12", "`SET` with the `PX` argument"),
    string(CommandId::GetEx, "getex", -2).writes(ONE, READ_AND_UPDATE).flags(Flags::FAST).docs(
        "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        "Returns a key's value and sets when it expires.",
        "6.2.0",
    ),
    string(CommandId::DelIfEq, "delifeq", 3)
        .writes(ONE, KeyFlags::RM.union(KeyFlags::DELETE))
        .frees_room(FreesRoom::Yes)
        .flags(Flags::FAST)
        .docs("key value", "Removes a key if it has this value.", "9.0.0"),
    string(CommandId::SetNx, "setnx", 3)
        .writes(ONE, KeyFlags::OW.union(KeyFlags::INSERT))
        .flags(DENYOOM_FAST)
        .docs("key value", "Gives a key a value unless it has one.", "1.0.0")
        .deprecated("2.6.12", "`SET` with the `NX` argument"),
    string(CommandId::GetSet, "getset", 3)
        .writes(ONE, READ_AND_UPDATE)
        .flags(DENYOOM_FAST)
        .docs("key value", "Gives a key a value and returns the one before.", "1.0.0")
        .deprecated("6.2.0", "`SET` with the `GET` argument"),
    string(CommandId::GetDel, "getdel", 2)
        .writes(ONE, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))
        .frees_room(FreesRoom::Yes)
        .flags(Flags::FAST)
        .docs("key", "Returns a key's value and removes the key.", "6.2.0"),
    string(CommandId::MGet, "mget", -2)
        .reads(ALL, KeyFlags::ACCESS)
        .flags(Flags::FAST)
        .tips(&["request_policy:multi_shard"])
        .docs("key [key ...]", "Returns the values of several keys.", "1.0.0")
        .complexity("O(N) with N keys"),
    string(CommandId::MSet, "mset", -3)
        .writes(PAIRS, KeyFlags::OW.union(KeyFlags::UPDATE))
        .flags(DENYOOM)
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .docs("key value [key value ...]", "Gives several keys their values, all at once.", "1.0.1")
        .complexity("O(N) with N keys"),
    string(CommandId::MSetNx, "msetnx", -3)
        .writes(PAIRS, KeyFlags::OW.union(KeyFlags::INSERT))
        .flags(DENYOOM)
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .docs("key value [key value ...]", "Gives several keys their values if none of them has one.", "1.0.1")
        .complexity("O(N) with N keys"),
    string(CommandId::Append, "append", 3)
        .writes(ONE, KeyFlags::RW.union(KeyFlags::INSERT))
        .flags(DENYOOM_FAST)
        .docs("key value", "Adds to the end of a value.", "2.0.0")
        .complexity("O(N) with N bytes of value"),
    string(CommandId::StrLen, "strlen", 2).reads(ONE, KeyFlags::empty()).flags(Flags::FAST).docs(
        "key",
        "Returns the length of a value.",
        "2.2.0",
    ),
    string(CommandId::GetRange, "getrange", 4)
        .reads(ONE, KeyFlags::ACCESS)
        .docs("key start end", "Returns a part of a value.", "2.4.0")
        .complexity("O(N) with N bytes returned"),
    string(CommandId::SubStr, "substr", 4)
        .reads(ONE, KeyFlags::ACCESS)
        .docs("key start end", "Returns a part of a value.", "1.0.0")
        .complexity("O(N) with N bytes returned")
        .deprecated("2.0.0", "`GETRANGE`"),
    string(CommandId::SetRange, "setrange", 4)
        .writes(ONE, KeyFlags::RW.union(KeyFlags::UPDATE))
        .flags(DENYOOM)
        .docs("key offset value", "Overwrites a part of a value, which grows as needed.", "2.2.0")
        .complexity("O(N) with N bytes of value"),
    counter(CommandId::Incr, "incr", 2).docs("key", "Adds one to an integer.", "1.0.0"),
    counter(CommandId::Decr, "decr", 2).docs("key", "Takes one from an integer.", "1.0.0"),
    counter(CommandId::IncrBy, "incrby", 3).docs("key increment", "Adds to an integer.", "1.0.0"),
    counter(CommandId::DecrBy, "decrby", 3).docs("key decrement", "Takes from an integer.", "1.0.0"),
    counter(CommandId::IncrByFloat, "incrbyfloat", 3).docs(
        "key increment",
        "Adds to a floating-point number.",
        "2.6.0",
    ),
];
