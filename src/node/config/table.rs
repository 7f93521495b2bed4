//! A table of settings: what the file and the flags say, each value checked against its key.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Fallback, Key};
use super::problem::{Problem, Source};
use super::value::{Origin, Raw, Setting, Value};

/// The keys that somebody has set, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    settings: BTreeMap<&'static str, Setting>,
    /// Where the table as a whole stands: what is missing in it is reported there.
    pub(crate) origin: Option<Origin>,
}

/// The tables of a file: the one at the top, and one per `[[peers]]` entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileTables {
    pub(crate) top: Table,
    pub(crate) peers: Vec<Table>,
}

impl Table {
    /// Notes a value if it is fit for the key, else a problem.
    pub(crate) fn put(&mut self, key: &'static Key, raw: &Raw<'_>, origin: Origin, problems: &mut Vec<Problem>) {
        match Value::check(key, raw) {
            Ok(value) => {
                self.settings.insert(key.name, Setting { value, origin });
            }
            Err(reason) => {
                let subject = match &origin {
                    Origin::Flag(flag) => format!("`--{flag}`"),
                    _ => format!("`{}`", key.name),
                };
                problems.push(Problem::new(format!("{subject} {reason}"), origin).help(key.help));
            }
        }
    }

    /// Takes over what `other` has set, in place of what is set here.
    pub(crate) fn override_with(&mut self, other: Table) {
        self.settings.extend(other.settings);
    }

    /// What somebody has set for a key.
    pub(crate) fn get(&self, key: &Key) -> Option<&Setting> {
        self.settings.get(key.name)
    }

