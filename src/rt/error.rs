//! Why a node cannot start, or why one of its cores ended.

use std::io;
use std::path::PathBuf;

use types::CoreId;

/// Errors of the runtime. Each says what is wrong and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel was built without io_uring, or a sandbox hides it.
    #[error(
        "this kernel offers no io_uring (io_uring_setup: {source}); Coracle needs Linux 6.1 or later with \
         io_uring, and a container must allow the io_uring system calls in its seccomp profile"
    )]
    IoUringMissing {
        /// What the kernel answered.
        source: io::Error,
    },

    /// io_uring is switched off by the administrator.
    #[error(
        "io_uring is switched off (kernel.io_uring_disabled = {value}); switch it on with \
         `sysctl -w kernel.io_uring_disabled=0`, or for value 1 add this user to kernel.io_uring_group"
    )]
    IoUringDisabled {
        /// The value of the sysctl: 1 restricts it to a group, 2 forbids it to all.
        value: u32,
    },

    /// The kernel has io_uring but is older than what is needed.
    #[error("the kernel {release} is too old: {feature} is missing; Coracle needs Linux 6.1 or later")]
    KernelTooOld {
        /// The running kernel.
        release: String,
        /// What it lacks.
        feature: &'static str,
    },

    /// Too little memory may be locked.
    #[error(
        "the limit of locked memory is {limit_kib} KiB and at least {needed_kib} KiB are needed; raise it with \
         `ulimit -l {needed_kib}`, LimitMEMLOCK= in the systemd unit, or memlock in /etc/security/limits.conf"
    )]
    MemlockTooLow {
        /// The limit in force, in KiB.
        limit_kib: u64,
        /// The least that is needed, in KiB.
        needed_kib: u64,
    },

    /// Too few files may be open.
    #[error(
        "the limit of open files is {limit} and at least {needed} are needed for the configured connections; \
         raise it with `ulimit -n {needed}` or LimitNOFILE= in the systemd unit, or lower `maxclients`"
    )]
    FilesLimitTooLow {
        /// The limit in force.
        limit: u64,
        /// The least that is needed.
        needed: u64,
    },

    /// The file system cannot do direct I/O.
    #[error(
        "the file system of {} does not support direct I/O (O_DIRECT with 4,096-byte blocks: {source}); \
         put the data directory on ext4, xfs or btrfs on a local disk",
        dir.display()
    )]
    DirectIoMissing {
        /// The directory that was tried.
        dir: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },

    /// Another process uses the data directory.
    #[error(
        "the data directory {} is in use by process {holder}; stop that process or choose another directory",
        dir.display()
    )]
    DirLocked {
        /// The directory.
        dir: PathBuf,
        /// The process id in its LOCK file, or "unknown".
        holder: String,
    },

    /// An operating system call failed while starting.
    #[error("{what}: {source}")]
    Os {
        /// What was being done.
        what: String,
        /// What the kernel answered.
        source: io::Error,
    },

    /// The host executor could not be made.
    #[error(
        "cannot start the executor of core {core}: {reason}; check the cpu number and the limits of this process"
    )]
    Executor {
        /// The core.
        core: CoreId,
        /// The reason in glommio's words.
        reason: String,
    },

    /// A setting makes no sense.
    #[error("invalid setting: {0}")]
    Config(String),

    /// Code running on a core panicked. The other cores are still running; the process should stop.
    #[error("core {core} panicked: {message}")]
    CorePanicked {
        /// The core.
        core: CoreId,
        /// The message of the panic.
        message: String,
    },
}

impl Error {
    pub(crate) fn os(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Os { what, source }
    }
}
