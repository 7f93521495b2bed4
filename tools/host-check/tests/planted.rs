//! Whole hosts, planted as files: what is read from where, and what is said of it.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use coracle_host_check::checks;
use coracle_host_check::finding::{Finding, Level};
use coracle_host_check::plan::Plan;
use coracle_host_check::source::Source;
use tempfile::TempDir;

/// A host with files of these paths and contents.
fn host(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{content}\n")).unwrap();
    }
    root
}

fn link(root: &Path, path: &str, to: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(to, path).unwrap();
}

fn plan(cores: u32) -> Plan {
    Plan { data_dir: "/var/lib/coracle".into(), cores, ..Plan::default() }
}

fn found(root: &TempDir, plan: &Plan) -> Vec<Finding> {
    checks::all(&Source::new(root.path()), plan)
}

fn levels(findings: &[Finding], level: Level) -> Vec<&'static str> {
    findings.iter().filter(|finding| finding.level == level).map(|finding| finding.check).collect()
}

/// A server as it should be: NVMe, four CPUs of which two are for cores, chrony.
fn good_server() -> TempDir {
    let root = host(&[
        ("proc/sys/kernel/osrelease", "6.12.9-amd64"),
        ("proc/sys/kernel/io_uring_disabled", "0"),
        (
            "proc/self/limits",
            "Limit                     Soft Limit           Hard Limit           Units\n\
             Max open files            1048576              1048576              files\n\
             Max locked memory         unlimited            unlimited            bytes",
        ),
        ("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-3"),
        ("proc/self/cgroup", "0::/system.slice/ssh.service"),
        ("sys/fs/cgroup/system.slice/ssh.service/memory.max", "max"),
        ("sys/fs/cgroup/system.slice/cpu.max", "max 100000"),
        (
            "proc/self/mountinfo",
            "27 1 259:2 / / rw,relatime - ext4 /dev/nvme0n1p2 rw\n\
             60 27 259:5 / /var/lib/coracle rw,noatime - xfs /dev/nvme1n1p1 rw,attr2",
        ),
        ("sys/devices/pci/nvme1/nvme1n1/queue/write_cache", "write back"),
        ("sys/devices/pci/nvme1/nvme1n1/queue/fua", "1"),
        ("sys/devices/pci/nvme1/nvme1n1/queue/rotational", "0"),
        ("sys/devices/pci/nvme1/nvme1n1/queue/scheduler", "[none] mq-deadline kyber bfq"),
        ("sys/devices/pci/nvme1/nvme1n1/mq/0/cpu_list", "0"),
        ("sys/devices/pci/nvme1/nvme1n1/mq/1/cpu_list", "1"),
        ("sys/devices/pci/nvme1/nvme1n1/nvme1n1p1/partition", "1"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance"),
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance"),
        ("sys/devices/system/cpu/cpu0/cpuidle/state0/name", "POLL"),
        ("sys/devices/system/cpu/cpu0/cpuidle/state0/latency", "0"),
        ("sys/devices/system/cpu/cpu0/cpuidle/state2/name", "C6"),
        ("sys/devices/system/cpu/cpu0/cpuidle/state2/latency", "133"),
        ("sys/devices/system/cpu/cpu0/cpuidle/state2/disable", "1"),
        ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0"),
        ("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1"),
        ("proc/interrupts", "     CPU0  CPU1  CPU2  CPU3\n 36:  0  0  9  0  PCI-MSI 1-edge  nvme1q1\n"),
        ("proc/irq/36/effective_affinity_list", "2"),
        ("sys/class/net/eth0/device/vendor", "0x8086"),
        ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0"),
        ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0"),
        ("sys/class/net/eth0/queues/tx-0/xps_cpus", "1"),
        ("sys/class/net/eth0/queues/tx-1/xps_cpus", "2"),
        ("sys/class/net/lo/queues/rx-0/rps_cpus", "0"),
        ("proc/sys/net/core/busy_poll", "0"),
        ("proc/sys/net/core/busy_read", "0"),
        ("proc/sys/net/core/somaxconn", "4096"),
        ("proc/net/tcp", "  sl  local_address rem_address   st\n   0: 00000000:0016 00000000:0000 0A"),
        ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never"),
        ("sys/kernel/mm/transparent_hugepage/defrag", "always defer defer+madvise [madvise] never"),
        ("proc/swaps", "Filename\tType\tSize\tUsed\tPriority"),
        ("proc/sys/vm/swappiness", "60"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc"),
        ("proc/812/comm", "chronyd"),
    ]);
    link(root.path(), "sys/dev/block/259:5", "../../devices/pci/nvme1/nvme1n1/nvme1n1p1");
    root
}

#[test]
fn a_good_server_is_told_so() {
    let findings = found(&good_server(), &plan(2));
    assert_eq!(levels(&findings, Level::Warning), [""; 0]);
    assert_eq!(levels(&findings, Level::Danger), [""; 0]);
    // That takes a file of this host.
    assert_eq!(levels(&findings, Level::Unknown), ["direct-io"]);
    let cache = findings.iter().find(|finding| finding.check == "write-cache").unwrap();
    assert_eq!(cache.found, "nvme1n1 has one, and FUA goes past it");
}

/// Changes one file of a good server and says which checks notice.
fn noticed(path: &str, content: &str, cores: u32) -> Vec<&'static str> {
    let root = good_server();
    let path = root.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    let findings = found(&root, &plan(cores));
    findings.iter().filter(|finding| finding.level >= Level::Warning).map(|finding| finding.check).collect()
}

#[test]
fn each_setting_is_noticed_by_its_own_check() {
    let disk = "sys/devices/pci/nvme1/nvme1n1/queue";
    let cpu0 = "sys/devices/system/cpu/cpu0";
    for (path, content, check) in [
        ("proc/sys/kernel/osrelease", "5.10.0", "kernel"),
        ("proc/sys/kernel/io_uring_disabled", "2", "io_uring"),
        ("proc/self/limits", "Max open files 1024 4096 files\nMax locked memory unlimited unlimited bytes", "nofile"),
        ("proc/self/limits", "Max open files 1 1048576 files\nMax locked memory 65536 65536 bytes", "memlock"),
        (&format!("{disk}/fua"), "0", "write-cache"),
        (&format!("{disk}/scheduler"), "none [bfq]", "scheduler"),
        (&format!("{disk}/rotational"), "1", "rotational"),
        (&format!("{cpu0}/cpufreq/scaling_governor"), "powersave", "governor"),
        (&format!("{cpu0}/cpuidle/state2/disable"), "0", "c-states"),
        (&format!("{cpu0}/topology/thread_siblings_list"), "0-1", "threads"),
        ("proc/irq/36/effective_affinity_list", "0", "interrupts"),
        ("proc/sys/net/core/busy_poll", "50", "busy-polling"),
        ("proc/sys/net/core/somaxconn", "128", "backlog"),
        ("proc/net/tcp6", "  sl  local_address\n 0: 00000000000000000000000001000000:1B58 0:0 0A", "ports"),
        ("proc/sys/net/ipv4/ip_local_port_range", "1024 65000", "outgoing-ports"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never", ""),
        ("proc/swaps", "Filename\n/swapfile file 1 0 -2", "swap"),
        ("sys/fs/cgroup/system.slice/memory.max", "268435456", "memory-limit"),
        ("sys/fs/cgroup/system.slice/ssh.service/cpu.max", "200000 100000", "cpu-quota"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet", "clock-source"),
        ("proc/812/comm", "bash", "ntp"),
        ("proc/self/mountinfo", "60 1 259:5 / / rw,noatime,discard - xfs /dev/x rw", "discard"),
        ("proc/self/mountinfo", "60 1 259:5 / / rw,noatime - ext4 /dev/x rw,nobarrier", "barriers"),
        ("proc/self/mountinfo", "60 1 259:5 / / rw - ext4 /dev/x rw", "atime"),
        ("proc/self/mountinfo", "60 1 259:5 / / ro,noatime - ext4 /dev/x ro", "writable"),
        ("proc/self/mountinfo", "60 1 0:9 / / rw,noatime - overlay overlay rw", "file-system"),
    ] {
        let expected: Vec<&str> = [check].into_iter().filter(|check| !check.is_empty()).collect();
        assert_eq!(noticed(path, content, 2), expected, "{path}: {content}");
    }
    assert_eq!(noticed("x", "", 3), ["disk-queues", "interrupts", "receive-queues"]);
    assert_eq!(noticed("x", "", 5), ["disk-queues", "cpus", "receive-queues"]);
    assert_eq!(noticed("sys/class/net/eth0/queues/tx-1/xps_cpus", "0", 1), [""; 0], "one queue with CPUs is enough");
}

#[test]
fn a_volume_is_judged_by_the_disks_below_it() {
    let root = host(&[
        ("proc/self/mountinfo", "60 1 253:0 / / rw,noatime - ext4 /dev/mapper/vg-data rw"),
        ("sys/devices/virtual/block/dm-0/queue/write_cache", "write through"),
        ("sys/devices/pci/sda/queue/write_cache", "write back"),
        ("sys/devices/pci/sda/queue/fua", "0"),
        ("sys/devices/pci/sda/sda1/partition", "1"),
        ("sys/devices/pci/sdb/queue/write_cache", "write through"),
    ]);
    link(root.path(), "sys/dev/block/253:0", "../../devices/virtual/block/dm-0");
    link(root.path(), "sys/devices/virtual/block/dm-0/slaves/sda1", "../../../../pci/sda/sda1");
    link(root.path(), "sys/devices/virtual/block/dm-0/slaves/sdb", "../../../../pci/sdb");
    let findings = found(&root, &plan(1));
    let of_disks: Vec<_> = findings
        .iter()
        .filter(|finding| finding.check == "write-cache")
        .map(|finding| (finding.level, finding.found.split(' ').next().unwrap()))
        .collect();
    assert_eq!(of_disks, [(Level::Warning, "sda"), (Level::Ok, "sdb")]);
}

#[test]
fn an_empty_host_is_unknown_and_not_right() {
    let findings = found(&host(&[]), &plan(1));
    assert!(levels(&findings, Level::Unknown).len() >= 10, "{findings:?}");
    assert_eq!(levels(&findings, Level::Danger), [""; 0]);
}

#[test]
fn the_program_ends_with_the_status_that_it_promises() {
    let program = env!("CARGO_BIN_EXE_coracle-host-check");
    let status_of = |root: &TempDir, more: &[&str]| {
        let output = Command::new(program).arg("--root").arg(root.path()).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let root = good_server();
    assert_eq!(status_of(&root, &["--cores", "2"]).0, Some(0));
    assert_eq!(status_of(&root, &["--cores", "9"]).0, Some(0), "warnings are no failure");
    fs::write(root.path().join("proc/self/mountinfo"), "60 1 0:9 / / rw - tmpfs tmpfs rw\n").unwrap();
    let (status, text) = status_of(&root, &["--json"]);
    assert!(status == Some(1) && text.contains("\"is_safe\": false"), "{text}");
    assert_eq!(status_of(&root, &["--config", "/nowhere"]).0, Some(2));
}
