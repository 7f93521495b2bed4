//! Chance.

/// A source of random numbers. Each subsystem seeds a generator of its own from it, so that a change in
/// one does not shift what the others draw.
pub trait Rng {
    /// The next 64 random bits.
    fn random_u64(&self) -> u64;

    /// 64 random bits that nobody can foretell, whatever else was drawn: for secrets.
    ///
    /// # Errors
    /// The system has none.
    fn secret_u64(&self) -> std::io::Result<u64>;
}
