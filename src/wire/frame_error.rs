//! What can be wrong with a frame.

use thiserror::Error;
use types::limits::FRAME_BYTES_MAX;

use crate::report::ReportError;

/// Why bytes are not a frame. After any of these the stream cannot be trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The magic number is missing.
    #[error("not a frame of this protocol")]
    Magic,
    /// A checksum does not match.
    #[error("a frame's checksum does not match")]
    Checksum,
    /// A length beyond the limit.
    #[error("a frame longer than the limit of {FRAME_BYTES_MAX} bytes")]
    TooLong,
    /// The metadata does not validate.
    #[error("a frame's metadata is malformed")]
    Metadata,
    /// The parts do not add up to the lengths stated.
    #[error("a frame's payloads do not add up")]
    Payloads,
    /// A report in it does not validate.
    #[error("a frame with a report that makes no sense: {0}")]
    Report(#[from] ReportError),
}
