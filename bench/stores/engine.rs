//! A store within this process.

use crate::error::Error;

/// What the threads of a load do with a store.
pub trait Engine: Sync {
    /// Gives a key this value. It is on stable storage when this returns.
    ///
    /// # Errors
    /// If the store fails.
    fn write(&self, key: &[u8], value: &[u8]) -> Result<(), Error>;

    /// Hands the value of a key to `look`; `None` if there is no such key.
    ///
    /// # Errors
    /// If the store fails.
    fn read<T>(&self, key: &[u8], look: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Error>;

    /// How many reads had to read from the disk since it was opened, if it tells.
    fn reads_from_disk(&self) -> Option<u64>;
}

/// A store that keeps nothing and finds the same value for every key: what is left is what the load itself takes.
pub struct Nothing {
    /// What every key has.
    pub value: Vec<u8>,
}

impl Engine for Nothing {
    fn write(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        std::hint::black_box((key, value));
        Ok(())
    }

    fn read<T>(&self, _key: &[u8], look: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Error> {
        Ok(Some(look(&self.value)))
    }

    fn reads_from_disk(&self) -> Option<u64> {
        None
    }
}
