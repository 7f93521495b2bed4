//! What the kernel counts for a process and for a directory.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::compare::process::Cpu;
use crate::error::Error;

/// The unit of `st_blocks`.
const STAT_BLOCK_BYTES: u64 = 512;

/// What processes have used since they started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time, in µs.
    pub cpu_us: f64,
    /// Bytes read from the disk.
    pub read_bytes: u64,
    /// Bytes written to the disk, or on their way there.
    pub written_bytes: u64,
}

impl Usage {
    /// Of these processes.
    pub fn of(pids: &[u32]) -> Usage {
        let cpu = Cpu::of(pids);
        let mut usage = Usage { cpu_us: cpu.user_us + cpu.system_us, ..Usage::default() };
        for pid in pids {
            let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
            usage.read_bytes += field(&text, "read_bytes");
            // What was deleted before it was written back never reached the disk.
            usage.written_bytes += field(&text, "write_bytes").saturating_sub(field(&text, "cancelled_write_bytes"));
        }
        usage
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Usage) -> Usage {
        Usage {
            cpu_us: self.cpu_us - before.cpu_us,
            read_bytes: self.read_bytes.saturating_sub(before.read_bytes),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
        }
    }
}

/// The most memory that processes have had resident at once, in bytes, each counted at its own peak.
pub fn resident_bytes_max(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        1_024 * field(&text, "VmHWM")
    };
    pids.iter().map(of).sum()
}

/// The number in the line `name: number` of a file of proc(5); 0 if there is none.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The disk space that everything below a directory takes, in bytes, what is preallocated included.
///
/// # Errors
/// Those of the system; a file that goes away meanwhile is none.
pub fn allocated_bytes(dir: &Path) -> Result<u64, Error> {
    let failed = || Error::os(format!("looking at {}", dir.display()));
    let mut sum = 0;
    for entry in fs::read_dir(dir).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        sum += if metadata.is_dir() {
            allocated_bytes(&path).unwrap_or(0)
        } else {
            metadata.blocks() * STAT_BLOCK_BYTES
        };
    }
    Ok(sum)
}

/// Waits until the file system of a path has written what it holds, so that it does not disturb who comes next.
///
/// # Errors
/// Those of the system.
pub fn sync_file_system(path: &Path) -> Result<(), Error> {
    let failed = || Error::os(format!("syncing the file system of {}", path.display()));
    let dir = File::open(path).map_err(failed())?;
    rustix::fs::syncfs(&dir).map_err(|errno| failed()(errno.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "rchar: 9\nread_bytes: 4096\ncancelled_write_bytes: 7\nVmHWM:\t  123 kB\n";
        assert_eq!([field(text, "read_bytes"), field(text, "VmHWM"), field(text, "write_bytes")], [4_096, 123, 0]);
    }

    #[test]
    fn what_this_process_writes_is_counted() {
        let pids = [std::process::id()];
        let before = Usage::of(&pids);
        // Not under /tmp, which may be memory.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let mut file = File::create(dir.path().join("file")).unwrap();
        file.write_all(&vec![1; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        let used = Usage::of(&pids).since(&before);
        assert!(used.written_bytes >= 1 << 20, "{used:?}");
        fs::create_dir(dir.path().join("inner")).unwrap();
        fs::write(dir.path().join("inner/other"), vec![1; 1 << 16]).unwrap();
        sync_file_system(dir.path()).unwrap();
        let allocated = allocated_bytes(dir.path()).unwrap();
        assert!((1 << 20..2 << 20).contains(&allocated), "{allocated}");
        assert!(resident_bytes_max(&pids) > 1 << 20);
    }
}
