//! How much memory a core may use if nobody says: its share of what the machine has to give at the start.

use std::path::Path;

/// The part of what is available that a node's cores take together. The rest is for the kernel's socket buffers, for what the
/// allocator wastes, and for everybody else.
const SHARE_PERCENT: u64 = 60;
/// A core gets this much however little there is: with less it cannot serve at all.
pub const SHARE_BYTES_MIN: usize = 256 << 20;

/// The share of each of `cores_count` cores on this machine, in bytes.
pub fn share_of_core(cores_count: usize) -> usize {
    share(available_bytes(), cores_count)
}

fn share(available_bytes: Option<u64>, cores_count: usize) -> usize {
    let all = available_bytes.unwrap_or(0) / 100 * SHARE_PERCENT;
    let one = usize::try_from(all).unwrap_or(usize::MAX) / cores_count.max(1);
    one.max(SHARE_BYTES_MIN)
}

/// What the kernel says could be used without swapping, and no more than this container may still use.
fn available_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).ok();
    let machine = read("/proc/meminfo").and_then(|text| meminfo_available(&text));
    let limit = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse::<u64>().ok());
    let used = read("/sys/fs/cgroup/memory.current").and_then(|text| text.trim().parse::<u64>().ok());
    let container = limit.map(|limit| limit.saturating_sub(used.unwrap_or(0)));
    machine.into_iter().chain(container).min()
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn meminfo_available(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_share_sixty_percent_and_get_enough_to_serve() {
        assert_eq!(share(Some(100 << 30), 1), 60 << 30);
        assert_eq!(share(Some(100 << 30), 6), 10 << 30);
        assert_eq!(share(Some(1 << 30), 8), SHARE_BYTES_MIN);
        assert_eq!(share(None, 1), SHARE_BYTES_MIN);
        assert!(share_of_core(1) >= SHARE_BYTES_MIN);
        assert!(available_bytes().is_some_and(|bytes| bytes > 1 << 20), "this machine tells");
    }

    #[test]
    fn the_kernels_page_is_read_with_care() {
        let page = "MemTotal:       24000000 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\nBuffers: 3 kB\n";
        assert_eq!(meminfo_available(page), Some(20_000_000 << 10));
        for text in ["", "MemAvailable: kB", "MemAvailable: 3 MB", "MemAvailable: 99999999999999999999 kB"] {
            assert_eq!(meminfo_available(text), None, "{text}");
        }
    }
}
