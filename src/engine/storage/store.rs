//! The tables of a core, and the manifest that says which group consists of which.
//!
//! What changes what a group consists of is an edit of the manifest. They are made durable one behind another, in the order in which
//! they were handed over; each is answered for with the ticket that it came with. Files that nothing names any more are deleted one
//! at a time.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::rc::Rc;
use std::time::Duration;

use host::TaskClass;
use lsm::files::Files;
use lsm::manifest::{Edit, EditKind, GroupState, Manifest, Written};
use lsm::read::Reader;
use lsm::version::{FileSet, Version};
use lsm::write::Output;
use types::{GroupId, Instant, ReplicaId};

use super::StorageHost;
use crate::config::Config;
use crate::observe::Field;

/// How long to wait after a file could not be deleted.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What an edit was handed over for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ticket {
    /// The flush under way.
    Flush,
    /// The merge under way.
    Merge,
    /// The snapshot with this number that was received.
    Install(u64),
    /// A replica that begins.
    Begin,
    /// One that is destroyed.
    Destroy,
}

/// What has ended that the manifest was wanted for.
pub(super) enum Ended {
    /// An edit.
    Edited(Edited),
    /// It was written anew, or could not be.
    Renewed(Result<(), lsm::Error>),
    /// Numbers for files were reserved, or could not be.
    Numbered(Result<(), lsm::Error>),
}

/// What the manifest is wanted for.
enum Waiting {
    Edit(WaitingEdit),
    /// It is to be written anew.
    Renewal,
    /// Numbers for files are to be reserved, which comes with any edit, and a start on a full disk could not do.
    Numbers,
}

/// An edit on its way to the manifest.
struct WaitingEdit {
    ticket: Ticket,
    group: GroupId,
    replica: ReplicaId,
    edits: Vec<Edit>,
}

/// An edit that has ended.
pub(super) struct Edited {
    pub(super) ticket: Ticket,
    pub(super) group: GroupId,
    pub(super) replica: ReplicaId,
    /// Whether it holds, durably.
    pub(super) result: Result<(), lsm::Error>,
}

/// An edit that was made durable, or not; or a manifest that was written anew, or not.
struct Done<H: StorageHost> {
    manifest: Box<Manifest<H>>,
    result: Result<(), lsm::Error>,
}

/// The tables of a core.
pub(super) struct Store<H: StorageHost> {
    host: H,
    reader: Rc<Reader<H>>,
    output: Rc<Output<H>>,
    files: FileSet,
    /// Away while an edit is made durable.
    manifest: Option<Box<Manifest<H>>>,
    /// What its copies held when it was here last.
    written: Option<Written>,
    /// What the manifest says of each group.
    groups: BTreeMap<GroupId, GroupState>,
    /// Invariant: the first one is the one under way, if the manifest is away.
    waiting: VecDeque<Waiting>,
    done: Rc<RefCell<Option<Done<H>>>>,
    /// The number of the file that is being deleted, and with its end why it could not be.
    deleting: Rc<RefCell<Deleting>>,
    delete_not_before: Instant,
    /// When numbers are to be reserved again at the earliest, if there are none.
    numbers_not_before: Instant,
    deleted_count: u64,
}

#[derive(Default)]
enum Deleting {
    #[default]
    Nothing,
    UnderWay,
    Done(u64, Result<(), lsm::Error>),
}

impl<H: StorageHost> Store<H> {
    /// Opens the store of a core, and makes it if there is none.
    pub(super) async fn open(host: &H, config: &Config) -> Result<Store<H>, lsm::Error> {
        let settings = &config.store;
        let files = Rc::new(Files::open(host.clone(), config.store_dir()).await?);
        let manifest = Manifest::open(Rc::clone(&files), settings.manifest, host.random_u64()).await?;
        let set = manifest.files().clone();
        let output = Output::new(Rc::clone(&files), set.clone(), manifest.store(), settings.write);
        let groups = manifest.state().groups().map(|(group, state)| (group, state.clone())).collect();
        Ok(Store {
            host: host.clone(),
            reader: Rc::new(Reader::new(files, config.table_cache_limits())),
            output: Rc::new(output),
            files: set,
            written: manifest.written(),
            manifest: Some(Box::new(manifest)),
            groups,
            waiting: VecDeque::new(),
            done: Rc::default(),
            deleting: Rc::default(),
            delete_not_before: Instant::ZERO,
            numbers_not_before: Instant::ZERO,
            deleted_count: 0,
        })
    }

    /// Reads tables.
    pub(super) fn reader(&self) -> &Rc<Reader<H>> {
        &self.reader
    }

    /// Writes tables.
    pub(super) fn output(&self) -> &Rc<Output<H>> {
        &self.output
    }

    /// The files of the tables.
    pub(super) fn files(&self) -> &FileSet {
        &self.files
    }

    /// What the manifest says of a group.
    pub(super) fn group(&self, group: GroupId) -> Option<&GroupState> {
        self.groups.get(&group)
    }

    /// The groups of which something is here.
    pub(super) fn group_ids(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.keys().copied()
    }

    /// The tables of a group.
    pub(super) fn version(&self, group: GroupId) -> Rc<Version> {
        self.groups.get(&group).map_or_else(Rc::default, |state| Rc::clone(&state.version))
    }

