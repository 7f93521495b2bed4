//! Network cards and ports.

use std::collections::BTreeSet;

use crate::finding::{Check, Finding, Level};
use crate::plan::{Plan, cores_in_words};
use crate::source::Source;

const TOPIC: &str = "net";
const CARDS: &str = "sys/class/net";
/// How many connections a node lets wait to be accepted.
const BACKLOG: u64 = 4_096;
/// What `/proc/net/tcp` calls a socket that listens.
const LISTENING: &str = "0A";

/// All checks of this topic.
pub fn run(source: &Source, plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Only what is a card, or a virtual machine's: the others have no device.
    for card in source.names(CARDS).into_iter().filter(|card| source.has(&format!("{CARDS}/{card}/device"))) {
        findings.extend(Card::read(source, &card).findings(plan.cores));
    }
    let tables = ["proc/net/tcp", "proc/net/tcp6"].map(|path| source.text(path));
    let range = source.text("proc/sys/net/ipv4/ip_local_port_range");
    findings.extend([
        busy_polling(source.number("proc/sys/net/core/busy_poll"), source.number("proc/sys/net/core/busy_read")),
        backlog(source.number("proc/sys/net/core/somaxconn")),
        ports(&listening(&tables), &plan.ports()),
        outgoing(range.as_deref(), &plan.ports()),
    ]);
    findings
}

/// What the kernel tells of a card.
#[derive(Clone, Debug, Default)]
struct Card {
    name: String,
    receive_queues_count: usize,
    send_queues_count: usize,
    /// Whether arrivals of a queue are spread over CPUs by the kernel.
    is_steered: bool,
    /// Whether the kernel was told which CPUs send by which queue.
    is_send_steered: bool,
}

impl Card {
    fn read(source: &Source, name: &str) -> Card {
        let dir = format!("{CARDS}/{name}/queues");
        let queues = source.names(&dir);
        // A mask of CPUs: zeros, with commas between words.
        let any = |prefix: &str, file: &str| {
            let of = queues.iter().filter(|queue| queue.starts_with(prefix));
            of.filter_map(|queue| source.text(&format!("{dir}/{queue}/{file}")))
                .any(|mask| mask.bytes().any(|byte| byte != b'0' && byte != b','))
        };
        let count = |prefix: &str| queues.iter().filter(|queue| queue.starts_with(prefix)).count();
        Card {
            name: name.to_owned(),
            receive_queues_count: count("rx-"),
            send_queues_count: count("tx-"),
            is_steered: any("rx-", "rps_cpus"),
            is_send_steered: any("tx-", "xps_cpus"),
        }
    }

    fn findings(&self, cores: u32) -> Vec<Finding> {
        vec![self.receiving(cores), self.sending()]
    }

    fn receiving(&self, cores: u32) -> Finding {
        let (name, count) = (&self.name, self.receive_queues_count);
        let why = "all that arrives by one queue is taken in by one CPU, which is full before several cores are";
        let set = format!(
            "ethtool -L {name} combined {cores}; where the card has no more: echo MASK > /{CARDS}/{name}/queues/rx-0/rps_cpus"
        );
        let check = Check::new(TOPIC, "receive-queues", why, format!("ethtool -l {name}"), set);
        let (cores_count, cores) = (cores as usize, cores_in_words(cores));
        match count {
            0 => check.unknown(format!("{name} does not tell")),
            count if count >= cores_count => check.ok(format!("{count} on {name}, for {cores}")),
            count if self.is_steered => check.ok(format!("{count} on {name}, spread over CPUs (RPS)")),
            count => check.warn(format!("{count} on {name}, for {cores}")),
        }
    }

    fn sending(&self) -> Finding {
        let (name, count) = (&self.name, self.send_queues_count);
        let why = "told which CPU sends by which queue (XPS), cores do not wait for each other's lock of a queue";
        let set =
            format!("echo MASK > /{CARDS}/{name}/queues/tx-N/xps_cpus, for each queue the CPUs that are to use it");
        let check =
            Check::new(TOPIC, "send-queues", why, format!("grep . /{CARDS}/{name}/queues/tx-*/xps_cpus"), set);
        match count {
            0 => check.unknown(format!("{name} does not tell")),
            1 => check.ok(format!("one on {name}: nothing to spread")),
            count if self.is_send_steered => check.ok(format!("{count} on {name}, spread over CPUs (XPS)")),
            count => check.warn(format!("{count} on {name}, not spread over CPUs")),
        }
    }
}

fn busy_polling(poll: Option<u64>, read: Option<u64>) -> Finding {
    let why = "the kernel can look for packets while a socket is waited for; cores look for work themselves (spin_us), so off is right";
    let set = "sysctl -w net.core.busy_poll=0 net.core.busy_read=0";
    let check = Check::new(TOPIC, "busy-polling", why, "sysctl net.core.busy_poll net.core.busy_read", set);
    match (poll, read) {
        (Some(0), Some(0)) | (None, None) => check.ok("off"),
        (poll, read) => {
            let (poll, read) = (poll.unwrap_or(0), read.unwrap_or(0));
            check.warn(format!("{poll} µs for poll, {read} µs for reads: CPU time of all programs on this host"))
        }
    }
}

fn backlog(somaxconn: Option<u64>) -> Finding {
    let why = "clients that connect all at once, after a restart, wait in this queue; beyond it they try again a second later";
    let set = format!("sysctl -w net.core.somaxconn={BACKLOG}");
    let check = Check::new(TOPIC, "backlog", why, "sysctl net.core.somaxconn", set);
    match somaxconn {
        None => check.unknown("the kernel does not tell"),
        Some(count) if count >= BACKLOG => check.ok(count.to_string()),
        Some(count) => check.warn(format!("{count}, and a node asks for {BACKLOG}")),
    }
}

