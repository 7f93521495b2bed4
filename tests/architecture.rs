//! What ARCHITECTURE.md says about folders and layers is true, no module imports in a circle, and pages name what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use coracle_tests::modules::Modules;
use coracle_tests::root;
use coracle_tests::source::{files, functions, tokens};

/// The longest that a function may be, in lines, from its `fn` to its last bracket.
const FUNCTION_LINES_MAX: usize = 70;

/// The parts of the engine: each a folder, which imports none of the others.
const PARTS: &[&str] = &["clients", "router", "groups", "storage", "peers", "cluster"];
/// The one module that knows all parts.
const CENTRE: &str = "core";

/// The rows of the table in the section `## Layers`: the first column and the third.
fn listed() -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let section = page.split("\n## Layers").nth(1).expect("ARCHITECTURE.md has a section `## Layers`");
    let section = section.split("\n## ").next().unwrap_or_default();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let path = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        Some((path.trim_end_matches('/').to_owned(), cells.get(3)?.replace('`', "")))
    };
    section.lines().filter_map(row).collect()
}

/// The crates in `src`, in the order of the table.
fn layers() -> Vec<String> {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let names = page.lines().filter_map(|line| Some(line.strip_prefix("| `src/")?.split_once('`')?.0.to_owned()));
    names.collect()
}

/// What a cell of the third column allows a crate, and whether it names each: then the crate needs each of them too.
fn allowed(cell: &str, name: &str, layers: &[String]) -> (BTreeSet<String>, bool) {
    if let Some(but) = cell.strip_prefix("all above") {
        let but: Vec<&str> = but.trim_start_matches(" but ").split(" and ").collect();
        let above = layers.iter().take_while(|layer| *layer != name);
        return (above.filter(|layer| !but.contains(&layer.as_str())).cloned().collect(), false);
    }
    let names = cell.split(", ").filter(|name| !name.is_empty() && *name != "nothing");
    (names.map(str::to_owned).collect(), true)
}

/// Which of our crates a manifest names, for the crate itself and for its tests.
fn named(manifest: &Path, layers: &[String]) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifest).unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
    let manifest: toml::Table = text.parse().expect("a manifest is TOML");
    let mut names = BTreeSet::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
        for (key, value) in table {
            let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
            let name = package.strip_prefix("coracle-").unwrap_or(package);
            names.extend(layers.iter().find(|layer| *layer == name).cloned());
        }
    }
    names
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
    let listed: BTreeSet<String> = listed().into_keys().collect();
    let missing: Vec<_> = tree.difference(&listed).collect();
    let wrong: Vec<_> = listed.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md lacks {missing:?}");
    assert!(wrong.is_empty(), "ARCHITECTURE.md has what the tree has not: {wrong:?}");
}

#[test]
fn crates_import_what_the_table_says() {
    let layers = layers();
    for (path, cell) in listed() {
        let manifest = root().join(&path).join("Cargo.toml");
        let name = path.rsplit('/').next().expect("a path has a last part");
        let (allowed, is_exact) = allowed(&cell, name, &layers);
        for layer in &allowed {
            assert!(layers.contains(layer), "ARCHITECTURE.md lets {path} import {layer}, which is no crate");
        }
        if !manifest.is_file() {
            assert!(allowed.is_empty(), "{path} has no manifest, and ARCHITECTURE.md lets it import {allowed:?}");
            continue;
        }
        let named = named(&manifest, &layers);
        let wrong: Vec<_> = named.difference(&allowed).collect();
        assert!(wrong.is_empty(), "{path} names {wrong:?}; ARCHITECTURE.md lets it import: {cell}");
        assert!(!is_exact || named == allowed, "{path} imports only {named:?}; ARCHITECTURE.md says: {cell}");
    }
}

#[test]
fn crates_import_only_crates_above_them() {
    let layers = layers();
    for (at, name) in layers.iter().enumerate() {
        let named = named(&root().join("src").join(name).join("Cargo.toml"), &layers);
        let wrong: Vec<_> = named.iter().filter(|other| !layers[..at].contains(other)).collect();
        assert!(wrong.is_empty(), "{name} stands above {wrong:?} in the table, and names them");
    }
}

