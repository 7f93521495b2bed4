//! Every interleaving of three nodes, with crashes between any two steps and with lost directories; random walks of more.

use std::collections::{BTreeSet, HashSet, VecDeque};

use super::*;

/// Ids that may be drawn in one world: one per directory of the coordinator, and one more.
const DRAWS_COUNT_MAX: u8 = 3;
/// Worlds in which plain crashes are tried too; with more lost directories there would be too many worlds.
const WIPES_BESIDE_CRASHES_MAX: u8 = 1;
const CONFIG: ConfigPrint = ConfigPrint { name: [1; 12], map: [2; 12] };

fn id(number: u8) -> ClusterId {
    ClusterId(number.into())
}

fn others(me: u32, count: u32) -> impl Iterator<Item = NodeId> {
    (1..=count).filter(move |node| *node != me).map(NodeId)
}

/// A whole cluster: what is durable, what each process knows, and what is on its way.
#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    /// Node `n` stands at `n - 1`. A machine's stage is durable at any time.
    nodes: Vec<Machine>,
    /// Proposals and commits that were sent and have not arrived: kind, sender, receiver, id.
    under_way: BTreeSet<(QuestionKind, u32, u32, u8)>,
    drawn: u8,
    wipes_left: u8,
    crashes: bool,
    /// The ids under which each node may have started cores, its lost directories included.
    served: Vec<BTreeSet<u8>>,
    /// The same, of lost directories only.
    lost: Vec<BTreeSet<u8>>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// One node does what it does next.
    Act(usize),
    /// One node sends its question to another; one that only asks is answered at once.
    Send(usize, usize),
    /// A question arrives, is stored and answered; the answer arrives or is lost.
    Arrive(QuestionKind, u32, u32, u8, bool),
    /// One process ends and starts again on its directory.
    Crash(usize),
    /// The same, and its directory is lost.
    Wipe(usize),
}

impl World {
    fn new(count: u32, wipes: u8) -> World {
        let nodes: Vec<_> =
            (1..=count).map(|me| Machine::new(NodeId(me), others(me, count), CONFIG, Stage::Empty)).collect();
        let nothing = vec![BTreeSet::new(); nodes.len()];
        World {
            nodes,
            under_way: BTreeSet::new(),
            drawn: 0,
            wipes_left: wipes,
            crashes: wipes <= WIPES_BESIDE_CRASHES_MAX,
            served: nothing.clone(),
            lost: nothing,
        }
    }

    fn steps(&self) -> Vec<Step> {
        let count = self.nodes.len();
        let mut steps = Vec::new();
        for node in 0..count {
            steps.push(Step::Act(node));
            if self.crashes {
                steps.push(Step::Crash(node));
            }
            if self.wipes_left > 0 {
                steps.push(Step::Wipe(node));
            }
            steps.extend((0..count).filter(|other| *other != node).map(|other| Step::Send(node, other)));
        }
        for (kind, from, to, id) in &self.under_way {
            steps.extend([true, false].map(|answered| Step::Arrive(*kind, *from, *to, *id, answered)));
        }
        steps
    }

    /// The world behind a step; `None` if the step changes nothing or needs more ids than there are.
    fn after(&self, step: Step) -> Option<World> {
        let mut world = self.clone();
        match step {
            Step::Act(node) => world.act(node)?,
            Step::Send(node, other) => world.send(node, other),
            Step::Arrive(kind, from, to, id, answered) => {
                world.under_way.remove(&(kind, from, to, id));
                world.arrive(kind, from, to, id, answered);
            }
            Step::Crash(node) => {
                let stage = world.nodes[node].stage();
                world.restart(node, stage);
            }
            Step::Wipe(node) => {
                world.wipes_left -= 1;
                world.lost[node] = world.served[node].clone();
                world.restart(node, Stage::Empty);
            }
        }
        (world != *self).then_some(world)
    }

