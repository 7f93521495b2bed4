//! The command table.

/// A command. The numbers stand in logs: they are never changed and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CommandId {
    /// `GET key`.
    Get = 1,
    /// `SET key value [NX | XX] [GET] ...`.
    Set = 2,
}
