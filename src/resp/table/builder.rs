//! How the table's lines are put together, at compile time.

use crate::command::{Categories, Command, Flags, FreesRoom, KeyFlags, KeySpec, Scope};
use crate::command_id::CommandId;

/// One key, the first argument.
pub(super) const ONE: (usize, isize, usize) = (1, 1, 1);
/// Two keys, the first arguments.
pub(super) const TWO: (usize, isize, usize) = (1, 2, 1);
/// One key, the first argument of a subcommand.
pub(super) const SECOND: (usize, isize, usize) = (2, 2, 1);
/// Every argument is a key.
pub(super) const ALL: (usize, isize, usize) = (1, -1, 1);
/// Every other argument is a key, the first one to begin with.
pub(super) const PAIRS: (usize, isize, usize) = (1, -1, 2);

pub(super) const MULTI_SUM: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
pub(super) const UNORDERED: &[&str] = &["nondeterministic_output_order"];
pub(super) const VARYING: &[&str] = &["nondeterministic_output"];

/// What may be called while the data is loading or out of date.
pub(super) const ANY_TIME: Flags = Flags::LOADING.union(Flags::STALE);

impl Command {
    /// A command that is answered on the spot and has no property yet. A subcommand is named `container|name`.
    pub(super) const fn new(id: CommandId, full_name: &'static str, arity: i32, group: &'static str) -> Command {
        Command {
            id,
            name: own_part(full_name),
            full_name,
            arity,
            flags: Flags::empty(),
            key_spec: None,
            key_specs_apart: &[],
            scope: Scope::Local,
            frees_room: FreesRoom::No,
            categories: Categories::SLOW,
            tips: &[],
            syntax: "",
            summary: "",
            since: "",
            group,
            complexity: "O(1)",
            deprecated: None,
            subcommands: &[],
        }
        .implied()
    }

    /// It has these flags too, with the categories that follow from them.
    pub(super) const fn flags(mut self, flags: Flags) -> Command {
        self.flags = self.flags.union(flags);
        self.implied()
    }

    /// It reads these keys.
    pub(super) const fn reads(self, keys: (usize, isize, usize), flags: KeyFlags) -> Command {
        self.keyed(Scope::Read, keys, flags.union(KeyFlags::RO)).flags(Flags::READONLY)
    }

    /// It writes these keys.
    pub(super) const fn writes(self, keys: (usize, isize, usize), flags: KeyFlags) -> Command {
        self.keyed(Scope::Write, keys, flags).flags(Flags::WRITE)
    }

    const fn keyed(mut self, scope: Scope, keys: (usize, isize, usize), flags: KeyFlags) -> Command {
        let (first, last, step) = keys;
        self.scope = scope;
        self.key_spec = Some(KeySpec { first, last, step, flags, notes: None });
        self
    }

    /// What it does to its first key is one thing, and what it does to its second another.
    pub(super) const fn keys_apart(mut self, specs: &'static [KeySpec]) -> Command {
        self.key_specs_apart = specs;
        self
    }

    /// A remark about its keys.
    pub(super) const fn key_notes(mut self, notes: &'static str) -> Command {
        if let Some(spec) = &mut self.key_spec {
            spec.notes = Some(notes);
        }
        self
    }

    /// It is executed there.
    pub(super) const fn scope(mut self, scope: Scope) -> Command {
        self.scope = scope;
        self
    }

    /// It makes room on the disk.
    pub(super) const fn frees_room(mut self, frees_room: FreesRoom) -> Command {
        self.frees_room = frees_room;
        self
    }

    /// It is in these categories too.
    pub(super) const fn categories(mut self, categories: Categories) -> Command {
        self.categories = self.categories.union(categories);
        self
    }

    /// What clients and proxies may make use of.
    pub(super) const fn tips(mut self, tips: &'static [&'static str]) -> Command {
        self.tips = tips;
        self
    }

    /// What people read: its arguments, what it does, and since which version of Redis.
    pub(super) const fn docs(mut self, syntax: &'static str, summary: &'static str, since: &'static str) -> Command {
        self.syntax = syntax;
        self.summary = summary;
        self.since = since;
        self
    }

    /// Its time, where that is not constant.
    pub(super) const fn complexity(mut self, complexity: &'static str) -> Command {
        self.complexity = complexity;
        self
    }

    /// Redis advises against it since that version, in favour of something else.
    pub(super) const fn deprecated(mut self, since: &'static str, replacement: &'static str) -> Command {
        self.deprecated = Some((since, replacement));
        self
    }

    /// What it contains.
    pub(super) const fn subcommands(mut self, subcommands: &'static [Command]) -> Command {
        self.subcommands = subcommands;
        self
    }

    /// Adds the categories that flags and group imply.
    const fn implied(mut self) -> Command {
        let mut categories = self.categories;
        if self.flags.contains(Flags::READONLY) {
            categories = categories.union(Categories::READ);
        }
        if self.flags.contains(Flags::WRITE) {
            categories = categories.union(Categories::WRITE);
        }
        if self.flags.contains(Flags::ADMIN) {
            categories = categories.union(Categories::ADMIN).union(Categories::DANGEROUS);
        }
        if self.flags.contains(Flags::FAST) {
            categories = categories.union(Categories::FAST).without(Categories::SLOW);
        }
        self.categories = categories;
        self
    }
}

/// What stands behind the `|` of a full name, or all of it.
const fn own_part(full_name: &'static str) -> &'static str {
    let bytes = full_name.as_bytes();
    let mut idx = 0;
    while idx < bytes.len() {
        if bytes[idx] == b'|' {
            return full_name.split_at(idx + 1).1;
        }
        idx += 1;
    }
    full_name
}
