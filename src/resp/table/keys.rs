//! Commands on keys of any type.

use super::builder::{ALL, MULTI_SUM, ONE, VARYING};
use crate::command::{Categories, Command, Flags, KeyFlags};
use crate::command_id::CommandId;

const fn generic(id: CommandId, name: &'static str, arity: i32) -> Command {
    Command::new(id, name, arity, "generic").categories(Categories::KEYSPACE)
}

pub(super) const COMMANDS: &[Command] = &[
    generic(CommandId::Del, "del", -2)
        .writes(ALL, KeyFlags::RM.union(KeyFlags::DELETE))
        .tips(MULTI_SUM)
        .docs("key [key ...]", "Removes keys.", "1.0.0")
        .complexity("O(N) with N keys"),
    generic(CommandId::Unlink, "unlink", -2)
        .writes(ALL, KeyFlags::RM.union(KeyFlags::DELETE))
        .flags(Flags::FAST)
        .tips(MULTI_SUM)
        .docs("key [key ...]", "Removes keys, as DEL does.", "4.0.0")
        .complexity("O(N) with N keys"),
    generic(CommandId::Exists, "exists", -2)
        .reads(ALL, KeyFlags::empty())
        .flags(Flags::FAST)
        .tips(MULTI_SUM)
        .docs("key [key ...]", "Counts which of the keys exist.", "1.0.0")
        .complexity("O(N) with N keys"),
    generic(CommandId::Type, "type", 2).reads(ONE, KeyFlags::empty()).flags(Flags::FAST).docs(
        "key",
        "Names the type of a key's value.",
        "1.0.0",
    ),
    generic(CommandId::Touch, "touch", -2)
        .reads(ALL, KeyFlags::empty())
        .flags(Flags::FAST)
        .tips(MULTI_SUM)
        .docs("key [key ...]", "Counts which of the keys exist and marks them as used.", "3.2.1")
        .complexity("O(N) with N keys"),
    generic(CommandId::Expire, "expire", -3)
        .writes(ONE, KeyFlags::RW.union(KeyFlags::UPDATE))
        .flags(Flags::FAST)
        .docs("key seconds [NX | XX | GT | LT]", "Sets the time in seconds after which a key expires.", "1.0.0"),
    generic(CommandId::PExpire, "pexpire", -3)
        .writes(ONE, KeyFlags::RW.union(KeyFlags::UPDATE))
        .flags(Flags::FAST)
        .docs(
            "key milliseconds [NX | XX | GT | LT]",
            "Sets the time in milliseconds after which a key expires.",
            "2.6.0",
        ),
    generic(CommandId::ExpireAt, "expireat", -3)
        .writes(ONE, KeyFlags::RW.union(KeyFlags::UPDATE))
        .flags(Flags::FAST)
        .docs(
            "key unix-time-seconds [NX | XX | GT | LT]",
            "Sets the time, in seconds since 1970, at which a key expires.",
            "1.2.0",
        ),
    generic(CommandId::PExpireAt, "pexpireat", -3)
        .writes(ONE, KeyFlags::RW.union(KeyFlags::UPDATE))
        .flags(Flags::FAST)
        .docs(
            "key unix-time-milliseconds [NX | XX | GT | LT]",
            "Sets the time, in milliseconds since 1970, at which a key expires.",
            "2.6.0",
        ),
    generic(CommandId::Persist, "persist", 2)
        .writes(ONE, KeyFlags::RW.union(KeyFlags::UPDATE))
        .flags(Flags::FAST)
        .docs("key", "Lets a key expire no more.", "2.2.0"),
    generic(CommandId::Ttl, "ttl", 2).reads(ONE, KeyFlags::ACCESS).flags(Flags::FAST).tips(VARYING).docs(
        "key",
        "Returns the time in seconds for which a key still lives.",
        "1.0.0",
    ),
    generic(CommandId::PTtl, "pttl", 2).reads(ONE, KeyFlags::ACCESS).flags(Flags::FAST).tips(VARYING).docs(
        "key",
        "Returns the time in milliseconds for which a key still lives.",
        "2.6.0",
    ),
    generic(CommandId::ExpireTime, "expiretime", 2).reads(ONE, KeyFlags::ACCESS).flags(Flags::FAST).docs(
        "key",
        "Returns when a key expires, in seconds since 1970.",
        "7.0.0",
    ),
    generic(CommandId::PExpireTime, "pexpiretime", 2).reads(ONE, KeyFlags::ACCESS).flags(Flags::FAST).docs(
        "key",
        "Returns when a key expires, in milliseconds since 1970.",
        "7.0.0",
    ),
];
