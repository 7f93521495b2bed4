//! The agreement by which a cluster is formed, without I/O: what a node knows, and what it does next.
//!
//! It is a two-phase commit. The node with the lowest id, the *coordinator*, draws the cluster's id:
//!
//! ```text
//!              all others answer Empty          all others answer FormingSame
//! coordinator: Empty ───────────────▶ Forming(id) ───────────────▶ Formed(id)
//!              Propose(id) from the coordinator        Commit(id), or somebody answers FormedSame
//! others:      Empty ───────────────▶ Forming(id) ───────────────▶ Formed(id)
//! ```
//!
//! Every arrow is a durable write of the node file, done before anybody is told. Cores start at Formed only.
//!
//! Why it is safe: the coordinator writes each stage first. So while the coordinator is Forming, nobody is Formed and no
//! core has started anywhere, and nodes that are Empty have nothing to lose. A coordinator that is Empty beside a node
//! that is Forming has lost its own file, and with it whether the cluster was formed: it goes no further. A node never
//! changes the id that it has agreed to, and one that is Empty beside a node that is Formed never becomes anything else.

use std::collections::BTreeMap;

use meta::ClusterId;
use types::NodeId;
use wire::{AnswerCode, ConfigPrint, Question, QuestionKind};

use crate::identity::Stage;

/// What a node is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Make this stage durable, then call [`Machine::stored`].
    Store(Stage),
    /// Ask the others again, each its [`Machine::question`].
    Ask,
    /// The cluster is formed.
    Done(ClusterId),
    /// Go no further: a person must look.
    GiveUp(Conflict),
}

/// Why a node can go no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conflict {
    /// This node has no data, and that one belongs to a cluster that is formed.
    EmptyBesideFormed(NodeId),
    /// This node has agreed to one cluster id, and that one belongs to a cluster that was formed with another.
    FormingBesideFormed(NodeId),
    /// This node draws the cluster's id and has not finished, and that one says that the cluster is formed: what this
    /// node's directory says is older than the cluster.
    RolledBack(NodeId),
    /// This node would draw the cluster's id, and that one has agreed to another, which this node does not know.
    UnknownId(NodeId),
}

/// What a node knows while a cluster is formed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    me: NodeId,
    config: ConfigPrint,
    stage: Stage,
    /// All other nodes, with what each has answered last since the stage changed.
    heard: BTreeMap<NodeId, Option<AnswerCode>>,
}

impl Machine {
    /// A node at a stage that is durable, among the others of its configuration.
    pub fn new(me: NodeId, others: impl Iterator<Item = NodeId>, config: ConfigPrint, stage: Stage) -> Machine {
        let heard: BTreeMap<_, _> = others.map(|node| (node, None)).collect();
        assert!(!heard.contains_key(&me), "a node is none of the others");
        Machine { me, config, stage, heard }
    }

