//! The replies of `COMMAND` and its subcommands, which describe the table to clients.

use std::collections::HashSet;

use crate::args::Args;
use crate::command::{Categories, Command, KeySpec};
use crate::errors;
use crate::glob;
use crate::reply::Reply;
use crate::table::{commands, find, lookup_full};

/// Most names in one `COMMAND INFO`: twice as many as Redis has commands and subcommands.
const NAMES_COUNT_MAX: usize = 1_024;
const TOO_MANY_NAMES: &str = "ERR COMMAND INFO takes at most 1024 names: ask for fewer at a time";
const _: () = assert!(NAMES_COUNT_MAX == 1_024, "the text of TOO_MANY_NAMES names the limit");

/// `COMMAND`: every command. The reply never changes, so a caller that is asked often may keep its bytes, one copy
/// for each protocol.
pub fn all(reply: &mut Reply<'_>) {
    reply.array(commands().len());
    for command in commands() {
        entry(command, reply);
    }
}

/// `COMMAND COUNT`.
pub fn count(reply: &mut Reply<'_>) {
    reply.integer(commands().len() as i64);
}

/// `COMMAND INFO [name ...]`: a null where a name is not known, and every command if there is no name. A name that is
/// repeated is described each time, so unlike in Redis there is a limit to their number.
pub fn info(args: Args<'_>, reply: &mut Reply<'_>) {
    let names = args.iter_from(2);
    if names.len() == 0 {
        return all(reply);
    }
    if names.len() > NAMES_COUNT_MAX {
        return reply.error(TOO_MANY_NAMES);
    }
    reply.array(names.len());
    for name in names {
        match lookup_full(name) {
            Some(command) => entry(command, reply),
            None => reply.null(),
        }
    }
}

