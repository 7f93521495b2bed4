//! Checkers are shown what is broken, and must object; and what is sound, and must not.

mod clients;
mod registers;
mod replicas;
mod speed;
