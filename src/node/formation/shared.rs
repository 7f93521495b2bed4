//! What the thread that asks and the threads that answer share.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::{AnswerCode, Question};

use super::machine::Machine;
use crate::identity::{Identity, IdentityError, Stage};

/// How far the node is, in memory and on disk.
pub(crate) struct State {
    pub(crate) machine: Machine,
    /// Invariant: its stage is that of `machine`, and durable.
    pub(crate) identity: Identity,
    pub(crate) dir: PathBuf,
    /// A write that failed while a question was answered.
    pub(crate) failed: Option<IdentityError>,
}

impl State {
    /// Makes a stage durable.
    pub(crate) fn store(&mut self, stage: Stage) -> Result<(), IdentityError> {
        self.identity.store(&self.dir, stage)?;
        self.machine.stored(stage);
        Ok(())
    }
}

/// [`State`], and how to wake the main thread when it has changed.
#[derive(Clone)]
pub(crate) struct Shared {
    state: Arc<Mutex<State>>,
    wake: SyncSender<()>,
}

impl Shared {
    /// A node at a stage that is durable, and the wake-ups of the thread that asks.
    pub(crate) fn new(machine: Machine, identity: Identity, dir: PathBuf) -> (Shared, Receiver<()>) {
        let (wake, woken) = sync_channel(1);
        let state = State { machine, identity, dir, failed: None };
        (Shared { state: Arc::new(Mutex::new(state)), wake }, woken)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment behind a durable write, so the state is sound whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a question of another node; what follows from it is durable before.
    pub(crate) fn answer(&self, question: &Question) -> Option<AnswerCode> {
        let mut state = self.lock();
        if let Some(stage) = state.machine.stage_behind(question)
            && let Err(error) = state.store(stage)
        {
            state.failed = Some(error);
            let _ = self.wake.try_send(());
            return None;
        }
        let code = state.machine.answer(question);
        drop(state);
        if matches!(code, AnswerCode::Empty | AnswerCode::FormingSame | AnswerCode::FormedSame) {
            // A wake-up that is already waiting to be seen is enough.
            let _ = self.wake.try_send(());
        }
        Some(code)
    }
}
