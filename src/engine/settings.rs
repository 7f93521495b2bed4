//! Settings that can change while the node runs, and who is asked to change them.
//!
//! All cores of a node have the same: one of them is asked by a client, and asks whoever keeps the configuration of the node; that checks
//! what is wanted, hands all cores the settings that follow from it, and then the one that has asked its answer. A core takes them in between
//! two commands. Parts read them from the [context](crate::context), each time anew; those that have made something of them are told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use types::CoreId;

use crate::origin::Origin;

/// The default of every setting that may change, beside those of [`Config`](crate::Config). Sizes are in bytes.
pub(crate) mod defaults {
    use std::time::Duration;

    /// Of [`NodeSettings::client_output_bytes_max`](super::NodeSettings::client_output_bytes_max).
    pub const CLIENT_OUTPUT_BYTES_MAX: usize = 1 << 20;
    /// Of [`NodeSettings::compare_interval`](super::NodeSettings::compare_interval).
    pub const COMPARE_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
    /// Of [`NodeSettings::scrub_bytes_per_s`](super::NodeSettings::scrub_bytes_per_s).
    pub const SCRUB_BYTES_PER_S: u64 = 10 << 20;
    /// Of [`NodeSettings::scrub_interval`](super::NodeSettings::scrub_interval).
    pub const SCRUB_INTERVAL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    /// Of [`NodeSettings::node_down_after`](super::NodeSettings::node_down_after).
    pub const NODE_DOWN_AFTER: Duration = Duration::from_secs(600);
    /// Of [`NodeSettings::client_stall_timeout`](super::NodeSettings::client_stall_timeout).
    pub const CLIENT_STALL_TIMEOUT: Duration = Duration::from_secs(30);
    /// Of [`NodeSettings::stop_timeout`](super::NodeSettings::stop_timeout).
    pub const STOP_TIMEOUT: Duration = Duration::from_secs(3);
    /// Of [`NodeSettings::latency_threshold`](super::NodeSettings::latency_threshold).
    pub const LATENCY_THRESHOLD: Duration = Duration::from_millis(100);
    /// Of [`NodeSettings::slow_log_min`](super::NodeSettings::slow_log_min).
    pub const SLOW_LOG_MIN: Duration = Duration::from_millis(10);
    /// Of [`NodeSettings::slow_log_len_max`](super::NodeSettings::slow_log_len_max).
    pub const SLOW_LOG_LEN_MAX: usize = 128;
}

/// What a core does as long as nobody changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// Replies held for one client, in bytes: beyond it the client is not read until it takes them.
    pub client_output_bytes_max: usize,
    /// A client that does not take its replies for this long is closed.
    pub client_stall_timeout: Duration,
    /// How long a stop may take to hand leaderships over and drain.
    pub stop_timeout: Duration,
    /// What takes this long or longer is an event for LATENCY; `None` for nothing.
    pub latency_threshold: Option<Duration>,
    /// Commands that take this long or longer are kept for SLOWLOG; `None` for none.
    pub slow_log_min: Option<Duration>,
    /// How many of them are kept.
    pub slow_log_len_max: usize,
    /// How often the replicas of each group that is led here are compared, about; `None` for never.
    pub compare_interval: Option<Duration>,
    /// How fast what lies at rest is read to be checked, in bytes per second; 0 for not at all.
    pub scrub_bytes_per_s: u64,
    /// From the beginning of one pass over all of it to that of the next; `None` for no pass but those that somebody wants.
    pub scrub_interval: Option<Duration>,
    /// A node that is silent for so long is down, and others take the places of its replicas. What the leader of group 0 has counts.
    pub node_down_after: Duration,
    /// Whether replicas and leaders move so that no node has much more than others. What the leader of group 0 has counts.
    pub balance: bool,
    /// All settings, those that cannot change too, as CONFIG GET shows them: (name, value).
    pub shown: Vec<(String, String)>,
}

impl Default for NodeSettings {
    fn default() -> NodeSettings {
        NodeSettings {
            client_output_bytes_max: defaults::CLIENT_OUTPUT_BYTES_MAX,
            client_stall_timeout: defaults::CLIENT_STALL_TIMEOUT,
            stop_timeout: defaults::STOP_TIMEOUT,
            latency_threshold: Some(defaults::LATENCY_THRESHOLD),
            slow_log_min: Some(defaults::SLOW_LOG_MIN),
            slow_log_len_max: defaults::SLOW_LOG_LEN_MAX,
            compare_interval: Some(defaults::COMPARE_INTERVAL),
            scrub_bytes_per_s: defaults::SCRUB_BYTES_PER_S,
            scrub_interval: Some(defaults::SCRUB_INTERVAL),
            node_down_after: defaults::NODE_DOWN_AFTER,
            balance: false,
            shown: Vec::new(),
        }
    }
}

/// What a client wants of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsWish {
    /// CONFIG SET: these names are to have these values, all or none.
    Set(Vec<(String, String)>),
    /// CONFIG REWRITE: what was set is to stand in the file of the configuration.
    Rewrite,
}

/// A wish, and who waits for the answer.
#[derive(Debug)]
pub struct SettingsRequest {
    /// What is wanted.
    pub wish: SettingsWish,
    /// The core that asks: the answer goes there.
    pub core: CoreId,
    pub(crate) origin: Origin,
}

impl SettingsRequest {
    /// The answer: that it is done, or why nothing was, in one line.
    pub fn answer(self, result: Result<(), String>) -> SettingsAnswer {
        SettingsAnswer { origin: self.origin, result }
    }
}

/// The answer to a request, on its way to the core that has asked.
#[derive(Debug)]
pub struct SettingsAnswer {
    pub(crate) origin: Origin,
    pub(crate) result: Result<(), String>,
}

/// Asks whoever keeps the configuration of the node.
#[derive(Clone)]
pub struct AskSettings(Arc<dyn Fn(SettingsRequest) -> bool + Send + Sync>);

impl AskSettings {
    /// `ask` is called by a core within a turn: it must not wait. It returns `false` if it takes no more requests for now; else the core
    /// must be sent the request's [answer](SettingsRequest::answer).
    pub fn new(ask: impl Fn(SettingsRequest) -> bool + Send + Sync + 'static) -> AskSettings {
        AskSettings(Arc::new(ask))
    }

    pub(crate) fn ask(&self, request: SettingsRequest) -> bool {
        (self.0)(request)
    }
}

impl fmt::Debug for AskSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AskSettings")
    }
}

/// Other settings for a core, and whom it tells that it has them.
#[derive(Clone)]
pub struct SettingsChange {
    pub(crate) settings: Arc<NodeSettings>,
    taken: Arc<dyn Fn(CoreId) + Send + Sync>,
}

impl SettingsChange {
    /// `taken` is called by each core that has them, within a turn: it must not wait.
    pub fn new(settings: Arc<NodeSettings>, taken: impl Fn(CoreId) + Send + Sync + 'static) -> SettingsChange {
        SettingsChange { settings, taken: Arc::new(taken) }
    }

    pub(crate) fn taken(&self, core: CoreId) {
        (self.taken)(core);
    }
}

impl fmt::Debug for SettingsChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsChange").field("settings", &self.settings).finish_non_exhaustive()
    }
}
