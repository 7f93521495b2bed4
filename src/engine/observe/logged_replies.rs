//! SLOWLOG, COMMANDLOG and CORACLE: their replies, the first two in the forms of Redis and Valkey.

use resp::number::parse_i64;
use resp::{Args, Reply, errors};

use crate::observe::command_log::{CommandLogs, LogKind, LoggedCommand};
use crate::observe::hot_keys::{Hot, HotReport, SAMPLE_EVERY};

/// Entries that SLOWLOG GET shows if it is not told how many, as in Redis.
const SLOWLOG_GET_COUNT: i64 = 10;
/// Keys that CORACLE HOTKEYS shows if it is not told how many.
const HOTKEYS_COUNT: i64 = 10;
/// A count that is none, as Redis says it.
const INVALID_COUNT: &str = "ERR count should be greater than or equal to -1";
/// A kind that COMMANDLOG does not know, as Valkey says it.
const INVALID_KIND: &str = "ERR type should be one of the following: slow, large-request, large-reply";

/// The count at that place, or the one that stands for none; -1 means all.
fn count_at(args: Args<'_>, idx: usize, default: i64) -> Option<usize> {
    match args.get(idx).map_or(Some(default), parse_i64)? {
        -1 => Some(usize::MAX),
        count => usize::try_from(count).ok(),
    }
}

/// The kind that COMMANDLOG names at that place.
pub(crate) fn kind_at(args: Args<'_>, idx: usize, reply: &mut Reply<'_>) -> Option<LogKind> {
    let kind = args.get(idx).and_then(LogKind::from_name);
    if kind.is_none() {
        reply.error(INVALID_KIND);
    }
    kind
}

/// SLOWLOG GET and COMMANDLOG GET: the newest entries of a kind, each of six elements.
pub(crate) fn get(logs: &CommandLogs, kind: LogKind, args: Args<'_>, reply: &mut Reply<'_>) {
    let Some(count) = count_at(args, 2, SLOWLOG_GET_COUNT) else { return reply.error(INVALID_COUNT) };
    reply.array(logs.len(kind).min(count));
    for command in logs.newest(kind).take(count) {
        reply.array(6);
        reply.integer(command.number as i64);
        reply.integer(command.unix_s() as i64);
        reply.integer(command.measure as i64);
        write_args(command, reply);
        reply.bulk(command.asked_by.addr().as_bytes());
        reply.bulk(command.asked_by.name());
    }
}

fn write_args(command: &LoggedCommand, reply: &mut Reply<'_>) {
    reply.array(command.args.len());
    command.args.iter().for_each(|arg| reply.bulk(arg));
}

/// CORACLE SLOWLOG: the same as SLOWLOG GET, with the way that each command went and how long its stages took. Clients that know
/// SLOWLOG expect entries of just six elements.
pub(crate) fn slow_with_stages(logs: &CommandLogs, args: Args<'_>, reply: &mut Reply<'_>) {
    let Some(count) = count_at(args, 2, SLOWLOG_GET_COUNT) else { return reply.error(INVALID_COUNT) };
    reply.array(logs.len(LogKind::Slow).min(count));
    for command in logs.newest(LogKind::Slow).take(count) {
        reply.map(10);
        for (name, number) in [("id", command.number), ("time", command.unix_s()), ("duration_us", command.measure)] {
            reply.bulk(name.as_bytes());
            reply.integer(number as i64);
        }
        reply.bulk(b"command");
        write_args(command, reply);
        for (name, text) in [
            ("client", command.asked_by.addr().into_bytes()),
            ("client_name", command.asked_by.name().to_vec()),
            ("core", command.core.to_string().into_bytes()),
            ("way", command.way.name().into_bytes()),
            ("trace", format!("{:032x}", command.trace.trace_id).into_bytes()),
        ] {
            reply.bulk(name.as_bytes());
            reply.bulk(&text);
        }
        let stages = command.way.stages();
        reply.bulk(b"stages_us");
        reply.map(stages.len());
        for (stage, us) in stages {
            reply.bulk(stage.as_bytes());
            reply.integer(us as i64);
        }
    }
}

/// CORACLE HOTKEYS [COUNT n]: of keys and slots, how many commands there were about, estimated, and by how many that may be too high.
pub(crate) fn hot_keys(report: &HotReport, args: Args<'_>, reply: &mut Reply<'_>) {
    let is_count = args.get(2).is_none_or(|word| word.eq_ignore_ascii_case(b"count"));
    if !is_count || args.len() == 3 || args.len() > 4 {
        return reply.error(errors::SYNTAX);
    }
    let Some(count) = count_at(args, 3, HOTKEYS_COUNT) else { return reply.error(INVALID_COUNT) };
    reply.map(4);
    for (name, number) in [("sampled", report.sampled), ("sample_every", u64::from(SAMPLE_EVERY))] {
        reply.bulk(name.as_bytes());
        reply.integer(number as i64);
    }
    for (name, list) in [("keys", &report.keys), ("slots", &report.slots)] {
        reply.bulk(name.as_bytes());
        write_hot(list, count, reply);
    }
}

