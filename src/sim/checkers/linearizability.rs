//! Linearizability (Herlihy and Wing): each operation seems to take effect at one moment between its begin and its end.
//! One whose outcome is unknown may do so at any later moment, or never.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Violation;
use super::objects::{Object, split};
use super::registers::{self, Registers};
use super::search::{Verdict, search};
use crate::history::{History, Operation};

/// Operations before the contradiction that an objection lists.
const LISTED_COUNT_MAX: usize = 24;
/// Longest value shown.
const SHOWN_BYTES_MAX: usize = 48;

/// What was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Objects that were decided: keys, and sets of keys that were used together.
    pub objects: u64,
    /// Operations on them.
    pub operations: u64,
    /// Objects that were too entangled to decide.
    pub undecided: u64,
    /// Operations on those.
    pub undecided_operations: u64,
}

impl Judged {
    /// Adds what was judged of another history.
    pub fn add(&mut self, other: &Judged) {
        self.objects += other.objects;
        self.operations += other.operations;
        self.undecided += other.undecided;
        self.undecided_operations += other.undecided_operations;
    }

    /// Which share of the operations was left undecided, in millionths.
    pub fn undecided_ppm(&self) -> u64 {
        let all = self.operations + self.undecided_operations;
        (self.undecided_operations * 1_000_000).checked_div(all).unwrap_or(0)
    }
}

/// Judges a history object by object.
///
/// # Errors
/// No order of an object's operations explains their answers.
pub fn check(history: &History) -> Result<Judged, Violation> {
    let mut judged = Judged::default();
    for object in split(history) {
        let verdict = match registers::judge(&object) {
            Registers::Explained => Verdict::Explained,
            Registers::Contradiction { op } => Verdict::Contradiction { op, states: Vec::new() },
            Registers::Other => search(&object),
        };
        match verdict {
            Verdict::Explained => {
                judged.objects += 1;
                judged.operations += object.ops.len() as u64;
            }
            Verdict::Undecided => {
                judged.undecided += 1;
                judged.undecided_operations += object.ops.len() as u64;
            }
            Verdict::Contradiction { op, states } => {
                return Err(Violation::new("linearizability", explain(history, &object, op, states.len())));
            }
        }
    }
    Ok(judged)
}

fn explain(history: &History, object: &Object, op: usize, states_count: usize) -> String {
    let operations = history.operations();
    let culprit = &operations[object.ops[op].idx];
    let keys: Vec<_> = object.keys.iter().map(|key| shown(key)).collect();
    let states = match states_count {
        0 => String::new(),
        _ => format!("; {states_count} states were possible before it"),
    };
    let mut text = format!(
        "no order of the operations on {} explains that {}{states}. The last operations on it that began before it ended:",
        keys.join(", "),
        line(culprit)
    );
    let before = object.ops.iter().filter(|other| other.begin <= culprit.end && other.idx != object.ops[op].idx);
    // Unknown ones may matter however old they are.
    let (unknown, known): (Vec<_>, Vec<_>) = before.partition(|other| other.answer.is_none());
    let mut listed: BTreeSet<usize> = unknown.iter().rev().take(LISTED_COUNT_MAX).map(|other| other.idx).collect();
    listed.extend(known.iter().rev().take(LISTED_COUNT_MAX).map(|other| other.idx));
    for idx in listed {
        text.push_str("\n    ");
        text.push_str(&line(&operations[idx]));
    }
    text
}

/// One operation, for a message.
pub(super) fn line(operation: &Operation) -> String {
    let Operation { client, begin, end, call, outcome, reason } = operation;
    let mut call = format!("{call:?}");
    shorten(&mut call);
    let mut outcome = format!("{outcome:?}");
    shorten(&mut outcome);
    let until = if end.as_nanos() == u64::MAX { "?".to_owned() } else { end.as_nanos().to_string() };
    let reason = reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
    format!("session {client}, {} to {until} ns: {call} -> {outcome}{reason}", begin.as_nanos())
}

fn shorten(text: &mut String) {
    let ends = text.len() > 4 * SHOWN_BYTES_MAX;
    if ends && let Some((cut, _)) = text.char_indices().nth(2 * SHOWN_BYTES_MAX) {
        let tail_begin = text.char_indices().rev().nth(2 * SHOWN_BYTES_MAX - 1).map_or(0, |(at, _)| at);
        *text = format!("{}...{}", &text[..cut], &text[tail_begin..]);
    }
}

/// A key or value, for a message.
pub(super) fn shown(text: &[u8]) -> String {
    let head = &text[..text.len().min(SHOWN_BYTES_MAX)];
    let dots = if head.len() < text.len() { "..." } else { "" };
    format!("`{}{dots}`", head.escape_ascii())
}
