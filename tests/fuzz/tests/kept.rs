//! Every input that is kept, in the corpora and among those that once broke something, still passes.

use std::path::{Path, PathBuf};

type Check = fn(&[u8]);

const TARGETS: &[(&str, Check)] = &[
    ("resp", coracle_fuzz::resp::check),
    ("resp_differential", coracle_fuzz::resp_differential::check),
    ("frame", coracle_fuzz::frame::check),
    ("log_block", coracle_fuzz::log_block::check),
    ("log_dir", coracle_fuzz::log_dir::check),
    ("batch", coracle_fuzz::batch::check),
    ("cluster_map", coracle_fuzz::cluster_map::check),
    ("table", coracle_fuzz::table::check),
    ("manifest", coracle_fuzz::manifest::check),
    ("snapshot", coracle_fuzz::snapshot::check),
    ("dump", coracle_fuzz::dump::check),
];

#[test]
fn kept_inputs_pass() {
    for (name, check) in TARGETS {
        let path = folder("corpus").join(name).with_extension("pack");
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let inputs = fuzz_pack::unpack(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!inputs.is_empty(), "{name} has no inputs");
        for (number, input) in inputs.iter().enumerate() {
            // The last of these lines names the input that fails.
            println!("input {number:05} of {}", path.display());
            check(input);
        }
    }
}

#[test]
fn inputs_that_once_broke_something_pass() {
    let mut count = 0;
    for (name, check) in TARGETS {
        for entry in std::fs::read_dir(folder("regressions").join(name)).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            println!("{}", path.display());
            check(&std::fs::read(&path).expect("a readable input"));
            count += 1;
        }
    }
    assert!(count > 0, "there are no regressions");
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
