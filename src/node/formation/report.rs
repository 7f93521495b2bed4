//! What is said about the formation of a cluster: to the log while it is waited for, and as an error when it cannot be.

use std::path::Path;
use std::time::{Duration, Instant};

use types::NodeId;

use super::machine::Conflict;
use super::peer::{Heard, Peer};

/// When the log first says what is waited for, and how often again. A sound cluster is formed before.
const FIRST_AFTER: Duration = Duration::from_secs(2);
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Nodes that one line names.
const NAMED_COUNT_MAX: usize = 8;

/// Tells the log what a node waits for, without repeating itself.
#[derive(Debug)]
pub struct Report<'a> {
    peers: &'a [Peer],
    heard: Vec<Option<Heard>>,
    next_at: Instant,
}

impl<'a> Report<'a> {
    /// Nothing was heard yet.
    pub fn new(peers: &'a [Peer]) -> Report<'a> {
        Report { peers, heard: vec![None; peers.len()], next_at: Instant::now() + FIRST_AFTER }
    }

    /// Takes in what the peers have said, in their order. A peer that cannot take part is named at once; one that is not
    /// there yet only if it stays away.
    pub fn heard(&mut self, heard: &[Heard]) {
        for ((peer, before), now) in self.peers.iter().zip(&mut self.heard).zip(heard) {
            if before.as_ref() == Some(now) {
                continue;
            }
            if let (Some(obstacle), Heard::Said(_)) = (now.obstacle(), now) {
                tracing::warn!(node = peer.id.0, addr = %peer.addr, "a node {obstacle}");
            }
            *before = Some(now.clone());
        }
    }

    /// Says what is waited for, if it is time.
    pub fn waiting(&mut self, dir: &Path) {
        if Instant::now() >= self.next_at {
            self.next_at = Instant::now() + AGAIN_AFTER;
            tracing::warn!("{}", self.waiting_words(dir));
        }
    }

    fn waiting_words(&self, dir: &Path) -> String {
        let obstacles: Vec<String> = self
            .peers
            .iter()
            .zip(&self.heard)
            .filter_map(|(peer, heard)| {
                let obstacle = heard.as_ref().and_then(Heard::obstacle)?;
                Some(format!("node {} at {} {obstacle}", peer.id, peer.addr))
            })
            .collect();
        let more = obstacles.len().saturating_sub(NAMED_COUNT_MAX);
        let mut named = obstacles.iter().take(NAMED_COUNT_MAX).cloned().collect::<Vec<_>>().join("; ");
        if more > 0 {
            named.push_str(&format!("; and {more} more"));
        }
        if named.is_empty() {
            "for the node with the lowest id".clone_into(&mut named);
        }
        format!(
            "this node has no data in {} and does not serve; a new cluster is formed once all nodes are there, without data \
             and configured alike. It waits: {named}. If this cluster has served before, this node's data is gone: stop the \
             node and put its directory back (is the disk mounted, is data_dir right?)",
            dir.display()
        )
    }
}

/// Why a node goes no further, and what a person can do.
pub fn conflict_words(conflict: Conflict, me: NodeId, dir: &Path, peers: &[Peer]) -> String {
    let dir = dir.display();
    let named = |node: NodeId| {
        let addr = peers.iter().find(|peer| peer.id == node).map(|peer| format!(" at {}", peer.addr));
        format!("node {node}{}", addr.unwrap_or_default())
    };
    const REPLACE: &str = "a node whose data is lost for good comes back with an empty directory and --join TOKEN: \
                           CORACLE REPLACE with its id, asked on the gateway of any other node, prints the token";
    match conflict {
        Conflict::EmptyBesideFormed(other) => format!(
            "node {me} has no data in {dir}, and {} belongs to this cluster, which is formed: the data of node {me} is gone, \
             or it was never a part of the cluster. It must not serve beside the others. Put its directory back (is the \
             disk mounted, is data_dir right?); {REPLACE}",
            named(other)
        ),
        Conflict::FormingBesideFormed(other) => format!(
            "node {me} has agreed to form a cluster, says {dir}/node.toml, and {} belongs to another one of the same name, \
             which is formed. If the other one is right, put the directory of node {me} back; {REPLACE}",
            named(other)
        ),
        Conflict::RolledBack(other) => format!(
            "{dir}/node.toml says that node {me} has not formed its cluster yet, and {} belongs to it: the directory is an \
             old copy, without what node {me} has promised since. Put the right one back; {REPLACE}",
            named(other)
        ),
        Conflict::UnknownId(other) => format!(
            "{} has agreed to form a cluster of which node {me} knows nothing: the directory {dir} of node {me}, which draws \
             the cluster's id, was lost meanwhile. Put it back. If no node of this cluster has ever served, removing \
             node.toml from the data directories of all nodes makes them new",
            named(other)
        ),
    }
}

#[cfg(test)]
mod tests {
    use wire::AnswerCode;

    use super::*;

    fn peers(count: u32) -> Vec<Peer> {
        (2..2 + count).map(|id| Peer { id: NodeId(id), addr: ([127, 0, 0, id as u8], 8_000).into() }).collect()
    }

    #[test]
    fn a_waiting_node_names_what_is_in_the_way_and_what_to_do() {
        let peers = peers(12);
        let mut report = Report::new(&peers);
        let mut heard = vec![Heard::Said(AnswerCode::Empty); 12];
        heard[0] = Heard::Nothing("Connection refused".to_owned());
        heard[1] = Heard::Said(AnswerCode::OtherMap);
        report.heard(&heard);
        let text = report.waiting_words(Path::new("/data/1"));
        for part in [
            "no data in /data/1",
            "node 2 at 127.0.0.2:8000 cannot be asked (Connection refused); node 3 at 127.0.0.3:8000 is configured otherwise",
            "put its directory back",
        ] {
            assert!(text.contains(part), "`{part}` is missing in: {text}");
        }
        assert!(!text.contains("node 4"), "{text}");
        report.heard(&vec![Heard::Nothing("no route".to_owned()); 12]);
        let text = report.waiting_words(Path::new("/data/1"));
        assert!(text.contains("node 9 ") && !text.contains("node 10 ") && text.contains("and 4 more"), "{text}");
    }

    #[test]
    fn every_conflict_names_both_nodes_the_directory_and_the_remedy() {
        let peers = peers(1);
        let two = NodeId(2);
        for conflict in [
            Conflict::EmptyBesideFormed(two),
            Conflict::FormingBesideFormed(two),
            Conflict::RolledBack(two),
            Conflict::UnknownId(two),
        ] {
            let text = conflict_words(conflict, NodeId(1), Path::new("/data/1"), &peers);
            for part in ["node 1", "node 2 at 127.0.0.2:8000", "/data/1", "back"] {
                assert!(text.contains(part), "`{part}` is missing in: {text}");
            }
        }
    }
}
