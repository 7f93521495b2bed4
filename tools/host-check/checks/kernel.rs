//! The kernel and the limits of a process.

use crate::finding::{Check, Finding};
use crate::plan::{Plan, cores_in_words};
use crate::source::Source;

const TOPIC: &str = "kernel";
/// The first kernel with all that the runtime asks of io_uring: SINGLE_ISSUER came with 6.0, DEFER_TASKRUN with 6.1.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// Locked memory below which a node does not start, in bytes.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;
/// Locked memory that one core registers at most, in bytes.
const MEMLOCK_BYTES_PER_CORE: u64 = 1 << 20;

/// All checks of this topic.
pub fn run(source: &Source, plan: &Plan) -> Vec<Finding> {
    let limits = source.text("proc/self/limits");
    vec![
        kernel(source.text("proc/sys/kernel/osrelease").as_deref()),
        io_uring(source.text("proc/sys/kernel/io_uring_disabled").as_deref()),
        nofile(limits.as_deref(), plan.files_needed()),
        memlock(limits.as_deref(), plan.cores),
    ]
}

fn kernel(release: Option<&str>) -> Finding {
    let why = "a node drives sockets, log and files through io_uring with SINGLE_ISSUER and DEFER_TASKRUN, and does not start without";
    let set = "a kernel of 6.1 or later; Debian 12 has one";
    let check = Check::new(TOPIC, "kernel", why, "uname -r", set);
    let Some(release) = release else { return check.unknown("no release is told") };
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= KERNEL_MIN => check.ok(release),
        (Some(Ok(_)), Some(Ok(_))) => check.warn(format!("{release}: too old, a node does not start")),
        _ => check.unknown(format!("{release:?} is no release")),
    }
}

fn io_uring(switch: Option<&str>) -> Finding {
    let why = "where io_uring is switched off a node does not start";
    let set = "sysctl -w kernel.io_uring_disabled=0, and the same in /etc/sysctl.d/coracle.conf";
    let check = Check::new(TOPIC, "io_uring", why, "sysctl kernel.io_uring_disabled", set);
    match switch {
        None => check.ok("allowed (this kernel has no switch)"),
        Some("0") => check.ok("allowed"),
        Some("1") => check.warn("for root and the group in kernel.io_uring_group only"),
        Some("2") => check.warn("switched off: a node does not start"),
        Some(other) => check.unknown(format!("{other:?} is no setting")),
    }
}

/// The soft and the hard limit in the line of a limit; unlimited is the largest number.
fn limit(limits: &str, name: &str) -> Option<(u64, u64)> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = rest.split_ascii_whitespace().map(|word| match word {
        "unlimited" => Some(u64::MAX),
        word => word.parse().ok(),
    });
    Some((words.next()??, words.next()??))
}

fn nofile(limits: Option<&str>, needed: u64) -> Finding {
    let why =
        "each client is an open file; under a lower limit a node takes fewer clients, and says how many in its log";
    let set = format!("LimitNOFILE={needed} in the systemd unit, or ulimit -n {needed} in the shell that starts it");
    let check = Check::new(TOPIC, "nofile", why, "ulimit -Hn", set);
    // A node raises the soft limit itself.
    match limits.and_then(|limits| limit(limits, "Max open files")) {
        None => check.unknown("no limit is told"),
        Some((_, u64::MAX)) => check.ok("no limit"),
        Some((_, hard)) if hard >= needed => check.ok(format!("{hard}, of {needed} for all clients")),
        Some((_, hard)) => check.warn(format!("{hard} for this shell, and all clients would need {needed}")),
    }
}

fn memlock(limits: Option<&str>, cores: u32) -> Finding {
    let why = "each core locks up to 1 MiB for its rings and buffers; below 512 KiB a node does not start";
    let set = "LimitMEMLOCK=infinity in the systemd unit, or ulimit -l unlimited";
    let check = Check::new(TOPIC, "memlock", why, "ulimit -l", set);
    let wanted = u64::from(cores) * MEMLOCK_BYTES_PER_CORE;
    match limits.and_then(|limits| limit(limits, "Max locked memory")) {
        None => check.unknown("no limit is told"),
        Some((u64::MAX, _)) => check.ok("no limit"),
        Some((soft, _)) if soft >= wanted => check.ok(format!("{} KiB", soft >> 10)),
        Some((soft, _)) if soft < MEMLOCK_BYTES_MIN => {
            check.warn(format!("{} KiB: a node does not start", soft >> 10))
        }
        Some((soft, _)) => check.warn(format!("{} KiB for {}", soft >> 10, cores_in_words(cores))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
        Max cpu time              unlimited            unlimited            seconds   \n\
        Max open files            1024                 524288               files     \n\
        Max locked memory         8388608              8388608              bytes     \n";

    #[test]
    fn kernels_are_told_apart_by_their_numbers() {
        for (release, level) in [
            ("6.1.0-18-amd64", Level::Ok),
            ("6.18.5", Level::Ok),
            ("7.0-rc1", Level::Ok),
            ("5.15.0-1053-aws", Level::Warning),
            ("6.0.12", Level::Warning),
            ("what", Level::Unknown),
        ] {
            assert_eq!(kernel(Some(release)).level, level, "{release}");
        }
        assert_eq!(kernel(None).level, Level::Unknown);
    }

    #[test]
    fn the_switch_of_io_uring_is_read() {
        let levels = [None, Some("0"), Some("1"), Some("2"), Some("x")].map(|switch| io_uring(switch).level);
        assert_eq!(levels, [Level::Ok, Level::Ok, Level::Warning, Level::Warning, Level::Unknown]);
    }

    #[test]
    fn the_hard_limit_of_files_counts_and_the_soft_one_of_locked_memory() {
        assert_eq!(nofile(Some(LIMITS), 20_512).level, Level::Ok);
        let short = nofile(Some(LIMITS), 600_000);
        assert_eq!(short.level, Level::Warning);
        assert!(short.set.contains("LimitNOFILE=600000"), "{}", short.set);
        assert_eq!(memlock(Some(LIMITS), 4).level, Level::Ok);
        assert_eq!(memlock(Some(LIMITS), 9).level, Level::Warning);
        let least = LIMITS.replace("8388608", "65536");
        assert!(memlock(Some(&least), 1).found.contains("does not start"));
        assert_eq!(memlock(Some("Max locked memory unlimited unlimited bytes"), 64).level, Level::Ok);
        assert_eq!(nofile(Some("Max open files many few"), 1).level, Level::Unknown);
    }
}
