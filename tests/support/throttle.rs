//! Slow disks for tests: control groups that let a process write only so often to a device.

use std::fs;
use std::path::{Path, PathBuf};

/// Where systems with the first version of control groups keep these limits.
const FIRST_VERSION: &str = "/sys/fs/cgroup/blkio";
/// Where systems with the second version keep them.
const SECOND_VERSION: &str = "/sys/fs/cgroup";
const NAME_PREFIX: &str = "coracle-test-";

/// A process whose writes to one device can be slowed down. It is as before once this is dropped.
#[derive(Debug)]
pub struct Throttle {
    root: &'static Path,
    group: PathBuf,
    device: String,
    pid: u32,
}

impl Throttle {
    /// Prepares to slow down a process on a device, such as `/dev/loop0`.
    ///
    /// # Errors
    /// Why this machine cannot: no such control groups, or not the rights.
    pub fn new(device: &str, pid: u32) -> Result<Throttle, String> {
        let is_first = Path::new(FIRST_VERSION).join("blkio.throttle.write_iops_device").exists();
        let root = Path::new(if is_first { FIRST_VERSION } else { SECOND_VERSION });
        let name = device.strip_prefix("/dev/").ok_or_else(|| format!("{device} is no device"))?;
        let number = read(&Path::new("/sys/class/block").join(name).join("dev"))?;
        if !is_first {
            // Fails where there are no control groups, or not these limits.
            write(&root.join("cgroup.subtree_control"), "+io")?;
        }
        let group = root.join(format!("{NAME_PREFIX}{pid}"));
        fs::create_dir_all(&group).map_err(|error| format!("{}: {error}", group.display()))?;
        let throttle = Throttle { root, group, device: number.trim().to_owned(), pid };
        throttle.limit(None)?;
        write(&throttle.group.join("cgroup.procs"), &pid.to_string())?;
        Ok(throttle)
    }

    /// Lets it write so many times a second from now on; `None` is as often as it wants.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn limit(&self, writes_per_second: Option<u32>) -> Result<(), String> {
        if self.root == Path::new(FIRST_VERSION) {
            let line = format!("{} {}", self.device, writes_per_second.unwrap_or(0));
            write(&self.group.join("blkio.throttle.write_iops_device"), &line)
        } else {
            let most = writes_per_second.map_or("max".to_owned(), |number| number.to_string());
            write(&self.group.join("io.max"), &format!("{} wiops={most}", self.device))
        }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        // Errors mean that the process is gone, and the group is empty.
        let _ = self.limit(None);
        let _ = write(&self.root.join("cgroup.procs"), &self.pid.to_string());
        let _ = fs::remove_dir(&self.group);
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
