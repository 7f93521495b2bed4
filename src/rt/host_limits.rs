//! What the host allows, and what its refusals of a ring mean.

use std::io;

use crate::error::Error;

/// Least limit of locked memory, in bytes: the host executor refuses to start below it.
pub const MEMLOCK_BYTES_NEEDED: u64 = 512 << 10;

pub(crate) fn check_memlock() -> Result<(), Error> {
    let limit = limit_of(libc::RLIMIT_MEMLOCK)?;
    if limit < MEMLOCK_BYTES_NEEDED {
        return Err(Error::MemlockTooLow { limit_kib: limit >> 10, needed_kib: MEMLOCK_BYTES_NEEDED >> 10 });
    }
    Ok(())
}

pub(crate) fn check_switch() -> Result<(), Error> {
    match switch_value() {
        Some(2) => Err(Error::IoUringDisabled { value: 2 }),
        _ => Ok(()),
    }
}

/// What a failed io_uring_setup means.
pub(crate) fn ring_error(source: io::Error) -> Error {
    match source.raw_os_error() {
        Some(libc::EPERM) => match switch_value() {
            Some(value) if value > 0 => Error::IoUringDisabled { value },
            _ => Error::IoUringMissing { source },
        },
        Some(libc::ENOSYS | libc::EACCES) => Error::IoUringMissing { source },
        Some(libc::EINVAL) => too_old("DEFER_TASKRUN or SINGLE_ISSUER of io_uring"),
        Some(libc::ENOMEM) => match check_memlock() {
            Err(error) => error,
            Ok(()) => Error::Os { what: "making an io_uring (memory or the memlock limit is short)".into(), source },
        },
        _ => Error::Os { what: "making an io_uring".into(), source },
    }
}

pub(crate) fn too_old(feature: &'static str) -> Error {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Error::KernelTooOld { release: release.trim().to_owned(), feature }
}

fn switch_value() -> Option<u32> {
    // The file is missing on kernels that have no such switch.
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

pub(crate) fn limit_of(resource: libc::__rlimit_resource_t) -> Result<u64, Error> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call fills a struct of its own type.
    check_result(unsafe { libc::getrlimit(resource, &mut limit) }, "reading a resource limit")?;
    Ok(limit.rlim_cur)
}

pub(crate) fn check_result(result: libc::c_int, what: &str) -> Result<(), Error> {
    if result == 0 { Ok(()) } else { Err(Error::os(what)(io::Error::last_os_error())) }
}
