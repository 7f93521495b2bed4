//! Commands that were slow, long or answered at length: what SLOWLOG, COMMANDLOG and CORACLE SLOWLOG show.
//!
//! A command is slow if it takes long from its bytes being taken in to its reply being written. Redis measures how long the command
//! alone keeps it busy; here most of a command is waiting for the log and for other nodes, and that is what clients wait for too.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use resp::{Args, Command};
use types::CoreAddr;

use crate::observe::trace::TraceIds;

/// Arguments that are kept of a command, as in Redis.
const ARGS_COUNT_MAX: usize = 32;
/// Bytes that are kept of an argument, as in Redis.
const ARG_BYTES_MAX: usize = 128;
/// What says how much was left out.
const LEFT_OUT_BYTES_MAX: usize = 48;
/// Commands of each kind that a turn keeps: when all are slow, a few tell as much as all.
const KEPT_PER_TURN_MAX: usize = 16;
/// Requests and replies from this length on are large, in bytes, as in Valkey.
pub(crate) const LARGE_BYTES_MIN: usize = 1 << 20;

/// Why a command is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// It took long; its measure is in microseconds.
    Slow,
    /// The request is long; in bytes.
    LargeRequest,
    /// The reply is long; in bytes.
    LargeReply,
    /// It took long here, and another core has forwarded it: that one keeps it for its client. In microseconds.
    Forwarded,
}

impl LogKind {
    /// All kinds, in the order of their numbers.
    pub(crate) const ALL: [LogKind; 4] =
        [LogKind::Slow, LogKind::LargeRequest, LogKind::LargeReply, LogKind::Forwarded];

    fn is_of_slow_ones(self) -> bool {
        matches!(self, LogKind::Slow | LogKind::Forwarded)
    }

    /// The kind that COMMANDLOG knows by this name.
    pub(crate) fn from_name(name: &[u8]) -> Option<LogKind> {
        let names = [&b"slow"[..], b"large-request", b"large-reply"];
        let mut kinds = LogKind::ALL.into_iter().zip(names);
        kinds.find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(kind, _)| kind)
    }
}

/// Which way a command went, with how long its stages took, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It was answered in the turn in which it came.
    AtOnce,
    /// It waited in this stage.
    Waited(&'static str),
    /// It took a place in a batch.
    Batch {
        /// Until the batch was proposed.
        batch_us: u64,
        /// From then until the entry was durable here, if that was before a majority had it.
        durable_us: Option<u64>,
        /// From being proposed until a majority had it.
        commit_us: u64,
        /// From then until it was applied.
        apply_us: u64,
    },
    /// Another core has answered it, and knew it by this number.
    Forwarded { to: CoreAddr, number: u64 },
}

impl Way {
    /// Its name.
    pub(crate) fn name(self) -> String {
        match self {
            Way::AtOnce => "at_once".to_owned(),
            Way::Waited(stage) => stage.to_owned(),
            Way::Batch { .. } => "batch".to_owned(),
            Way::Forwarded { to, .. } => format!("forwarded to {to}"),
        }
    }

    /// The stages that were measured, with their microseconds.
    pub(crate) fn stages(self) -> Vec<(&'static str, u64)> {
        let Way::Batch { batch_us, durable_us, commit_us, apply_us } = self else { return Vec::new() };
        let durable = durable_us.map(|us| ("durable", us));
        let behind = [("commit", commit_us), ("apply", apply_us)];
        std::iter::once(("batch", batch_us)).chain(durable).chain(behind).collect()
    }

    /// The stages of a command that took so long, each with when it began since the command came, and how long it took from then, in
    /// microseconds. A batch that was there before the command begins with it here.
    pub(crate) fn placed_stages(self, took_us: u64) -> Vec<(&'static str, u64, u64)> {
        let Way::Batch { durable_us, commit_us, apply_us, .. } = self else { return Vec::new() };
        let committed_us = took_us.saturating_sub(apply_us);
        let proposed_us = committed_us.saturating_sub(commit_us);
        let durable = durable_us.map(|us| ("durable", proposed_us, us.min(took_us - proposed_us)));
        let behind =
            [("commit", proposed_us, committed_us - proposed_us), ("apply", committed_us, took_us - committed_us)];
        std::iter::once(("batch", 0, proposed_us)).chain(durable).chain(behind).collect()
    }
}

