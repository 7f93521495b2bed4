//! Tells the program which compiler has built it, since instruction counts depend on it, and which fjall it was built with.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let version = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    println!("cargo:rustc-env=CORACLE_RUSTC_VERSION={}", version.trim());
    if std::env::var_os("CARGO_FEATURE_STORES").is_some() {
        let lock = "../Cargo.lock";
        println!("cargo:rerun-if-changed={lock}");
        let lock = std::fs::read_to_string(lock).unwrap_or_default();
        println!("cargo:rustc-env=CORACLE_BENCH_FJALL={}", locked_version(&lock, "fjall").unwrap_or("unknown"));
    }
}

/// The version of a package in the text of Cargo.lock.
fn locked_version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, behind) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    behind.split('"').next()
}
