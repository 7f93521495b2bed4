//! Memory: huge pages, swap, and what a container may take.

use crate::finding::{Check, Finding};
use crate::plan::{Plan, cores_in_words};
use crate::source::Source;

const TOPIC: &str = "memory";
/// A core with less is refused by the configuration.
const MEMORY_BYTES_MIN: u64 = 256 << 20;
/// From here on the kernel swaps out programs' memory to keep more of files.
const SWAPPINESS_MAX: u64 = 1;

/// All checks of this topic.
pub fn run(source: &Source, plan: &Plan) -> Vec<Finding> {
    let huge = "sys/kernel/mm/transparent_hugepage";
    let limits = Limits::read(source);
    vec![
        huge_pages(
            source.text(&format!("{huge}/enabled")).as_deref(),
            source.text(&format!("{huge}/defrag")).as_deref(),
        ),
        swap(source.text("proc/swaps").as_deref(), source.number("proc/sys/vm/swappiness")),
        limits.memory(plan.cores),
        limits.cpu(plan.cores),
    ]
}

/// What is chosen in a list like `always [madvise] never`.
fn chosen(list: &str) -> &str {
    list.split_once('[').and_then(|(_, rest)| rest.split(']').next()).unwrap_or(list)
}

fn huge_pages(enabled: Option<&str>, defrag: Option<&str>) -> Finding {
    let why = "where a page fault may compact memory first (enabled and defrag both \"always\"), a turn waits for it, all its clients too";
    let look = "cat /sys/kernel/mm/transparent_hugepage/{enabled,defrag}";
    let set = "echo madvise > /sys/kernel/mm/transparent_hugepage/defrag";
    let check = Check::new(TOPIC, "huge-pages", why, look, set);
    match (enabled.map(chosen), defrag.map(chosen)) {
        (None, _) => check.ok("not in this kernel"),
        (Some("always"), Some("always")) => check.warn("always, and a page fault waits for compaction"),
        (Some(enabled), defrag) => check.ok(format!("{enabled}, defrag {}", defrag.unwrap_or("unknown"))),
    }
}

fn swap(swaps: Option<&str>, swappiness: Option<u64>) -> Finding {
    let why = "a row that was swapped out is read back by a page fault, and the core with all its groups stands still for it";
    let set = "swapoff -a, or MemorySwapMax=0 in the systemd unit, or sysctl -w vm.swappiness=1";
    let check = Check::new(TOPIC, "swap", why, "swapon --show; sysctl vm.swappiness", set);
    let Some(swaps) = swaps else { return check.unknown("the kernel does not tell") };
    let used: Vec<&str> = swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()).collect();
    match swappiness {
        _ if used.is_empty() => check.ok("none"),
        Some(swappiness) if swappiness <= SWAPPINESS_MAX => {
            check.ok(format!("{}, swappiness {swappiness}", used.join(", ")))
        }
        Some(swappiness) => check.warn(format!("{}, swappiness {swappiness}", used.join(", "))),
        None => check.warn(used.join(", ")),
    }
}

/// The narrowest limits of the control groups that this process is in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Limits {
    memory_bytes: Option<u64>,
    /// Processor time per time, so 1.5 is one and a half CPUs.
    cpus: Option<f64>,
}

impl Limits {
    fn read(source: &Source) -> Limits {
        let groups = source.text("proc/self/cgroup").unwrap_or_default();
        let Some(own) = groups.lines().find_map(|line| line.strip_prefix("0::")) else { return Limits::default() };
        let mut limits = Limits::default();
        let mut path = own.trim_matches('/').to_owned();
        loop {
            let dir = format!("sys/fs/cgroup/{path}");
            limits.narrow(
                source.text(&format!("{dir}/memory.max")).as_deref(),
                source.text(&format!("{dir}/cpu.max")).as_deref(),
            );
            if path.is_empty() {
                return limits;
            }
            path = path.rsplit_once('/').map(|(above, _)| above.to_owned()).unwrap_or_default();
        }
    }

