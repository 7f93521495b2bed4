//! Scenarios: text scripts that drive a few replicas by hand, with the output they must give.
//!
//! Each file under `data` is one scenario. It opens with a paragraph that says what it shows, and where that comes
//! from; then blocks follow. A block is a line `given` (its output is not shown) or `do`, commands, a line `----`
//! and the output. To write the output anew after a change, and then read it critically:
//!
//! ```text
//! REWRITE=1 cargo test -p coracle-raft --test scenarios              # every file
//! REWRITE=1 RUN=elections/lost.txt cargo test -p coracle-raft --test scenarios
//! ```
//!
//! # Reading a script
//!
//! Nothing happens but what a command says: no message arrives that is not delivered, no clock runs that is not
//! moved. `3@2` is the entry with index 3 of term 2. A delivered message stands at the margin, what follows
//! from it is indented. Under every step the checks of `check` run.
//!
//! # Commands
//!
//! ```text
//! cluster voters=1,2,3 [KEY=VALUE ..]    settings as in `Config`, times in ms; `down` leaves all stopped
//! cluster voters=1,2,3 priority-2=0      a setting of 2 alone
//! cluster voters=1,2,3 joining=4         4 belongs to nobody yet
//! disk 2 manual | auto                   manual: writes wait for `persist`, log reads for `answer`
//! persist 2 [N]                          all or the first N writes of 2 become durable
//! answer 2 | answer 2 failed             the log reads of 2
//! stored 2 term=3 vote=1 terms=1,1,3     lays a log on the disk of 2, which must be down
//! crash 2 [N]                            the first N writes under way reach the disk, the others are lost
//! start 2, restart 2 [N]
//!
//! tick 2 100ms                           the clock of 2 moves on, then its tick
//! sleep 2 100ms                          its clock moves on, but the process stands still
//! wait 100ms                             the same for all, in the order of their ids
//! run 300ms                              as `wait`, in steps of 50 ms, settled after each
//! campaign 2                             the clock of 2 moves to its election deadline, then its tick
//! elect 2                                2 campaigns and everything is delivered: it must lead then
//!
//! propose 1 x | propose 1 x*1000         the second is a payload of 1,000 bytes
//! read-index 1 [N], lease-read 1         N reads are asked for at once; they are numbered from 1
//! transfer 1 [2]
//! change 1 add=4,5 promote=4 remove=3    4 and 5 become learners, 4 a voter; as one change
//! snapshot 1                             the store of 1 makes a durable snapshot of what is applied
//! compact 1 [INDEX]                      the log of 1 is dropped up to there, or as far as its snapshot holds
//! restore 2 1                            2 has fetched the snapshot of 1, and takes it over
//! unreachable 1 2                        1 learns that its connection to 2 broke
//! wake 2                                 2 is to end its silence
//!
//! deliver 1->2 *->3 [KIND] [N | last]    what is on its way now, of that kind only, the first N only
//! drop, copy, save NAME                  the same selection: lost, doubled, moved out of the network
//! send NAME                              what was saved is on its way again, and stays saved
//! cut 1-2, isolate 1, heal               what is sent on a cut link is lost
//! settle                                 delivers until nothing is on its way; manual disks wait
//!
//! status, progress 1, members 1, log 1, on-disk 1, counters 1
//! ```

// Helpers of tests are tests, too.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod check;
mod command;
mod network;
mod replica;
mod show;
mod world;

use std::path::Path;

use world::World;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/data");

#[test]
fn scenarios_give_the_output_written_down() {
    datadriven::walk(DATA, |file| {
        let mut world = World::default();
        // An error becomes output: a rewrite then goes through all files, and the look at them all finds it.
        file.run(|block| match (command::run_block(&mut world, &block.input), block.directive.as_str()) {
            (Ok(output), "do") => output,
            (Ok(_), "given") => String::new(),
            (Ok(_), other) => format!("error: a block is `given` or `do`, not `{other}`\n"),
            (Err(error), _) => format!("error: {error}\n"),
        });
    });
    every_scenario_says_what_it_shows_and_its_source();
}

fn every_scenario_says_what_it_shows_and_its_source() {
    let mut count = 0;
    visit(Path::new(DATA), &mut |name, text| {
        count += 1;
        let prose: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(prose.len() >= 2, "{name} opens with a paragraph");
        assert!(prose.iter().any(|line| line.starts_with("# Source: ")), "{name} names its source");
        assert!(text.contains("\ndo\n"), "{name} shows something");
        assert!(!text.lines().any(|line| line.starts_with("error:")), "{name} holds an error");
    });
    assert!(count >= 60, "only {count} scenarios were found");
}

fn visit(folder: &Path, look: &mut impl FnMut(&str, &str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, look);
        } else {
            look(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
        }
    }
}
