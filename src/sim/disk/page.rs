//! What a file is made of.

use host::ALIGNMENT;

/// The bytes of a page.
pub(super) type Page = Box<[u8; ALIGNMENT]>;
