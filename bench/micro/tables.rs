//! What is measured: places where keys lie.

use data::Keyspace;
use resp::{Protocol, Reply, table};

use crate::error::Error;
use crate::micro::script::Script;

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
pub const NAMES: [&str; 1] = ["keyspace"];

/// An empty table, if there is one of this name.
pub fn new(name: &str) -> Result<Box<dyn Table>, Error> {
    match name {
        "keyspace" => Ok(Box::new(Keyspace::new())),
        other => Err(Error::Usage(format!("no table is called {other}; there are: {}", NAMES.join(", ")))),
    }
}

impl Table for Keyspace {
    fn execute(&mut self, script: &Script, replies: &mut Vec<u8>) {
        let id = script.id();
        if table::by_id(id).is_write() {
            for (slot, args) in script.iter() {
                drop(self.apply(id, slot, args, 0));
            }
        } else {
            for (slot, args) in script.iter() {
                self.query(id, slot, args, &mut Reply::new(replies, Protocol::Resp3));
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
