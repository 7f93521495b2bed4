//! INFO.

use std::fmt::Write as _;

use resp::Args;

use crate::core::{Core, CoreHost};

impl<H: CoreHost> Core<H> {
    /// The sections asked for; all of them if none is named.
    pub(crate) fn info(&self, args: Args<'_>) -> String {
        let wants = |section: &str| {
            args.len() == 1
                || args.iter_from(1).any(|name| {
                    let all: [&[u8]; 3] = [b"all", b"everything", b"default"];
                    name.eq_ignore_ascii_case(section.as_bytes())
                        || all.iter().any(|word| name.eq_ignore_ascii_case(word))
                })
        };
        let sections = [
            ("Server", self.info_server()),
            ("Clients", self.info_clients()),
            ("Memory", self.info_memory()),
            ("Persistence", vec![("loading", "0".to_owned()), ("aof_enabled", "1".to_owned())]),
            ("Stats", self.info_stats()),
            ("Replication", self.info_replication()),
            ("Cluster", vec![("cluster_enabled", "1".to_owned())]),
            ("Coracle", self.info_coracle()),
            ("Groups", Vec::new()),
            ("Keyspace", self.info_keyspace()),
        ];
        let mut text = String::new();
        for (title, fields) in sections {
            if !wants(title) {
                continue;
            }
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {title}\r\n");
            for (name, value) in fields {
                let _ = write!(text, "{name}:{value}\r\n");
            }
            if title == "Groups" {
                self.info_groups(&mut text);
            }
        }
        text
    }

    fn info_server(&self) -> Vec<(&'static str, String)> {
        let node = self.config.map.node(self.place().node);
        vec![
            ("redis_version", resp::REDIS_VERSION_COMPATIBLE.to_owned()),
            ("redis_mode", "cluster".to_owned()),
            ("coracle_version", self.config.version.to_owned()),
            ("os", "Linux".to_owned()),
            ("arch_bits", usize::BITS.to_string()),
            ("process_id", std::process::id().to_string()),
            ("run_id", self.config.map.id40(self.place()).as_str().to_owned()),
            ("node_id", self.place().node.to_string()),
            ("core", self.place().core.to_string()),
            ("tcp_port", node.map_or(0, |node| node.core_addr(self.place().core).port()).to_string()),
            ("uptime_in_seconds", self.now.since(self.stats.started_at).as_secs().to_string()),
        ]
    }

    fn info_clients(&self) -> Vec<(&'static str, String)> {
        vec![
            ("connected_clients", self.out.conns.clients_count.to_string()),
            ("maxclients", self.config.clients_count_max.to_string()),
            ("blocked_clients", self.held_back.len().to_string()),
        ]
    }

    fn info_memory(&self) -> Vec<(&'static str, String)> {
        let keys: usize = self.groups.iter().map(|group| group.keyspace.bytes()).sum();
        let log: usize = self.groups.iter().map(|group| group.raft.cache_bytes()).sum();
        vec![
            ("used_memory", (keys + log).to_string()),
            ("used_memory_dataset", keys.to_string()),
            ("used_memory_log", log.to_string()),
            ("maxmemory", "0".to_owned()),
            ("maxmemory_policy", "noeviction".to_owned()),
        ]
    }

    fn info_stats(&self) -> Vec<(&'static str, String)> {
        let stats = &self.stats;
        vec![
            ("total_connections_received", stats.connections_received.to_string()),
            ("total_commands_processed", stats.commands_processed.to_string()),
            ("total_error_replies", (stats.error_replies + self.out.error_replies).to_string()),
            ("protocol_errors", stats.protocol_errors.to_string()),
            ("stalled_clients_closed", stats.clients_stalled.to_string()),
            ("expired_keys", "0".to_owned()),
            ("evicted_keys", "0".to_owned()),
        ]
    }

    fn info_replication(&self) -> Vec<(&'static str, String)> {
        let offset: u64 = self.groups.iter().map(|group| group.raft.commit_index()).sum();
        vec![
            ("role", "master".to_owned()),
            ("connected_slaves", "0".to_owned()),
            ("master_repl_offset", offset.to_string()),
        ]
    }

