//! Which replicas live in the log: one begins, one is destroyed.

use types::{GroupId, ReplicaId};

use crate::LogHost;
use crate::error::Error;
use crate::group::GroupLog;
use crate::record::Body;
use crate::segments;
use crate::wal::Wal;

impl<D: LogHost> Wal<D> {
    /// A replica of a group begins, with nothing in its log. Whatever the log held of the group is no more: a replica with a
    /// smaller id, or a quarantine. It is durable at the latest with what is appended next.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if a segment cannot open with one more group; then nothing was appended. [`Error::Poisoned`], which is
    /// final.
    ///
    /// # Panics
    /// If this replica or a later one lives here, or lived or was destroyed, as far as the log knows: it may have voted.
    pub fn begin(&mut self, group: GroupId, replica: ReplicaId) -> Result<(), Error> {
        self.check_alive()?;
        let known = self.known_replica(group);
        assert!(
            replica > known,
            "group {group}: replica {replica} cannot begin here, as replica {known} has lived or was destroyed here"
        );
        self.check_has_place(group)?;
        self.put_small(group, &Body::Beginning { replica });
        self.replace(group, |log, dropped| log.begin(replica, dropped));
        Ok(())
    }

    /// A replica of a group is destroyed, whether it has ever lived here or not: all that the log held of the group is no more,
    /// its quarantine included, and neither this replica nor one with a smaller id ever begins here. Does nothing if that stands
    /// in the log already.
    ///
    /// # Errors
    /// As [`Wal::begin`].
    ///
    /// # Panics
    /// If it is no replica's id, or a replica with a greater id lives here, as far as the log knows.
    pub fn destroy(&mut self, group: GroupId, replica: ReplicaId) -> Result<(), Error> {
        self.check_alive()?;
        let known = self.known_replica(group);
        if replica <= known && self.groups.get(&group).is_some_and(GroupLog::is_gone) {
            return Ok(());
        }
        assert!(
            replica >= known && replica > ReplicaId(0),
            "group {group}: replica {replica} cannot be destroyed here, as replica {known} lives here"
        );
        self.check_has_place(group)?;
        self.put_small(group, &Body::Destroyed { replica });
        self.replace(group, |log, dropped| log.destroy(replica, dropped));
        Ok(())
    }

    fn known_replica(&self, group: GroupId) -> ReplicaId {
        self.groups.get(&group).map_or(ReplicaId(0), |log| log.replica)
    }

    fn check_has_place(&self, group: GroupId) -> Result<(), Error> {
        if self.groups.contains_key(&group) { Ok(()) } else { self.check_one_more_group() }
    }

    /// Takes in that what was known of a group holds no more, whose record was just put.
    fn replace(
        &mut self,
        group: GroupId,
        change: impl FnOnce(&mut GroupLog, &mut dyn FnMut(u64)) -> Result<(), &'static str>,
    ) {
        let Wal { groups, segments, .. } = self;
        let log = groups.get_mut(&group).expect("its record is noted");
        let was_quarantined = log.fault.is_some();
        change(log, &mut |id| segments.run_dropped(id)).expect("checked before");
        if was_quarantined {
            self.faults_count -= 1;
            if self.faults_count == 0 {
                self.pool.borrow_mut().remove_damaged();
                segments::prepare(&self.host, &self.pool);
            }
        }
    }
}