/// Who wants a command to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AskedBy {
    /// A client of this core.
    Client { addr: SocketAddr, name: Vec<u8> },
    /// Another core, which has forwarded it.
    Core(CoreAddr),
}

impl AskedBy {
    /// Its address, as it is written.
    pub(crate) fn addr(&self) -> String {
        match self {
            AskedBy::Client { addr, .. } => addr.to_string(),
            AskedBy::Core(core) => core.to_string(),
        }
    }

    /// The name that a client has given itself.
    pub(crate) fn name(&self) -> &[u8] {
        match self {
            AskedBy::Client { name, .. } => name,
            AskedBy::Core(_) => &[],
        }
    }
}

/// A command that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoggedCommand {
    /// Unique on its node, and growing.
    pub(crate) number: u64,
    /// How many that took long came before it on its core; 0 for others.
    pub(crate) sequence: u64,
    /// The core that has answered it: the one that the client has connected to, unless another one has forwarded it.
    pub(crate) core: CoreAddr,
    /// When it was answered, in microseconds since 1970.
    pub(crate) unix_us: u64,
    /// How long it took, in microseconds, or how long it or its reply is, in bytes.
    pub(crate) measure: u64,
    /// Its arguments, the name first; cut, and without secrets.
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) asked_by: AskedBy,
    pub(crate) way: Way,
    /// Given to it with its number, unless it was forwarded: then it has those of its way.
    pub(crate) trace: TraceIds,
}

impl LoggedCommand {
    /// When it was answered, in seconds since 1970.
    pub(crate) fn unix_s(&self) -> u64 {
        self.unix_us / 1_000_000
    }

    fn bytes(&self) -> usize {
        let args = self.args.iter().map(|arg| arg.capacity() + size_of::<Vec<u8>>()).sum::<usize>();
        let name_bytes = match &self.asked_by {
            AskedBy::Client { name, .. } => name.capacity(),
            AskedBy::Core(_) => 0,
        };
        args + name_bytes + size_of::<LoggedCommand>()
    }
}

/// The arguments of a command as they are kept.
pub(crate) fn shown_args(command: &Command, args: Args<'_>) -> Vec<Vec<u8>> {
    let left_count = args.len().saturating_sub(ARGS_COUNT_MAX);
    let kept_count = if left_count > 0 { ARGS_COUNT_MAX - 1 } else { args.len() };
    let shown = |(idx, arg): (usize, &[u8])| match idx {
        // Commands that have waited are known by their number.
        0 if arg.is_empty() => command.name.to_ascii_uppercase().into_bytes(),
        _ if resp::secrets::is_secret(command.id, args, idx) => resp::secrets::REDACTED.to_vec(),
        _ => cut(arg),
    };
    let mut kept: Vec<Vec<u8>> = args.iter_from(0).take(kept_count).enumerate().map(shown).collect();
    if left_count > 0 {
        kept.push(format!("... ({} more arguments)", left_count + 1).into_bytes());
    }
    kept
}

fn cut(arg: &[u8]) -> Vec<u8> {
    let Some((kept, left)) = arg.split_at_checked(ARG_BYTES_MAX).filter(|(_, left)| !left.is_empty()) else {
        return arg.to_vec();
    };
    let mut cut = Vec::with_capacity(ARG_BYTES_MAX + LEFT_OUT_BYTES_MAX);
    cut.extend_from_slice(kept);
    cut.extend_from_slice(format!("... ({} more bytes)", left.len()).as_bytes());
    cut
}

/// The commands that a core keeps, or those of all cores of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandLogs {
    /// By [`LogKind`], the oldest first.
    logs: [VecDeque<Arc<LoggedCommand>>; LogKind::ALL.len()],
    /// Commands that were kept in this turn.
    kept_counts: [usize; LogKind::ALL.len()],
    len_max: usize,
    bytes: usize,
    /// The number of the next one, and how far the numbers of a core are apart: each core of a node has its own.
    next_number: u64,
    numbers_step: u64,
    /// The sequence of the next one that took long.
    next_sequence: u64,
}

impl CommandLogs {
    /// Nothing yet, of the core of this number among so many of its node. So many commands of each kind are kept at most.
    pub(crate) fn new(core: u64, cores_count: u64, len_max: usize) -> CommandLogs {
        CommandLogs { len_max, next_number: core, numbers_step: cores_count.max(1), ..CommandLogs::default() }
    }

    /// A turn begins.
    #[inline]
    pub(crate) fn begin_turn(&mut self) {
        self.kept_counts = Default::default();
    }

