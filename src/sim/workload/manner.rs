//! How a client behaves, as it is drawn.

use std::time::Duration;

use resp::Protocol;

use crate::prng::{Ppm, Prng};

/// How likely a session never gives up waiting.
const NEVER_GIVES_UP_PPM: Ppm = 333_000;

/// How a session behaves.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) protocol: Protocol,
    pub(super) is_cluster_client: bool,
    /// It asks on without waiting for answers, as many callers behind one connection do. While a node is cut off or frozen
    /// this goes on telling what it would answer.
    pub(super) is_open_loop: bool,
    pub(super) only_reads: bool,
    /// Most commands in a pipeline.
    pub(super) depth_max: u64,
    /// How long it thinks between two bursts, on average, in nanoseconds.
    pub(super) think: u64,
    /// How long it waits for answers. One without a bound never gives up: it hears of connections that were lost, and every
    /// other command must be answered in the end.
    pub(super) patience: Option<Duration>,
    /// How likely it closes its connections right after a burst.
    pub(super) rudeness: Ppm,
}

impl Manner {
    /// A manner in which about `operations_count` operations are sent in `busy`.
    pub(super) fn draw(prng: &mut Prng, busy: Duration, operations_count: u64) -> Manner {
        let depth_max = prng.pick(&[1u64, 1, 4, 16, 64]);
        let bursts_count = (operations_count / depth_max.div_ceil(2)).max(1);
        let patience = Duration::from_millis(prng.range(1_000, 9_000));
        let rudeness = prng.pick(&[0, 0, 3_000, 20_000]);
        let never_gives_up = prng.bernoulli(NEVER_GIVES_UP_PPM);
        Manner {
            protocol: prng.pick(&[Protocol::Resp2, Protocol::Resp3]),
            is_cluster_client: prng.bernoulli(400_000),
            is_open_loop: prng.bernoulli(400_000),
            only_reads: false,
            depth_max,
            think: busy.as_nanos() as u64 / bursts_count,
            patience: (!never_gives_up).then_some(patience),
            rudeness: if never_gives_up { 0 } else { rudeness },
        }
    }

    /// The same with at most this number of commands in a pipeline.
    pub(super) fn with_depth_max(self, depth_max: u64) -> Manner {
        Manner { depth_max: self.depth_max.min(depth_max), ..self }
    }

    /// The same, but it never writes.
    pub(super) fn only_reading(self) -> Manner {
        Manner { only_reads: true, ..self }
    }
}
