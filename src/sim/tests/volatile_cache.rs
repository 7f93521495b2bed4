//! The drive's volatile cache.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use host::{ALIGNMENT, AlignedBuf};
use sim::disk::{NodeDisk, SECTOR_BYTES, Torn};
use sim::prng::Prng;

#[test]
fn what_a_process_did_not_see_the_end_of_is_lost_with_power_unless_it_is_written_again() {
    let mut prng = Prng::stream(1, "disk");
    let (mut lost, mut kept) = (0, 0);
    for is_written_again in [false, true] {
        for _ in 0..100 {
            let mut disk = NodeDisk::new(SECTOR_BYTES[0]);
            let file = disk.create(Path::new("/log"), 1 << 16).unwrap();
            disk.sync_names();
            let mut buf = AlignedBuf::zeroed(ALIGNMENT);
            buf[0] = 7;
            let torn = disk.tear_into_cache(file, 0, &buf, &mut prng);
            let is_there = |disk: &NodeDisk| disk.read(file, 0, ALIGNMENT).unwrap()[0] == 7;
            if torn != Torn::Whole {
                continue;
            }
            assert!(is_there(&disk), "the drive answers from its cache");
            if is_written_again {
                disk.write(file, 0, &buf).unwrap();
            }
            disk.lose_power(&mut prng);
            assert!(!is_written_again || is_there(&disk));
            lost += u32::from(!is_there(&disk));
            kept += u32::from(is_there(&disk));
        }
    }
    assert!(lost > 0 && kept > 0, "{lost} {kept}");
}
