//! What the checker is called, and what it allows.

use std::time::Duration;

/// Name of the checker.
pub(super) const NAME: &str = "expiry";
/// How far the time of a batch may seem to be ahead of what clocks allow, since all of them show whole milliseconds.
pub(super) const ROUNDING_MS: u64 = 2;
/// Within which time a key is gone where nothing is wrong: as many ticks as a leader's sweep takes to look at every row.
pub const GONE_WITHIN: Duration = Duration::from_secs(2);
/// How long after the last fault leaders see the clocks as they are, and how old what they see may be then.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(5);
pub(super) const CLOCK_AGE_MAX: Duration = Duration::from_secs(1);