    fn act(&mut self, node: usize) -> Option<()> {
        let next = self.nodes[node].next(|| id(self.drawn + 1));
        if let Next::Store(stage) = next {
            if matches!((self.nodes[node].stage(), stage), (Stage::Empty, Stage::Forming(_))) {
                self.drawn += 1;
            }
            if self.drawn > DRAWS_COUNT_MAX {
                return None;
            }
            self.store(node, stage);
        }
        Some(())
    }

    fn store(&mut self, node: usize, stage: Stage) {
        self.nodes[node].stored(stage);
        let Stage::Formed(ClusterId(formed)) = stage else { return };
        let formed = formed as u8;
        self.served[node].insert(formed);
        assert!(!self.lost[node].contains(&formed), "node {} is back without what it has promised", node + 1);
        for (idx, other) in self.nodes.iter().enumerate() {
            let agreed = other.stage().cluster_id().map(|id| id.0 as u8);
            assert!(agreed.is_none_or(|agreed| agreed == formed), "node {} is of another cluster", idx + 1);
        }
    }

    fn send(&mut self, node: usize, other: usize) {
        let question = self.nodes[node].question(NodeId(other as u32 + 1));
        if question.kind == QuestionKind::Ask {
            let code = self.nodes[other].answer(&question);
            self.nodes[node].take_answer(&question, Some(code));
        } else {
            let id = self.nodes[node].stage().cluster_id().expect("a proposal has an id").0 as u8;
            self.under_way.insert((question.kind, node as u32 + 1, other as u32 + 1, id));
        }
    }

    fn arrive(&mut self, kind: QuestionKind, from: u32, to: u32, number: u8, answered: bool) {
        let cluster_id = Some(id(number).0.to_le_bytes());
        let question = Question { kind, from: NodeId(from), to: NodeId(to), config: CONFIG, cluster_id };
        let receiver = to as usize - 1;
        if let Some(stage) = self.nodes[receiver].stage_behind(&question) {
            self.store(receiver, stage);
        }
        let code = self.nodes[receiver].answer(&question);
        if answered {
            self.nodes[from as usize - 1].take_answer(&question, Some(code));
        }
    }

    /// A process starts. What was on its way to the former one ends with its connections.
    fn restart(&mut self, node: usize, stage: Stage) {
        let me = node as u32 + 1;
        self.under_way.retain(|(_, _, to, _)| *to != me);
        self.nodes[node] = Machine::new(NodeId(me), others(me, self.nodes.len() as u32), CONFIG, stage);
    }

    /// All nodes run and all messages arrive, for a few rounds.
    fn settle(&mut self) {
        for _ in 0..6 {
            for node in 0..self.nodes.len() {
                for other in (0..self.nodes.len()).filter(|other| *other != node) {
                    self.send(node, other);
                }
                for (kind, from, to, id) in std::mem::take(&mut self.under_way) {
                    self.arrive(kind, from, to, id, true);
                }
                let _ = self.act(node);
            }
        }
    }

    fn is_formed(&self) -> bool {
        let first = self.nodes[0].stage();
        matches!(first, Stage::Formed(_)) && self.nodes.iter().all(|node| node.stage() == first)
    }
}

