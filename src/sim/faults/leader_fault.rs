//! What may happen to a node because it leads.

use serde::{Deserialize, Serialize};

use crate::cluster_spec::NodeNumber;

/// What happens to a node because it leads. The other nodes elect another leader meanwhile, while clients reach both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "times are named in the text of each")]
pub enum LeaderFault {
    /// It hears nothing of the other nodes, nor they of it.
    CutOff { for_ms: u64 },
    /// The other nodes hear nothing of it, and it hears them.
    Mute { for_ms: u64 },
    /// It hears nothing of the other nodes, and they hear it.
    Deaf { for_ms: u64 },
    /// What the others send it takes long; some time later it goes mute, while what they sent before still comes.
    LateAnswers { mean_ms: u64, mute_after_ms: u64, for_ms: u64 },
    /// It stands still.
    Freeze { for_ms: u64 },
    /// It stands still, and is cut off from the other nodes so much longer.
    FreezeCutOff { for_ms: u64, longer_ms: u64 },
    /// A turn of it is stopped right behind a reading of the clock, and it is cut off from the other nodes meanwhile.
    StopBehindClock { reading: u32, for_ms: u64 },
    /// One other node's answers come late. It is cut off, another leads meanwhile, and soon after it is back that one is cut off
    /// too: it may lead again, two terms later, while answers to what it asked in the first still come.
    Return { late_ms: u64, cut_ms: u64, back_ms: u64, group: u32 },
    /// It and one other node are cut off from the rest, and that node's answers to it come late. The rest elect another leader, to
    /// which it comes back alone, and after which it is the only one that can be elected: then it leads again, two terms later, with
    /// other entries than in the first, when the answers about those arrive. The other node has heard of nothing since.
    OldAnswers { lonely_ms: u64, back_ms: u64, heir_ms: u64, hold_ms: u64, group: u32 },
    /// For a while one other node alone hears it, and it that one; then it is cut off from all. That node knows more
    /// than the rest, so it alone can be elected.
    PassOn { heir: NodeNumber, after_ms: u64, for_ms: u64 },
    /// It dies, and so does what it has not handed on.
    Crash { down_ms: u64 },
    /// It is cut off, goes on taking commands, and dies.
    CutOffCrash { after_ms: u64, down_ms: u64 },
    /// It dies while the disks of the others are several times slower.
    CrashSlowOthers { down_ms: u64, factor: u64, for_ms: u64 },
    /// Some other node is cut off and falls behind. Then one whose data may be damaged loses some of it and is restarted, the
    /// first comes back, and the leader is cut off: two are left, of which one knows less than it did and the other never did.
    DamageVoter { cut_ms: u64, flips: u32, down_ms: u64, for_ms: u64 },
    /// It is cut off from some other node, which asks for votes in vain then, while it hears late what the rest have
    /// promised or refused. After a while it is cut off from all, and perhaps those who had heard it are restarted: whatever it
    /// was promised must hold.
    Usurp { cut_ms: u64, late_ms: u64, after_ms: u64, restarts: bool },
    /// Its clock gets slow and those of the others fast, as far as they may. Then it is cut off, and its lease must be over before
    /// they elect another leader.
    SlowClock { after_ms: u64, for_ms: u64 },
    /// It is cut off, takes commands, dies and comes back, while those elected meanwhile are cut off in their first moments
    /// and messages are lost: entries of several terms stand in logs, none of them on a majority (Raft paper, figure 8).
    Churn { after_ms: u64, down_ms: u64, cut_ms: u64, within_ms: u64, for_ms: u64 },
}
