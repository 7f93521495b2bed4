//! A pack: all inputs of one fuzz target in one file.
//!
//! ```text
//! offset  bytes  content
//! 0       8      "FUZZPAK" and the version, 1
//! 8       4      length L of the first input, little-endian
//! 12      L      the first input
//! ...            further inputs in the same way, up to the end of the file
//! ```
//!
//! Invariant: inputs stand in the order of their lengths, those of one length in the order of their bytes, and none
//! stands there twice. So a set of inputs has exactly one pack.
//!
//! Deliberately absent: names and compression. An input is known by its number in the pack.

use std::path::Path;
use std::{fs, io};

const MAGIC: &[u8; 8] = b"FUZZPAK\x01";

/// Why a file is no pack.
#[derive(Debug, PartialEq, Eq)]
pub enum PackError {
    /// It begins with something else.
    Magic,
    /// It ends within this input or within its length.
    Truncated(usize),
    /// This input does not belong behind the one before it.
    Unordered(usize),
}

impl std::fmt::Display for PackError {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PackError::Magic => write!(to, "the file does not begin as a pack does"),
            PackError::Truncated(number) => write!(to, "the file ends within input {number}"),
            PackError::Unordered(number) => write!(to, "input {number} does not belong behind the one before it"),
        }
    }
}

impl std::error::Error for PackError {}

/// The pack of these inputs, in whatever order they come and however often.
///
/// # Panics
/// If an input is longer than 4 GiB.
pub fn pack(mut inputs: Vec<Vec<u8>>) -> Vec<u8> {
    inputs.sort_by(|one, other| rank(one).cmp(&rank(other)));
    inputs.dedup();
    let mut bytes = MAGIC.to_vec();
    for input in inputs {
        let len = u32::try_from(input.len()).expect("fuzz inputs are short");
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&input);
    }
    bytes
}

/// The inputs of a pack, in its order.
///
/// # Errors
/// If the bytes are no pack.
pub fn unpack(bytes: &[u8]) -> Result<Vec<&[u8]>, PackError> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(PackError::Magic)?;
    let mut inputs: Vec<&[u8]> = Vec::new();
    while !rest.is_empty() {
        let number = inputs.len();
        let (len, behind) = rest.split_first_chunk::<4>().ok_or(PackError::Truncated(number))?;
        let len = u32::from_le_bytes(*len) as usize;
        let (input, behind) = behind.split_at_checked(len).ok_or(PackError::Truncated(number))?;
        if inputs.last().is_some_and(|last| rank(last) >= rank(input)) {
            return Err(PackError::Unordered(number));
        }
        inputs.push(input);
        rest = behind;
    }
    Ok(inputs)
}

fn rank(input: &[u8]) -> (usize, &[u8]) {
    (input.len(), input)
}

/// Packs the files of a folder.
///
/// # Errors
/// What the operating system says.
pub fn pack_folder(folder: &Path, file: &Path) -> io::Result<usize> {
    let inputs: Vec<Vec<u8>> =
        fs::read_dir(folder)?.map(|entry| fs::read(entry?.path())).collect::<io::Result<_>>()?;
    let bytes = pack(inputs);
    fs::write(file, &bytes)?;
    Ok(unpack(&bytes).map_err(io::Error::other)?.len())
}

/// Writes each input of a pack into a file of the folder, named by its number.
///
/// # Errors
/// What the operating system says, or that the file is no pack.
pub fn unpack_file(file: &Path, folder: &Path) -> io::Result<usize> {
    let bytes = fs::read(file)?;
    let inputs = unpack(&bytes).map_err(io::Error::other)?;
    fs::create_dir_all(folder)?;
    for (number, input) in inputs.iter().enumerate() {
        fs::write(folder.join(format!("{number:05}")), input)?;
    }
    Ok(inputs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_holds_each_input_once_and_in_order() {
        let inputs: [&[u8]; 5] = [b"bb", b"", b"a", b"bb", b"ab"];
        let bytes = pack(inputs.iter().map(|input| input.to_vec()).collect());
        let sorted: [&[u8]; 4] = [b"", b"a", b"ab", b"bb"];
        assert_eq!(unpack(&bytes).unwrap(), sorted);
        assert_eq!(unpack(&pack(Vec::new())).unwrap(), [&[0_u8; 0]; 0]);
    }

    #[test]
    fn what_is_no_pack_is_an_error() {
        let bytes = pack(vec![b"one".to_vec(), b"three".to_vec()]);
        assert_eq!(unpack(&bytes[1..]), Err(PackError::Magic));
        assert_eq!(unpack(&bytes[..bytes.len() - 1]), Err(PackError::Truncated(1)));
        assert_eq!(unpack(&bytes[..17]), Err(PackError::Truncated(1)));
        let twice = [&bytes[..], &bytes[8..]].concat();
        assert_eq!(unpack(&twice), Err(PackError::Unordered(2)));
    }

    #[test]
    fn a_folder_packed_and_unpacked_is_the_same() {
        let dir = std::env::temp_dir().join(format!("fuzz-pack-{}", std::process::id()));
        let (from, to, file) = (dir.join("from"), dir.join("to"), dir.join("pack"));
        fs::create_dir_all(&from).unwrap();
        for (name, input) in [("x", "second"), ("y", "first")] {
            fs::write(from.join(name), input).unwrap();
        }
        assert_eq!(pack_folder(&from, &file).unwrap(), 2);
        assert_eq!(unpack_file(&file, &to).unwrap(), 2);
        assert_eq!(fs::read(to.join("00000")).unwrap(), b"first");
        assert_eq!(fs::read(to.join("00001")).unwrap(), b"second");
        fs::remove_dir_all(dir).unwrap();
    }
}