    /// What somebody has set for the key of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Setting> {
        self.settings.get(name)
    }

    /// What was set while the node ran, by the names of the keys.
    pub(crate) fn set_at_run_time(&self) -> impl Iterator<Item = (&'static str, &Setting)> {
        self.settings
            .iter()
            .filter(|(_, setting)| setting.origin == Origin::Run)
            .map(|(name, setting)| (*name, setting))
    }

    /// Where values stand in the file.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Range<usize>> {
        self.settings.values().filter_map(|setting| match &setting.origin {
            Origin::File(span) => Some(span),
            Origin::Default | Origin::Flag(_) | Origin::Run => None,
        })
    }

    /// Where a key was set; for one that nobody has set, where the table stands.
    pub(crate) fn origin(&self, key: &Key) -> Origin {
        let set = self.get(key).map(|setting| setting.origin.clone());
        set.or_else(|| self.origin.clone()).unwrap_or(Origin::Default)
    }

    /// The number of a key, or its default; `None` if it has neither.
    pub(crate) fn int(&self, key: &Key) -> Option<i64> {
        match (self.get(key).map(|setting| &setting.value), &key.default) {
            (Some(Value::Int(number)), _) | (None, Fallback::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// The switch of a key, or its default.
    pub(crate) fn bool(&self, key: &Key) -> Option<bool> {
        match (self.get(key).map(|setting| &setting.value), &key.default) {
            (Some(Value::Bool(on)), _) | (None, Fallback::Bool(on)) => Some(*on),
            _ => None,
        }
    }

    /// The text of a key, or its default; `None` if it has neither.
    pub(crate) fn text(&self, key: &Key) -> Option<&str> {
        match (self.get(key).map(|setting| &setting.value), &key.default) {
            (Some(Value::Text(text)), _) => Some(text),
            (None, Fallback::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// Reads a file. Everything that is wrong with it is added to `problems`.
pub(crate) fn read_file(source: &Source, problems: &mut Vec<Problem>) -> FileTables {
    let mut tables = FileTables::default();
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        for error in errors {
            let span = error.span().unwrap_or_default();
            problems.push(Problem::new(format!("not valid TOML: {}", error.message()), Origin::File(span)));
        }
        // What was saved from a broken file would only raise further, misleading complaints.
        return tables;
    }
    for (name, value) in document.get_ref() {
        if name.get_ref() != super::keys::PEERS {
            read_pair(&mut tables.top, super::keys::KEYS, name, value, problems);
            continue;
        }
        let Some(entries) = value.get_ref().as_array() else {
            let message = "`peers` must be a list of tables, each headed [[peers]]";
            problems.push(Problem::new(message, Origin::File(value.span())));
            continue;
        };
        for entry in entries {
            tables.peers.extend(read_peer(entry, problems));
        }
    }
    tables
}

fn read_peer(entry: &Spanned<DeValue<'_>>, problems: &mut Vec<Problem>) -> Option<Table> {
    let origin = Origin::File(entry.span());
    let Some(pairs) = entry.get_ref().as_table() else {
        problems.push(Problem::new("a peer must be a table, headed [[peers]]", origin));
        return None;
    };
    let mut table = Table { origin: Some(origin), ..Table::default() };
    for (name, value) in pairs {
        read_pair(&mut table, super::keys::PEER_KEYS, name, value, problems);
    }
    Some(table)
}

fn read_pair(
    table: &mut Table,
    keys: &[&'static Key],
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Vec<Problem>,
) {
    let Some(key) = keys.iter().find(|key| key.name == name.get_ref()) else {
        problems.push(unknown(name.get_ref(), keys, Origin::File(name.span())));
        return;
    };
    let raw = match value.get_ref() {
        DeValue::Integer(number) => Raw::Int { digits: number.as_str(), radix: number.radix() },
        DeValue::Boolean(on) => Raw::Bool(*on),
        DeValue::String(text) => Raw::Text(text),
        other => Raw::Other(other.type_str()),
    };
    table.put(key, &raw, Origin::File(value.span()), problems);
}

/// Reads one `--peers` flag: `id=2,host=10.0.0.2,cores=4`.
pub(crate) fn read_peer_flag(text: &str, problems: &mut Vec<Problem>) -> Table {
    let origin = Origin::Flag(super::keys::PEERS.to_owned());
    let mut table = Table { origin: Some(origin.clone()), ..Table::default() };
    for pair in text.split(',') {
        let Some((name, value)) = pair.split_once('=') else {
            let message = format!("`--peers {text}`: \"{pair}\" is not of the form key=value");
            problems.push(Problem::new(message, origin.clone()).help("for example id=2,host=10.0.0.2,cores=4"));
            continue;
        };
        let name = name.trim();
        match super::keys::PEER_KEYS.iter().find(|key| key.name == name) {
            Some(key) => {
                let flag = format!("peers {name}={}", value.trim());
                table.put(key, &Raw::Word(value.trim()), Origin::Flag(flag), problems);
            }
            None => problems.push(unknown(name, super::keys::PEER_KEYS, origin.clone())),
        }
    }
    table
}

/// The problem of a key that does not exist, with the one that was probably meant.
pub(super) fn unknown(name: &str, keys: &[&Key], origin: Origin) -> Problem {
    const SIMILAR_ENOUGH: f64 = 0.8;
    let similar = |key: &&Key| (key.name, strsim::jaro_winkler(key.name, name));
    let best = keys.iter().map(similar).max_by(|left, right| left.1.total_cmp(&right.1));
    let problem = Problem::new(format!("unknown key `{}`", name.escape_debug()), origin);
    match best {
        Some((near, score)) if score >= SIMILAR_ENOUGH => problem.help(format!("did you mean `{near}`?")),
        _ => {
            let names: Vec<_> = keys.iter().map(|key| key.name).collect();
            problem.help(format!("the keys here are {}", names.join(", ")))
        }
    }
}

/// The number of a key that has a default or was found to be set.
pub(super) fn number<T: TryFrom<i64>>(table: &Table, key: &Key) -> T {
    let number = table.int(key).and_then(|number| T::try_from(number).ok());
    number.expect("a key's range fits the type it is read as, and required keys were checked")
}

/// A time in seconds, of which 0 stands for never.
pub(super) fn seconds(table: &Table, key: &Key) -> Option<Duration> {
    Some(Duration::from_secs(number(table, key))).filter(|time| !time.is_zero())
}

pub(super) fn millis(table: &Table, key: &Key) -> Duration {
    Duration::from_millis(number(table, key))
}
