//! Commands on keys of any type.

use super::builder::{ALL, MULTI_SUM, ONE};
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
];
