//! Which mount a directory lies on.

use std::path::Path;

/// A mount, as a line of `/proc/self/mountinfo` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// Where it is.
    pub point: String,
    /// The device's numbers, `major:minor`.
    pub device: String,
    /// The kind of file system.
    pub kind: String,
    /// What is mounted.
    pub from: String,
    /// Options of the mount and of the file system.
    pub options: Vec<String>,
}

impl Mount {
    /// Whether an option is set, or one with this name and a value.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }

    /// The mount that a directory lies on. The directory is named by its real path. Of two mounts at one place the later hides
    /// the earlier.
    pub fn of(mountinfo: &str, dir: &Path) -> Option<Mount> {
        let mounts = mountinfo.lines().filter_map(Mount::parse);
        mounts
            .filter(|mount| dir.starts_with(&mount.point))
            .max_by_key(|mount| Path::new(&mount.point).components().count())
    }

    fn parse(line: &str) -> Option<Mount> {
        // 27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
        let (head, tail) = line.split_once(" - ")?;
        let head: Vec<&str> = head.split(' ').collect();
        let mut tail = tail.split(' ');
        let (kind, from, of_system) = (tail.next()?, tail.next()?, tail.next().unwrap_or_default());
        let of_mount = head.get(5)?;
        let options = of_mount.split(',').chain(of_system.split(',')).filter(|option| !option.is_empty());
        Some(Mount {
            device: (*head.get(2)?).to_owned(),
            point: unescape(head.get(4)?),
            kind: kind.to_owned(),
            from: unescape(from),
            options: options.map(str::to_owned).collect(),
        })
    }
}

/// A path without the octal escapes of spaces, tabs, line ends and backslashes.
fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (escape, letter)| text.replace(escape, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard,errors=remount-ro\n\
        60 27 259:2 / /var/lib/coracle rw,noatime shared:30 master:1 - xfs /dev/nvme0n1p1 rw,attr2,inode64\n\
        61 27 0:50 / /mnt/a\\040b rw - tmpfs tmpfs rw,size=1k\n\
        70 60 0:60 / /var/lib/coracle ro - overlay overlay ro\n\
        broken line\n";

    #[test]
    fn the_longest_mount_that_holds_a_directory_counts_and_the_latest_of_them() {
        let of = |dir: &str| Mount::of(MOUNTS, Path::new(dir)).unwrap();
        let root = of("/home/x");
        assert_eq!((root.kind.as_str(), root.device.as_str(), root.from.as_str()), ("ext4", "254:0", "/dev/vda"));
        assert!(root.has("discard") && root.has("relatime") && !root.has("noatime"));
        assert_eq!(of("/var/lib/coracle/data").kind, "overlay", "what is mounted over it hides it");
        assert_eq!(of("/var/lib/coracle2").kind, "ext4", "a name that begins alike is another one");
        assert_eq!(of("/mnt/a b/c").kind, "tmpfs");
        assert_eq!(Mount::of("", Path::new("/")), None);
    }
}
