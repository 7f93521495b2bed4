//! Tokens with which a node that has lost its data comes back: random, for one use, and known to the map by their fingerprints alone.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// What the map keeps of a token: the beginning of its SHA-256.
pub type Fingerprint = [u8; 16];

/// A secret of 128 random bits. As text: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JoinToken(u128);

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token has 32 hexadecimal digits, as CORACLE REPLACE prints it")]
pub struct NoToken;

impl JoinToken {
    /// A token of random bits.
    pub fn new(random: u128) -> JoinToken {
        JoinToken(random)
    }

    /// What the map keeps of it.
    pub fn fingerprint(self) -> Fingerprint {
        let digest = Sha256::digest(self.0.to_be_bytes());
        let mut fingerprint = Fingerprint::default();
        fingerprint.copy_from_slice(&digest[..16]);
        fingerprint
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for JoinToken {
    /// A secret does not get into logs by accident.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

impl FromStr for JoinToken {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<JoinToken, NoToken> {
        let is_token = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_token {
            return Err(NoToken);
        }
        u128::from_str_radix(text, 16).map(JoinToken).map_err(|_| NoToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_as_text_and_is_not_shown_by_accident() {
        let token = JoinToken::new(0x00ab_cdef << 64);
        let text = token.to_string();
        assert_eq!((text.len(), text.parse()), (32, Ok(token)));
        assert_eq!(format!("{token:?}"), "JoinToken(..)");
        for wrong in
            ["", "ab", &text[1..], &format!("{text}0"), &text.replace('a', "g"), &text.replace("00ab", "+0ab")]
        {
            assert_eq!(wrong.parse::<JoinToken>(), Err(NoToken), "{wrong}");
        }
    }

    #[test]
    fn a_fingerprint_is_the_beginning_of_the_sha_256_of_the_bits() {
        // printf '%b' of sixteen zero bytes, through sha256sum.
        let expected =
            [0x37, 0x47, 0x08, 0xff, 0xf7, 0x71, 0x9d, 0xd5, 0x97, 0x9e, 0xc8, 0x75, 0xd5, 0x6c, 0xd2, 0x28];
        assert_eq!(JoinToken::new(0).fingerprint(), expected);
        assert_ne!(JoinToken::new(1).fingerprint(), expected);
    }
}