/// `COMMAND DOCS [name ...]`: names that are not known are left out. A command is described once, at its first name.
pub fn docs(args: Args<'_>, reply: &mut Reply<'_>) {
    let names = args.iter_from(2);
    if names.len() == 0 {
        return documents(commands().iter(), reply);
    }
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    found.extend(names.filter_map(lookup_full).filter(|command| seen.insert(command.id)));
    documents(found.into_iter(), reply);
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`: full names, subcommands included.
pub fn list(args: Args<'_>, reply: &mut Reply<'_>) {
    let is = |idx: usize, word: &str| args.get(idx).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let wanted = args.get(4).unwrap_or_default();
    if args.len() == 2 {
        names(|_| true, reply);
    } else if args.len() != 5 || !is(2, "filterby") {
        reply.error(errors::SYNTAX);
    } else if is(3, "module") {
        // There are no modules.
        reply.array(0);
    } else if is(3, "aclcat") {
        let category = Categories::from_name(wanted);
        names(|command| category.is_some_and(|category| command.categories.contains(category)), reply);
    } else if is(3, "pattern") {
        names(|command| glob::matches(wanted, command.full_name.as_bytes(), true), reply);
    } else {
        reply.error(errors::SYNTAX);
    }
}

/// `COMMAND GETKEYS command [arg ...]`.
pub fn getkeys(args: Args<'_>, reply: &mut Reply<'_>) {
    let request = args.from(2);
    let Ok(command) = find(request) else { return reply.error(errors::GETKEYS_COMMAND) };
    if command.key_spec.is_none() {
        return reply.error(errors::GETKEYS_NO_KEYS);
    }
    if !command.check_arity(request.len()) {
        return reply.error(errors::GETKEYS_ARITY);
    }
    let keys = command.keys(request);
    if keys.len() == 0 {
        return reply.error(errors::GETKEYS_ARGUMENTS);
    }
    reply.array(keys.len());
    for key in keys {
        reply.bulk(key);
    }
}

/// The names of the commands and subcommands that `wanted` picks.
fn names(wanted: impl Fn(&Command) -> bool, reply: &mut Reply<'_>) {
    let picked = commands()
        .iter()
        .flat_map(|command| std::iter::once(command).chain(command.subcommands))
        .filter(|command| wanted(command));
    reply.array(picked.clone().count());
    for command in picked {
        reply.bulk(command.full_name.as_bytes());
    }
}

/// One command: ten elements, the last of which are its subcommands in the same form.
fn entry(command: &Command, reply: &mut Reply<'_>) {
    let (first, last, step) = key_positions(command.key_spec);
    reply.array(10);
    reply.bulk(command.full_name.as_bytes());
    reply.integer(i64::from(command.arity));
    reply.set(command.flags.names().count());
    command.flags.names().for_each(|flag| reply.simple(flag));
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    reply.set(command.categories.names().count());
    command.categories.names().for_each(|category| reply.simple(&format!("@{category}")));
    reply.set(command.tips.len());
    command.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    let apart = command.key_specs_apart;
    let specs = if apart.is_empty() { command.key_spec.as_slice() } else { apart };
    reply.set(specs.len());
    specs.iter().for_each(|spec| key_spec(spec, reply));
    reply.set(command.subcommands.len());
    command.subcommands.iter().for_each(|subcommand| entry(subcommand, reply));
}

/// First key, last key and step; zeros for a command without keys.
fn key_positions(spec: Option<KeySpec>) -> (i64, i64, i64) {
    spec.map_or((0, 0, 0), |spec| (spec.first as i64, spec.last as i64, spec.step as i64))
}

/// Where the keys begin and how to find the others, the last one counted from the first.
fn key_spec(spec: &KeySpec, reply: &mut Reply<'_>) {
    reply.map(3 + usize::from(spec.notes.is_some()));
    if let Some(notes) = spec.notes {
        reply.bulk(b"notes");
        reply.bulk(notes.as_bytes());
    }
    reply.bulk(b"flags");
    reply.set(spec.flags.names().count());
    spec.flags.names().for_each(|flag| reply.simple(flag));
    reply.bulk(b"begin_search");
    key_search("index", &[("index", spec.first as i64)], reply);
    reply.bulk(b"find_keys");
    let last = if spec.last < 0 { spec.last as i64 } else { spec.last as i64 - spec.first as i64 };
    key_search("range", &[("lastkey", last), ("keystep", spec.step as i64), ("limit", 0)], reply);
}

/// One half of a key specification.
fn key_search(kind: &str, numbers: &[(&str, i64)], reply: &mut Reply<'_>) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(numbers.len());
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(*number);
    }
}

/// A map from full names to what is to be told about them.
fn documents(commands: impl Iterator<Item = &'static Command> + Clone, reply: &mut Reply<'_>) {
    reply.map(commands.clone().count());
    for command in commands {
        reply.bulk(command.full_name.as_bytes());
        document(command, reply);
    }
}

fn document(command: &'static Command, reply: &mut Reply<'_>) {
    let deprecated = command.deprecated;
    let has_subcommands = !command.subcommands.is_empty();
    reply.map(4 + 3 * usize::from(deprecated.is_some()) + usize::from(has_subcommands));
    for (name, text) in [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group),
        ("complexity", command.complexity),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if let Some((since, replacement)) = deprecated {
        reply.bulk(b"doc_flags");
        reply.set(1);
        reply.simple("deprecated");
        reply.bulk(b"deprecated_since");
        reply.bulk(since.as_bytes());
        reply.bulk(b"replaced_by");
        reply.bulk(replacement.as_bytes());
    }
    if has_subcommands {
        reply.bulk(b"subcommands");
        documents(command.subcommands.iter(), reply);
    }
}

/// `HELP` of a command with subcommands: a name and its arguments on one line, what it does on the next.
pub fn help(container: &Command, reply: &mut Reply<'_>) {
    let name = container.name.to_ascii_uppercase();
    reply.array(1 + 2 * container.subcommands.len());
    reply.simple(&format!("{name} takes one of these subcommands:"));
    for subcommand in container.subcommands {
        let name = subcommand.name.to_ascii_uppercase();
        reply.simple(format!("{name} {}", subcommand.syntax).trim_end());
        reply.simple(&format!("    {}", subcommand.summary));
    }
}
