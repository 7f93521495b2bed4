//! How the way from one host to another is.

use crate::prng::Ppm;

/// Where a node or the clients are on the network.
pub type Host = usize;

/// How the way from one host to another is.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// How many cuts keep everything from getting through.
    pub cuts: u32,
    /// Least delay in nanoseconds.
    pub delay_min: u64,
    /// What is added to it on average.
    pub delay_mean: u64,
    /// How likely a packet is lost, and so what it carries late.
    pub loss: Ppm,
    /// How likely what is sent arrives in pieces.
    pub pieces: Ppm,
    /// How likely a frame's messages are lost.
    pub drop: Ppm,
    /// How likely they are repeated later.
    pub repeat: Ppm,
    /// How likely they are kept back and arrive behind later ones.
    pub reorder: Ppm,
    /// How likely a frame is altered and sealed again, as no peer may.
    pub alter: Ppm,
}
