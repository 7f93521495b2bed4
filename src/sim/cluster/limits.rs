//! The limits that the cores of a run are given. Those of production are out of reach of the few clients of a run, so most
//! runs have smaller ones, at which queues do fill up.

use std::time::Duration;

use engine::limits::Limits;

use crate::cluster_spec::{ClusterSpec, Hostility, Load};
use crate::prng::Prng;

/// Longest command and longest value of the clients here, and more, in bytes.
const COMMAND_BYTES_MAX: usize = 1 << 20;
const VALUE_BYTES_MAX: usize = 256 << 10;
/// More clients than any run has at once.
const CLIENTS_COUNT_MAX: usize = 64;

/// How long a client may take none of its replies, where some take none.
const STALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Sets the limits of a seed's run.
pub(super) fn limit(seed: u64, cluster_spec: &ClusterSpec, config: &mut engine::Config) {
    config.clients_count_max = CLIENTS_COUNT_MAX;
    if cluster_spec.hostility != Hostility::None {
        config.settings.client_stall_timeout = STALL_TIMEOUT;
    }
    if cluster_spec.load == Load::LargeValues {
        // One command may be longer than the small limits below.
        return;
    }
    let mut prng = Prng::stream(seed, "limits");
    let limits = Limits::default();
    let commands = resp::Limits {
        command_bytes_max: COMMAND_BYTES_MAX,
        bulk_bytes_max: VALUE_BYTES_MAX,
        ..resp::Limits::default()
    };
    config.limits = Limits {
        commands,
        client_requests_count_max: prng.pick(&[2, 16, limits.client_requests_count_max]),
        client_input_bytes_max: prng.pick(&[64 << 10, limits.client_input_bytes_max]),
        batches_bytes_max: prng.pick(&[4 << 10, 64 << 10, limits.batches_bytes_max]),
        forwarded_count_max: prng.pick(&[4, 64, limits.forwarded_count_max]),
        route_in_flight_bytes_max: prng.pick(&[4 << 10, 64 << 10, limits.route_in_flight_bytes_max]),
        queued_bytes_max: prng.pick(&[4 << 10, 64 << 10, limits.queued_bytes_max]),
        client_requests_bytes_max: prng.pick(&[4 << 10, 64 << 10, limits.client_requests_bytes_max]),
        forwarded_bytes_max: prng.pick(&[1, 2 << 10, limits.forwarded_bytes_max]),
        queued_count_max: prng.pick(&[4, 64, limits.queued_count_max]),
        outbox_messages_bytes_max: prng.pick(&[64 << 10, limits.outbox_messages_bytes_max]),
        chunk_bytes_max: prng.pick(&[4 << 10, 32 << 10, limits.chunk_bytes_max]),
        row_reads_bytes_max: Prng::stream(seed, "row reads").pick(&[1, 64 << 10, limits.row_reads_bytes_max]),
        snapshot_round_min: Prng::stream(seed, "snapshot rounds").pick(&[Duration::ZERO, limits.snapshot_round_min]),
        cached_rows_bytes_max: Prng::stream(seed, "cached rows").pick(&[0, limits.cached_rows_bytes_max]),
        snapshot_sends_count_max: prng.pick(&[1, 2, limits.snapshot_sends_count_max]),
        ..limits
    };
    // A batch is one entry, and must fit a segment with the command that fills it.
    config.batch_bytes_max = config.batch_bytes_max.min(config.segment_bytes as usize / 8);
    config.settings.client_output_bytes_max = prng.pick(&[4 << 10, config.settings.client_output_bytes_max]);
    config.uncommitted_bytes_max = prng.pick(&[4 << 10, 64 << 10, config.uncommitted_bytes_max]);
    config.inflight_bytes_max = prng.pick(&[4 << 10, 64 << 10, config.inflight_bytes_max]);
    if cluster_spec.load == Load::SmallMemory {
        limit_small_memory(config);
    }
    config.limits.commands_per_turn_max = prng.pick(&[2, 16, limits.commands_per_turn_max]);
    config.limits.batch_commands_max = prng.pick(&[1, 8, limits.batch_commands_max]);
}

/// What one queue holds, whatever the budget says, must be a small part of little memory, as it is in production.
fn limit_small_memory(config: &mut engine::Config) {
    let part = config.memory_bytes_max / 16;
    config.uncommitted_bytes_max = config.uncommitted_bytes_max.min(part);
    config.inflight_bytes_max = config.inflight_bytes_max.min(part);
    config.limits.batches_bytes_max = config.limits.batches_bytes_max.min(part);
    config.limits.outbox_messages_bytes_max = config.limits.outbox_messages_bytes_max.min(part);
    config.limits.outbox_bytes_max = config.limits.outbox_bytes_max.min(part);
    config.limits.route_in_flight_bytes_max = config.limits.route_in_flight_bytes_max.min(part);
    config.limits.inbox_bytes_max = config.limits.inbox_bytes_max.min(part);
    config.limits.chunk_bytes_max = config.limits.chunk_bytes_max.min(4 << 10);
}
