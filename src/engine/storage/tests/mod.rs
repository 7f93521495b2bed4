#![allow(clippy::unwrap_used, reason = "tests")]

mod creation;
mod log;
mod random;
mod restart;
mod transfer;
