//! A map as bytes: the payload of group 0's entries and of its snapshots.
//!
//! An rkyv archive of [`ClusterMap`], little-endian and unaligned, without a header of its own: what carries it
//! (a log entry, a frame) has length, checksum and version. Bytes are checked before use.

use rkyv::rancor::Error as RkyvError;
use sha1::{Digest, Sha1};

use crate::error::Error;
use crate::map::ClusterMap;

impl ClusterMap {
    /// The map as bytes. Equal maps give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = rkyv::to_bytes::<RkyvError>(self).expect("serializing into memory fails only without memory");
        bytes.to_vec()
    }

    /// A valid map from bytes. [`Error::Archive`] if they are none, another error if the map breaks a rule.
    pub fn from_bytes(bytes: &[u8]) -> Result<ClusterMap, Error> {
        let map =
            rkyv::from_bytes::<ClusterMap, RkyvError>(bytes).map_err(|error| Error::Archive(error.to_string()))?;
        map.validate()?;
        Ok(map)
    }

    /// The SHA-1 of the map's bytes: nodes that were given the same configuration have the same.
    pub fn fingerprint(&self) -> [u8; 20] {
        Sha1::digest(self.to_bytes()).into()
    }
}
