//! What is measured: places where keys lie.

use data::Keyspace;
use lsm::{Content, PREFETCH_KEYS_COUNT, Prefetch, Rows};
use resp::number::{parse_i64, with_digits};
use resp::{CommandId, Protocol, Reply, table};

use crate::error::Error;
use crate::micro::script::Script;

/// Rows are looked for ahead beyond so many bytes of them, as a core does it when it applies a batch.
const CACHED_ROWS_BYTES_MAX: usize = 4 << 20;

/// A place where keys lie.
pub trait Table {
    /// Executes commands one after another. Replies to reads are appended to `replies`, those to writes dropped, as a follower does.
    fn execute(&mut self, script: &Script, replies: &mut Vec<u8>);

    /// How many keys there are.
    fn keys_count(&self) -> usize;

    /// Bytes that the table believes to take.
    fn bytes(&self) -> usize;
}

/// The names of all tables, as [`new`] knows them.
pub const NAMES: [&str; 2] = ["keyspace", "rows"];

/// An empty table, if there is one of this name.
pub fn new(name: &str) -> Result<Box<dyn Table>, Error> {
    match name {
        "keyspace" => Ok(Box::new(Keyspace::new())),
        "rows" => Ok(Box::new(Rows::new(0))),
        other => Err(Error::Usage(format!("no table is called {other}; there are: {}", NAMES.join(", ")))),
    }
}

impl Table for Keyspace {
    fn execute(&mut self, script: &Script, replies: &mut Vec<u8>) {
        let id = script.id();
        if table::by_id(id).is_write() {
            let are_rows_many = self.bytes() > CACHED_ROWS_BYTES_MAX;
            let mut ahead = script.iter().map(|(slot, args)| (slot, args.get(1).unwrap_or_default()));
            for (at, (slot, args)) in script.iter().enumerate() {
                if are_rows_many && at % PREFETCH_KEYS_COUNT == 0 {
                    let mut prefetch = Prefetch::default();
                    for (slot, key) in ahead.by_ref().take(PREFETCH_KEYS_COUNT) {
                        self.prefetch(&mut prefetch, slot, key);
                    }
                    prefetch.load();
                }
                self.apply(id, slot, args);
            }
        } else {
            for (slot, args) in script.iter() {
                self.query(id, slot, args, 0, &mut Reply::new(replies, Protocol::Resp3));
            }
        }
    }

    fn keys_count(&self) -> usize {
        Keyspace::keys_count(self)
    }

    fn bytes(&self) -> usize {
        Keyspace::bytes(self)
    }
}

/// The commands as far as rows are concerned: their arguments are checked, and what they answer is written.
impl Table for Rows {
    fn execute(&mut self, script: &Script, replies: &mut Vec<u8>) {
        let id = script.id();
        for (slot, args) in script.iter() {
            let (Ok(()), Some(key)) = (data::check(id, args), args.get(1)) else { continue };
            match id {
                CommandId::Set => self.put(slot, key, &Content::plain(args.get(2).unwrap_or_default())),
                CommandId::Get => {
                    let mut reply = Reply::new(replies, Protocol::Resp3);
                    match self.get(slot, key) {
                        Some(row) => reply.bulk(row.value()),
                        None => reply.null(),
                    }
                }
                CommandId::Incr => {
                    let Some(mut row) = self.get_mut(slot, key) else {
                        self.put(slot, key, &Content::plain(b"1"));
                        continue;
                    };
                    let number = parse_i64(row.row().value()).unwrap_or_default();
                    with_digits(number + 1, |digits| row.set_value(digits));
                }
                CommandId::Del => {
                    self.take(slot, key);
                }
                _ => {}
            }
        }
    }

    fn keys_count(&self) -> usize {
        self.count()
    }

    fn bytes(&self) -> usize {
        self.held_bytes()
    }
}
