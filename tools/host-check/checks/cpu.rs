//! The CPUs that cores run on: their clocks, their sleep, who shares them.

use std::collections::BTreeSet;

use crate::finding::{Check, Finding};
use crate::lists;
use crate::plan::{Plan, cores_in_words};
use crate::source::Source;

const TOPIC: &str = "cpu";
const CPUS: &str = "sys/devices/system/cpu";
/// A sleep that takes longer to wake from than this, in microseconds, shows in the latency of a lone command.
const EXIT_LATENCY_US_MAX: u64 = 50;
/// Names of interrupts of disks and networks, whose work a core would have to wait for.
const BUSY_INTERRUPTS: &[&str] = &["nvme", "eth", "en", "mlx", "ice", "i40e", "ixgbe", "ena", "gve", "bnxt", "vmbus"];

/// All checks of this topic.
pub fn run(source: &Source, plan: &Plan) -> Vec<Finding> {
    let allowed = allowed(source);
    let of_cores: BTreeSet<u32> = allowed.iter().copied().take(plan.cores as usize).collect();
    let siblings = |cpu: &u32| {
        let text = source.text(&format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list"))?;
        Some((*cpu, lists::parse(&text)?))
    };
    let governors = names_of_cpus(source).into_iter();
    let governors: Vec<String> =
        governors.filter_map(|cpu| source.text(&format!("{CPUS}/{cpu}/cpufreq/scaling_governor"))).collect();
    vec![
        count(allowed.len(), plan),
        governor(&governors),
        sleep(&sleep_states(source)),
        threads(&of_cores.iter().filter_map(siblings).collect::<Vec<_>>(), plan.pin),
        interrupts(&busy_interrupts(source), &of_cores, &allowed, plan.pin),
    ]
}

/// The CPUs that a node may use: those of this process.
fn allowed(source: &Source) -> BTreeSet<u32> {
    let status = source.text("proc/self/status").unwrap_or_default();
    let of_process = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).and_then(lists::parse);
    let online = || source.text(&format!("{CPUS}/online")).and_then(|text| lists::parse(&text));
    of_process.or_else(online).unwrap_or_default()
}

