//! The Redis protocol codec and the command table, pure.
