//! Settings of the runtime.

use std::time::Duration;

use types::limits::CORES_COUNT_MAX;

use crate::error::Error;

/// Where one core runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoreConfig {
    /// The cpu to pin the core's thread to, or `None` to leave it to the scheduler.
    pub cpu: Option<usize>,
}

/// Settings of all cores of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// One element per core, in the order of their ids.
    pub cores: Vec<CoreConfig>,
    /// How long an idle core looks for work before it sleeps. Costs cpu time, saves a wake-up's latency.
    pub spin: Duration,
    /// Messages that fit in the queue between one ordered pair of cores.
    pub mesh_messages_count_max: usize,
    /// Receive buffers of a core, shared by its connections. A power of two, at most 32,768.
    pub recv_buffers_count: u16,
    /// Size of one receive buffer in bytes.
    pub recv_buffer_bytes: usize,
    /// Most memory that a core keeps to read files into again, in bytes.
    pub read_pool_bytes_max: usize,
    /// Entries of the submission queue. More may be queued; they cost further system calls.
    pub submissions_count: u32,
    /// Entries of the completion queue. More completions are kept by the kernel, at some cost.
    pub completions_count: u32,
    /// Connections the kernel holds for a listener until they are accepted (bounded by net.core.somaxconn).
    pub listen_backlog_max: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            cores: vec![CoreConfig::default()],
            spin: Duration::ZERO,
            mesh_messages_count_max: 4_096,
            recv_buffers_count: 1_024,
            recv_buffer_bytes: 16 << 10,
            read_pool_bytes_max: 4 << 20,
            submissions_count: 2_048,
            completions_count: 16_384,
            listen_backlog_max: 4_096,
        }
    }
}

/// Most receive buffers of a core: what the kernel accepts in one ring of buffers.
pub const RECV_BUFFERS_COUNT_MAX: u16 = 32_768;
/// Largest receive buffer.
pub const RECV_BUFFER_BYTES_MAX: usize = 1 << 20;

impl Config {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fail = |reason: &str| Err(Error::Config(reason.to_owned()));
        if self.cores.is_empty() || self.cores.len() > CORES_COUNT_MAX {
            return Err(Error::Config(format!("{} cores; 1 to {CORES_COUNT_MAX} are possible", self.cores.len())));
        }
        if !self.recv_buffers_count.is_power_of_two() || self.recv_buffers_count > RECV_BUFFERS_COUNT_MAX {
            return fail("recv_buffers_count must be a power of two and at most 32,768");
        }
        if self.recv_buffer_bytes == 0 || self.recv_buffer_bytes > RECV_BUFFER_BYTES_MAX {
            return fail("recv_buffer_bytes must be between 1 and 1,048,576");
        }
        if self.mesh_messages_count_max == 0 {
            return fail("mesh_messages_count_max must not be 0");
        }
        if self.submissions_count == 0 || self.completions_count < self.submissions_count {
            return fail("completions_count must be at least submissions_count, and that at least 1");
        }
        Ok(())
    }
}
