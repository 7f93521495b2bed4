//! Keys in memory, and a flush that copies them.

use std::hint::black_box;

use data::Keyspace;
use lsm::{Content, Rows};
use resp::CommandId;
use types::Slot;

use super::{KEYS_COUNT, OPERATIONS, VALUE_BYTES, Workload, key, spread};
use crate::micro::script::Script;
use crate::micro::tables::Table;

/// Bytes that one turn copies for a flush, as the engine does.
const COPIED_BYTES: usize = 64 << 10;

/// Commands on keys that are in memory.
pub(super) struct OnKeys {
    keyspace: Keyspace,
    scripts: Vec<Script>,
    replies: Vec<u8>,
    operations_count: u32,
}

impl OnKeys {
    /// Commands of one kind, over some keys, in no order; those that set keys do it with values of each of these lengths in turn.
    pub(super) fn make(id: CommandId, lengths: &[usize]) -> Box<dyn Workload> {
        let value = if id == CommandId::Incr { b"123456".to_vec() } else { vec![b'v'; VALUE_BYTES] };
        let mut fill = Script::new(CommandId::Set);
        (0..KEYS_COUNT).for_each(|number| fill.push(&key(number), Some(&value)));
        let script = |length: &usize| {
            let (mut script, value) = (Script::new(id), vec![b'w'; *length]);
            (0..OPERATIONS).for_each(|at| script.push(&key(spread(at)), (id == CommandId::Set).then_some(&value)));
            script
        };
        let scripts: Vec<Script> = lengths.iter().map(script).collect();
        let operations_count = scripts.len() as u32 * OPERATIONS;
        OnKeys::of(&fill, scripts, operations_count)
    }

    /// New keys that come and go.
    pub(super) fn new_and_gone() -> Box<dyn Workload> {
        let (mut set, mut del) = (Script::new(CommandId::Set), Script::new(CommandId::Del));
        for at in 0..OPERATIONS {
            set.push(&key(KEYS_COUNT + at), Some(&[b'v'; VALUE_BYTES]));
            del.push(&key(KEYS_COUNT + at), None);
        }
        OnKeys::of(&Script::new(CommandId::Set), vec![set, del], OPERATIONS)
    }

    fn of(fill: &Script, scripts: Vec<Script>, operations_count: u32) -> Box<dyn Workload> {
        let (mut keyspace, mut replies) = (Keyspace::new(), Vec::with_capacity(1 << 20));
        keyspace.execute(fill, &mut replies);
        Box::new(OnKeys { keyspace, scripts, replies, operations_count })
    }
}

impl Workload for OnKeys {
    fn operations_count(&self) -> u32 {
        self.operations_count
    }

    fn run(&mut self) {
        self.replies.clear();
        for script in &self.scripts {
            self.keyspace.execute(script, &mut self.replies);
        }
        black_box(&self.replies);
    }
}

/// What a flush copies of dirty rows, turn by turn.
pub(super) struct FlushCopy(Rows);

impl FlushCopy {
    pub(super) fn make() -> Box<dyn Workload> {
        Box::new(FlushCopy(Rows::new(0)))
    }
}

impl Workload for FlushCopy {
    fn operations_count(&self) -> u32 {
        KEYS_COUNT
    }

    fn prepare(&mut self) {
        for number in 0..KEYS_COUNT {
            let key = key(number);
            self.0.put(Slot::of_key(&key), &key, &Content::plain(&[b'v'; VALUE_BYTES]));
        }
    }

    fn run(&mut self) {
        assert!(self.0.begin_flush(), "none is under way");
        loop {
            let is_done = self.0.go_on_flushing(COPIED_BYTES);
            while let Some(payload) = self.0.flushed().and_then(|payloads| payloads.take_closed()) {
                black_box(payload);
            }
            if is_done {
                return self.0.end_flush();
            }
        }
    }
}
