//! What the operating system tells of this process, for INFO: resident memory and time on the CPU.
//!
//! Behind a start the allocator still keeps what only that has needed, some 60 MiB: it is told to give it back before anybody counts.
//!
//! It is read from `/proc`, which never waits for a disk, and only when INFO is asked for. (`getrusage` would take unsafe
//! code, and has neither the resident memory of now nor a thread's.)

use std::time::Duration;

use engine::{ProcessProbe, ProcessStats};

/// The unit of times in `/proc`, in ticks per second. It is part of the kernel's interface, and 100 on all architectures
/// that this program runs on.
const TICKS_PER_SECOND: u64 = 100;

/// What INFO asks.
pub fn probe() -> ProcessProbe {
    ProcessProbe::new(read, profile::trim)
}

/// Reads them; what cannot be read is zero.
fn read() -> ProcessStats {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let status = text("/proc/self/status");
    // The thread first, so that the process never has less than it.
    let (thread_cpu_user, thread_cpu_sys) = times(&text("/proc/thread-self/stat")).unwrap_or_default();
    let (cpu_user, cpu_sys) = times(&text("/proc/self/stat")).unwrap_or_default();
    ProcessStats {
        rss_bytes: bytes_of(&status, "VmRSS:").unwrap_or(0),
        rss_peak_bytes: bytes_of(&status, "VmHWM:").unwrap_or(0),
        system_memory_bytes: bytes_of(&text("/proc/meminfo"), "MemTotal:").unwrap_or(0),
        cpu_sys,
        cpu_user,
        thread_cpu_sys,
        thread_cpu_user,
    }
}

/// The size in a line of `/proc/self/status` or `/proc/meminfo`, as in `VmRSS:     2132 kB`.
fn bytes_of(status: &str, field: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = value.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1_024)
}

/// The time outside and within the kernel of a line of `/proc/self/stat`: its fields 14 and 15. The second field is the
/// name of the program in parentheses, and may hold spaces and parentheses itself.
fn times(stat: &str) -> Option<(Duration, Duration)> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let mut time = || -> Option<Duration> {
        let ticks: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_millis(ticks.saturating_mul(1_000 / TICKS_PER_SECOND)))
    };
    Some((time()?, time()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "25351 (a (b) c) R 1 2 3 0 -1 4194304 103 0 0 0 250 75 0 0 20 0 1 0 222491 3133440 416";
        assert_eq!(times(stat), Some((Duration::from_millis(2_500), Duration::from_millis(750))));
        assert_eq!(times("1 (x) R 1"), None);
        assert_eq!(times(""), None);
    }

    #[test]
    fn sizes_are_found_by_their_name() {
        let status = "Name:\tx\nVmHWM:\t    3000 kB\nVmRSS:\t    2132 kB\n";
        assert_eq!(bytes_of(status, "VmRSS:"), Some(2_132 << 10));
        assert_eq!(bytes_of(status, "VmHWM:"), Some(3_000 << 10));
        assert_eq!(bytes_of(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_has_memory_and_uses_time() {
        let before = read();
        let mut work = vec![0_u8; 64 << 20];
        let mut rounds = 0;
        while read().thread_cpu_user <= before.thread_cpu_user {
            work.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            rounds += 1;
            assert!(rounds < 10_000, "{:?}", read());
        }
        let after = read();
        assert!(after.rss_bytes >= 64 << 20 && after.rss_peak_bytes >= 64 << 20, "{after:?}");
        // The kernel splits time between the two by guessing, and counts whole ticks.
        let ticks = Duration::from_millis(2 * 1_000 / TICKS_PER_SECOND);
        let (all, of_thread) = (after.cpu_user + after.cpu_sys, after.thread_cpu_user + after.thread_cpu_sys);
        assert!(all + ticks >= of_thread && of_thread > Duration::ZERO, "{after:?}");
        assert!(work.iter().all(|byte| usize::from(*byte) == rounds % 256));
    }
}
