//! Commands on keys of any type.

use super::builder::{ALL, ANY_TIME, MULTI_SUM, ONE, SECOND, TWO, VARYING};
use crate::command::{Categories, Command, Flags, FreesRoom, KeyFlags, KeySpec, Scope};
use crate::command_id::CommandId;

const fn generic(id: CommandId, name: &'static str, arity: i32) -> Command {
    Command::new(id, name, arity, "generic").categories(Categories::KEYSPACE)
}

pub(super) const COMMANDS: &[Command] = &[
    generic(CommandId::Del, "del", -2)
        .writes(ALL, KeyFlags::RM.union(KeyFlags::DELETE))
        .frees_room(FreesRoom::Yes)
        .tips(MULTI_SUM)
        .docs("key [key ...]", "Removes keys.", "1.0.0")
        .complexity("O(N) with N keys"),
    generic(CommandId::Unlink, "unlink", -2)
        .writes(ALL, KeyFlags::RM.union(KeyFlags::DELETE))
        .frees_room(FreesRoom::Yes)
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
        .frees_room(FreesRoom::IfPast)
        .flags(Flags::FAST)
        .docs("key seconds [NX | XX | GT | LT]", "Sets the time in seconds after which a key expires.", "1.0.0"),
    generic(CommandId::PExpire, "pexpire", -3)
        .writes(ONE, KeyFlags::RW.union(KeyFlags::UPDATE))
        .frees_room(FreesRoom::IfPast)
        .flags(Flags::FAST)
        .docs(
            "key milliseconds [NX | XX | GT | LT]",
            "Sets the time in milliseconds after which a key expires.",
            "2.6.0",
        ),
    generic(CommandId::ExpireAt, "expireat", -3)
        .writes(ONE, KeyFlags::RW.union(KeyFlags::UPDATE))
        .frees_room(FreesRoom::IfPast)
        .flags(Flags::FAST)
        .docs(
            "key unix-time-seconds [NX | XX | GT | LT]",
            "Sets the time, in seconds since 1970, at which a key expires.",
            "1.2.0",
        ),
    generic(CommandId::PExpireAt, "pexpireat", -3)
        .writes(ONE, KeyFlags::RW.union(KeyFlags::UPDATE))
        .frees_room(FreesRoom::IfPast)
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
    generic(CommandId::Scan, "scan", -2)
        .flags(Flags::READONLY)
        .scope(Scope::Cursor)
        .tips(&["nondeterministic_output", "request_policy:special"])
        .docs("cursor [MATCH pattern] [COUNT count] [TYPE type]", "Goes through the keys, a few at a time.", "2.8.0")
        .complexity("O(N) with N keys looked at"),
    generic(CommandId::Keys, "keys", 2)
        .flags(Flags::READONLY)
        .scope(Scope::Everywhere)
        .categories(Categories::DANGEROUS)
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .docs("pattern", "Returns all keys that match a pattern, if there are few.", "1.0.0")
        .complexity("O(N) with N keys"),
    generic(CommandId::RandomKey, "randomkey", 1)
        .flags(Flags::READONLY)
        .scope(Scope::Everywhere)
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .docs("", "Returns some key.", "1.0.0"),
    generic(CommandId::Rename, "rename", 3).writes(TWO, KeyFlags::empty()).keys_apart(RENAMED).docs(
        "key newkey",
        "Gives a key another name in the same slot.",
        "1.0.0",
    ),
    generic(CommandId::RenameNx, "renamenx", 3)
        .writes(TWO, KeyFlags::empty())
        .flags(Flags::FAST)
        .keys_apart(RENAMED_NX)
        .docs("key newkey", "Gives a key another name in the same slot unless there is a key of that name.", "1.0.0"),
    generic(CommandId::Copy, "copy", -3)
        .writes(TWO, KeyFlags::empty())
        .flags(Flags::DENYOOM)
        .keys_apart(COPIED)
        .docs(
            "source destination [DB destination-db] [REPLACE]",
            "Copies a key to another of the same slot.",
            "6.2.0",
        )
        .complexity("O(N) with N bytes of value"),
    generic(CommandId::Dump, "dump", 2)
        .reads(ONE, KeyFlags::ACCESS)
        .tips(VARYING)
        .docs("key", "Returns a value as Redis serializes it.", "2.6.0")
        .complexity("O(N) with N bytes of value"),
    generic(CommandId::Restore, "restore", -4)
        .writes(ONE, KeyFlags::OW.union(KeyFlags::UPDATE))
        .flags(Flags::DENYOOM)
        .categories(Categories::DANGEROUS)
        .docs(
            "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds | FREQ frequency]",
            "Creates a key from what DUMP has returned, here or in Redis.",
            "2.6.0",
        )
        .complexity("O(N) with N bytes of value"),
    Command::new(CommandId::Object, "object", -2, "generic")
        .docs("", "Contains what tells how a key is kept.", "2.2.3")
        .complexity("That of the subcommand")
        .subcommands(OBJECT),
];

const fn nth(idx: usize, flags: KeyFlags) -> KeySpec {
    KeySpec { first: idx, last: idx as isize, step: 1, flags, notes: None }
}

const RENAMED: &[KeySpec] = &[
    nth(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
    nth(2, KeyFlags::OW.union(KeyFlags::UPDATE)),
];
const RENAMED_NX: &[KeySpec] = &[
    nth(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
    nth(2, KeyFlags::OW.union(KeyFlags::INSERT)),
];
const COPIED: &[KeySpec] =
    &[nth(1, KeyFlags::RO.union(KeyFlags::ACCESS)), nth(2, KeyFlags::OW.union(KeyFlags::UPDATE))];

const fn object(id: CommandId, name: &'static str) -> Command {
    generic(id, name, 3).reads(SECOND, KeyFlags::empty()).tips(VARYING)
}

const OBJECT: &[Command] = &[
    object(CommandId::ObjectEncoding, "object|encoding").docs("key", "Names how Redis would keep a value.", "2.2.3"),
    object(CommandId::ObjectFreq, "object|freq").docs(
        "key",
        "Fails: nobody counts how often a key is used.",
        "4.0.0",
    ),
    object(CommandId::ObjectIdleTime, "object|idletime").docs(
        "key",
        "Fails: nobody remembers when a key was used last.",
        "2.2.3",
    ),
    object(CommandId::ObjectRefCount, "object|refcount").docs("key", "Counts who shares a value: one.", "2.2.3"),
    generic(CommandId::ObjectHelp, "object|help", 2).flags(ANY_TIME).docs("", "Returns this text.", "6.2.0"),
];