    fn info_coracle(&self) -> Vec<(&'static str, String)> {
        let (stats, log) = (&self.stats, self.wal.stats());
        let led = self.groups.iter().filter(|group| group.raft.is_leader()).count();
        vec![
            ("groups", self.groups.len().to_string()),
            ("groups_led", led.to_string()),
            ("groups_quarantined", self.quarantined_count().to_string()),
            ("groups_without_leader", self.routes.leaderless_count().to_string()),
            ("links_up", self.out.links.up_count().to_string()),
            ("links", self.out.links.count().to_string()),
            ("turns", stats.turns.to_string()),
            ("turn_us_max", stats.turn_us_max.to_string()),
            ("batches_proposed", stats.batches_proposed.to_string()),
            ("commands_proposed", stats.commands_proposed.to_string()),
            ("commands_applied", stats.commands_applied.to_string()),
            ("log_blocks_written", log.blocks.to_string()),
            ("log_bytes_written", log.bytes.to_string()),
            ("log_records_written", log.records.to_string()),
            ("log_entries_written", log.entries.to_string()),
            ("log_has_room", u8::from(self.wal.has_room()).to_string()),
            ("log_is_slow", u8::from(self.log_pace.is_slow()).to_string()),
            ("log_write_mean_us", self.log_pace.write_mean().as_micros().to_string()),
            ("commit_mean_us", self.log_pace.commit_mean().as_micros().to_string()),
            ("appends_refused", stats.appends_refused.to_string()),
            ("reads_by_lease", stats.reads_by_lease.to_string()),
            ("reads_by_index", stats.reads_by_index.to_string()),
            ("reads_in_batch", stats.reads_in_batch.to_string()),
            ("commands_forwarded", stats.commands_forwarded.to_string()),
            ("commands_parked", stats.commands_parked.to_string()),
            ("commands_redirected", stats.commands_redirected.to_string()),
            ("outcomes_unknown", stats.outcomes_unknown.to_string()),
            ("leaderships_gained", stats.leaderships_gained.to_string()),
            ("leaderships_lost", stats.leaderships_lost.to_string()),
            ("frames_sent", self.out.links.frames_sent.to_string()),
            ("frames_received", stats.frames_received.to_string()),
            ("frames_refused", stats.frames_refused.to_string()),
            ("messages_dropped", self.out.links.dropped_count.to_string()),
            ("messages_misdirected", stats.messages_misdirected.to_string()),
            ("peers_refused", stats.peers_refused.to_string()),
            ("log_segments_used", log.segments_used.to_string()),
            ("checkpoints_written", stats.checkpoints_written.to_string()),
            ("checkpoints_failed", stats.checkpoints_failed.to_string()),
            ("checkpoints_damaged", stats.checkpoints_damaged.to_string()),
            ("checkpoint_bytes_written", stats.checkpoint_bytes_written.to_string()),
            ("checkpoint_last_ms", stats.checkpoint_last_ms.to_string()),
            ("snapshots_sent", stats.snapshots_sent.to_string()),
            ("snapshots_received", stats.snapshots_received.to_string()),
            ("snapshots_failed", stats.snapshots_failed.to_string()),
            ("snapshot_bytes_sent", stats.snapshot_bytes_sent.to_string()),
            ("snapshot_bytes_received", stats.snapshot_bytes_received.to_string()),
        ]
    }

    /// Replicas that the map places here and that stay away, since what the log holds of them cannot be trusted.
    fn quarantined_count(&self) -> usize {
        self.config.map.replicas_at(self.place()).count().saturating_sub(self.groups.len())
    }

    fn info_groups(&self, text: &mut String) {
        for group in &self.groups {
            let raft = &group.raft;
            let _ = write!(
                text,
                "group{}:role={:?},term={},commit={},applied={},last={},durable={},keys={},backlog={},checkpoint={}\r\n",
                group.id,
                raft.role(),
                raft.term(),
                raft.commit_index(),
                raft.applied_index(),
                raft.last_index(),
                raft.durable_index(),
                group.keyspace.keys_count(),
                group.backlog_bytes(),
                group.checkpoint_index(),
            );
        }
    }

    fn info_keyspace(&self) -> Vec<(&'static str, String)> {
        let led = self.groups.iter().filter(|group| group.raft.is_leader());
        let keys: usize = led.map(|group| group.keyspace.keys_count()).sum();
        if keys == 0 { Vec::new() } else { vec![("db0", format!("keys={keys},expires=0,avg_ttl=0"))] }
    }
}