    /// Whether another of this kind would be kept in this turn.
    pub(crate) fn takes(&self, kind: LogKind) -> bool {
        self.len_max > 0 && self.kept_counts[kind as usize] < KEPT_PER_TURN_MAX
    }

    /// Keeps a command; its number is given to it. The oldest of its kind leaves if there are too many.
    pub(crate) fn push(&mut self, kind: LogKind, mut command: LoggedCommand) {
        if !self.takes(kind) {
            return;
        }
        self.kept_counts[kind as usize] += 1;
        if kind.is_of_slow_ones() {
            command.sequence = self.next_sequence;
            self.next_sequence += 1;
        }
        if command.trace == TraceIds::default() {
            command.trace = TraceIds::local(command.core, self.next_number, command.unix_us);
        }
        command.number = self.next_number;
        self.next_number += self.numbers_step;
        self.bytes += command.bytes();
        let log = &mut self.logs[kind as usize];
        log.push_back(Arc::new(command));
        if log.len() > self.len_max
            && let Some(oldest) = log.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
    }

    /// From now on so many of each kind are kept at most; the oldest leave.
    pub(crate) fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
        for log in &mut self.logs {
            let left = log.drain(..log.len().saturating_sub(len_max));
            self.bytes -= left.map(|command| command.bytes()).sum::<usize>();
        }
    }

    /// How many of a kind there are.
    pub(crate) fn len(&self, kind: LogKind) -> usize {
        self.logs[kind as usize].len()
    }

    /// Those of a kind, the newest first.
    pub(crate) fn newest(&self, kind: LogKind) -> impl Iterator<Item = &LoggedCommand> {
        self.logs[kind as usize].iter().rev().map(|command| &**command)
    }

    /// Forgets those of a kind.
    pub(crate) fn reset(&mut self, kind: LogKind) {
        let forgotten = std::mem::take(&mut self.logs[kind as usize]);
        self.bytes -= forgotten.iter().map(|command| command.bytes()).sum::<usize>();
    }

    /// Bytes of memory that they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds those of another core of the node: together no more than each keeps.
    pub(crate) fn merge(&mut self, other: &CommandLogs) {
        let len_max = self.len_max.max(other.len_max);
        for (mine, theirs) in self.logs.iter_mut().zip(&other.logs) {
            mine.extend(theirs.iter().cloned());
            mine.make_contiguous().sort_by_key(|command| (command.unix_s(), command.number));
            mine.drain(..mine.len().saturating_sub(len_max));
        }
        self.len_max = len_max;
        self.bytes = self.logs.iter().flatten().map(|command| command.bytes()).sum();
    }
}

#[cfg(test)]
mod tests {
    use resp::ArgRange;

    use super::*;

    fn command(measure: u64) -> LoggedCommand {
        LoggedCommand {
            number: 0,
            sequence: 0,
            core: CoreAddr::default(),
            unix_us: measure * 1_000_000,
            measure,
            args: vec![b"GET".to_vec(), vec![b'k'; 10]],
            asked_by: AskedBy::Client { addr: SocketAddr::from(([127, 0, 0, 1], 5)), name: Vec::new() },
            way: Way::AtOnce,
            trace: TraceIds::default(),
        }
    }

    fn measures(logs: &CommandLogs, kind: LogKind) -> Vec<(u64, u64)> {
        logs.newest(kind).map(|command| (command.number, command.measure)).collect()
    }

    #[test]
    fn the_newest_are_kept_and_so_many_of_a_turn() {
        let mut logs = CommandLogs::new(1, 4, 3);
        for measure in 0..5 {
            logs.begin_turn();
            logs.push(LogKind::Slow, command(measure));
        }
        assert_eq!(measures(&logs, LogKind::Slow), [(17, 4), (13, 3), (9, 2)]);
        assert_eq!(logs.bytes(), 3 * command(0).bytes());
        (0..100).for_each(|measure| logs.push(LogKind::LargeReply, command(measure)));
        assert_eq!(measures(&logs, LogKind::LargeReply)[0].1, KEPT_PER_TURN_MAX as u64 - 1);
        logs.reset(LogKind::Slow);
        assert_eq!((logs.len(LogKind::Slow), logs.len(LogKind::LargeReply)), (0, 3));
        logs.reset(LogKind::LargeReply);
        assert_eq!(logs.bytes(), 0);
        logs.set_len_max(2);
        for measure in 0..3 {
            logs.begin_turn();
            logs.push(LogKind::Slow, command(measure));
        }
        logs.set_len_max(1);
        assert_eq!((logs.len(LogKind::Slow), logs.bytes()), (1, command(0).bytes()), "the newest is kept");
        let mut none = CommandLogs::new(0, 1, 0);
        none.push(LogKind::Slow, command(1));
        assert_eq!((none.len(LogKind::Slow), none.takes(LogKind::Slow)), (0, false));
    }