    /// How far this node is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// All other nodes, with what each has answered last; `None` where it has not answered.
    pub fn heard(&self) -> impl Iterator<Item = (NodeId, Option<AnswerCode>)> + '_ {
        self.heard.iter().map(|(node, code)| (*node, *code))
    }

    /// Whether this node draws the cluster's id.
    pub fn is_coordinator(&self) -> bool {
        self.heard.keys().all(|other| self.me < *other)
    }

    /// What to do next. `draw` is asked for an id that nobody has used, if one is needed.
    pub fn next(&self, draw: impl FnOnce() -> ClusterId) -> Next {
        if let Stage::Formed(id) = self.stage {
            return Next::Done(id);
        }
        if let Some(conflict) = self.conflict() {
            return Next::GiveUp(conflict);
        }
        let all = |wanted| self.heard.values().all(|code| *code == Some(wanted));
        match (self.stage, self.is_coordinator()) {
            (Stage::Empty, _) if self.heard.is_empty() => Next::Store(Stage::Formed(draw())),
            (Stage::Empty, true) if all(AnswerCode::Empty) => Next::Store(Stage::Forming(draw())),
            (Stage::Forming(id), true) if all(AnswerCode::FormingSame) => Next::Store(Stage::Formed(id)),
            (Stage::Forming(id), false) if self.first(AnswerCode::FormedSame).is_some() => {
                Next::Store(Stage::Formed(id))
            }
            _ => Next::Ask,
        }
    }

    /// What keeps this node from ever going further, as long as the others are what they are.
    fn conflict(&self) -> Option<Conflict> {
        match self.stage {
            Stage::Empty => self.first(AnswerCode::FormedOther).map(Conflict::EmptyBesideFormed),
            _ => self.first(AnswerCode::FormedOther).map(Conflict::FormingBesideFormed),
        }
        .or_else(|| {
            let is_coordinator = self.is_coordinator();
            let rolled_back = self.first(AnswerCode::FormedSame).map(Conflict::RolledBack);
            let unknown = || self.first(AnswerCode::FormingOther).map(Conflict::UnknownId);
            rolled_back.or_else(unknown).filter(|_| is_coordinator)
        })
    }

    /// The lowest node that has answered this.
    fn first(&self, wanted: AnswerCode) -> Option<NodeId> {
        self.heard().find(|(_, code)| *code == Some(wanted)).map(|(node, _)| node)
    }

    /// The stage is durable. What others have said about an earlier one counts no more.
    pub fn stored(&mut self, stage: Stage) {
        assert!(self.may_follow(stage), "{:?} is not followed by {stage:?}", self.stage);
        self.stage = stage;
        self.heard.values_mut().for_each(|code| *code = None);
    }

    fn may_follow(&self, stage: Stage) -> bool {
        match (self.stage, stage) {
            (Stage::Empty, Stage::Forming(_)) => true,
            // A cluster of one has nobody to agree with.
            (Stage::Empty, Stage::Formed(_)) => self.heard.is_empty(),
            (Stage::Forming(agreed), Stage::Formed(formed)) => agreed == formed,
            _ => false,
        }
    }

    /// What to ask another node now.
    pub fn question(&self, to: NodeId) -> Question {
        let kind = match (self.stage, self.is_coordinator()) {
            (Stage::Forming(_), true) => QuestionKind::Propose,
            (Stage::Formed(_), true) => QuestionKind::Commit,
            _ => QuestionKind::Ask,
        };
        let cluster_id = self.stage.cluster_id().map(|id| id.0.to_le_bytes());
        Question { kind, from: self.me, to, config: self.config, cluster_id }
    }

    /// Takes in the answer to a question of this node; `None` if there was none.
    pub fn take_answer(&mut self, question: &Question, code: Option<AnswerCode>) {
        let is_current = question.cluster_id == self.stage.cluster_id().map(|id| id.0.to_le_bytes());
        if let Some(heard) = self.heard.get_mut(&question.to).filter(|_| is_current) {
            *heard = code;
        }
    }

    /// The stage that a question leads to. It must be durable, and [`Machine::stored`] called, before the question is
    /// answered.
    pub fn stage_behind(&self, question: &Question) -> Option<Stage> {
        let id = ClusterId(u128::from_le_bytes(question.cluster_id?));
        let coordinator = self.heard.keys().next().copied().filter(|_| !self.is_coordinator())?;
        if self.reason_to_refuse(question).is_some() || question.from != coordinator {
            return None;
        }
        match (question.kind, self.stage) {
            (QuestionKind::Propose, Stage::Empty) => Some(Stage::Forming(id)),
            (QuestionKind::Commit, Stage::Forming(agreed)) if agreed == id => Some(Stage::Formed(id)),
            _ => None,
        }
    }

    /// What to answer to a question, at the stage that is durable now.
    pub fn answer(&self, question: &Question) -> AnswerCode {
        if let Stage::Formed(id) = self.stage {
            return question.answer_of_formed(self.me, &self.config, id.0.to_le_bytes());
        }
        if let Some(code) = self.reason_to_refuse(question) {
            return code;
        }
        match self.stage.cluster_id().map(|id| id.0.to_le_bytes()) {
            None => AnswerCode::Empty,
            Some(id) if question.cluster_id == Some(id) => AnswerCode::FormingSame,
            Some(_) => AnswerCode::FormingOther,
        }
    }

    fn reason_to_refuse(&self, question: &Question) -> Option<AnswerCode> {
        if question.config.name != self.config.name {
            Some(AnswerCode::OtherName)
        } else if question.to != self.me {
            Some(AnswerCode::OtherNode)
        } else if !self.heard.contains_key(&question.from) {
            Some(AnswerCode::UnknownNode)
        } else if question.config.map != self.config.map {
            Some(AnswerCode::OtherMap)
        } else {
            None
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
