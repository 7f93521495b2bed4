//! What is known of a command: one description that parsing, routing, execution and `COMMAND` share.

use crate::args::Args;
use crate::command_id::CommandId;

/// Declares a set of named properties that fits a word and can be built at compile time.
macro_rules! property_set {
    ($(#[$doc:meta])* $set:ident { $($(#[$item_doc:meta])* $item:ident = $bit:literal $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $set(u16);

        impl $set {
            $($(#[$item_doc])* pub const $item: $set = $set(1 << $bit);)*

            /// Every property, by the name that clients know.
            const NAMES: &[($set, &str)] = &[$(($set::$item, $name),)*];

            /// None of them.
            pub const fn empty() -> $set {
                $set(0)
            }

            /// What is in either.
            pub const fn union(self, other: $set) -> $set {
                $set(self.0 | other.0)
            }

            /// What is in here and not in `other`.
            pub const fn without(self, other: $set) -> $set {
                $set(self.0 & !other.0)
            }

            /// Whether all of `other` is in here.
            #[inline]
            pub const fn contains(self, other: $set) -> bool {
                self.0 & other.0 == other.0
            }

            /// The names of what is in here, as clients know them.
            pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
                $set::NAMES.iter().filter(move |(item, _)| self.contains(*item)).map(|(_, name)| *name)
            }

            /// The property of that name, whatever the case of its letters.
            pub fn from_name(name: &[u8]) -> Option<$set> {
                let mut names = $set::NAMES.iter();
                names.find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name)).map(|(item, _)| *item)
            }
        }
    };
}

property_set! {
    /// How a command behaves, in the words of `COMMAND INFO`.
    Flags {
        /// It may change keys.
        WRITE = 0 "write",
        /// It only reads keys.
        READONLY = 1 "readonly",
        /// It may need memory, and is refused when there is none.
        DENYOOM = 2 "denyoom",
        /// It is for operators.
        ADMIN = 3 "admin",
        /// Not from a script.
        NOSCRIPT = 4 "noscript",
        /// Allowed before the data is loaded.
        LOADING = 5 "loading",
        /// Allowed while the data may be out of date.
        STALE = 6 "stale",
        /// Its time does not depend on the size of a value.
        FAST = 7 "fast",
        /// Allowed before login.
        NO_AUTH = 8 "no_auth",
        /// Allowed while a script blocks the server.
        ALLOW_BUSY = 9 "allow_busy",
    }
}

property_set! {
    /// The access-control categories of a command, named without their `@`.
    Categories {
        /// Works on keys of any type.
        KEYSPACE = 0 "keyspace",
        /// Reads keys.
        READ = 1 "read",
        /// Writes keys.
        WRITE = 2 "write",
        /// Works on strings.
        STRING = 3 "string",
        /// For operators.
        ADMIN = 4 "admin",
        /// Its time does not depend on the size of a value.
        FAST = 5 "fast",
        /// All that is not fast.
        SLOW = 6 "slow",
        /// To be given to few.
        DANGEROUS = 7 "dangerous",
        /// About the connection itself.
        CONNECTION = 8 "connection",
    }
}

property_set! {
    /// What a command does to its keys.
    KeyFlags {
        /// Only reads them.
        RO = 0 "RO",
        /// Reads and writes them.
        RW = 1 "RW",
        /// Overwrites them unread.
        OW = 2 "OW",
        /// Removes them.
        RM = 3 "RM",
        /// Gives their content away.
        ACCESS = 4 "access",
        /// Changes their content.
        UPDATE = 5 "update",
        /// Adds to their content only.
        INSERT = 6 "insert",
        /// Removes from their content, or them.
        DELETE = 7 "delete",
        /// Which of these hold depends on the arguments.
        VARIABLE_FLAGS = 8 "variable_flags",
    }
}

