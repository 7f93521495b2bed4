//! Who owns which slot: what `CLUSTER SLOTS` says.

use std::net::{IpAddr, SocketAddr};

use types::{SLOTS_COUNT, Slot};

use crate::error::Error;
use crate::reply::Reply;

/// The most owners a topology may name.
const OWNERS_MAX: usize = 4_096;
/// Marks a slot nobody owns.
const UNOWNED: u16 = u16::MAX;

/// The owners and their slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    owners: Vec<SocketAddr>,
    // Invariant: SLOTS_COUNT elements, each an index into `owners` or `UNOWNED`.
    owner_of: Vec<u16>,
}

impl Topology {
    /// One server that owns every slot.
    pub fn single(addr: SocketAddr) -> Topology {
        Topology { owners: vec![addr], owner_of: vec![0; SLOTS_COUNT] }
    }

    /// Reads the reply to `CLUSTER SLOTS` that `asked` gave. An empty host means the host that was asked.
    ///
    /// # Errors
    /// Says what is wrong with the reply. Slots that nobody owns are no error.
    pub fn parse(reply: &Reply<'_>, asked: SocketAddr) -> Result<Topology, Error> {
        let malformed = |what: String| Error::MalformedReply { addr: asked.to_string(), what };
        let ranges = match reply {
            Reply::Array(ranges) => ranges,
            Reply::Error(text) => return Err(malformed(format!("CLUSTER SLOTS: {}", String::from_utf8_lossy(text)))),
            _ => return Err(malformed("CLUSTER SLOTS is not an array".to_owned())),
        };
        let mut topology = Topology { owners: Vec::new(), owner_of: vec![UNOWNED; SLOTS_COUNT] };
        for range in ranges {
            let (start, end, addr) =
                parse_range(range, asked).ok_or_else(|| malformed(format!("not a range of slots: {range:?}")))?;
            let owner =
                topology.owner_idx(addr).ok_or_else(|| malformed(format!("more than {OWNERS_MAX} owners")))?;
            for slot in topology.owner_of.get_mut(start..=end).unwrap_or_default() {
                *slot = owner;
            }
        }
        Ok(topology)
    }

    /// The owners, each once, in the order in which they were named.
    pub fn owners(&self) -> &[SocketAddr] {
        &self.owners
    }

    /// The index of the owner of this slot.
    pub fn owner_of(&self, slot: Slot) -> Option<usize> {
        self.owner_of.get(slot.idx()).filter(|owner| **owner != UNOWNED).map(|owner| usize::from(*owner))
    }

    /// How many slots each owner has, in the order of [`Topology::owners`].
    pub fn slots_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.owners.len()];
        for owner in &self.owner_of {
            if let Some(count) = counts.get_mut(usize::from(*owner)) {
                *count += 1;
            }
        }
        counts
    }

    fn owner_idx(&mut self, addr: SocketAddr) -> Option<u16> {
        let idx = self.owners.iter().position(|owner| *owner == addr).unwrap_or_else(|| {
            self.owners.push(addr);
            self.owners.len() - 1
        });
        u16::try_from(idx).ok().filter(|idx| usize::from(*idx) < OWNERS_MAX)
    }
}

/// `[start, end, [host, port, ...], ...]`; the first node is the owner.
fn parse_range(range: &Reply<'_>, asked: SocketAddr) -> Option<(usize, usize, SocketAddr)> {
    let Reply::Array(parts) = range else { return None };
    let [Reply::Integer(start), Reply::Integer(end), Reply::Array(node), ..] = parts.as_slice() else { return None };
    let [host, Reply::Integer(port), ..] = node.as_slice() else { return None };
    let ip: IpAddr = match host {
        Reply::Nil | Reply::Bulk(b"") => asked.ip(),
        Reply::Bulk(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        _ => return None,
    };
    let start = usize::try_from(*start).ok()?;
    let end = usize::try_from(*end).ok().filter(|end| *end < SLOTS_COUNT && start <= *end)?;
    Some((start, end, SocketAddr::new(ip, u16::try_from(*port).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::decode;

    fn asked() -> SocketAddr {
        "127.0.0.9:7001".parse().unwrap()
    }

    fn parse(bytes: &[u8]) -> Result<Topology, Error> {
        Topology::parse(&decode(bytes).unwrap().unwrap().0, asked())
    }

    #[test]
    fn ranges_become_owners_of_slots() {
        let topology = parse(
            b"*3\r\n\
              *3\r\n:0\r\n:99\r\n*4\r\n$9\r\n127.0.0.1\r\n:7001\r\n$2\r\nid\r\n*0\r\n\
              *4\r\n:100\r\n:16000\r\n*3\r\n$9\r\n127.0.0.2\r\n:7001\r\n$2\r\nid\r\n*3\r\n$9\r\n127.0.0.3\r\n:1\r\n$1\r\nx\r\n\
              *3\r\n:16001\r\n:16382\r\n*2\r\n$0\r\n\r\n:7002\r\n",
        )
        .unwrap();
        let owners: Vec<String> = topology.owners().iter().map(ToString::to_string).collect();
        assert_eq!(owners, ["127.0.0.1:7001", "127.0.0.2:7001", "127.0.0.9:7002"]);
        let owner = |slot| topology.owner_of(Slot::new(slot).unwrap());
        assert_eq!([owner(0), owner(99), owner(100), owner(16_000)], [Some(0), Some(0), Some(1), Some(1)]);
        assert_eq!([owner(16_382), owner(16_383)], [Some(2), None], "the last slot is nobody's");
        assert_eq!(topology.slots_counts(), [100, 15_901, 382]);
    }

    #[test]
    fn an_owner_of_two_ranges_is_one_owner() {
        let topology = parse(
            b"*2\r\n*3\r\n:0\r\n:9\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n*3\r\n:20\r\n:29\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n",
        )
        .unwrap();
        assert_eq!(topology.slots_counts(), [20]);
    }

    #[test]
    fn replies_that_are_no_topology_are_errors() {
        let cases: [&[u8]; 6] = [
            b"-ERR This instance has cluster support disabled\r\n",
            b"+OK\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n*3\r\n:5\r\n:4\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n",
            b"*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n",
            b"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\n?\r\n:1\r\n",
        ];
        for bytes in cases {
            assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
