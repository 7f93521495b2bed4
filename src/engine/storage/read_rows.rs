//! Reading rows for commands: the tasks, and what becomes of what they have read.

use std::rc::Rc;

use host::TaskClass;

use super::{Storage, StorageEffect, StorageHost};
use crate::limits::ROW_READS_IN_FLIGHT_MAX;
use crate::row_read::RowRead;

impl<H: StorageHost> Storage<H> {
    /// Reads rows. Answered by a [`StorageEffect::RowsRead`].
    pub(crate) fn read_rows(&mut self, read: RowRead) {
        let version = self.store.version(read.group);
        self.row_reads.push(read, version);
        self.begin_row_tasks();
    }

    fn begin_row_tasks(&self) {
        while self.row_reads.begin_task(ROW_READS_IN_FLIGHT_MAX) {
            let (row_reads, host, reader) =
                (Rc::clone(&self.row_reads), self.host.clone(), Rc::clone(self.store.reader()));
            self.host.spawn(TaskClass::Foreground, async move {
                row_reads.run_task(&reader, || host.notify()).await;
            });
        }
    }

    /// Takes in what was read.
    pub(super) fn poll_row_reads(&mut self, effects: &mut Vec<StorageEffect>) {
        for (RowRead { number, group, .. }, result) in self.row_reads.take_done() {
            effects.push(StorageEffect::RowsRead { number, group, result });
        }
        self.row_reads_permit.set(self.row_reads.bytes());
        self.tables_permit.set(self.store.reader().cache().borrow().bytes());
        // There may be room again for values for which there was none.
        self.begin_row_tasks();
    }
}
