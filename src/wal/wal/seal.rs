//! Segments that are not written any more: which there are to be checked, and what becomes of one that turns out to be damaged.

use std::rc::Rc;

use types::{GroupId, Index};

use super::Wal;
use crate::LogHost;
use crate::segments::Segment;
use crate::verify::SealedSegment;

impl<D: LogHost> Wal<D> {
    /// The first sealed segment behind the one with this id, if there is one. Those that are known to be damaged are passed over.
    pub fn sealed_behind(&self, id: u64) -> Option<SealedSegment<D>> {
        let is_known = |segment: &Segment<D::File>| segment.is_unreadable || segment.is_evidence;
        let sealed = |segment: &&Segment<D::File>| segment.id > id && segment.id < self.durable_end.segment;
        let segment = self.segments.iter().filter(sealed).find(|segment| !is_known(segment))?;
        // Where blocks were lost, what stands behind says nothing of this one.
        let next = self.segments.get(segment.id + 1).filter(|next| !is_known(next) && self.has_durable(next.id));
        Some(SealedSegment {
            host: self.host.clone(),
            dir: self.config.dir.clone(),
            log_id: self.config.log_id,
            id: segment.id,
            bytes: segment.bytes,
            file: Rc::downgrade(segment.file.as_ref()?),
            has_runs: segment.runs_live > 0,
            next: next.and_then(|next| Some((next.id, Rc::downgrade(next.file.as_ref()?)))),
        })
    }

    fn has_durable(&self, segment: u64) -> bool {
        segment < self.durable_end.segment || segment == self.durable_end.segment && self.durable_end.offset > 0
    }

    /// A segment turned out to be damaged: its place on the disk is not used again. Returns the groups that keep it or one before it from
    /// being let go, with the index up to which each must be compacted for that.
    pub fn damaged(&mut self, segment: u64) -> Vec<(GroupId, Index)> {
        if let Some(segment) = self.segments.get_mut(segment) {
            segment.is_unreadable = true;
        }
        self.groups.iter().filter_map(|(group, log)| Some((*group, log.last_up_to_segment(segment)?))).collect()
    }
}
