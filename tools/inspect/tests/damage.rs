//! Whatever the bytes are, commands end and say something; and no changed byte of what counts is passed over.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::fs;
use std::path::Path;

use support::{Fixture, LOG_DIR, STORE_DIR};

const COMMANDS: [&str; 11] = [
    "DATA",
    "log DATA --records",
    "log DATA --segment 2",
    "manifest DATA --edits",
    "table DATA --file 0 --rows",
    "table DATA --file 2 --rows",
    "blob DATA --file 1 --records",
    "blob DATA --file 4 --records",
    "table DATA --file 4 --rows",
    "space DATA",
    "check DATA --deep",
];
/// Directories that are damaged at random.
const DAMAGED_COUNT: u64 = 60;

/// A random number below a limit, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

fn run_all(fixture: &Fixture) {
    for command in COMMANDS {
        // A file that is gone may be asked for: that is an error and no panic.
        if let Ok((output, _)) = fixture.run(&format!("{command} --json")) {
            let document: serde_json::Value = serde_json::from_str(&output).unwrap();
            assert!(document["sound"].is_boolean(), "{command}");
        }
        let _ = fixture.run(command);
    }
}

fn damage(fixture: &Fixture, dice: &mut Dice) {
    let files = fixture.files();
    let file = &files[dice.below(files.len())];
    match dice.below(12) {
        0 => fs::remove_file(fixture.path().join(file)).unwrap(),
        1 => fixture.change(file, |bytes| bytes.truncate(dice.below(bytes.len()))),
        2 => fixture.change(file, |bytes| bytes.extend(vec![dice.below(256) as u8; dice.below(9_000)])),
        3 => {
            let other = fs::read(fixture.path().join(&files[dice.below(files.len())])).unwrap();
            fs::write(fixture.path().join(file), other).unwrap();
        }
        4 => fixture.change(file, |bytes| {
            // A page of another place.
            let (from, to) = (dice.below(bytes.len() / 4_096) * 4_096, dice.below(bytes.len() / 4_096) * 4_096);
            if bytes.len() >= 4_096 {
                bytes.copy_within(from..from + 4_096, to);
            }
        }),
        _ => fixture.change(file, |bytes| {
            for _ in 0..1 + dice.below(30) {
                // Mostly where something stands.
                let at = dice.below(bytes.len());
                let at = (at..bytes.len()).find(|at| bytes[*at] != 0).unwrap_or(at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = dice.below(256) as u8;
                }
            }
        }),
    }
}

#[test]
fn no_bytes_make_a_command_panic() {
    let sound = Fixture::new();
    let mut dice = Dice(0x5EED);
    for _ in 0..DAMAGED_COUNT {
        let fixture = sound.copy();
        for _ in 0..1 + dice.below(3) {
            damage(&fixture, &mut dice);
        }
        run_all(&fixture);
    }
}

#[test]
fn no_changed_byte_of_what_counts_is_passed_over() {
    let sound = Fixture::new();
    let (said, is_sound) = sound.run("check DATA --deep").unwrap();
    assert!(is_sound, "{said}");
    let mut dice = Dice(0xC0DE);
    // Padding is no matter, nor is the head of what was received; the last block of a log is confirmed by nothing behind it.
    for (file, range, is_damage) in [
        (format!("{STORE_DIR}/000000000000.data"), 0..usize::MAX, true),
        (format!("{STORE_DIR}/000000000001.data"), 0..usize::MAX, true),
        (format!("{STORE_DIR}/000000000002.data"), 0..usize::MAX, true),
        (format!("{STORE_DIR}/000000000004.data"), 4_096..usize::MAX, true),
        (format!("{STORE_DIR}/manifest.a"), 0..usize::MAX, false),
        (format!("{STORE_DIR}/manifest.b"), 0..usize::MAX, false),
        (format!("{LOG_DIR}/000000000002.seg"), 0..40_000, true),
    ] {
        let sound_bytes = fs::read(sound.path().join(&file)).unwrap();
        let places: Vec<usize> =
            range.take_while(|at| *at < sound_bytes.len()).filter(|at| sound_bytes[*at] != 0).collect();
        let (before, _) = sound.run("check DATA --deep --json").unwrap();
        for _ in 0..40 {
            let at = places[dice.below(places.len())];
            sound.change(Path::new(&file), |bytes| bytes[at] ^= 1 << dice.below(8));
            let (said, is_sound) = sound.run("check DATA --deep --json").unwrap();
            assert!(said != before && !(is_damage && is_sound), "{file} was changed at {at}: {said}");
            fs::write(sound.path().join(&file), &sound_bytes).unwrap();
        }
    }
}