    #[test]
    fn those_that_took_long_are_counted_through_and_told_apart() {
        let mut logs = CommandLogs::new(0, 1, 2);
        let kinds = [LogKind::Slow, LogKind::LargeReply, LogKind::Forwarded, LogKind::Slow, LogKind::Slow];
        for kind in kinds {
            logs.begin_turn();
            logs.push(kind, command(1));
        }
        let of = |kind| logs.newest(kind).map(|command| (command.number, command.sequence)).collect::<Vec<_>>();
        assert_eq!((of(LogKind::Slow), of(LogKind::Forwarded)), (vec![(4, 3), (3, 2)], vec![(2, 1)]));
        let [last, before] = [0, 1].map(|at| logs.newest(LogKind::Slow).nth(at).expect("two are kept").trace);
        assert!(last.trace_id != before.trace_id && last.span_id != 0, "{last:?} {before:?}");
        assert_eq!(LogKind::from_name(b"forwarded"), None, "COMMANDLOG has the kinds of Valkey");
    }

    #[test]
    fn stages_end_with_the_command_and_none_begins_before_it() {
        let way = Way::Batch { batch_us: 50, durable_us: Some(90), commit_us: 70, apply_us: 10 };
        let placed = [("batch", 0, 20), ("durable", 20, 80), ("commit", 20, 70), ("apply", 90, 10)];
        assert_eq!(way.placed_stages(100), placed);
        assert_eq!(way.placed_stages(5), [("batch", 0, 0), ("durable", 0, 5), ("commit", 0, 0), ("apply", 0, 5)]);
        assert_eq!(Way::AtOnce.placed_stages(100), []);
    }

    #[test]
    fn a_node_shows_the_newest_of_all_cores_under_numbers_of_their_own() {
        let (mut one, mut other) = (CommandLogs::new(0, 2, 3), CommandLogs::new(1, 2, 3));
        [1, 4].into_iter().for_each(|measure| one.push(LogKind::Slow, command(measure)));
        [2, 3].into_iter().for_each(|measure| other.push(LogKind::Slow, command(measure)));
        one.merge(&other);
        assert_eq!(measures(&one, LogKind::Slow), [(2, 4), (3, 3), (1, 2)]);
        assert_eq!(one.bytes(), 3 * command(0).bytes());
    }

    #[test]
    fn arguments_are_cut_as_in_redis_and_secrets_left_out() {
        let shown = |words: &[&[u8]]| {
            let (mut buf, mut ranges) = (Vec::new(), Vec::new());
            for word in words {
                let start = buf.len() as u32;
                buf.extend_from_slice(word);
                ranges.push(ArgRange { start, end: buf.len() as u32 });
            }
            let args = Args::new(&buf, &ranges);
            let command = resp::lookup(if words[0].is_empty() { b"set" } else { words[0] }).expect("a command");
            let shown = shown_args(command, args).into_iter();
            shown.map(|arg| String::from_utf8(arg).expect("text")).collect::<Vec<_>>()
        };
        let long = [b'v'; 200];
        assert_eq!(shown(&[b"", b"k", &long]), ["SET", "k", &format!("{}... (72 more bytes)", "v".repeat(128))]);
        assert_eq!(shown(&[b"get", &long[..128]])[1].len(), 128);
        let many = [[&b"MGET"[..]].as_slice(), &[&b"k"[..]; 40]].concat();
        let of_many = shown(&many);
        assert_eq!((of_many.len(), of_many[31].as_str()), (32, "... (10 more arguments)"));
        assert_eq!(shown(&many[..32]).len(), 32);
        assert_eq!(shown(&[b"auth", b"me", b"pw"]), ["auth", "(redacted)", "(redacted)"]);
        let most = shown(&[[&b"MGET"[..]].as_slice(), &[&long[..]; 40]].concat());
        assert!(most.iter().all(|arg| arg.len() <= ARG_BYTES_MAX + LEFT_OUT_BYTES_MAX));
    }
}