fn names_of_cpus(source: &Source) -> Vec<String> {
    let is_cpu = |name: &String| {
        name.strip_prefix("cpu")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    source.names(CPUS).into_iter().filter(is_cpu).collect()
}

fn count(allowed_count: usize, plan: &Plan) -> Finding {
    let why = "a pinned core needs a CPU of its own, and interrupts and everything else need one or two beside";
    let set = "fewer `cores` in the configuration, or more CPUs for the process: AllowedCPUs= in the unit, taskset, --cpuset-cpus";
    let check = Check::new(TOPIC, "cpus", why, "nproc", set);
    let (cores, found) = (plan.cores as usize, format!("{allowed_count} for {}", cores_in_words(plan.cores)));
    match allowed_count {
        0 => check.unknown("the kernel does not tell"),
        count if plan.pin && count < cores => check.warn(format!("{found}: a node does not start with pin = true")),
        count if count <= cores => check.warn(format!("{found}: none is left for interrupts and everything else")),
        _ => check.ok(found),
    }
}

fn governor(governors: &[String]) -> Finding {
    let why = "a CPU that lowers its clock when it idles serves the next burst slowly at first";
    let look = "cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor";
    let check = Check::new(TOPIC, "governor", why, look, "cpupower frequency-set -g performance");
    let others: BTreeSet<&str> = governors.iter().map(String::as_str).filter(|name| *name != "performance").collect();
    let others_count = governors.iter().filter(|name| *name != "performance").count();
    match governors.len() {
        0 => check.ok("the host does not show any: a virtual machine, or fixed clocks"),
        all if others.is_empty() => check.ok(format!("performance on all {all}")),
        all => {
            let names: Vec<&str> = others.into_iter().collect();
            check.warn(format!("{} on {others_count} of {all}", names.join(", ")))
        }
    }
}

/// Ways to sleep of the first CPU that are not switched off: name, and microseconds to wake from it.
fn sleep_states(source: &Source) -> Vec<(String, u64)> {
    let dir = format!("{CPUS}/cpu0/cpuidle");
    let state = |name: String| {
        let is_off = source.number(&format!("{dir}/{name}/disable")) == Some(1);
        let shown = source.text(&format!("{dir}/{name}/name"))?;
        let latency = source.number(&format!("{dir}/{name}/latency"))?;
        (!is_off).then_some((shown, latency))
    };
    source.names(&dir).into_iter().filter(|name| name.starts_with("state")).filter_map(state).collect()
}

fn sleep(states: &[(String, u64)]) -> Finding {
    let why = "an idle core sleeps; the deeper its CPU sleeps, the longer the next command waits";
    let look = "cpupower idle-info";
    let set = format!(
        "cpupower idle-set -D {EXIT_LATENCY_US_MAX}, or processor.max_cstate=1 at boot; a larger spin_us sleeps less often"
    );
    let check = Check::new(TOPIC, "c-states", why, look, set);
    let deepest = states.iter().max_by_key(|(_, latency)| *latency);
    match deepest {
        None => check.ok("the host does not show any"),
        Some((name, latency)) if *latency > EXIT_LATENCY_US_MAX => {
            check.warn(format!("{name}, {latency} µs to wake"))
        }
        Some((name, latency)) => check.ok(format!("at most {name}, {latency} µs to wake")),
    }
}

/// `siblings` are, for each CPU that a core is pinned to, all hardware threads of its physical core.
fn threads(siblings: &[(u32, BTreeSet<u32>)], pin: bool) -> Finding {
    let why = "two cores on the hardware threads of one physical core share its caches and units: together they do little more than one";
    let look = "lscpu -e=CPU,CORE";
    let set = "list one hardware thread of each physical core: AllowedCPUs= in the unit, or taskset -c; cores take them in order";
    let check = Check::new(TOPIC, "threads", why, look, set);
    if siblings.is_empty() {
        return check.unknown("the kernel does not tell");
    }
    if !pin {
        return check.ok("cores are not pinned");
    }
    let shared = siblings.iter().enumerate().find_map(|(at, (cpu, own))| {
        let other = siblings[at + 1..].iter().find(|(other, _)| own.contains(other))?;
        Some((*cpu, other.0))
    });
    match shared {
        Some((one, other)) => check.warn(format!("CPUs {one} and {other}, one core each, are one physical core")),
        None => {
            let cores = cores_in_words(siblings.len() as u32);
            check.ok(format!("{cores}, none shares a physical core with another"))
        }
    }
}

/// An interrupt of a disk or a network: number, name, and the CPUs that serve it.
type Interrupt = (u32, String, BTreeSet<u32>);

fn busy_interrupts(source: &Source) -> Vec<Interrupt> {
    let text = source.text("proc/interrupts").unwrap_or_default();
    let affinity = |(number, name): (u32, String)| {
        let dir = format!("proc/irq/{number}");
        let list = source.text(&format!("{dir}/effective_affinity_list")).filter(|list| !list.is_empty());
        let list = list.or_else(|| source.text(&format!("{dir}/smp_affinity_list")))?;
        Some((number, name, lists::parse(&list)?))
    };
    parse_interrupts(&text).into_iter().filter_map(affinity).collect()
}

/// The interrupts that have come at least once and are those of disks and networks.
fn parse_interrupts(text: &str) -> Vec<(u32, String)> {
    let mut lines = text.lines();
    let cpus_count = lines.next().map_or(0, |header| header.split_ascii_whitespace().count());
    let parse = |line: &str| {
        let (number, rest) = line.trim_start().split_once(':')?;
        let number: u32 = number.parse().ok()?;
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let has_come = words.iter().take(cpus_count).any(|count| *count != "0");
        let name = *words.last()?;
        // Those of virtual machines are called by what they are for: balloons and consoles have some, too.
        let is_busy = match name.strip_prefix("virtio") {
            Some(rest) => ["-req.", "-input.", "-output."].iter().any(|part| rest.contains(part)),
            None => BUSY_INTERRUPTS.iter().any(|prefix| name.starts_with(prefix)),
        };
        (has_come && is_busy).then(|| (number, name.to_owned()))
    };
    lines.filter_map(parse).collect()
}

fn interrupts(found: &[Interrupt], of_cores: &BTreeSet<u32>, allowed: &BTreeSet<u32>, pin: bool) -> Finding {
    let why = "an interrupt takes the CPU from the core that is pinned there, in the middle of a turn";
    let rest: BTreeSet<u32> = allowed.difference(of_cores).copied().collect();
    let list = if rest.is_empty() { "LIST".to_owned() } else { lists::show(&rest) };
    let set = format!(
        "echo {list} > /proc/irq/N/smp_affinity_list for each, and IRQBALANCE_BANNED_CPULIST={} for irqbalance",
        lists::show(of_cores)
    );
    let look = "grep . /proc/irq/*/effective_affinity_list";
    let check = Check::new(TOPIC, "interrupts", why, look, set);
    let on_cores: Vec<&Interrupt> = found.iter().filter(|(_, _, cpus)| !cpus.is_disjoint(of_cores)).collect();
    match on_cores.as_slice() {
        _ if found.is_empty() => check.unknown("none of disks and networks are known"),
        _ if !pin => check.ok("cores are not pinned"),
        [] => check.ok(format!("{} of disks and networks, none on CPUs of cores", found.len())),
        _ if rest.is_empty() => check.ok("on CPUs of cores: there are no others"),
        [(number, name, _), others @ ..] => {
            let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
            check.warn(format!("{number} ({name}){others} on CPUs of cores"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    fn set(list: &str) -> BTreeSet<u32> {
        lists::parse(list).unwrap()
    }

    #[test]
    fn cores_need_cpus_and_one_more() {
        let level = |cpus, cores, pin| count(cpus, &Plan { cores, pin, ..Plan::default() }).level;
        assert_eq!(
            [level(4, 2, true), level(2, 2, true), level(1, 2, true)],
            [Level::Ok, Level::Warning, Level::Warning]
        );
        assert_eq!(level(0, 1, true), Level::Unknown);
        let too_few = count(1, &Plan { cores: 2, ..Plan::default() });
        assert!(too_few.found.ends_with("a node does not start with pin = true"), "{}", too_few.found);
    }

    #[test]
    fn one_cpu_with_another_governor_is_told() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(governor(&names(&[])).level, Level::Ok);
        assert_eq!(governor(&names(&["performance"; 4])).level, Level::Ok);
        let mixed = governor(&names(&["performance", "powersave", "schedutil"]));
        assert_eq!((mixed.level, mixed.found.as_str()), (Level::Warning, "powersave, schedutil on 2 of 3"));
    }

    #[test]
    fn deep_sleep_is_told_with_its_price() {
        let states = |latency| vec![("POLL".to_owned(), 0), ("C1".to_owned(), 2), ("C6".to_owned(), latency)];
        assert_eq!(sleep(&states(50)).level, Level::Ok);
        let deep = sleep(&states(133));
        assert_eq!((deep.level, deep.found.as_str()), (Level::Warning, "C6, 133 µs to wake"));
        assert_eq!(sleep(&[]).level, Level::Ok);
    }

    #[test]
    fn hardware_threads_of_one_core_are_found() {
        let apart = [(0, set("0,8")), (1, set("1,9"))];
        assert_eq!(threads(&apart, true).level, Level::Ok);
        let together = [(0, set("0-1")), (1, set("0-1"))];
        assert_eq!(threads(&together, true).level, Level::Warning);
        assert_eq!(threads(&together, false).level, Level::Ok);
        assert_eq!(threads(&[], true).level, Level::Unknown);
    }

    #[test]
    fn interrupts_of_disks_and_networks_are_kept_apart_from_cores() {
        let text = "            CPU0       CPU1       \n   0:         44          0   IO-APIC   2-edge      timer\n  \
            35:          0          1 PCI-MSIX-0000:00:02.0   0-edge      virtio1-config\n  \
            36:          0      48313 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0\n  \
            32:          9          0 PCI-MSIX-0000:00:01.0   4-edge      virtio0-stats\n  \
            40:          0          0 PCI-MSI 524288-edge      nvme0q0\n \
            NMI:          0          0   Non-maskable interrupts\n";
        assert_eq!(parse_interrupts(text), [(36, "virtio1-req.0".to_owned())]);
        let of = |cpus: &str| vec![(36, "nvme0q1".to_owned(), set(cpus)), (37, "eth0-rx".to_owned(), set("3"))];
        assert_eq!(interrupts(&of("3"), &set("0-1"), &set("0-3"), true).level, Level::Ok);
        let on_core = interrupts(&of("1"), &set("0-1"), &set("0-3"), true);
        assert_eq!((on_core.level, on_core.found.as_str()), (Level::Warning, "36 (nvme0q1) on CPUs of cores"));
        assert!(on_core.set.starts_with("echo 2-3 > "), "{}", on_core.set);
        assert_eq!(interrupts(&of("1"), &set("0-3"), &set("0-3"), true).level, Level::Ok, "there is no better place");
        assert_eq!(interrupts(&[], &set("0"), &set("0"), true).level, Level::Unknown);
    }
}