    /// The first group behind a bound that has something here.
    pub(super) fn next_group(&self, from: Bound<GroupId>) -> Option<GroupId> {
        self.groups.range((from, Bound::Unbounded)).next().map(|(group, _)| *group)
    }

    /// Hands edits of a group over, to be made durable together, behind those before.
    pub(super) fn commit(&mut self, ticket: Ticket, group: GroupId, replica: ReplicaId, kinds: Vec<EditKind>) {
        let before = self.groups.get(&group).filter(|state| state.replica != replica);
        // A replica that was here before has left what it had.
        let dropped = before.map(|state| Edit::Group { group, replica: state.replica, kind: EditKind::Drop });
        let edits = kinds.into_iter().map(|kind| Edit::Group { group, replica, kind });
        let edits = dropped.into_iter().chain(edits).collect();
        self.waiting.push_back(Waiting::Edit(WaitingEdit { ticket, group, replica, edits }));
        self.begin();
    }

    /// Has both copies of the manifest written anew, behind what is on its way.
    pub(super) fn renew(&mut self) {
        self.waiting.push_back(Waiting::Renewal);
        self.begin();
    }

    /// What both copies of the manifest hold, or held before the edit that is on its way; `None` if nobody knows.
    pub(super) fn written(&self) -> Option<Written> {
        self.written
    }

    /// Whether nothing is being written to the manifest.
    pub(super) fn is_at_rest(&self) -> bool {
        self.manifest.is_some()
    }

    /// Whether edits of a group are on their way.
    pub(super) fn is_editing(&self, group: GroupId) -> bool {
        self.waiting.iter().any(|waiting| matches!(waiting, Waiting::Edit(edit) if edit.group == group))
    }

    fn begin(&mut self) {
        let Some(waiting) = self.waiting.front_mut() else { return };
        let Some(mut manifest) = self.manifest.take() else { return };
        let edits = match waiting {
            Waiting::Edit(edit) => Some(std::mem::take(&mut edit.edits)),
            Waiting::Numbers => Some(Vec::new()),
            Waiting::Renewal => None,
        };
        let (done, host) = (Rc::clone(&self.done), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let result = match edits {
                Some(edits) => manifest.commit(edits).await,
                None => manifest.renew().await,
            };
            *done.borrow_mut() = Some(Done { manifest, result });
            host.notify();
        });
    }

    /// Takes in what has ended, and begins what comes next.
    pub(super) fn poll(&mut self) -> Option<Ended> {
        let Done { manifest, result } = self.done.take()?;
        let ended = match self.waiting.pop_front().expect("it was handed over") {
            Waiting::Edit(WaitingEdit { ticket, group, replica, .. }) => {
                match manifest.group(group) {
                    Some(state) => drop(self.groups.insert(group, state.clone())),
                    None => drop(self.groups.remove(&group)),
                }
                Ended::Edited(Edited { ticket, group, replica, result })
            }
            Waiting::Renewal => Ended::Renewed(result),
            Waiting::Numbers => Ended::Numbered(result),
        };
        self.written = manifest.written();
        self.manifest = Some(manifest);
        self.begin();
        Some(ended)
    }

    /// Deletes a file that nothing names, if there is one and none is being deleted.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.files.is_exhausted() && self.waiting.is_empty() && now >= self.numbers_not_before {
            self.numbers_not_before = now + RETRY_AFTER;
            self.waiting.push_back(Waiting::Numbers);
            self.begin();
        }
        match self.deleting.take() {
            Deleting::UnderWay => {
                *self.deleting.borrow_mut() = Deleting::UnderWay;
                return;
            }
            Deleting::Done(number, Err(error)) => {
                tracing::warn!(%error, "a file that is not needed any more cannot be deleted; it is tried again");
                self.files.add_unnamed(number);
                self.delete_not_before = now + RETRY_AFTER;
            }
            Deleting::Done(_, Ok(())) => self.deleted_count += 1,
            Deleting::Nothing => {}
        }
        if now < self.delete_not_before {
            return;
        }
        let Some(number) = self.manifest.as_ref().and_then(|manifest| manifest.take_unnamed()) else { return };
        *self.deleting.borrow_mut() = Deleting::UnderWay;
        let (deleting, files) = (Rc::clone(&self.deleting), Rc::clone(self.reader.files()));
        self.host.spawn(TaskClass::Background, async move {
            let result = files.remove(number).await;
            *deleting.borrow_mut() = Deleting::Done(number, result);
        });
    }

    /// The figures for INFO.
    pub(super) fn report(&self, tell: &mut impl FnMut(Field)) {
        let versions = || self.groups.values().map(|state| &state.version);
        let tables_count: usize = versions().map(|version| version.tables().count()).sum();
        let table_bytes = versions().map(|version| version.table_bytes()).sum();
        let runs_count_max = versions().map(|version| version.runs().len()).max().unwrap_or(0);
        tell(Field::sum("tables", "Tables of all groups.", tables_count as u64));
        tell(Field::sum("table_bytes", "Bytes of these tables.", table_bytes));
        tell(Field::greatest("table_runs_max", "Most runs of tables of one group.", runs_count_max as u64));
        tell(Field::counter("files_deleted", "Tables and blob files deleted.", self.deleted_count));
        tell(Field::sum("files_to_delete", "Files that nothing names any more.", self.files.unnamed_count() as u64));
    }
}
