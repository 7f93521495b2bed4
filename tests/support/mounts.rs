//! Small disks of their own for tests: ext4 on a loop device, which can be filled up and can be made to fail.
//!
//! A disk goes when its [`SmallDisk`] is dropped. What a test left that was killed goes when the next one starts: the
//! image's name holds the process id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// Images of these tests begin with this; the process id follows.
const IMAGE_PREFIX: &str = "coracle-test-disk-";
/// Bytes of a disk that still work once it fails: not even the files of an idle node.
const FAILING_BYTES: u64 = 1 << 20;

/// Sets the length of a loop device's backing file that counts, as in `struct loop_info64`; 0 is all of it. What lies
/// behind gives EIO, for reading and for writing, and is not touched.
const SET_SIZE_LIMIT: &str = "
import fcntl, struct, sys
LOOP_GET_STATUS64, LOOP_SET_STATUS64, AT = 0x4C05, 0x4C04, 32
with open(sys.argv[1], 'rb+') as device:
    info = bytearray(232)
    fcntl.ioctl(device, LOOP_GET_STATUS64, info)
    info[AT:AT + 8] = struct.pack('<Q', int(sys.argv[2]))
    fcntl.ioctl(device, LOOP_SET_STATUS64, bytes(info))
";

/// A disk.
#[derive(Debug)]
pub struct SmallDisk {
    image: PathBuf,
    at: PathBuf,
    device: String,
}

impl SmallDisk {
    /// Makes a disk of so many bytes and mounts it at an empty directory, which is made.
    ///
    /// # Errors
    /// Why this machine cannot: no loop devices, or not the rights.
    pub fn mount(at: &Path, bytes: u64) -> Result<SmallDisk, String> {
        remove_leftovers();
        std::fs::create_dir_all(at).map_err(|error| format!("{}: {error}", at.display()))?;
        let image = std::env::temp_dir().join(format!(
            "{IMAGE_PREFIX}{}-{}",
            std::process::id(),
            at.display().to_string().replace('/', "-")
        ));
        let file = File::create(&image).and_then(|file| file.set_len(bytes));
        file.map_err(|error| format!("{}: {error}", image.display()))?;
        let mut disk = SmallDisk { image, at: at.to_owned(), device: String::new() };
        // Without room reserved for root, and with all of its own structures written now.
        let lazy = "lazy_itable_init=0,lazy_journal_init=0";
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", lazy, &text(&disk.image)])?;
        disk.attach()?;
        Ok(disk)
    }

    /// Mounts it where it was. The device goes by itself when it is unmounted.
    fn attach(&mut self) -> Result<(), String> {
        run("mount", &["-o", "loop,errors=remount-ro", &text(&self.image), &text(&self.at)])?;
        self.device = run("findmnt", &["-n", "-o", "SOURCE", &text(&self.at)])?.trim().to_owned();
        Ok(())
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Its loop device, such as `/dev/loop0`.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Takes all room but so many bytes.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn fill(&self, left_bytes: u64) {
        let free = run("df", &["--output=avail", "-B1", &text(&self.at)]).expect("it is mounted");
        let free: u64 = free.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number of bytes");
        let bytes = free.checked_sub(left_bytes).expect("more room than is to be left");
        run("fallocate", &["-l", &bytes.to_string(), &text(&self.filler())]).expect("the room was there");
    }

    /// Gives it back.
    ///
    /// # Panics
    /// If it was not taken.
    pub fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// From now on nearly all of it gives EIO.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn fail(&self) {
        self.limit(FAILING_BYTES);
    }

    /// What it held is there again. Nobody may use it meanwhile.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn repair(&mut self) {
        self.limit(0);
        // The file system has noticed the errors and refuses to write until it is mounted anew.
        run("umount", &[&text(&self.at)]).expect("nobody uses it");
        self.attach().expect("it was mounted before");
    }

    fn limit(&self, bytes: u64) {
        run("python3", &["-c", SET_SIZE_LIMIT, &self.device, &bytes.to_string()]).expect("it is a loop device");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        remove(&self.image, &self.at.display().to_string());
    }
}

/// Unmounts a disk, whoever uses it still, and removes its image. Errors mean that it is gone already.
fn remove(image: &Path, at: &str) {
    let _ = run("umount", &["--lazy", at]);
    let _ = std::fs::remove_file(image);
}

/// Removes the disks of test programs that are no more.
fn remove_leftovers() {
    let Ok(devices) = run("losetup", &["-l", "-n", "-O", "NAME,BACK-FILE"]) else { return };
    for line in devices.lines() {
        let mut words = line.split_whitespace();
        let (Some(device), Some(image)) = (words.next(), words.next()) else { continue };
        let Some(rest) = image.split('/').next_back().and_then(|name| name.strip_prefix(IMAGE_PREFIX)) else {
            continue;
        };
        let owner: Option<u32> = rest.split('-').next().and_then(|pid| pid.parse().ok());
        if owner.is_some_and(|pid| !process::exists(pid))
            && let Ok(at) = run("findmnt", &["-n", "-o", "TARGET", device])
        {
            remove(Path::new(image), at.trim());
        }
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of UTF-8").to_owned()
}

fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).output();
    let output =
        output.map_err(|error| format!("{program} cannot be started ({error}); tools/verify installs it"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