/// The ports that some program listens on, by the tables of TCP sockets; `None` if none could be read.
fn listening(tables: &[Option<String>]) -> Option<BTreeSet<u16>> {
    if tables.iter().all(Option::is_none) {
        return None;
    }
    let port = |line: &str| {
        //   0: 0100007F:1B58 00000000:0000 0A ...
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, state) = (words.next()?, words.nth(1)?);
        if state != LISTENING {
            return None;
        }
        u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()
    };
    Some(tables.iter().flatten().flat_map(|table| table.lines().skip(1).filter_map(port)).collect())
}

fn ports(listening: &Option<BTreeSet<u16>>, wanted: &[(u16, &str)]) -> Finding {
    let why = "a node whose port is taken does not start";
    let set =
        "end who listens there, or other ports in the configuration: gateway_port, core_port, peer_port, admin_port";
    let check = Check::new(TOPIC, "ports", why, "ss -ltnp", set);
    let Some(listening) = listening else { return check.unknown("the kernel does not tell who listens") };
    let taken: Vec<String> = wanted
        .iter()
        .filter(|(port, _)| listening.contains(port))
        .map(|(port, use_)| format!("{port} ({use_})"))
        .collect();
    if taken.is_empty() {
        let all: Vec<String> = wanted.iter().take(4).map(|(port, _)| port.to_string()).collect();
        let more = if wanted.len() > 4 { ", ..." } else { "" };
        return check.ok(format!("free: {}{more}", all.join(", ")));
    }
    check.warn(format!("taken: {}; by a node that runs already?", taken.join(", ")))
}

fn outgoing(range: Option<&str>, wanted: &[(u16, &str)]) -> Finding {
    let why = "an outgoing connection of any program may take a port of this range just before a node starts";
    let all: Vec<String> = wanted.iter().map(|(port, _)| port.to_string()).collect();
    let set = format!("sysctl -w net.ipv4.ip_local_reserved_ports={}", all.join(","));
    let check = Check::new(TOPIC, "outgoing-ports", why, "sysctl net.ipv4.ip_local_port_range", set);
    let mut bounds = range.unwrap_or_default().split_ascii_whitespace().map(str::parse::<u16>);
    let (Some(Ok(first)), Some(Ok(last))) = (bounds.next(), bounds.next()) else {
        return check.unknown("the kernel does not tell");
    };
    let inside: Vec<String> =
        wanted.iter().filter(|(port, _)| (first..=last).contains(port)).map(|(port, _)| port.to_string()).collect();
    let level = if inside.is_empty() { Level::Ok } else { Level::Warning };
    let found = if inside.is_empty() { String::new() } else { format!(", among them {}", inside.join(", ")) };
    check.says(level, format!("{first} to {last}{found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1B58 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n   \
        1: 0100007F:1B59 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0\n";
    const TCP6: &str = "  sl  local_address                         remote_address                        st\n   \
        0: 00000000000000000000000000000000:2328 00000000000000000000000000000000:0000 0A 00000000:00000000\n";

    #[test]
    fn ports_that_somebody_listens_on_are_taken() {
        let found = listening(&[Some(TCP.to_owned()), Some(TCP6.to_owned())]);
        assert_eq!(found, Some(BTreeSet::from([7_000, 9_000])));
        let taken = ports(&found, &Plan::default().ports());
        assert_eq!(taken.level, Level::Warning);
        assert!(taken.found.starts_with("taken: 7000 (gateway), 9000 (admin)"), "{}", taken.found);
        assert_eq!(ports(&Some(BTreeSet::new()), &Plan::default().ports()).level, Level::Ok);
        assert_eq!(ports(&listening(&[None, None]), &[]).level, Level::Unknown);
    }

    #[test]
    fn ports_in_the_range_of_outgoing_connections_are_told() {
        assert_eq!(outgoing(Some("32768\t60999"), &[(7_000, "gateway")]).level, Level::Ok);
        let inside = outgoing(Some("1024\t65535"), &[(7_000, "gateway")]);
        assert_eq!((inside.level, inside.found.as_str()), (Level::Warning, "1024 to 65535, among them 7000"));
        assert_eq!(outgoing(None, &[]).level, Level::Unknown);
    }

    #[test]
    fn one_queue_for_several_cores_is_too_few_unless_it_is_spread() {
        let card = |receive, is_steered, send, is_send_steered| Card {
            name: "eth0".to_owned(),
            receive_queues_count: receive,
            send_queues_count: send,
            is_steered,
            is_send_steered,
        };
        let levels = |card: Card, cores| card.findings(cores).iter().map(|finding| finding.level).collect::<Vec<_>>();
        assert_eq!(levels(card(8, false, 8, true), 4), [Level::Ok, Level::Ok]);
        assert_eq!(levels(card(1, false, 1, false), 4), [Level::Warning, Level::Ok]);
        assert_eq!(levels(card(1, true, 4, false), 4), [Level::Ok, Level::Warning]);
        assert_eq!(levels(Card::default(), 1), [Level::Unknown, Level::Unknown]);
    }

    #[test]
    fn switches_of_the_network_are_judged() {
        assert_eq!(busy_polling(Some(0), Some(0)).level, Level::Ok);
        assert_eq!(busy_polling(Some(50), Some(0)).level, Level::Warning);
        assert_eq!([backlog(Some(4_096)).level, backlog(Some(128)).level], [Level::Ok, Level::Warning]);
    }
}
