//! A read that waits.

use types::Index;

use crate::request::OwnedRequest;

/// A read that waits for something to be applied.
pub(super) struct WaitingRead {
    pub(super) request: OwnedRequest,
    /// It can be served once this is applied ...
    pub(super) index: Index,
    /// ... and, unless ReadIndex has confirmed the leadership since it arrived, while there is a lease.
    pub(super) is_confirmed: bool,
}
