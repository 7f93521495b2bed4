//! A bound on all memory of a process, the page cache of its files included: for stores without direct I/O.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// A control group of its own. Dropping it removes it, once its processes have ended.
#[derive(Debug)]
pub struct MemoryGroup {
    dir: PathBuf,
}

impl MemoryGroup {
    /// Makes a group below the one of this process, in whichever hierarchy lets us.
    ///
    /// # Errors
    /// Why none does.
    pub fn create(limit_bytes: u64) -> Result<MemoryGroup, String> {
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
        let mut reasons = Vec::new();
        for (parent, limit_file) in parents(Path::new(ROOT), &own) {
            match try_in(&parent, limit_file, limit_bytes) {
                Ok(group) => return Ok(group),
                Err(error) => reasons.push(format!("{}: {error}", parent.display())),
            }
        }
        Err(if reasons.is_empty() { "there are no control groups for memory".to_owned() } else { reasons.join("; ") })
    }

    /// The file that takes the number of a process that joins.
    pub fn join_file(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Fails only while a process is left in it, which nobody can do anything about.
        let _ = fs::remove_dir(&self.dir);
    }
}

/// This process joins a group, by its [`MemoryGroup::join_file`].
///
/// # Errors
/// Those of the system.
pub fn join(file: &Path) -> Result<(), Error> {
    let failed = Error::os(format!("joining {}", file.display()));
    fs::write(file, std::process::id().to_string()).map_err(failed)
}

fn try_in(parent: &Path, limit_file: &str, limit_bytes: u64) -> std::io::Result<MemoryGroup> {
    let group = MemoryGroup { dir: parent.join(format!("coracle-bench-{}", std::process::id())) };
    fs::create_dir(&group.dir)?;
    fs::write(group.dir.join(limit_file), limit_bytes.to_string())?;
    Ok(group)
}

/// The directories in which a group with a bound may be made, each with the name of the file that takes the bound; what
/// /proc/self/cgroup says is `own`. See cgroups(7).
fn parents(root: &Path, own: &str) -> Vec<(PathBuf, &'static str)> {
    let mut parents = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let below = path.trim_start_matches('/');
        if controllers.split(',').any(|controller| controller == "memory") {
            parents.push((root.join("memory").join(below), "memory.limit_in_bytes"));
        } else if controllers.is_empty() {
            parents.push((root.join(below), "memory.max"));
        }
    }
    parents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hierarchies_are_tried() {
        let own = "9:name=systemd:/\n4:cpu,memory:/a/b\n3:cpuset:/\n0::/user.slice/x\n";
        let expected = [
            (PathBuf::from("/root/memory/a/b"), "memory.limit_in_bytes"),
            (PathBuf::from("/root/user.slice/x"), "memory.max"),
        ];
        assert_eq!(parents(Path::new("/root"), own), expected);
        assert_eq!(parents(Path::new("/root"), ""), []);
    }

    #[test]
    fn a_group_is_gone_with_its_value() {
        let Ok(group) = MemoryGroup::create(64 << 20) else { return eprintln!("no control groups here") };
        let dir = group.dir.clone();
        assert!(group.join_file().exists());
        drop(group);
        assert!(!dir.exists());
    }
}
