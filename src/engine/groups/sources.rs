//! What each source has under way here: a read waits for the writes and the reads before it of the same connection.

use host::ConnId;

use crate::origin::{LinkId, Source};

/// What a core has taken in from one source and not answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UnderWay {
    /// Writes that are in a batch or proposed.
    pub(super) writes: usize,
    /// Reads that wait in a batch, which may be proposed.
    pub(super) batched_reads: usize,
    /// Reads that wait outside of batches.
    pub(super) reads: usize,
    /// Bytes that the replies of those writes may have, beyond short ones.
    pub(super) reply_bytes: usize,
}

impl UnderWay {
    /// Whether a command of the source stands in a batch.
    pub(super) fn is_in_batch(&self) -> bool {
        self.writes + self.batched_reads > 0
    }
}

/// The sources of a core, by connection and link.
#[derive(Default)]
pub(super) struct Sources {
    /// By the connection's index; the generation tells a connection from a later one in the same place.
    clients: Vec<(u32, UnderWay)>,
    links: Vec<UnderWay>,
    /// What is asked for of a source that is gone.
    gone: UnderWay,
}

impl Sources {
    /// What is under way for a source. A connection that has been replaced by a later one has nothing under way that
    /// anybody waits for.
    pub(super) fn of(&mut self, source: Source) -> &mut UnderWay {
        match source {
            Source::Client(conn) => self.of_client(conn),
            Source::Peer(link) => self.of_link(link),
        }
    }

    fn of_client(&mut self, conn: ConnId) -> &mut UnderWay {
        let idx = conn.idx as usize;
        if self.clients.len() <= idx {
            self.clients.resize(idx + 1, (0, UnderWay::default()));
        }
        let (generation, under_way) = &mut self.clients[idx];
        if *generation > conn.generation {
            self.gone = UnderWay::default();
            return &mut self.gone;
        }
        if *generation < conn.generation {
            (*generation, *under_way) = (conn.generation, UnderWay::default());
        }
        under_way
    }

    fn of_link(&mut self, link: LinkId) -> &mut UnderWay {
        if self.links.len() <= link.idx() {
            self.links.resize(link.idx() + 1, UnderWay::default());
        }
        &mut self.links[link.idx()]
    }

    /// A write was taken in, whose reply may have this many bytes.
    pub(super) fn write_begun(&mut self, source: Source, reply_bytes: u32) {
        let under_way = self.of(source);
        under_way.writes += 1;
        under_way.reply_bytes += reply_bytes as usize;
    }

    /// A write is answered, or about to go another way, whose reply might have had this many bytes.
    pub(super) fn write_ended(&mut self, source: Source, reply_bytes: u32) {
        let under_way = self.of(source);
        under_way.writes = under_way.writes.saturating_sub(1);
        under_way.reply_bytes = under_way.reply_bytes.saturating_sub(reply_bytes as usize);
    }

    /// A read has joined a batch.
    pub(super) fn batched_read_begun(&mut self, source: Source) {
        self.of(source).batched_reads += 1;
    }

    /// A read of a batch is answered, or about to go another way.
    pub(super) fn batched_read_ended(&mut self, source: Source) {
        let under_way = self.of(source);
        under_way.batched_reads = under_way.batched_reads.saturating_sub(1);
    }

    /// A read waits outside of batches.
    pub(super) fn read_begun(&mut self, source: Source) {
        self.of(source).reads += 1;
    }

    /// A read waits no more.
    pub(super) fn read_ended(&mut self, source: Source) {
        let under_way = self.of(source);
        under_way.reads = under_way.reads.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(idx: u32, generation: u32) -> Source {
        Source::Client(ConnId { idx, generation })
    }

    #[test]
    fn each_source_has_its_own_account() {
        let mut sources = Sources::default();
        sources.write_begun(client(3, 0), 10);
        sources.write_begun(client(3, 0), 5);
        sources.read_begun(Source::Peer(LinkId(2)));
        assert_eq!((sources.of(client(3, 0)).writes, sources.of(client(3, 0)).reply_bytes), (2, 15));
        assert_eq!(sources.of(client(2, 0)).writes, 0);
        assert_eq!((sources.of(Source::Peer(LinkId(2))).reads, sources.of(Source::Peer(LinkId(1))).reads), (1, 0));
        sources.read_ended(Source::Peer(LinkId(2)));
        assert_eq!(sources.of(Source::Peer(LinkId(2))).reads, 0);
        sources.write_ended(client(3, 0), 10);
        assert_eq!((sources.of(client(3, 0)).writes, sources.of(client(3, 0)).reply_bytes), (1, 5));
        sources.write_ended(client(3, 0), 5);
        assert_eq!((sources.of(client(3, 0)).writes, sources.of(client(3, 0)).reply_bytes), (0, 0));
    }

    #[test]
    fn a_read_in_a_batch_holds_up_what_comes_behind_it_like_a_write() {
        let mut sources = Sources::default();
        sources.batched_read_begun(client(0, 0));
        assert!(sources.of(client(0, 0)).is_in_batch());
        sources.write_begun(client(0, 0), 0);
        sources.batched_read_ended(client(0, 0));
        assert!(sources.of(client(0, 0)).is_in_batch());
        sources.write_ended(client(0, 0), 0);
        sources.read_begun(client(0, 0));
        assert!(!sources.of(client(0, 0)).is_in_batch());
    }

    #[test]
    fn what_a_closed_connection_left_under_way_concerns_no_later_one() {
        let mut sources = Sources::default();
        sources.write_begun(client(0, 1), 0);
        assert_eq!(sources.of(client(0, 2)).writes, 0);
        sources.write_begun(client(0, 2), 0);
        sources.write_ended(client(0, 1), 0);
        assert_eq!(sources.of(client(0, 2)).writes, 1);
    }
}
