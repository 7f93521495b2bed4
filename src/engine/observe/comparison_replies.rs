//! CORACLE COMPARISON: what the last comparisons of replicas have found.

use resp::number::parse_i64;
use resp::{Args, Reply};
use types::GroupId;

use crate::comparison::Comparison;

/// A group that is none.
pub(crate) const NO_GROUP: &str = "ERR there is no such group";

/// The group that an argument names by its number.
pub(crate) fn group_at(args: Args<'_>, idx: usize) -> Option<GroupId> {
    let number = args.get(idx).and_then(parse_i64)?;
    u32::try_from(number).ok().map(GroupId)
}

/// The last comparison of each group, or of the one that is named: `group`, `index` (the entry behind which the states were compared),
/// `unix_ms` (when it ended), `took_ms`, `rows`, `outcome` with its `reason`, `replicas` and how each stands, `ranges` (where they differ).
pub(crate) fn last(comparisons: &[Comparison], args: Args<'_>, reply: &mut Reply<'_>) {
    let group = match args.len() {
        2 => None,
        3 => match group_at(args, 2) {
            Some(group) => Some(group),
            None => return reply.error(NO_GROUP),
        },
        _ => return reply.error(resp::errors::SYNTAX),
    };
    let found = || comparisons.iter().filter(|found| group.is_none_or(|group| found.point.group == group));
    reply.array(found().count());
    found().for_each(|found| write(found, reply));
}

fn write(found: &Comparison, reply: &mut Reply<'_>) {
    let (outcome, reason) = found.outcome.shown();
    reply.map(9);
    for (name, number) in [
        ("group", u64::from(found.point.group.0)),
        ("index", found.point.index),
        ("unix_ms", found.unix_ms),
        ("took_ms", found.took.as_millis() as u64),
        ("rows", found.rows),
    ] {
        reply.bulk(name.as_bytes());
        reply.integer(number as i64);
    }
    for (name, text) in [("outcome", outcome), ("reason", reason)] {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    for (name, text) in [("replicas", found.shown_members()), ("ranges", found.shown_ranges())] {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use resp::{ArgRange, Protocol};

    use super::*;
    use crate::comparison::ComparePoint;

    fn ask(line: &str) -> String {
        let (mut ranges, mut bytes, mut start) = (Vec::new(), Vec::new(), 0);
        for word in line.split(' ') {
            ranges.push(ArgRange { start, end: start + word.len() as u32 });
            start += word.len() as u32 + 1;
        }
        let found = |group| {
            let point = ComparePoint { group: GroupId(group), index: 70, term: 2 };
            Comparison::unfinished(point, 5, Duration::from_millis(8), "why")
        };
        last(
            &[found(1), found(4)],
            Args::new(line.as_bytes(), &ranges),
            &mut Reply::new(&mut bytes, Protocol::Resp3),
        );
        String::from_utf8(bytes).expect("these replies are text")
    }

    #[test]
    fn the_last_comparison_of_all_groups_or_of_one_is_told() {
        let one = "%9\r\n$5\r\ngroup\r\n:4\r\n$5\r\nindex\r\n:70\r\n$7\r\nunix_ms\r\n:5\r\n$7\r\ntook_ms\r\n:8\r\n$4\r\nrows\r\n:0\r\n\
                   $7\r\noutcome\r\n$10\r\nunfinished\r\n$6\r\nreason\r\n$3\r\nwhy\r\n$8\r\nreplicas\r\n$0\r\n\r\n$6\r\nranges\r\n$0\r\n\r\n";
        assert_eq!(ask("CORACLE COMPARISON 4"), format!("*1\r\n{one}"));
        assert!(ask("CORACLE COMPARISON").starts_with("*2\r\n%9\r\n") && ask("CORACLE COMPARISON").ends_with(one));
        assert_eq!(ask("CORACLE COMPARISON 2"), "*0\r\n");
        for refused in ["CORACLE COMPARISON x", "CORACLE COMPARISON -1"] {
            assert_eq!(ask(refused), format!("-{NO_GROUP}\r\n"));
        }
        assert_eq!(ask("CORACLE COMPARISON 1 2"), "-ERR syntax error\r\n");
    }
}
