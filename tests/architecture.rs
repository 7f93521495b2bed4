//! What ARCHITECTURE.md says about folders and layers is true.

use std::collections::BTreeSet;
use std::path::Path;

use coracle_tests::root;

/// Which of our crates each crate may name, in its dependencies and in those of its tests.
const ALLOWED: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("host", &["types"]),
    ("wire", &["types"]),
    ("raft", &["types", "wire"]),
    ("wal", &["types", "host", "wire"]),
    ("meta", &["types", "wire"]),
    ("resp", &["types"]),
    ("data", &["types", "host", "resp"]),
    ("engine", &["types", "host", "wire", "raft", "wal", "meta", "resp", "data"]),
    ("rt", &["types", "host"]),
    ("node", &["types", "host", "wire", "raft", "wal", "meta", "resp", "data", "engine", "rt"]),
    ("sim", &["types", "host", "wire", "raft", "wal", "meta", "resp", "data", "engine"]),
];

/// The first column of every table in the section `## Layers`.
fn listed() -> BTreeSet<String> {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let section = page.split("\n## Layers").nth(1).expect("ARCHITECTURE.md has a section `## Layers`");
    let section = section.split("\n## ").next().unwrap_or_default();
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.trim_end_matches('/').to_owned());
    section.lines().filter_map(cell).collect()
}

fn folders(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a folder of the repository").flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_table_of_folders_is_the_tree() {
    let mut tree: BTreeSet<String> =
        folders(&root().join("src")).into_iter().map(|name| format!("src/{name}")).collect();
    tree.extend(["bench", "tools", "tests"].map(str::to_owned));
    let listed = listed();
    let missing: Vec<_> = tree.difference(&listed).collect();
    let wrong: Vec<_> = listed.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md lacks {missing:?}");
    assert!(wrong.is_empty(), "ARCHITECTURE.md has what the tree has not: {wrong:?}");
}

#[test]
fn no_layer_names_one_it_may_not() {
    let ours: BTreeSet<String> = folders(&root().join("src")).into_iter().collect();
    let ruled: BTreeSet<String> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(ours, ruled, "every crate has a rule");
    for (name, allowed) in ALLOWED {
        let path = root().join("src").join(name).join("Cargo.toml");
        let manifest: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
            for (key, value) in table {
                let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
                let layer = package.strip_prefix("coracle-").unwrap_or(package);
                assert!(
                    !ours.contains(layer) || allowed.contains(&layer),
                    "{name} names {layer} in its {section}, and may name only {allowed:?}"
                );
            }
        }
    }
}
