//! How many files this process may have open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::Error;

/// Files that a run needs beside its connections: standard streams, selectors, timers, files of results.
const OTHER_FILES: u64 = 64;

/// Makes sure that so many connections can be open, and raises the soft limit as far as that takes.
///
/// # Errors
/// [`Error::Usage`] if the hard limit is lower.
pub(crate) fn allow(connections: usize, threads: usize) -> Result<(), Error> {
    let needed = connections as u64 + 2 * threads as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    let Some(raised) = raised(limit, needed) else {
        let maximum = limit.maximum.unwrap_or(u64::MAX);
        return Err(Error::Usage(format!(
            "{connections} connections need {needed} open files, and {maximum} are allowed: raise the hard limit \
             (ulimit -Hn, LimitNOFILE=), or use fewer with -c"
        )));
    };
    if raised == limit {
        return Ok(());
    }
    setrlimit(Resource::Nofile, raised).map_err(|errno| Error::os("raising the limit of open files")(errno.into()))
}

/// The limit that allows `needed` files; `None` if the hard limit does not.
fn raised(limit: Rlimit, needed: u64) -> Option<Rlimit> {
    match limit {
        Rlimit { current: Some(current), .. } if current < needed => {
            let is_allowed = limit.maximum.is_none_or(|maximum| needed <= maximum);
            is_allowed.then_some(Rlimit { current: Some(needed), ..limit })
        }
        _ => Some(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_up_to_the_hard_one() {
        let limit = |current, maximum| Rlimit { current, maximum };
        let soft = limit(Some(100), Some(1_000));
        assert_eq!(raised(soft, 100), Some(soft));
        assert_eq!(raised(soft, 1_000), Some(limit(Some(1_000), Some(1_000))));
        assert_eq!(raised(soft, 1_001), None);
        assert_eq!(raised(limit(Some(100), None), 5_000), Some(limit(Some(5_000), None)));
        assert_eq!(raised(limit(None, None), 5_000), Some(limit(None, None)));
    }
}