/// Every world that can be reached, each checked on the way by [`World::store`].
fn reachable(begin: World) -> HashSet<World> {
    let mut seen = HashSet::from([begin.clone()]);
    let mut queue = VecDeque::from([begin]);
    while let Some(world) = queue.pop_front() {
        for next in world.steps().into_iter().filter_map(|step| world.after(step)) {
            if seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    seen
}

#[test]
fn whatever_crashes_one_cluster_forms_in_the_end() {
    let worlds = reachable(World::new(3, 0));
    println!("{} worlds of three nodes whose processes crash", worlds.len());
    let mut begun = 0;
    for mut world in worlds {
        begun += usize::from(world.nodes.iter().any(|node| matches!(node.stage(), Stage::Forming(_))));
        assert!(world.drawn <= 1, "an id is drawn once");
        world.settle();
        assert!(world.is_formed(), "{:?}", world.nodes);
    }
    assert!(begun > 1_000, "too few worlds were in the middle of the agreement: {begun}");
}

#[test]
fn a_lost_directory_never_leads_to_two_clusters_whatever_crashes_besides() {
    let worlds = reachable(World::new(3, 1));
    println!("{} worlds of three nodes, one of whose directories is lost", worlds.len());
    let lost = |world: &&World| world.lost.iter().any(|lost| !lost.is_empty());
    assert!(worlds.iter().filter(lost).count() > 100, "a node of a formed cluster lost its directory");
}

#[test]
fn lost_directories_never_lead_to_two_clusters_nor_bring_a_node_back_without_its_promises() {
    let worlds = reachable(World::new(3, 2));
    println!("{} worlds of three nodes, two of whose directories are lost", worlds.len());
    let is_split = |world: &&World| {
        let formed = world.nodes.iter().filter(|node| matches!(node.stage(), Stage::Formed(_))).count();
        formed == 1 && world.lost.iter().filter(|lost| !lost.is_empty()).count() == 2
    };
    let mut split_count = 0;
    for world in worlds.iter().filter(is_split) {
        split_count += 1;
        let mut world = world.clone();
        world.settle();
        let empty = world.nodes.iter().filter(|node| matches!(node.stage(), Stage::Formed(_))).count();
        assert_eq!(empty, 1, "two emptied nodes of three stay away: {:?}", world.nodes);
    }
    assert!(split_count > 0, "two nodes of a formed cluster lost their directories");
}

#[test]
fn random_walks_of_five_nodes() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) as usize % bound
    };
    let mut formed = 0;
    for walk in 0..250_u8 {
        let mut world = World { crashes: true, ..World::new(5, walk % 4) };
        for _ in 0..400 {
            let steps = world.steps();
            // Directories are lost seldom, and crashes are not what happens most.
            let step = steps[below(steps.len())];
            let is_rare =
                matches!(step, Step::Wipe(_)) && below(50) > 0 || matches!(step, Step::Crash(_)) && below(5) > 0;
            if let Some(next) = world.after(step).filter(|_| !is_rare) {
                world = next;
            }
        }
        world.settle();
        formed += usize::from(world.is_formed());
        assert!(world.is_formed() || walk % 4 > 0, "without a loss nothing is in the way: {:?}", world.nodes);
    }
    assert!(formed > 62, "{formed} of 250 clusters were formed");
}

/// A node of three with what the others say.
fn machine(me: u32, stage: Stage, codes: [Option<AnswerCode>; 2]) -> Machine {
    let mut machine = Machine::new(NodeId(me), others(me, 3), CONFIG, stage);
    let peers: Vec<NodeId> = others(me, 3).collect();
    for (peer, code) in peers.into_iter().zip(codes) {
        let question = machine.question(peer);
        machine.take_answer(&question, code);
    }
    machine
}

fn next(me: u32, stage: Stage, codes: [Option<AnswerCode>; 2]) -> Next {
    machine(me, stage, codes).next(|| id(9))
}

#[test]
fn a_cluster_forms_only_if_every_node_is_there_empty_and_configured_alike() {
    use AnswerCode::{Empty, OtherMap, OtherName, OtherNode, OtherVersion, UnknownNode};
    assert_eq!(next(1, Stage::Empty, [Some(Empty); 2]), Next::Store(Stage::Forming(id(9))));
    assert_eq!(next(2, Stage::Empty, [Some(Empty); 2]), Next::Ask, "the lowest id draws");
    for wrong in [None, Some(OtherMap), Some(OtherName), Some(OtherNode), Some(UnknownNode), Some(OtherVersion)] {
        assert_eq!(next(1, Stage::Empty, [Some(Empty), wrong]), Next::Ask, "{wrong:?}");
    }
    assert_eq!(
        Machine::new(NodeId(4), std::iter::empty(), CONFIG, Stage::Empty).next(|| id(9)),
        Next::Store(Stage::Formed(id(9))),
        "a cluster of one has nobody to wait for"
    );
}