    /// Takes the limits of one group into account: the texts of `memory.max` and of `cpu.max`.
    fn narrow(&mut self, memory: Option<&str>, cpu: Option<&str>) {
        // "max", or bytes.
        if let Some(bytes) = memory.and_then(|text| text.parse::<u64>().ok()) {
            self.memory_bytes = Some(self.memory_bytes.map_or(bytes, |own| own.min(bytes)));
        }
        // "max 100000", or microseconds of processor time in so many of time.
        let quota = cpu.and_then(|text| {
            let (quota, period) = text.split_once(' ')?;
            Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok().filter(|period| *period > 0.0)?)
        });
        if let Some(quota) = quota {
            self.cpus = Some(self.cpus.map_or(quota, |own| own.min(quota)));
        }
    }

    fn memory(self, cores: u32) -> Finding {
        let why = "a node that takes more than its control group may is killed; memory_bytes_max is made from this limit unless it is set";
        let set = "MemoryMax= in the systemd unit, or the container's limit: memory_bytes_max times cores, and a quarter more";
        let check = Check::new(TOPIC, "memory-limit", why, "systemctl show coracle -p MemoryMax", set);
        match self.memory_bytes {
            None => check.ok("none"),
            Some(bytes) if bytes / u64::from(cores.max(1)) >= 2 * MEMORY_BYTES_MIN => {
                check.ok(format!("{} MiB", bytes >> 20))
            }
            Some(bytes) => check.warn(format!("{} MiB for {}", bytes >> 20, cores_in_words(cores))),
        }
    }

    fn cpu(self, cores: u32) -> Finding {
        let why = "a control group that has used up its quota stands still for the rest of 100 ms, with everything a core serves; \
                   leases and heartbeats run on meanwhile";
        let set = "no CPUQuota= in the systemd unit and no --cpus of the container; give it CPUs instead: AllowedCPUs=, --cpuset-cpus";
        let check = Check::new(TOPIC, "cpu-quota", why, "systemctl show coracle -p CPUQuotaPerSecUSec", set);
        match self.cpus {
            None => check.ok("none"),
            Some(cpus) => check.warn(format!("{cpus:.2} CPUs for {}", cores_in_words(cores))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    #[test]
    fn only_waiting_for_compaction_is_wrong_with_huge_pages() {
        let level = |enabled, defrag| huge_pages(Some(enabled), Some(defrag)).level;
        assert_eq!(level("[always] madvise never", "[always] defer defer+madvise madvise never"), Level::Warning);
        assert_eq!(level("[always] madvise never", "always defer defer+madvise [madvise] never"), Level::Ok);
        assert_eq!(level("always [madvise] never", "[always] defer defer+madvise madvise never"), Level::Ok);
        assert_eq!(huge_pages(None, None).level, Level::Ok);
    }

    #[test]
    fn swap_is_wrong_where_it_is_used_gladly() {
        let none = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority";
        let some = format!("{none}\n/dev/dm-1                               partition\t999420\t0\t-2");
        assert_eq!(swap(Some(none), Some(60)).level, Level::Ok);
        assert_eq!(swap(Some(&some), Some(1)).level, Level::Ok);
        let gladly = swap(Some(&some), Some(60));
        assert_eq!((gladly.level, gladly.found.as_str()), (Level::Warning, "/dev/dm-1, swappiness 60"));
        assert_eq!(swap(None, None).level, Level::Unknown);
    }

    #[test]
    fn the_narrowest_control_group_counts() {
        let mut limits = Limits::default();
        limits.narrow(Some("max"), Some("max 100000"));
        assert_eq!(limits, Limits::default());
        limits.narrow(Some("4294967296"), Some("150000 100000"));
        limits.narrow(Some("8589934592"), Some("50000 100000"));
        assert_eq!(limits, Limits { memory_bytes: Some(4 << 30), cpus: Some(0.5) });
        assert_eq!((limits.memory(8).level, limits.memory(9).level), (Level::Ok, Level::Warning));
        assert_eq!(limits.cpu(1).level, Level::Warning);
        limits.narrow(Some("what"), Some("50000 0"));
        assert_eq!(limits, Limits { memory_bytes: Some(4 << 30), cpus: Some(0.5) });
    }
}
