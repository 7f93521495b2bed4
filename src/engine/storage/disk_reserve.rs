//! Room that a core keeps for when its disk is full: a file of nothing.
//!
//! A full disk stops what would free some of it: flushes let log go and merges let rows go, but both write first. So the file is
//! given up when the disk is found full, and what it took is theirs. It is made again once there is more room than that, so that
//! writes do not resume on the last bytes, and until then the disk counts as full.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use host::{ALIGNMENT, TaskClass};
use types::Instant;

use super::interface::StorageHost;
use crate::config::Config;
use crate::observe::Field;

/// The name of the file, in the directory of the core's tables.
const NAME: &str = "reserve";
/// How long to wait between two looks whether there is room for it.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Room that a core keeps for when its disk is full.
pub(super) struct DiskReserve<H: StorageHost> {
    host: H,
    path: PathBuf,
    /// Bytes of the file; 0 for none. A multiple of [`ALIGNMENT`].
    bytes: u64,
    /// So many bytes must be free before it is made.
    free_bytes_min: u64,
    state: State,
    task: Rc<RefCell<Task>>,
    not_before: Instant,
}

enum State {
    /// None is wanted.
    Off,
    InHand,
    /// There is none, since a start found no room for it. The disk does not count as full for that.
    Lacking,
    /// It was given up, for this fault.
    GivenUp(Rc<str>),
}

/// What is being done about the file.
#[derive(Default)]
enum Task {
    #[default]
    None,
    UnderWay,
    Done(Done),
}

enum Done {
    Removed(io::Result<()>),
    /// Whether there was enough room for it.
    Made(io::Result<bool>),
}

/// What has become of the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReserveNews {
    /// What it took is free.
    Removed,
    /// It is in hand again.
    Made,
}

impl<H: StorageHost> DiskReserve<H> {
    /// The reserve of a core as its disk has it. It is made if it is not there and there is room for it.
    pub(super) async fn open(host: &H, config: &Config) -> DiskReserve<H> {
        let bytes = config.disk_reserve_bytes.next_multiple_of(ALIGNMENT as u64);
        let path = config.store_dir().join(NAME);
        let cores_count = u64::from(config.node().cores);
        // The cores share a disk: what one has given up must not become the reserve of another. With it, each makes a segment.
        let free_bytes_min = cores_count * (bytes + config.segment_bytes);
        let state = match bytes {
            0 => match host.remove(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "a reserve that is not wanted cannot be removed");
                    State::Off
                }
                _ => State::Off,
            },
            _ => match make(host, &path, bytes).await {
                Ok(()) => State::InHand,
                Err(error) => {
                    tracing::warn!(path = %path.display(), bytes, %error, "there is no room for a reserve of the disk");
                    State::Lacking
                }
            },
        };
        let (host, task) = (host.clone(), Rc::default());
        DiskReserve { host, path, bytes, free_bytes_min, state, task, not_before: Instant::ZERO }
    }

    /// Gives up what a core has in reserve, before it can be opened: the start itself needs room. Returns whether there was any.
    pub(super) async fn give_up_at_start(host: &H, config: &Config) -> bool {
        host.remove(&config.store_dir().join(NAME)).await.is_ok()
    }

    /// The disk is full: gives the reserve up, for what frees room. Returns whether it was not given up before.
    pub(super) fn give_up(&mut self, fault: &str) -> bool {
        match self.state {
            State::Off | State::GivenUp(_) => return false,
            State::InHand => {
                let (host, path) = (self.host.clone(), self.path.clone());
                self.begin(async move { Done::Removed(host.remove(&path).await) });
            }
            State::Lacking => {}
        }
        tracing::warn!(
            fault,
            bytes = self.bytes,
            "the disk is full: its reserve is given up, for what frees room; only commands that delete are accepted until there is room for it again"
        );
        self.state = State::GivenUp(Rc::from(fault));
        true
    }

    /// Whether it was given up, and not made again.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.state, State::GivenUp(_))
    }

    /// Why it was given up, if it was.
    pub(super) fn fault(&self) -> Option<Rc<str>> {
        match &self.state {
            State::GivenUp(fault) => Some(Rc::clone(fault)),
            _ => None,
        }
    }

    fn begin(&mut self, task: impl Future<Output = Done> + 'static) {
        *self.task.borrow_mut() = Task::UnderWay;
        let (slot, host) = (Rc::clone(&self.task), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let done = task.await;
            *slot.borrow_mut() = Task::Done(done);
            host.notify();
        });
    }

    /// Takes in what has been done.
    pub(super) fn poll(&mut self, now: Instant) -> Option<ReserveNews> {
        let done = match self.task.take() {
            Task::Done(done) => done,
            other => {
                *self.task.borrow_mut() = other;
                return None;
            }
        };
        let path = self.path.display();
        match done {
            Done::Removed(Ok(())) => return Some(ReserveNews::Removed),
            Done::Removed(Err(error)) => {
                tracing::warn!(%path, %error, "the reserve of a full disk cannot be removed")
            }
            Done::Made(Ok(true)) => {
                tracing::info!(%path, bytes = self.bytes, "the disk has room again, and a reserve");
                self.state = State::InHand;
                return Some(ReserveNews::Made);
            }
            Done::Made(Ok(false)) => {}
            Done::Made(Err(error)) => tracing::debug!(%path, %error, "the reserve of the disk cannot be made"),
        }
        self.not_before = now + RETRY_AFTER;
        None
    }

    /// Makes the reserve again if it is missing, there is room for it, and `may_make`: nothing under way needs that.
    pub(super) fn tick(&mut self, now: Instant, may_make: bool) {
        let is_missing = matches!(self.state, State::Lacking | State::GivenUp(_));
        let is_idle = matches!(*self.task.borrow(), Task::None);
        if !is_missing || !is_idle || !may_make || now < self.not_before {
            return;
        }
        let (host, path, bytes, free_bytes_min) =
            (self.host.clone(), self.path.clone(), self.bytes, self.free_bytes_min);
        self.begin(async move {
            let made = async {
                let dir = path.parent().unwrap_or(&path);
                if host.free_bytes(dir).await?.is_some_and(|free| free < free_bytes_min) {
                    return Ok(false);
                }
                make(&host, &path, bytes).await.map(|()| true)
            };
            Done::Made(made.await)
        });
    }

    /// The figures for INFO.
    pub(super) fn report(&self, tell: &mut impl FnMut(Field)) {
        let is_in_hand = matches!(self.state, State::InHand);
        let bytes = if is_in_hand { self.bytes } else { 0 };
        tell(Field::sum("disk_reserve_bytes", "Bytes of the disk that are in reserve for when it is full.", bytes));
        tell(Field::least(
            "disk_reserve_in_hand",
            "Whether every core has its reserve of the disk: 0 if one was given up, or could not be made, or is not wanted.",
            is_in_hand.into(),
        ));
    }
}

/// Sees to it that there is a file of so many bytes, whose room is allocated.
async fn make<H: StorageHost>(host: &H, path: &std::path::Path, bytes: u64) -> io::Result<()> {
    match host.open(path).await {
        Ok(file) if host.len(&file).await? == bytes => return Ok(()),
        Ok(_) => host.remove(path).await?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = host.create(path, bytes).await?;
    if host.len(&file).await? == bytes {
        return Ok(());
    }
    host.remove(path).await?;
    Err(io::Error::new(io::ErrorKind::Unsupported, "the file system cannot reserve room"))
}
