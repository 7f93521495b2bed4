//! Messages on their way, and how a script points at some of them.

use std::collections::{BTreeMap, BTreeSet};

use types::ReplicaId;
use wire::Message;

use crate::show;

/// Which messages a command means.
#[derive(Default)]
pub(crate) struct Selection {
    /// From whom to whom; `None` stands for anybody.
    links: Vec<(Option<ReplicaId>, Option<ReplicaId>)>,
    kind: Option<String>,
    count_max: Option<usize>,
    last: bool,
}

impl Selection {
    /// `1->2 *->3 append 2`, `1->2 last`; no link at all means every one.
    pub(crate) fn parse(words: &[&str]) -> Result<Selection, String> {
        let mut selection = Selection::default();
        for word in words {
            if let Some((from, to)) = word.split_once("->") {
                selection.links.push((end(from)?, end(to)?));
            } else if let Ok(count) = word.parse() {
                selection.count_max = Some(count);
            } else if *word == "last" {
                selection.last = true;
            } else {
                selection.kind = Some(word.to_string());
            }
        }
        Ok(selection)
    }

    fn wants(&self, message: &Message) -> bool {
        let fits = |(from, to): &(Option<ReplicaId>, Option<ReplicaId>)| {
            from.is_none_or(|id| id == message.from) && to.is_none_or(|id| id == message.to)
        };
        (self.links.is_empty() || self.links.iter().any(fits))
            && self.kind.as_ref().is_none_or(|kind| kind == show::kind(&message.body))
    }
}

fn end(word: &str) -> Result<Option<ReplicaId>, String> {
    if word == "*" {
        return Ok(None);
    }
    word.parse().map(|id| Some(ReplicaId(id))).map_err(|_| format!("`{word}` is no replica"))
}

/// Everything that was sent and not delivered.
#[derive(Default)]
pub(crate) struct Network {
    /// In the order of sending.
    pub(crate) flying: Vec<Message>,
    /// Links on which nothing passes, both ways.
    pub(crate) cuts: BTreeSet<(ReplicaId, ReplicaId)>,
    pub(crate) saved: BTreeMap<String, Vec<Message>>,
}

impl Network {
    /// Takes out the selected messages, in the order of sending.
    pub(crate) fn take(&mut self, selection: &Selection) -> Vec<Message> {
        let wanted: Vec<usize> = (0..self.flying.len()).filter(|idx| selection.wants(&self.flying[*idx])).collect();
        let wanted = if selection.last {
            wanted.last().copied().into_iter().collect()
        } else {
            wanted[..selection.count_max.unwrap_or(usize::MAX).min(wanted.len())].to_vec()
        };
        let mut idx = 0;
        self.flying
            .extract_if(.., |_| {
                idx += 1;
                wanted.contains(&(idx - 1))
            })
            .collect()
    }

    pub(crate) fn cut(&mut self, one: ReplicaId, other: ReplicaId) {
        self.cuts.insert((one, other));
        self.cuts.insert((other, one));
        let cuts = &self.cuts;
        self.flying.retain(|message| !cuts.contains(&(message.from, message.to)));
    }

    pub(crate) fn is_cut(&self, message: &Message) -> bool {
        self.cuts.contains(&(message.from, message.to))
    }
}
