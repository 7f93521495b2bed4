//! Moving entries to the end of the log that nobody can let go.
//!
//! A group without a majority keeps what its leader has proposed and could not commit. No snapshot can hold that, so the
//! segment it lies in would stay for as long as the majority is away, and with it all segments behind it, whatever the
//! other groups of the core write. So these entries are read back and written again at the end of the log.

use std::rc::Rc;
use std::time::Duration;

use host::TaskClass;
use types::{GroupId, Index};

use super::rewriting::TailRead;
use super::{Storage, StorageHost};
use crate::budget::Pool;
use crate::context::Context;
use crate::error::Error;

/// How long to wait after a tail could not be read, or was not the same any more.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl<H: StorageHost> Storage<H> {
    /// Begins to read a group's entries from `first` on, to write them again, if that is possible. They must not be covered
    /// by a snapshot, and what is before them must be.
    pub(super) fn begin_rewrite(&mut self, ctx: &Context, group: GroupId, first: Index) {
        if self.rewriting.is_reading || ctx.now < self.rewriting.not_before {
            return;
        }
        let Some((bytes, read)) = self.log.read_tail(group, first) else { return };
        let mut permit = self.rewriting.budget.permit(Pool::Log);
        permit.set(bytes);
        self.rewriting.is_reading = true;
        let (done, host) = (Rc::clone(&self.rewriting.done), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let result = read.await;
            *done.borrow_mut() = Some(TailRead { group, result, permit });
            host.notify();
        });
    }

    /// Writes what was read back, if the group's log still ends with it.
    pub(super) fn end_rewrite(&mut self, ctx: &mut Context) -> Result<(), Error> {
        let Some(TailRead { group, result, permit }) = self.rewriting.done.take() else { return Ok(()) };
        self.rewriting.is_reading = false;
        let is_rewritten = match result {
            Ok(entries) => self.log.rewrite(group, &entries)?,
            Err(error) => {
                tracing::warn!(%group, %error, "entries that keep a long log cannot be read back to be written again");
                false
            }
        };
        drop(permit);
        if is_rewritten {
            tracing::info!(%group, "entries without a majority were written again, so that older log can go");
        } else {
            self.rewriting.not_before = ctx.now + RETRY_AFTER;
        }
        Ok(())
    }
}