/// Where a command is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Reads its keys, which lie in one group.
    Read,
    /// Writes its keys, which lie in one group, through that group's log.
    Write,
    /// Concerns every key of the cluster: each group does its part. [`Flags::WRITE`] says whether it writes.
    Everywhere,
    /// Reads the slot whose number is the second argument behind the command's name.
    Slot,
    /// Goes on among the keys of the cluster where its first argument says.
    Cursor,
    /// Carried out by whoever leads the group whose number is the argument behind the command's name.
    Leader,
    /// Carried out by whoever leads group 0, which holds the cluster map.
    ClusterLeader,
    /// Answered at once by the core that the connection is on.
    Local,
}

/// Whether a command makes room on the disk: such ones are let in while that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreesRoom {
    /// It does not, or not always.
    No,
    /// It removes keys, or nothing.
    Yes,
    /// It removes a key, or nothing, if the time that it gives has come.
    IfPast,
}

/// Which arguments are keys: from `first` to `last`, every `step`-th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Argument of the first key, the command's name being 0. Invariant: > 0.
    pub first: usize,
    /// Argument of the last key. Below zero it counts from the end, -1 being the last argument.
    pub last: isize,
    /// From one key to the next. Invariant: > 0.
    pub step: usize,
    /// What is done to them.
    pub flags: KeyFlags,
    /// A remark for people.
    pub notes: Option<&'static str>,
}

/// A command or a subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its number.
    pub id: CommandId,
    /// Its name in lower case; of a subcommand, its own part.
    pub name: &'static str,
    /// Its name in lower case; of a subcommand, `container|name`.
    pub full_name: &'static str,
    /// How many arguments it takes, all names included; below zero, at least that many.
    pub arity: i32,
    /// How it behaves.
    pub flags: Flags,
    /// Where its keys are. Invariant: `Some` exactly if `scope` is `Read` or `Write`.
    pub key_spec: Option<KeySpec>,
    /// What is done to each of its keys, where that differs; else empty.
    pub key_specs_apart: &'static [KeySpec],
    /// Where it is executed.
    pub scope: Scope,
    /// Whether it makes room on the disk. Invariant: what does is a write, and does not have [`Flags::DENYOOM`].
    pub frees_room: FreesRoom,
    /// Its access-control categories.
    pub categories: Categories,
    /// What a client or proxy may make use of.
    pub tips: &'static [&'static str],
    /// The arguments behind the name, for people.
    pub syntax: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// The version of Redis that had it first.
    pub since: &'static str,
    /// The kind of command that documentation lists it under.
    pub group: &'static str,
    /// Its time.
    pub complexity: &'static str,
    /// The version of Redis that advised against it, and what to use in its place.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// What it contains. A command with subcommands is called bare only if its arity allows that.
    pub subcommands: &'static [Command],
}

impl Command {
    /// Whether `count` arguments, all names included, are as many as the command takes.
    #[inline]
    pub const fn check_arity(&self, count: usize) -> bool {
        let bound = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { count >= bound } else { count == bound }
    }

    /// Whether it may change keys.
    #[inline]
    pub const fn is_write(&self) -> bool {
        self.flags.contains(Flags::WRITE)
    }

    /// The keys among `args`, in their order; none for a command without keys. Arguments that are missing, because
    /// the arity was not checked, are no keys.
    #[inline]
    pub fn keys<'a>(&self, args: Args<'a>) -> Keys<'a> {
        let Some(spec) = self.key_spec else { return Keys { args, next: 0, end: 0, step: 1 } };
        let last = if spec.last < 0 { args.len().saturating_add_signed(spec.last) } else { spec.last.unsigned_abs() };
        Keys { args, next: spec.first, end: args.len().min(last + 1), step: spec.step }
    }

    /// The subcommand of that name, whatever the case of its letters.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands.iter().find(|sub| sub.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The keys of one command.
#[derive(Clone, Debug)]
pub struct Keys<'a> {
    args: Args<'a>,
    next: usize,
    // Invariant: <= args.len().
    end: usize,
    step: usize,
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.next >= self.end {
            return None;
        }
        let key = self.args.get(self.next);
        self.next += self.step;
        key
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.end.saturating_sub(self.next).div_ceil(self.step);
        (count, Some(count))
    }
}

impl ExactSizeIterator for Keys<'_> {}
