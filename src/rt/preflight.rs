//! Checks of the host before and while starting, with errors that say what to change.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use host::{ALIGNMENT, AlignedBuf};
use io::ErrorKind;

use crate::error::Error;
use crate::host_limits::{check_memlock, check_result, check_switch, limit_of};
use crate::ring::Ring;

/// Files of a data directory are for the user of the node alone. Whoever could open the lock could hold it.
const PRIVATE_MODE: u32 = 0o600;
/// Descriptors of a core besides its connections: rings, event counters, log segments, tables.
const FILES_PER_CORE: u64 = 256;

/// Checks limits and kernel switches.
///
/// `connections_count_max` is the sum over all cores, their listeners and their connections to peers. Errors: [`Error::IoUringDisabled`],
/// [`Error::IoUringMissing`], [`Error::KernelTooOld`], [`Error::MemlockTooLow`], [`Error::FilesLimitTooLow`].
pub fn check_host(cores_count: usize, connections_count_max: usize) -> Result<(), Error> {
    check_switch()?;
    check_memlock()?;
    check_ring()?;
    let needed = files_needed(cores_count, connections_count_max);
    let limit = limit_of(libc::RLIMIT_NOFILE)?;
    if limit < needed { Err(Error::FilesLimitTooLow { limit, needed }) } else { Ok(()) }
}

/// The connections that each of `cores_count` cores may have under this limit of open files.
pub fn connections_that_fit(files_limit: u64, cores_count: usize) -> usize {
    let per_core = files_limit / cores_count.max(1) as u64;
    usize::try_from(per_core.saturating_sub(FILES_PER_CORE)).unwrap_or(usize::MAX)
}

/// The limit of open files that `cores_count` cores need for `connections_count_max` connections in all.
pub fn files_needed(cores_count: usize, connections_count_max: usize) -> u64 {
    connections_count_max as u64 + FILES_PER_CORE * cores_count as u64
}

/// Raises the soft limit of open files to the hard one and returns it.
pub fn raise_files_limit() -> Result<u64, Error> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a valid struct of their own type.
    unsafe {
        check_result(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), "reading the limit of open files")?;
        limit.rlim_cur = limit.rlim_max;
        check_result(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), "raising the limit of open files")?;
    }
    Ok(limit.rlim_cur)
}

/// Checks that a ring can be made at all, by making one. The host executor makes its own first, and panics where it
/// cannot.
pub(crate) fn check_ring() -> Result<(), Error> {
    const ENTRIES: u32 = 8;
    Ring::new(ENTRIES, 2 * ENTRIES).map(drop)
}

/// Checks that files in `dir` can be read and written with O_DIRECT in blocks of [`ALIGNMENT`] bytes, by
/// writing one.
pub fn check_direct_io(dir: &Path) -> Result<(), Error> {
    let path = dir.join(format!(".direct-io-check-{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(PRIVATE_MODE).custom_flags(libc::O_DIRECT | libc::O_DSYNC);
    let buf = AlignedBuf::zeroed(ALIGNMENT);
    let result = options.open(&path).and_then(|mut file| file.write_all(&buf));
    // Nothing depends on the file; one left behind is harmless.
    let _ = std::fs::remove_file(&path);
    result.map_err(|source| match source.kind() {
        ErrorKind::InvalidInput | ErrorKind::Unsupported => Error::DirectIoMissing { dir: dir.to_owned(), source },
        _ => Error::Os { what: format!("writing a file in {}", dir.display()), source },
    })
}

/// The lock of a data directory: no two processes use one. Held until dropped.
#[derive(Debug)]
pub struct DirLock {
    // The lock lives as long as the open file.
    _file: std::fs::File,
}

impl DirLock {
    /// Locks `dir/LOCK` and writes this process's id into it. [`Error::DirLocked`] names the process that
    /// holds it.
    pub fn acquire(dir: &Path) -> Result<DirLock, Error> {
        let path = dir.join("LOCK");
        let failed = |source| Error::Os { what: format!("locking {}", path.display()), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(PRIVATE_MODE);
        let mut file = options.open(&path).map_err(failed)?;
        // One that an earlier version or somebody else has made may be open to others.
        file.set_permissions(PermissionsExt::from_mode(PRIVATE_MODE)).map_err(failed)?;
        // SAFETY: the descriptor is open for as long as `file` lives.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            if error.kind() != ErrorKind::WouldBlock {
                return Err(failed(error));
            }
            let holder = std::fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
            let holder = if holder.is_empty() { "unknown".to_owned() } else { holder };
            return Err(Error::DirLocked { dir: dir.to_owned(), holder });
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(DirLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_can_be_opened_by_its_user_only() {
        let dir = std::env::temp_dir().join(format!("coracle-lock-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        let path = dir.join("LOCK");
        std::fs::write(&path, "left by another version").expect("a small file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("it is ours");
        let lock = DirLock::acquire(&dir).expect("nobody holds it");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE_MODE);
        let error = DirLock::acquire(&dir).expect_err("it is held");
        let own = std::process::id().to_string();
        assert!(matches!(&error, Error::DirLocked { holder, .. } if *holder == own), "{error}");
        drop(lock);
        DirLock::acquire(&dir).expect("it is free again");
        std::fs::remove_dir_all(&dir).expect("it is ours");
    }
}