#[test]
fn modules_do_not_import_in_circles() {
    let mut wrong = Vec::new();
    for name in layers() {
        for circle in Modules::read(&root().join("src").join(&name)).circles() {
            wrong.push(format!("a circle of imports in src/{name}/{}: {}", circle.folder, circle.imports));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the test above finds in a crate of these files.
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    Modules::read(written(files).path()).circles().into_iter().map(|circle| circle.imports).collect()
}

/// A folder with these files.
fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, source) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it is in the directory")).expect("a folder");
        std::fs::write(path, source).expect("a file");
    }
    dir
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let root = ("lib.rs", "mod a;\nmod b;\npub use a::{A, Other as Alias};\n");
    let of_b = |b| circles_of(&[root, ("a.rs", "use crate::b;\npub struct A;\n"), ("b.rs", b)]);
    for b in [
        "use crate::a::A;",
        "use super::{a::{self, A}, b};",
        "fn f() { crate::a::g(); }",
        "use crate::Alias;",
        "fn f<'a>(x: &'a super::A) -> char { '\"' }",
        "mod inner { use super::super::a::A; }",
    ] {
        assert_eq!(of_b(b).len(), 1, "{b}");
    }
    for b in [
        "",
        "// use crate::a::A;",
        "/* use crate::a::A; /* */ use super::A; */",
        "const TEXT: &str = \"crate::a::A\"; const RAW: &str = r#\"use \" crate::a::A;\"#; const B: u8 = b'\\'';",
        "#[cfg(test)]\nmod tests { use super::*; use crate::a::A; }",
        "#[cfg(test)]\n#[allow(unused)]\nuse crate::a::{A, Other};\nfn a() {}",
        "use other::a::A;",
    ] {
        assert_eq!(of_b(b), Vec::<String>::new(), "{b}");
    }
    let nested = [("lib.rs", "mod f;\nmod g;\n"), ("g.rs", ""), ("f/mod.rs", "mod x;\nmod y;\npub use x::X;\n")];
    let of_y = |y| circles_of(&[nested.as_slice(), &[("f/x.rs", "use super::y::Y;"), ("f/y.rs", y)]].concat());
    assert_eq!(of_y("use super::X;").len(), 1);
    assert_eq!(of_y("use crate::g::G;").len(), 0);
}

/// Where modules of an engine break the rule of its parts.
fn breaches(engine: &Path) -> Vec<String> {
    let modules = Modules::read(engine);
    let mut breaches = Vec::new();
    for edge in modules.edges() {
        let (Some(from), Some(to)) = (edge.from.first(), edge.to.first()) else { continue };
        if from != to && from != CENTRE && (to == CENTRE || PARTS.contains(&to.as_str())) {
            breaches.push(format!("{}: `{from}` imports `{to}`; only {CENTRE}.rs knows the parts", edge.place));
        }
    }
    for (path, module) in modules.iter().filter(|(path, _)| path.first().is_none_or(|first| first != CENTRE)) {
        let of_core = module.impls.iter().filter(|(name, _)| name == "Core");
        breaches.extend(of_core.map(|(_, line)| format!("{path:?}, line {line}: an `impl` of Core")));
    }
    breaches
}

