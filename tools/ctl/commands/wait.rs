//! Waiting until the cluster is as it should be, with a picture of how far that is.

use std::time::{Duration, Instant};

use super::overview;
use crate::cluster::Cluster;
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::screen::Screen;
use crate::text::duration;

/// How long is waited if nobody says.
pub(crate) const DEFAULT_LIMIT: Duration = Duration::from_secs(3_600);
/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is waited for.
pub(crate) struct Wait<'a> {
    /// For how long at most.
    pub(crate) limit: Duration,
    /// What is left, in words.
    pub(crate) left: &'a dyn Fn(&Cluster) -> String,
}

impl Wait<'_> {
    /// Waits until `is_done`. Returns the cluster as it is then, and how long that took. Nodes that cannot be reached for a while are asked
    /// again.
    ///
    /// # Errors
    /// [`CtlError::StillRunning`] at the limit, [`CtlError::Unreachable`] if no node can be reached then; or what `is_done` says.
    pub(crate) fn wait(
        &self,
        gateway: &Gateway,
        screen: &mut Screen,
        is_done: impl Fn(&Cluster) -> Result<bool, CtlError>,
    ) -> Result<(Cluster, Duration), CtlError> {
        let begin = Instant::now();
        loop {
            let waited = begin.elapsed();
            let asked = match Cluster::ask(gateway) {
                Ok(cluster) if is_done(&cluster)? => {
                    screen.draw_nothing();
                    return Ok((cluster, begin.elapsed()));
                }
                Ok(cluster) => Ok(cluster),
                Err(CtlError::Unreachable(attempts)) => Err(attempts),
                Err(other) => return Err(other),
            };
            let left = match &asked {
                Ok(cluster) => (self.left)(cluster),
                Err(_) => "no node can be reached".to_owned(),
            };
            let mut page = screen.page();
            if let Ok(cluster) = &asked {
                overview::show(cluster, &mut page);
                page.gap();
            }
            page.paragraph(&format!("waiting for {}: {left}", duration(waited)), 0);
            screen.draw(page, &left);
            if waited >= self.limit {
                return Err(match asked {
                    Ok(_) => CtlError::StillRunning { waited, left },
                    Err(attempts) => CtlError::Unreachable(attempts),
                });
            }
            std::thread::sleep(LOOK_EVERY.min(self.limit.saturating_sub(waited)));
        }
    }
}
