//! Small files that are either the old or the new one, whatever happens in between, and for the node's user alone.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Only the user of the node may read and write.
pub const PRIVATE_FILE_MODE: u32 = 0o600;
/// Only the user of the node may look into a directory.
pub const PRIVATE_DIR_MODE: u32 = 0o700;

/// Writes a file durably: beside it under another name, synced, renamed over it, and the directory synced.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_as(path, bytes, None)
}

/// As [`write()`], with these permissions instead.
fn write_as(path: &Path, bytes: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".tmp");
    let temporary = dir.join(name);
    // What a crash has left may have another mode.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE_MODE).open(&temporary)?;
    file.write_all(bytes)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(dir)?.sync_all()
}

/// Replaces a file of the operator's durably, which keeps its mode; a link to it stays one.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = std::fs::canonicalize(path)?;
    let permissions = std::fs::metadata(&path)?.permissions();
    write_as(&path, bytes, Some(permissions))
}

/// Makes a directory and those above it, where they are missing. One that is there keeps its mode.
pub fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_DIR_MODE).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_private_whatever_a_crash_has_left() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("file.toml");
        std::fs::write(dir.path().join("file.toml.tmp"), "half a fi").expect("a small file");
        for text in ["first", "second, and longer"] {
            write(&path, text.as_bytes()).expect("written");
            assert_eq!(std::fs::read_to_string(&path).expect("it is there"), text);
            let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, PRIVATE_FILE_MODE);
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 1, "no temporary file is left");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("it is ours");
        replace(&link, b"third").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "third");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert!(mode & 0o777 == 0o644 && link.is_symlink(), "{mode:o}");
        write(&dir.path().join("absent/file"), b"").expect_err("no such directory");
    }
}