#[test]
fn a_node_that_goes_no_further_says_beside_whom() {
    use AnswerCode::{Empty, FormedOther, FormedSame, FormingOther, FormingSame};
    let two = NodeId(2);
    let beside = |stage, first| next(1, stage, [Some(first), Some(Empty)]);
    assert_eq!(beside(Stage::Empty, FormedOther), Next::GiveUp(Conflict::EmptyBesideFormed(two)));
    assert_eq!(beside(Stage::Forming(id(1)), FormedOther), Next::GiveUp(Conflict::FormingBesideFormed(two)));
    assert_eq!(beside(Stage::Empty, FormingOther), Next::GiveUp(Conflict::UnknownId(two)));
    assert_eq!(beside(Stage::Forming(id(1)), FormingOther), Next::GiveUp(Conflict::UnknownId(two)));
    assert_eq!(beside(Stage::Forming(id(1)), FormedSame), Next::GiveUp(Conflict::RolledBack(two)));
    // For the others it is in order that some have agreed before them, and that the coordinator is done.
    assert_eq!(next(2, Stage::Empty, [Some(FormingOther), Some(FormingOther)]), Next::Ask);
    assert_eq!(next(2, Stage::Forming(id(1)), [Some(FormingSame), None]), Next::Ask);
    assert_eq!(next(2, Stage::Forming(id(1)), [None, Some(FormedSame)]), Next::Store(Stage::Formed(id(1))));
}

#[test]
fn strangers_change_nothing_and_are_told_why() {
    let empty = machine(2, Stage::Empty, [None; 2]);
    let sound = Question {
        kind: QuestionKind::Propose,
        from: NodeId(1),
        to: NodeId(2),
        config: CONFIG,
        cluster_id: Some(id(5).0.to_le_bytes()),
    };
    assert_eq!(empty.stage_behind(&sound), Some(Stage::Forming(id(5))));
    for (question, code) in [
        (Question { config: ConfigPrint { name: [9; 12], ..CONFIG }, ..sound }, AnswerCode::OtherName),
        (Question { config: ConfigPrint { map: [9; 12], ..CONFIG }, ..sound }, AnswerCode::OtherMap),
        (Question { to: NodeId(3), ..sound }, AnswerCode::OtherNode),
        (Question { from: NodeId(7), ..sound }, AnswerCode::UnknownNode),
        (Question { from: NodeId(3), ..sound }, AnswerCode::Empty),
        (Question { kind: QuestionKind::Commit, ..sound }, AnswerCode::Empty),
        (Question { cluster_id: None, ..sound }, AnswerCode::Empty),
    ] {
        assert_eq!(empty.stage_behind(&question), None, "{question:?}");
        assert_eq!(empty.answer(&question), code, "{question:?}");
    }
    let forming = machine(2, Stage::Forming(id(5)), [None; 2]);
    let other = Question { cluster_id: Some(id(6).0.to_le_bytes()), ..sound };
    for question in [other, Question { kind: QuestionKind::Commit, ..other }] {
        assert_eq!(forming.stage_behind(&question), None, "an id that was agreed to is kept");
        assert_eq!(forming.answer(&question), AnswerCode::FormingOther);
    }
}

#[test]
fn an_answer_to_an_earlier_question_counts_no_more() {
    let mut node = machine(1, Stage::Empty, [Some(AnswerCode::Empty); 2]);
    let old = node.question(NodeId(2));
    node.stored(Stage::Forming(id(5)));
    assert!(node.heard().all(|(_, code)| code.is_none()));
    node.take_answer(&old, Some(AnswerCode::FormedOther));
    assert_eq!(node.next(|| id(9)), Next::Ask);
}
