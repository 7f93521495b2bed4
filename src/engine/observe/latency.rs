//! LATENCY: its replies, in the forms of Redis.

use std::collections::HashSet;

use resp::{Args, CommandId, Reply};

use crate::observe::command_stats::CommandStats;
use crate::observe::distribution::Distribution;
use crate::observe::spikes::{SpikeEvent, Spikes};

/// Most names of one LATENCY HISTOGRAM or RESET: more than there are commands and subcommands.
const NAMES_COUNT_MAX: usize = 1_024;
/// The first bound of a histogram is a microsecond, or nearly: each is twice the one before it, in nanoseconds.
const FIRST_BOUND_LOG2: u32 = 10;
/// The last one is more than any time that is told apart.
const LAST_BOUND_LOG2: u32 = 37;

/// LATENCY HISTOGRAM: of all commands that were answered, or of some; of a command with subcommands, of those.
pub(crate) fn histogram(commands: &CommandStats, args: Args<'_>, reply: &mut Reply<'_>) {
    let names = args.iter_from(2);
    if names.len() > NAMES_COUNT_MAX {
        return reply.error(&format!("ERR more than {NAMES_COUNT_MAX} names: ask for fewer at a time"));
    }
    let mut wanted: HashSet<CommandId> = HashSet::new();
    for command in names.clone().filter_map(resp::table::lookup_full) {
        wanted.insert(command.id);
        wanted.extend(command.subcommands.iter().map(|subcommand| subcommand.id));
    }
    let is_wanted = |id: CommandId| names.len() == 0 || wanted.contains(&id);
    let all = commands.latencies().filter(|(id, ..)| is_wanted(*id));
    let shown: Vec<(&str, &Distribution)> = all.map(|(_, name, latency)| (name, latency)).collect();
    reply.map(shown.len());
    for (name, latency) in shown {
        reply.bulk(name.as_bytes());
        of_command(latency, reply);
    }
}

/// How many took at most so many microseconds, where that is more than took at most half of it.
fn of_command(latency: &Distribution, reply: &mut Reply<'_>) {
    let bounds = || (FIRST_BOUND_LOG2..=LAST_BOUND_LOG2).map(|log2| (1_u64 << log2) - 1);
    let mut before = 0;
    let mut steps: Vec<(u64, u64)> = bounds().zip(latency.counts_up_to(bounds())).collect();
    steps.retain(|(_, count)| std::mem::replace(&mut before, *count) < *count);
    reply.map(2);
    reply.bulk(b"calls");
    reply.integer(latency.count() as i64);
    reply.bulk(b"histogram_usec");
    reply.map(steps.len());
    for (nanos, count) in steps {
        reply.integer((nanos / 1_000) as i64);
        reply.integer(count as i64);
    }
}

/// LATENCY LATEST: event, when, how long, and the longest, in milliseconds.
pub(crate) fn latest(spikes: &Spikes, reply: &mut Reply<'_>) {
    reply.array(spikes.list().count());
    for (event, log) in spikes.list() {
        let Some(latest) = log.latest() else { continue };
        reply.array(4);
        reply.bulk(event.name().as_bytes());
        reply.integer(latest.unix_s as i64);
        reply.integer(latest.ms as i64);
        reply.integer(log.max_ms() as i64);
    }
}

/// LATENCY HISTORY: when and how long, in milliseconds. Of what is no event nothing is known.
pub(crate) fn history(spikes: &Spikes, args: Args<'_>, reply: &mut Reply<'_>) {
    let event = args.get(2).and_then(SpikeEvent::from_name);
    let samples: Vec<_> = event.into_iter().flat_map(|event| spikes.of(event).samples()).collect();
    reply.array(samples.len());
    for spike in samples {
        reply.array(2);
        reply.integer(spike.unix_s as i64);
        reply.integer(spike.ms as i64);
    }
}