#[test]
fn every_command_says_the_same_as_json() {
    let fixture = Fixture::new();
    let json = |command: &str| -> serde_json::Value {
        let (output, is_sound) = fixture.run(&format!("{command} --json")).unwrap();
        assert!(is_sound, "{output}");
        serde_json::from_str(&output).unwrap()
    };
    let overview = json("DATA");
    assert_eq!(overview["command"], "overview");
    assert_eq!(overview["path"], "DATA");
    assert_eq!(overview["report"]["identity"]["node_id"], 1);
    assert_eq!(overview["report"]["groups"][0]["index"], 40);
    assert_eq!(overview["report"]["groups"][0]["members"], "1@1/0 2@2/0 3@3/0");
    let log = json("log DATA --group 3 --records");
    let records = log["report"]["logs"][0]["records"].as_array().unwrap().clone();
    assert!(records.iter().all(|record| record["group"] == 3));
    assert!(records.iter().any(|record| record["kind"] == "truncation"));
    let manifest = json("manifest DATA --edits");
    let kinds: Vec<_> = manifest["report"]["stores"][0]["edits"].as_array().unwrap().clone();
    assert_eq!(kinds.iter().filter(|edit| edit["kind"] == "flush").count(), 4);
    let table = json("table DATA --file 0 --rows");
    let rows = table["report"]["tables"][0]["rows"].as_array().unwrap().clone();
    assert_eq!(rows.len() as u64, table["report"]["tables"][0]["properties"]["rows_count"].as_u64().unwrap());
    let quoted = rows.iter().find(|row| row["key"] == r#""a \"quoted\"\nkey\x01""#).unwrap();
    assert_eq!((&quoted["kind"], &quoted["content"]), (&"head".into(), &"inline".into()));
    assert_eq!(quoted["expiry_ms"], 1_795_976_400_005_u64);
    assert_eq!(rows.iter().filter(|row| row["content"] == "blob").count(), 4);
    let blob = json("blob DATA --file 1");
    assert_eq!(blob["report"]["files"][0]["records_count"], 4);
    assert_eq!(blob["report"]["files"][0]["named"]["live_values_count"], 4);
    let space = json("space DATA");
    assert_eq!(space["report"]["stores"][0]["unnamed"][0]["file"], "store/core-00/000000000099.data");
    assert!(!space["report"]["logs"][0]["pins"].as_array().unwrap().is_empty());
    let check = json("check DATA --deep");
    assert_eq!(check["report"]["values_count"], 8);
}

#[test]
fn rows_are_found_by_the_beginning_of_their_keys() {
    let fixture = Fixture::new();
    let key = support::store::head("user:7");
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    for digits in [&hex[..6], &hex] {
        let command = format!("table DATA --file 0 --rows --key-prefix {digits} --json");
        let document: serde_json::Value = serde_json::from_str(&fixture.run(&command).unwrap().0).unwrap();
        let rows = document["report"]["tables"][0]["rows"].as_array().unwrap().clone();
        assert!(rows.iter().any(|row| row["key"] == "\"user:7\""), "{rows:?}");
        assert!(rows.iter().all(|row| row["row_key_hex"].as_str().unwrap().starts_with(digits)));
    }
    assert!(fixture.run("table DATA --file 0 --rows --key-prefix 2f9").is_err(), "half a byte");
}

#[test]
fn nothing_is_changed() {
    let fixture = Fixture::new();
    let content = || {
        fixture
            .files()
            .into_iter()
            .map(|file| (fs::read(fixture.path().join(&file)).unwrap(), file))
            .collect::<Vec<_>>()
    };
    let before = content();
    run_all(&fixture);
    assert!(content() == before);
}

#[test]
fn what_is_not_there_is_an_error_that_says_so() {
    let fixture = Fixture::new();
    for (command, text) in [
        ("DATA/nothing", "cannot list"),
        ("log DATA --core 7", "no log of core 7"),
        ("table DATA --file 77", "no store in DATA has a file 77"),
        ("table DATA/node.toml", "is not named as files of tables and blobs are"),
    ] {
        let error = fixture.run(command).err().map(|error| error.to_string()).unwrap_or_default();
        let error = error.replace(fixture.path().to_str().unwrap(), "DATA");
        assert!(error.contains(text), "{command}: {error}");
    }
}
