//! What commands print of directories that are sound and of ones that are damaged, as scripts with the output written
//! down. `REWRITE=1 cargo test -p coracle-inspect --test golden` writes it anew.
//!
//! A script begins with a sound directory. `damage` changes files, one change a line: `flip FILE OFFSET`,
//! `cut FILE LENGTH`, `remove FILE`. `restore` begins anew. `inspect` runs a command, in which `DATA` is the directory.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::fs;
use std::path::Path;

use support::Fixture;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
/// How wide text for people is. Lists of rows and records go beyond that.
const COLUMNS_COUNT: usize = 80;

fn damage(fixture: &Fixture, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["flip", file, offset] => {
            fixture.change(Path::new(file), |bytes| bytes[offset.parse::<usize>().unwrap()] ^= 0x10);
        }
        ["cut", file, len] => fixture.change(Path::new(file), |bytes| bytes.truncate(len.parse().unwrap())),
        ["remove", file] => fs::remove_file(fixture.path().join(file)).unwrap(),
        _ => panic!("no such change: {line}"),
    }
}

/// What files take of a disk is the file system's affair.
fn without_disk(line: &str) -> String {
    match line.split_once(" in files, ") {
        Some((files, _)) => format!("{files} in files, some of the disk"),
        None => line.to_owned(),
    }
}

fn inspect(fixture: &Fixture, command: &str) -> String {
    let (output, is_sound) = match fixture.run(command) {
        Ok(said) => said,
        Err(error) => return format!("exit 2: {error}\n").replace(fixture.path().to_str().unwrap(), "DATA"),
    };
    let is_list = command.contains("--records") || command.contains("--rows") || command.contains("--edits");
    for line in output.lines().filter(|_| !is_list && !command.contains("--segment")) {
        assert!(line.chars().count() <= COLUMNS_COUNT, "{command}: {line}");
    }
    let lines = output.lines().map(without_disk).map(|line| line + "\n");
    format!("exit {}\n{}", u8::from(!is_sound), lines.collect::<String>())
}

#[test]
fn commands_print_what_is_written_down() {
    let sound = Fixture::new();
    datadriven::walk(SCRIPTS, |file| {
        let mut fixture = sound.copy();
        file.run(|block| match block.directive.as_str() {
            "restore" => {
                fixture = sound.copy();
                String::new()
            }
            "damage" => {
                block.input.lines().for_each(|line| damage(&fixture, line));
                String::new()
            }
            "inspect" => block.input.lines().map(|line| inspect(&fixture, line)).collect(),
            other => panic!("no such directive: {other}"),
        });
    });
}
