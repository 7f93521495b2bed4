//! Every input that is kept, in the corpora and among those that once broke something, still passes.

use std::path::Path;

type Check = fn(&[u8]);

const TARGETS: &[(&str, Check)] = &[
    ("resp", coracle_fuzz::resp::check),
    ("resp_differential", coracle_fuzz::resp_differential::check),
    ("frame", coracle_fuzz::frame::check),
    ("log_block", coracle_fuzz::log_block::check),
    ("log_dir", coracle_fuzz::log_dir::check),
    ("checkpoint", coracle_fuzz::checkpoint::check),
    ("batch", coracle_fuzz::batch::check),
    ("cluster_map", coracle_fuzz::cluster_map::check),
];

#[test]
fn kept_inputs_pass() {
    for (name, check) in TARGETS {
        let mut count = 0;
        for kind in ["corpus", "regressions"] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(name);
            for entry in std::fs::read_dir(&dir).into_iter().flatten() {
                let path = entry.expect("a readable folder").path();
                println!("{}", path.display());
                check(&std::fs::read(&path).expect("a readable input"));
                count += 1;
            }
        }
        assert!(count > 0, "{name} has no inputs");
    }
}