fn write_hot(list: &[Hot], count: usize, reply: &mut Reply<'_>) {
    reply.array(list.len().min(count));
    for hot in list.iter().take(count) {
        reply.array(3);
        reply.bulk(&hot.item);
        reply.integer((hot.count * u64::from(SAMPLE_EVERY)) as i64);
        reply.integer((hot.error * u64::from(SAMPLE_EVERY)) as i64);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use resp::{ArgRange, Protocol};
    use types::CoreAddr;

    use super::*;
    use crate::observe::command_log::{AskedBy, Way};
    use crate::observe::trace::TraceIds;

    fn ask(line: &str, protocol: Protocol, answer: impl FnOnce(Args<'_>, &mut Reply<'_>)) -> String {
        let (mut ranges, mut bytes, mut start) = (Vec::new(), Vec::new(), 0);
        for word in line.split(' ') {
            ranges.push(ArgRange { start, end: start + word.len() as u32 });
            start += word.len() as u32 + 1;
        }
        answer(Args::new(line.as_bytes(), &ranges), &mut Reply::new(&mut bytes, protocol));
        String::from_utf8(bytes).expect("these replies are text")
    }

    fn logs(count: u64) -> CommandLogs {
        let mut logs = CommandLogs::new(0, 1, 100);
        for number in 0..count {
            logs.begin_turn();
            let way = Way::Batch { batch_us: 5, durable_us: Some(7), commit_us: 9, apply_us: 1 };
            logs.push(
                LogKind::Slow,
                LoggedCommand {
                    number: 0,
                    sequence: 0,
                    core: CoreAddr::default(),
                    unix_us: (100 + number) * 1_000_000,
                    measure: 15,
                    args: vec![b"SET".to_vec(), b"k".to_vec()],
                    asked_by: AskedBy::Client { addr: SocketAddr::from(([127, 0, 0, 1], 5)), name: b"me".to_vec() },
                    way,
                    trace: TraceIds { trace_id: 7, span_id: 8, parent_id: None },
                },
            );
        }
        logs
    }

    #[test]
    fn entries_have_the_six_elements_of_redis() {
        let logs = logs(2);
        let get = |line: &str| ask(line, Protocol::Resp2, |args, reply| get(&logs, LogKind::Slow, args, reply));
        let newest = "*6\r\n:1\r\n:101\r\n:15\r\n*2\r\n$3\r\nSET\r\n$1\r\nk\r\n$11\r\n127.0.0.1:5\r\n$2\r\nme\r\n";
        assert_eq!(get("SLOWLOG GET 1"), format!("*1\r\n{newest}"));
        assert!(get("SLOWLOG GET").starts_with(&format!("*2\r\n{newest}*6\r\n:0\r\n")));
        assert_eq!(get("SLOWLOG GET -1"), get("SLOWLOG GET"));
        assert_eq!(get("SLOWLOG GET 0"), "*0\r\n");
        for refused in ["SLOWLOG GET -2", "SLOWLOG GET x"] {
            assert_eq!(get(refused), format!("-{INVALID_COUNT}\r\n"));
        }
    }

    #[test]
    fn stages_stand_beside_the_entries_of_redis() {
        let logs = logs(1);
        let text = ask("CORACLE SLOWLOG", Protocol::Resp3, |args, reply| slow_with_stages(&logs, args, reply));
        let stages = "$9\r\nstages_us\r\n%4\r\n$5\r\nbatch\r\n:5\r\n$7\r\ndurable\r\n:7\r\n$6\r\ncommit\r\n:9\r\n$5\r\napply\r\n:1\r\n";
        assert!(text.starts_with("*1\r\n%10\r\n$2\r\nid\r\n:0\r\n") && text.ends_with(stages), "{text}");
    }

    #[test]
    fn hot_keys_are_told_in_commands() {
        let hot = |item: &[u8], count| Hot { item: item.to_vec(), count, error: 1 };
        let report = HotReport { sampled: 9, keys: vec![hot(b"a", 5), hot(b"b", 4)], slots: vec![hot(b"7", 9)] };
        let ask = |line: &str| ask(line, Protocol::Resp2, |args, reply| hot_keys(&report, args, reply));
        let text = ask("CORACLE HOTKEYS COUNT 1");
        assert!(text.contains("$4\r\nkeys\r\n*1\r\n*3\r\n$1\r\na\r\n:505\r\n:101\r\n"), "{text}");
        assert!(ask("CORACLE HOTKEYS").contains("$1\r\nb\r\n:404\r\n"));
        for refused in ["CORACLE HOTKEYS COUNT", "CORACLE HOTKEYS x 1", "CORACLE HOTKEYS COUNT 1 2"] {
            assert_eq!(ask(refused), "-ERR syntax error\r\n");
        }
        assert!(ask("CORACLE HOTKEYS COUNT x").starts_with("-ERR count"));
    }

    #[test]
    fn kinds_that_are_none_are_refused_as_in_valkey() {
        let kind = |line: &str| ask(line, Protocol::Resp2, |args, reply| assert!(kind_at(args, 3, reply).is_none()));
        assert_eq!(kind("COMMANDLOG GET 1 nosuch"), format!("-{INVALID_KIND}\r\n"));
        assert_eq!(LogKind::from_name(b"LARGE-reply"), Some(LogKind::LargeReply));
    }
}
