//! Waiting until the cluster is as it should be, with a picture of how far that is.

use std::time::{Duration, Instant};

use super::overview;
use crate::cluster::Cluster;
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::screen::Screen;
use crate::text::{Page, duration};

/// How long is waited if nobody says.
pub(crate) const DEFAULT_LIMIT: Duration = Duration::from_secs(3_600);
/// From one look to the next.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is waited for, in a cluster that is looked at as a whole.
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
    /// Those of [`Looks::until`].
    pub(crate) fn wait(
        &self,
        gateway: &Gateway,
        screen: &mut Screen,
        is_done: impl Fn(&Cluster) -> Result<bool, CtlError>,
    ) -> Result<(Cluster, Duration), CtlError> {
        let looks = Looks {
            limit: self.limit,
            again: "coracle-ctl status --wait",
            ask: &|| Cluster::ask(gateway),
            draw: &overview::show,
            tell: &|_, _| {},
        };
        looks.until(screen, |cluster| {
            Ok(if is_done(cluster)? { Look::Done } else { Look::Left((self.left)(cluster)) })
        })
    }
}

/// What a look has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing is left to do.
    Done,
    /// This is, in words.
    Left(String),
}

/// Looks at something again and again.
pub(crate) struct Looks<'a, T> {
    /// For how long at most.
    pub(crate) limit: Duration,
    /// The command that goes on with waiting.
    pub(crate) again: &'a str,
    /// How it is looked at.
    pub(crate) ask: &'a dyn Fn() -> Result<T, CtlError>,
    /// How it is drawn.
    pub(crate) draw: &'a dyn Fn(&T, &mut Page),
    /// How other programs are told of it, if they are.
    pub(crate) tell: &'a dyn Fn(&T, &mut Screen),
}

impl<T> Looks<'_, T> {
    /// Looks until there is nothing left, and draws what is. Returns what was seen last, and how long that took. Nodes that cannot be
    /// reached for a while are asked again.
    ///
    /// # Errors
    /// [`CtlError::StillRunning`] at the limit, [`CtlError::Unreachable`] if no node can be reached then; or what `look` says.
    pub(crate) fn until(
        &self,
        screen: &mut Screen,
        look: impl Fn(&T) -> Result<Look, CtlError>,
    ) -> Result<(T, Duration), CtlError> {
        let begin = Instant::now();
        loop {
            let waited = begin.elapsed();
            let (asked, left) = match (self.ask)() {
                Ok(seen) => match look(&seen)? {
                    Look::Done => {
                        screen.draw_nothing();
                        return Ok((seen, begin.elapsed()));
                    }
                    Look::Left(left) => (Ok(seen), left),
                },
                Err(CtlError::Unreachable(attempts)) => (Err(attempts), "no node can be reached".to_owned()),
                Err(other) => return Err(other),
            };
            let mut page = screen.page();
            if let Ok(seen) = &asked {
                (self.tell)(seen, screen);
                (self.draw)(seen, &mut page);
                page.gap();
            }
            page.paragraph(&format!("waiting for {}: {left}", duration(waited)), 0);
            screen.draw(page, &left);
            if waited >= self.limit {
                return Err(match asked {
                    Ok(_) => CtlError::StillRunning { waited, left, again: self.again.to_owned() },
                    Err(attempts) => CtlError::Unreachable(attempts),
                });
            }
            std::thread::sleep(LOOK_EVERY.min(self.limit.saturating_sub(waited)));
        }
    }
}
