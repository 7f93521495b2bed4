//! What was done to some keys that commands touch together.

use types::Instant;

use super::value::{Answer, State, Step, Value};
use crate::history::{SetOptions, SetWhen, Text};

/// An operation on one object.
#[derive(Clone, Debug)]
pub(super) struct Op {
    /// Its number in the history.
    pub(super) idx: usize,
    pub(super) begin: Instant,
    /// By when it has taken effect; `NEVER` if it is unknown whether it has.
    pub(super) end: Instant,
    pub(super) step: Step,
    /// It is unknown whether it takes effect, and is taken to do so any number of times.
    pub(super) repeats: bool,
    /// Equal for operations of the object with equal steps and answers.
    pub(super) class: u32,
    /// What it answered; `None` if that is unknown.
    pub(super) answer: Option<Answer>,
}

impl Op {
    /// Whether it is known to have changed nothing, whatever it might have done.
    pub(super) fn only_looked(&self) -> bool {
        self.step.is_read()
            || match (&self.step, &self.answer) {
                (Step::SetNx(..) | Step::MSetNx(_) | Step::Del(_), Some(answer)) => *answer == Answer::Integer(0),
                (Step::SetWith(_, _, SetOptions { when, get: true, .. }), Some(answer)) => {
                    let was_there = *answer != Answer::Value(Value::Absent);
                    *when == SetWhen::Missing && was_there || *when == SetWhen::Present && !was_there
                }
                (Step::SetWith(_, _, SetOptions { get: false, .. }), Some(answer)) => *answer != Answer::Ok,
                (Step::GetDel(_), Some(answer)) => *answer == Answer::Value(Value::Absent),
                _ => false,
            }
    }

    /// Whether it answers what it did if it takes effect in this state. For one that [`only_looked`](Op::only_looked).
    pub(super) fn fits(&self, state: &mut State) -> bool {
        if self.step.is_read() {
            return self.answer.as_ref() == Some(&self.step.run(state));
        }
        self.answer.as_ref() == Some(&self.step.run(&mut state.clone()))
    }
}

/// Some keys and what was done to them, in the order of `begin`.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    pub(super) keys: Vec<Text>,
    pub(super) ops: Vec<Op>,
    /// The longest value that a `GET` of the only key has returned, if nothing but `APPEND` changes it.
    pub(super) longest: Option<(usize, Text)>,
    /// Whether its values are numbers that only grow.
    pub(super) only_counts: bool,
}
