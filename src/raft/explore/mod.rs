//! Explorer.

mod check;
mod disk;
mod hash;
mod replica;
mod scenario;
mod scenarios;
mod search;
mod show;
mod space;
mod state;
