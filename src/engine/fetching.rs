//! Taking checkpoints over from other replicas.

/// The checkpoints that a core is taking over.
pub(crate) struct Fetches;

impl Fetches {
    pub(crate) fn new() -> Fetches {
        Fetches
    }

    /// Whether a group is taking a checkpoint over.
    pub(crate) fn is_fetching(&self, _group: usize) -> bool {
        false
    }
}
