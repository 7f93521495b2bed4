//! The file system and the disk of the data directory: what durability rests on.

use crate::checks::mount::Mount;
use crate::finding::{Check, Finding};
use crate::plan::{Plan, cores_in_words};
use crate::probe::{self, DirectIo};
use crate::source::Source;

const TOPIC: &str = "disk";
/// Kinds of file systems that keep their files in memory.
const IN_MEMORY: &[&str] = &["tmpfs", "ramfs", "devtmpfs", "rootfs"];
/// Kinds of file systems whose files lie on another host, or with another program.
const REMOTE: &[&str] =
    &["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "fuse", "fuseblk", "ceph", "glusterfs", "afs"];
/// Disks below a device, for devices that are made of others. No sane one is deeper.
const DEPTH_MAX: usize = 8;

/// All checks of this topic.
pub fn run(source: &Source, plan: &Plan) -> Vec<Finding> {
    let dir = if source.is_this_host() { probe::existing(&plan.data_dir) } else { plan.data_dir.clone() };
    let mount = source.text("proc/self/mountinfo").and_then(|text| Mount::of(&text, &dir));
    let direct_io = if source.is_this_host() {
        probe::direct_io(&dir)
    } else {
        DirectIo::Untried("these are the files of another host".to_owned())
    };
    let shown = dir.display().to_string();
    let mut findings = vec![file_system(mount.as_ref(), &shown), direct(&direct_io, &shown)];
    let Some(mount) = mount else { return findings };
    findings.extend([barriers(&mount), access_times(&mount), discard(&mount), writable(&mount)]);
    for disk in disks(source, &format!("sys/dev/block/{}", mount.device), 0) {
        findings.extend(Disk::read(source, &disk).findings(plan.cores));
    }
    findings
}

fn file_system(mount: Option<&Mount>, dir: &str) -> Finding {
    let why = "what is acknowledged must be on a disk of this host: the log is written with direct I/O into files that were laid out before";
    let set = "put data_dir on a disk of its own with ext4 or xfs";
    let check = Check::new(TOPIC, "file-system", why, format!("findmnt -T {dir}"), set);
    let Some(Mount { kind, from, point, .. }) = mount else {
        return check.unknown(format!("{dir} is on no known mount"));
    };
    let found = format!("{kind} on {from}, mounted at {point}");
    match kind.as_str() {
        "ext4" | "xfs" => check.ok(found),
        kind if IN_MEMORY.contains(&kind) => check.danger(format!("{found}: gone at the next start of the host")),
        "overlay" => check.danger(format!("{found}: gone with the container")),
        kind if REMOTE.contains(&kind) || kind.starts_with("fuse.") => {
            check.warn(format!("{found}: somebody else decides when data is durable"))
        }
        _ => check.warn(format!("{found}: not one that was tried")),
    }
}

fn direct(direct_io: &DirectIo, dir: &str) -> Finding {
    let why = "without direct I/O a node does not start: whether data is on the disk would be the page cache's word";
    let look = format!("dd if=/dev/zero of={dir}/.try bs=4k count=1 oflag=direct,dsync; rm {dir}/.try");
    let check = Check::new(TOPIC, "direct-io", why, look, "put data_dir on ext4 or xfs");
    match direct_io {
        DirectIo::Works => check.ok("works, tried with 4 KiB"),
        DirectIo::Refused(error) => check.danger(format!("refused: {error}")),
        DirectIo::Untried(error) => check.unknown(format!("not tried: {error}")),
    }
}

fn barriers(mount: &Mount) -> Finding {
    let why = "without barriers the kernel does not have the disk's own cache written out: a power cut takes acknowledged writes";
    let set = format!("mount -o remount,barrier {}, and take nobarrier or barrier=0 out of /etc/fstab", mount.point);
    let check = Check::new(TOPIC, "barriers", why, format!("findmnt -no OPTIONS {}", mount.point), set);
    let off = ["nobarrier", "barrier=0", "barrier=off"].into_iter().find(|option| mount.has(option));
    match off {
        Some(option) => check.danger(format!("off: mounted with {option}")),
        None if mount.has("data=writeback") => {
            check.warn("on; data=writeback lets files hold old bytes after a crash")
        }
        None => check.ok("on"),
    }
}

fn access_times(mount: &Mount) -> Finding {
    let why = "with strictatime each read of a table writes to the file system's journal, which the log waits for";
    let set = format!("noatime in the options of {} in /etc/fstab", mount.point);
    let check = Check::new(TOPIC, "atime", why, format!("findmnt -no OPTIONS {}", mount.point), set);
    match ["noatime", "relatime"].into_iter().find(|option| mount.has(option)) {
        Some(option) => check.ok(option),
        None => check.warn("strictatime: each read is noted on the disk"),
    }
}

fn discard(mount: &Mount) -> Finding {
    let why = "the option discard tells the disk of each file that goes, at once; many disks stop for that, and log writes wait";
    let set = format!(
        "take discard out of the options of {} in /etc/fstab, and systemctl enable --now fstrim.timer",
        mount.point
    );
    let check = Check::new(TOPIC, "discard", why, format!("findmnt -no OPTIONS {}", mount.point), set);
    match mount.options.iter().find(|option| *option == "discard" || *option == "discard=sync") {
        Some(_) => check.warn("at each removal of a file"),
        None => check.ok("not at each removal"),
    }
}

fn writable(mount: &Mount) -> Finding {
    let why = "a file system that is read-only takes no data; ext4 becomes so after an error of its disk";
    let set = format!("look for the disk's error first; then mount -o remount,rw {}", mount.point);
    let check = Check::new(TOPIC, "writable", why, "dmesg -l err,crit | tail", set);
    if mount.has("ro") { check.warn("read-only: a node does not start") } else { check.ok("yes") }
}

/// The disks that a device is made of: itself, the disk of a partition, or what lies below a volume. Paths below the root.
fn disks(source: &Source, device: &str, depth: usize) -> Vec<String> {
    if depth > DEPTH_MAX || !source.has(device) {
        return Vec::new();
    }
    if source.has(&format!("{device}/partition")) {
        return disks(source, &format!("{device}/.."), depth + 1);
    }
    let below = source.names(&format!("{device}/slaves"));
    if below.is_empty() {
        return vec![device.to_owned()];
    }
    below.iter().flat_map(|name| disks(source, &format!("{device}/slaves/{name}"), depth + 1)).collect()
}

/// What the kernel tells of a disk.
#[derive(Clone, Debug, Default)]
struct Disk {
    name: String,
    scheduler: Option<String>,
    write_cache: Option<String>,
    fua: Option<u64>,
    rotational: Option<u64>,
    /// Hardware queues.
    queues_count: usize,
}

impl Disk {
    fn read(source: &Source, path: &str) -> Disk {
        Disk {
            name: source.real_name(path).unwrap_or_else(|| path.to_owned()),
            scheduler: source.text(&format!("{path}/queue/scheduler")),
            write_cache: source.text(&format!("{path}/queue/write_cache")),
            fua: source.number(&format!("{path}/queue/fua")),
            rotational: source.number(&format!("{path}/queue/rotational")),
            queues_count: source.names(&format!("{path}/mq")).len(),
        }
    }

    fn findings(&self, cores: u32) -> Vec<Finding> {
        vec![self.write_cache(), self.scheduler(), self.rotational(), self.queues(cores)]
    }

    fn write_cache(&self) -> Finding {
        let name = &self.name;
        let why = "a log write ends once it is out of the disk's own cache; without FUA that takes a flush of all of it behind each write";
        let look = format!("cat /sys/block/{name}/queue/write_cache /sys/block/{name}/queue/fua");
        let set = format!(
            "never write \"write through\" there for a disk that has a volatile cache: that turns flushes off; \
             a disk with power-loss protection, or nvme set-feature /dev/{name} -f 6 -v 0 if it keeps its speed"
        );
        let check = Check::new(TOPIC, "write-cache", why, look, set);
        match (self.write_cache.as_deref(), self.fua) {
            (Some("write through"), _) => check.ok(format!("{name} tells of no volatile cache")),
            (Some("write back"), Some(1)) => check.ok(format!("{name} has one, and FUA goes past it")),
            (Some("write back"), _) => {
                check.warn(format!("{name} has a volatile one and no FUA: each log write flushes all of it"))
            }
            _ => check.unknown(format!("{name} does not tell")),
        }
    }

    fn scheduler(&self) -> Finding {
        let name = &self.name;
        let why = "a node says itself whose turn it is on the disk; a scheduler below only adds its own delay";
        let set = format!("echo none > /sys/block/{name}/queue/scheduler; a udev rule keeps it");
        let check = Check::new(TOPIC, "scheduler", why, format!("cat /sys/block/{name}/queue/scheduler"), set);
        let chosen = self.scheduler.as_deref().map(|all| match all.split_once('[') {
            Some((_, rest)) => rest.split(']').next().unwrap_or(rest).to_owned(),
            None => all.to_owned(),
        });
        match chosen.as_deref() {
            Some("none" | "noop") => check.ok(format!("none on {name}")),
            // Disks that turn need one.
            Some(chosen) if self.rotational == Some(1) => check.ok(format!("{chosen} on {name}, which turns")),
            Some("") | None => check.unknown(format!("{name} does not tell")),
            Some(chosen) => check.warn(format!("{chosen} on {name}")),
        }
    }

    fn rotational(&self) -> Finding {
        let name = &self.name;
        let why = "each commit waits for a sync, and a disk that turns takes milliseconds for one";
        let look = format!("cat /sys/block/{name}/queue/rotational");
        let check = Check::new(TOPIC, "rotational", why, look, "an NVMe or SSD disk for data_dir");
        match self.rotational {
            Some(0) => check.ok(format!("{name} does not turn")),
            Some(_) => check.warn(format!("{name} turns, or its host says so")),
            None => check.unknown(format!("{name} does not tell")),
        }
    }

    fn queues(&self, cores: u32) -> Finding {
        let (name, count, cores_count) = (&self.name, self.queues_count, cores as usize);
        let cores = cores_in_words(cores);
        let why = "cores that share a hardware queue of the disk share its lock and its interrupt";
        let look = format!("ls /sys/block/{name}/mq");
        let check = Check::new(
            TOPIC,
            "disk-queues",
            why,
            look,
            "a disk, or a setting of the virtual machine, with a queue per core",
        );
        match count {
            0 => check.unknown(format!("{name} does not tell")),
            count if count >= cores_count => check.ok(format!("{count} on {name}, for {cores}")),
            count => check.warn(format!("{count} on {name}, for {cores}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    fn mount(kind: &str, options: &str) -> Mount {
        let options = options.split(',').map(str::to_owned).collect();
        Mount {
            kind: kind.to_owned(),
            point: "/d".to_owned(),
            from: "/dev/x".to_owned(),
            options,
            ..Mount::default()
        }
    }

    #[test]
    fn data_that_a_restart_would_take_is_in_danger() {
        let level = |kind| file_system(Some(&mount(kind, "rw")), "/d").level;
        assert_eq!(["ext4", "xfs"].map(level), [Level::Ok; 2]);
        assert_eq!(["tmpfs", "ramfs", "overlay"].map(level), [Level::Danger; 3]);
        assert_eq!(["nfs4", "fuse.sshfs", "btrfs", "zfs"].map(level), [Level::Warning; 4]);
        assert_eq!(file_system(None, "/d").level, Level::Unknown);
        assert_eq!(direct(&DirectIo::Refused("Invalid argument".to_owned()), "/d").level, Level::Danger);
        assert_eq!(direct(&DirectIo::Untried("full".to_owned()), "/d").level, Level::Unknown);
    }

    #[test]
    fn options_of_the_mount_are_judged() {
        for (options, level) in [
            ("rw,noatime", Level::Ok),
            ("rw,nobarrier", Level::Danger),
            ("rw,barrier=0", Level::Danger),
            ("rw,data=writeback", Level::Warning),
        ] {
            assert_eq!(barriers(&mount("ext4", options)).level, level, "{options}");
        }
        assert_eq!(access_times(&mount("ext4", "rw,relatime")).level, Level::Ok);
        assert_eq!(access_times(&mount("ext4", "rw")).level, Level::Warning);
        assert_eq!(discard(&mount("ext4", "rw,discard")).level, Level::Warning);
        assert_eq!(discard(&mount("btrfs", "rw,discard=async")).level, Level::Ok);
        assert_eq!(writable(&mount("ext4", "ro,relatime")).level, Level::Warning);
    }

    fn disk(write_cache: &str, fua: u64, scheduler: &str, rotational: u64) -> Disk {
        Disk {
            name: "nvme0n1".to_owned(),
            write_cache: Some(write_cache.to_owned()),
            fua: Some(fua),
            scheduler: Some(scheduler.to_owned()),
            rotational: Some(rotational),
            queues_count: 4,
        }
    }

    #[test]
    fn disks_of_real_hosts_are_judged() {
        let levels = |disk: Disk, cores| disk.findings(cores).iter().map(|finding| finding.level).collect::<Vec<_>>();
        let nvme = disk("write back", 1, "[none] mq-deadline kyber", 0);
        assert_eq!(levels(nvme.clone(), 4), [Level::Ok; 4]);
        assert_eq!(levels(nvme, 8)[3], Level::Warning);
        let sata = disk("write back", 0, "none [bfq] mq-deadline", 0);
        assert_eq!(levels(sata, 4)[..2], [Level::Warning; 2]);
        let turning = disk("write through", 0, "[mq-deadline] none", 1);
        assert_eq!(levels(turning, 1), [Level::Ok, Level::Ok, Level::Warning, Level::Ok]);
        assert_eq!(levels(Disk::default(), 1), [Level::Unknown; 4]);
    }
}