#[test]
fn parts_of_the_engine_do_not_import_one_another() {
    let engine = root().join("src/engine");
    for part in PARTS {
        assert!(engine.join(part).join("mod.rs").is_file(), "src/engine/{part}/mod.rs is missing");
    }
    let breaches = breaches(&engine);
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn a_part_that_imports_another_is_found() {
    let breaches_of = |groups: &str| {
        let dir = written(&[
            ("lib.rs", "mod budget;\nmod core;\nmod groups;\nmod peers;\npub use core::Core;\n"),
            ("core.rs", "use crate::{groups::Groups, peers::Peers};\npub struct Core<H>(H);\nimpl<H> Core<H> {}\n"),
            ("budget.rs", ""),
            ("peers/mod.rs", "use crate::budget::Permit;\n"),
            ("groups/mod.rs", groups),
        ]);
        breaches(dir.path()).len()
    };
    assert_eq!(breaches_of("use crate::budget::Permit;\npub struct Groups;\nimpl Groups {}\n"), 0);
    assert_eq!(breaches_of("use crate::peers::Peers;"), 1);
    assert_eq!(breaches_of("fn f(core: &crate::Core<u8>) {}"), 1);
    assert_eq!(breaches_of("impl<H: Fn() -> u8> Core<H> where H: Copy { fn f() {} }"), 1);
    assert_eq!(breaches_of("impl<H> std::fmt::Debug for super::Core<H> {}"), 2);
}

/// Types of the simulator that hold much, and the folder that alone has an `impl` of each.
const OWNERS: &[(&str, &str)] = &[("World", "world"), ("Injector", "injector")];

#[test]
fn the_simulator_keeps_what_it_does_to_its_world_in_one_folder() {
    let modules = Modules::read(&root().join("src/sim"));
    for (name, folder) in OWNERS {
        let holders = modules.iter().filter(|(_, module)| module.impls.iter().any(|(other, _)| other == name));
        let (inside, outside): (Vec<_>, Vec<_>) =
            holders.map(|(path, _)| path).partition(|path| path.first().is_some_and(|first| first == folder));
        assert!(outside.is_empty(), "{outside:?} have an `impl` of {name}, which belongs in src/sim/{folder}");
        assert!(!inside.is_empty(), "src/sim/{folder} has no `impl` of {name}: take it off the list OWNERS");
    }
}

#[test]
fn reading_orders_are_complete() {
    let mut wrong = Vec::new();
    for path in listed().into_keys().filter(|path| root().join(path).join("lib.rs").is_file()) {
        let file = root().join(&path).join("lib.rs");
        let page = std::fs::read_to_string(&file).expect("a source is text");
        let page: String = page.lines().filter(|line| line.starts_with("//!")).collect();
        let order = page.split("Reading order").nth(1).unwrap_or_default();
        let is_named =
            |name: &String| order.contains(&format!("`{name}`")) || order.contains(&format!("`mod@{name}`"));
        let missing: Vec<String> = Modules::top_level(&file).into_iter().filter(|name| !is_named(name)).collect();
        if !missing.is_empty() {
            wrong.push(format!("the reading order of {path} lacks {missing:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_that_pages_name_are_there() {
    let mut wrong = Vec::new();
    for page in ["ARCHITECTURE.md", "README.md", "tuning.md"] {
        let text = std::fs::read_to_string(root().join(page)).expect("a page is text");
        // Every second piece stands between backticks.
        for name in text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "tests/", "tools/", "bench/"].iter().any(|folder| name.starts_with(folder));
            if is_path && !name.contains(' ') && !root().join(name).exists() {
                wrong.push(format!("{page} names {name}, which is not there"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn functions_are_short() {
    let mut wrong = Vec::new();
    for folder in ["src", "bench", "tools", "tests"] {
        for file in files(&root().join(folder), &["rs"]) {
            let source = std::fs::read_to_string(&file).expect("a source is text");
            for function in functions(&tokens(&source)) {
                if function.lines_count > FUNCTION_LINES_MAX {
                    let shown = file.strip_prefix(root()).unwrap_or(&file).display();
                    let (name, line, count) = (function.name, function.line, function.lines_count);
                    wrong
                        .push(format!("{shown}:{line}: `{name}` has {count} lines, of at most {FUNCTION_LINES_MAX}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_function_is_measured_from_its_name_to_the_end_of_its_body() {
    let measured = |source: &str| {
        let tokens = tokens(source);
        functions(&tokens).iter().map(|one| (one.name.to_owned(), one.line, one.lines_count)).collect::<Vec<_>>()
    };
    let one = |name: &str, line, count| vec![(name.to_owned(), line, count)];
    assert_eq!(measured("fn f() {}"), one("f", 1, 1));
    assert_eq!(measured("/// }\n#[test]\npub(crate) async fn f<'a>(\n    x: [u8; { 1 }],\n) {\n}\n"), one("f", 3, 4));
    assert_eq!(measured("fn f() -> char {\n    // }\n    \"}\";\n    r#\"}\"#;\n    '}'\n}"), one("f", 1, 6));
    assert_eq!(measured("fn f() where X: Fn(fn(u8)) -> u8 {\n}"), one("f", 1, 2), "a type of functions is none");
    assert_eq!(measured("trait T {\n    fn without(&self);\n    fn with(&self) {\n    }\n}"), one("with", 3, 2));
    let nested = measured("fn outer() {\n    fn inner() {\n    }\n}");
    assert_eq!(nested, [one("outer", 1, 4), one("inner", 2, 2)].concat());
    assert_eq!(measured("macro_rules! m {\n    () => {\n        fn f() {\n        }\n    };\n}"), one("f", 3, 2));
}