/// The events that a LATENCY RESET is about: those that are named, or all.
pub(crate) fn events_to_reset(args: Args<'_>) -> Vec<SpikeEvent> {
    let names = args.iter_from(2);
    if names.len() == 0 {
        return SpikeEvent::ALL.to_vec();
    }
    let named: Vec<SpikeEvent> = names.take(NAMES_COUNT_MAX).filter_map(SpikeEvent::from_name).collect();
    SpikeEvent::ALL.iter().copied().filter(|event| named.contains(event)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use resp::{ArgRange, Protocol};

    use super::*;

    fn with_args<T>(line: &str, take: impl FnOnce(Args<'_>) -> T) -> T {
        let mut ranges = Vec::new();
        let mut start = 0;
        for word in line.split(' ') {
            ranges.push(ArgRange { start, end: start + word.len() as u32 });
            start += word.len() as u32 + 1;
        }
        take(Args::new(line.as_bytes(), &ranges))
    }

    fn text(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> String {
        let mut bytes = Vec::new();
        write(&mut Reply::new(&mut bytes, protocol));
        String::from_utf8(bytes).expect("these replies are text")
    }

    fn stats() -> CommandStats {
        let mut stats = CommandStats::default();
        for micros in [1, 3, 3, 700] {
            stats.answered(CommandId::Get, Duration::from_micros(micros), 1);
        }
        stats.answered(CommandId::ConfigGet, Duration::from_micros(40), 2);
        stats.answered(CommandId::ClientId, Duration::from_micros(2), 1);
        stats
    }

    /// Redis counts the same way, with bounds that are up to 4 % greater.
    #[test]
    fn histograms_have_the_form_of_redis() {
        let stats = stats();
        let ask = |line, protocol| with_args(line, |args| text(protocol, |reply| histogram(&stats, args, reply)));
        let get = "$3\r\nget\r\n*4\r\n$5\r\ncalls\r\n:4\r\n$14\r\nhistogram_usec\r\n*6\r\n:1\r\n:1\r\n:4\r\n:3\r\n:1048\r\n:4\r\n";
        assert_eq!(ask("LATENCY HISTOGRAM get nosuch GET", Protocol::Resp2), format!("*2\r\n{get}"));
        let config =
            "%1\r\n$10\r\nconfig|get\r\n%2\r\n$5\r\ncalls\r\n:2\r\n$14\r\nhistogram_usec\r\n%1\r\n:65\r\n:2\r\n";
        assert_eq!(ask("LATENCY HISTOGRAM CONFIG", Protocol::Resp3), config);
        assert_eq!(ask("LATENCY HISTOGRAM config|GET set", Protocol::Resp3), config);
        assert!(ask("LATENCY HISTOGRAM", Protocol::Resp2).starts_with("*6\r\n"));
        let refused = ask(&format!("LATENCY HISTOGRAM{}", " x".repeat(NAMES_COUNT_MAX + 1)), Protocol::Resp2);
        assert!(refused.starts_with("-ERR more than 1024 names"), "{refused}");
    }

    #[test]
    fn events_are_told_with_their_times() {
        let mut spikes = Spikes::default();
        spikes.note(SpikeEvent::LogWrite, Duration::from_millis(250), 5_500);
        spikes.note(SpikeEvent::LogWrite, Duration::from_millis(120), 6_500);
        assert_eq!(
            text(Protocol::Resp2, |reply| latest(&spikes, reply)),
            "*1\r\n*4\r\n$9\r\nlog-write\r\n:6\r\n:120\r\n:250\r\n"
        );
        let ask = |line| with_args(line, |args| text(Protocol::Resp2, |reply| history(&spikes, args, reply)));
        assert_eq!(ask("LATENCY HISTORY log-write"), "*2\r\n*2\r\n:5\r\n:250\r\n*2\r\n:6\r\n:120\r\n");
        assert_eq!(ask("LATENCY HISTORY turn"), "*0\r\n");
        assert_eq!(ask("LATENCY HISTORY nosuch"), "*0\r\n");
    }

    #[test]
    fn a_reset_is_about_the_events_that_are_named_or_about_all() {
        let events = |line| with_args(line, events_to_reset);
        assert_eq!(events("LATENCY RESET"), SpikeEvent::ALL);
        assert_eq!(events("LATENCY RESET nosuch"), []);
        assert_eq!(events("LATENCY RESET row-read TURN turn"), [SpikeEvent::Turn, SpikeEvent::RowRead]);
    }
}
