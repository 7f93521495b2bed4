//! The flags: one per key of the file, made from the same table.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::keys::{Fallback, KEYS, Key, Kind, PEERS};
use super::problem::Problem;
use super::table::{self, FileTables, Table};
use super::value::{Origin, Raw};

/// The flags that were given, as words not yet checked.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    words: Vec<(&'static Key, String)>,
    peers: Vec<String>,
}

impl Flags {
    /// Flags given by name, without a command line.
    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Flags {
        let mut flags = Flags::default();
        for (name, word) in pairs {
            match KEYS.iter().find(|key| key.name == *name) {
                Some(key) => flags.words.push((key, (*word).to_owned())),
                None => flags.peers.push((*word).to_owned()),
            }
        }
        flags
    }

    /// Whether the key of this name was given.
    pub(super) fn gives(&self, name: &str) -> bool {
        self.words.iter().any(|(key, _)| key.name == name)
    }

    /// Puts the flags over what the file says. `--peers` given once or more replaces the file's whole list.
    pub(super) fn override_file(&self, mut tables: FileTables, problems: &mut Vec<Problem>) -> FileTables {
        let mut given = Table::default();
        for (key, word) in &self.words {
            given.put(key, &Raw::Word(word), Origin::Flag(key.flag()), problems);
        }
        tables.top.override_with(given);
        if !self.peers.is_empty() {
            tables.peers = self.peers.iter().map(|text| table::read_peer_flag(text, problems)).collect();
        }
        tables
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let peers = Arg::new(PEERS)
            .long(PEERS)
            .value_name("KEY=VALUE,...")
            .action(ArgAction::Append)
            .help_heading("Cluster (the same on every node)")
            .help(
                "One node of the cluster: id and host, and as needed gateway_port, core_port, peer_port, \
                 admin_port, cores, rack. Once per node, this one included",
            );
        KEYS.iter().fold(command, |command, key| command.arg(arg(key))).arg(peers)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args(command)
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Flags, clap::Error> {
        let word = |key: &&'static Key| Some((*key, matches.get_one::<String>(key.name)?.clone()));
        let words = KEYS.iter().filter_map(word).collect();
        let peers = matches.get_many::<String>(PEERS).into_iter().flatten().cloned().collect();
        Ok(Flags { words, peers })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Flags::from_arg_matches(matches)?;
        Ok(())
    }
}

fn arg(key: &'static Key) -> Arg {
    let default = match &key.default {
        Fallback::Required => String::new(),
        Fallback::Optional(effect) => format!(" [default: {effect}]"),
        Fallback::Int(number) => format!(" [default: {number}]"),
        Fallback::Bool(on) => format!(" [default: {on}]"),
        Fallback::Text(word) => format!(" [default: {word}]"),
    };
    let (value_name, range) = match &key.kind {
        Kind::Int { min, max } => ("N", format!(" [{min} to {max}]")),
        Kind::Bool => ("true|false", String::new()),
        Kind::Text { .. } => ("TEXT", String::new()),
        Kind::Address => ("ADDRESS", String::new()),
        Kind::Path => ("DIR", String::new()),
        Kind::Choice(words) => ("WORD", format!(" [{}]", words.join(", "))),
    };
    Arg::new(key.name)
        .long(key.flag())
        .value_name(value_name)
        .allow_hyphen_values(matches!(key.kind, Kind::Int { .. }))
        .help_heading(key.section)
        .help(format!("{}{default}{range}", key.help))
}
