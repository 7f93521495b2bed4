//! Reading rows of versions: one by one, or in order.
//!
//! Nothing that decides waits: cursors and lookups say which unit they need ([`Need`]), and [`Reader`] gets it, from
//! the cache or from a disk. So whoever reads in a turn can do all that needs no disk there, and hand the rest to a
//! task.
//!
//! Reading order: `need`, `run_cursor`, `range_cursor`, `version_cursor`, `cache`, `reader`;
//! then what reads versions whole: `read_ahead`, `table_ahead`, `runs_ahead`, `scan`, `verify`.

mod cache;
mod need;
mod range_cursor;
mod read_ahead;
mod reader;
mod run_cursor;
mod runs_ahead;
mod scan;
mod table_ahead;
mod verify;
mod version_cursor;

pub use cache::{CacheLimits, UnitCache};
pub use need::{Need, Target};
pub use range_cursor::RangeCursor;
pub use reader::{BlobBytes, Found, FoundValue, Reader};
pub use run_cursor::RunCursor;
pub use runs_ahead::RunsAhead;
pub use scan::{Scan, ScanSettings, ScannedRow};
pub use verify::{Part, PartPlace, Verified, verify};
pub use version_cursor::{Progress, VersionCursor};
