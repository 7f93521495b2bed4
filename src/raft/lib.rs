//! Raft without I/O: step, tick, propose, ready.
