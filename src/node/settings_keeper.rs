//! Keeps the configuration of a node that runs: changes it for clients (CONFIG SET), hands what follows from it to the cores and to whom else
//! it concerns, and writes it into the file (CONFIG REWRITE).
//!
//! One thread does so, for one client after the other: so all cores have the same settings, in the same order. No core waits for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use engine::{AskSettings, MeshMessage, NodeSettings, SettingsChange, SettingsRequest, SettingsWish};
use meta::ClusterMap;
use types::CoreId;

use crate::admin::Admin;
use crate::atomic_file;
use crate::config::Config;
use crate::logging::LevelSetter;
use crate::shown;

/// Wishes that wait. What does not fit is refused.
const WAITING_COUNT_MAX: usize = 16;
/// How long cores may take to take other settings in.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait before a core whose queue is full is sent something again.
const SEND_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// What the cores of a node are told of its configuration, as far as that may change. `first_map` is that with which the cluster was formed.
pub fn node_settings(config: &Config, first_map: &ClusterMap, clients_count_max: usize) -> NodeSettings {
    NodeSettings {
        client_output_bytes_max: config.client_output_bytes_max,
        client_stall_timeout: config.client_stall_timeout,
        stop_timeout: config.stop_timeout,
        latency_threshold: config.latency_threshold,
        slow_log_min: config.slow_log_min,
        slow_log_len_max: config.slow_log_len_max,
        compare_interval: config.compare_interval,
        node_down_after: config.node_down_after,
        balance: config.balance,
        scrub_bytes_per_s: config.scrub_bytes_per_s,
        scrub_interval: config.scrub_interval,
        shown: shown::settings(config, first_map, clients_count_max),
    }
}

/// The way of wishes from the cores to whoever keeps the configuration.
pub fn queue() -> (AskSettings, Receiver<SettingsRequest>) {
    let (sender, receiver): (SyncSender<SettingsRequest>, _) = sync_channel(WAITING_COUNT_MAX);
    (AskSettings::new(move |request| sender.try_send(request).is_ok()), receiver)
}

/// Keeps the configuration of a node that runs.
pub struct SettingsKeeper {
    /// The configuration in force.
    pub config: Config,
    /// The map with which the cluster was formed.
    pub first_map: ClusterMap,
    /// Most clients of each port of a core.
    pub clients_count_max: usize,
    /// The cores.
    pub remote: rt::Remote<MeshMessage>,
    /// How many there are.
    pub cores_count: usize,
    /// Whom the level of the log concerns.
    pub level: LevelSetter,
    /// Whom telemetry concerns.
    pub admin: Admin,
}

impl SettingsKeeper {
    /// Fulfils wishes until no core is left that could have any.
    pub fn serve(mut self, requests: &Receiver<SettingsRequest>) {
        while let Ok(request) = requests.recv() {
            let result = match &request.wish {
                SettingsWish::Set(pairs) => self.set(pairs),
                SettingsWish::Rewrite => self.rewrite(),
            };
            let core = request.core;
            // If that fails the core is gone, and the node ends.
            let _ = self.send(core, MeshMessage::SettingsAnswer(request.answer(result)));
        }
    }

    fn set(&mut self, pairs: &[(String, String)]) -> Result<(), String> {
        let shown = shown::settings(&self.config, &self.first_map, self.clients_count_max);
        let value_of = |name: &String| shown.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        // Whoever sets what is so already, as tools do, need not know whether it could be otherwise.
        let pairs: Vec<_> = pairs.iter().filter(|(name, value)| value_of(name) != Some(value)).cloned().collect();
        if let Some((name, _)) = pairs.iter().find(|(name, _)| value_of(name).is_some() && !Config::has_key(name)) {
            return Err(format!(
                "`{name}` is what Redis calls how Coracle is, and cannot be set; nothing was changed"
            ));
        }
        let changed = self.config.changed(&pairs).map_err(|reason| format!("{reason}; nothing was changed"))?;
        if changed.log_level != self.config.log_level {
            self.level.set(&changed.log_level)?;
        }
        if (changed.log_slow_commands, changed.telemetry_interval)
            != (self.config.log_slow_commands, self.config.telemetry_interval)
        {
            self.admin.tell(&changed).map_err(|error| error.to_string())?;
        }
        self.config = changed;
        let told = pairs.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ");
        if !told.is_empty() {
            tracing::info!("settings are changed by a client: {told}");
        }
        self.hand_out()
    }

    /// Hands the settings in force to all cores, and waits until they have them.
    fn hand_out(&self) -> Result<(), String> {
        let settings = Arc::new(node_settings(&self.config, &self.first_map, self.clients_count_max));
        let (sender, receiver) = sync_channel(self.cores_count);
        // There is room for all cores, and one that comes too late is of no use.
        let change = SettingsChange::new(settings, move |core| {
            let _ = sender.try_send(core);
        });
        let mut missing: Vec<CoreId> = (0..self.cores_count).map(|core| CoreId(core as u16)).collect();
        for core in &missing {
            // A core that is not reached is found missing below.
            let _ = self.send(*core, MeshMessage::Settings(change.clone()));
        }
        let deadline = Instant::now() + TAKEN_WITHIN;
        while !missing.is_empty() {
            match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(core) => missing.retain(|other| *other != core),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let cores = missing.iter().map(CoreId::to_string).collect::<Vec<_>>().join(", ");
        Err(format!("core {cores} has not taken the settings in yet, and all others have: look at it"))
    }

    /// Sends a core something, again and again for a while if its queue is full.
    fn send(&self, core: CoreId, mut message: MeshMessage) -> Result<(), MeshMessage> {
        let deadline = Instant::now() + TAKEN_WITHIN;
        loop {
            message = match self.remote.send(core, message) {
                Ok(()) => return Ok(()),
                Err(message) if Instant::now() >= deadline => return Err(message),
                Err(message) => message,
            };
            std::thread::sleep(SEND_AGAIN_AFTER);
        }
    }

    fn rewrite(&self) -> Result<(), String> {
        let text = self.config.rewritten()?;
        let file = self.config.file().expect("what was rewritten has a file");
        atomic_file::replace(file, text.as_bytes()).map_err(|error| {
            format!(
                "cannot write {}: {error}; the user of the node must be able to write in its directory",
                file.display()
            )
        })?;
        tracing::info!(file = %file.display(), "the settings in force are written into the configuration");
        Ok(())
    }
}
