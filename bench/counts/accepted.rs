//! The file of accepted figures, and what figures depend on beside the code.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::counts::workloads::Listed;
use crate::error::Error;

/// What counts depend on beside the code. Two builds of the same code count alike where all of it is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The compiler, as `rustc --version` has it.
    pub rustc: String,
    /// The kind of CPU.
    pub arch: String,
    /// The features that the program sees under valgrind, of those that it looks for.
    pub cpu_features: String,
    /// The C library, which copies and compares memory.
    pub libc: String,
    /// Valgrind.
    pub valgrind: String,
}

impl Environment {
    /// That of this program.
    pub(super) fn detect(cpu_features: &str, valgrind: &str) -> Environment {
        let libc = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
        let libc = libc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Environment {
            rustc: env!("CORACLE_RUSTC_VERSION").to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cpu_features: cpu_features.to_owned(),
            libc: libc.unwrap_or_default(),
            valgrind: valgrind.to_owned(),
        }
    }

    /// In what another one differs: the name of each such part, what it is here and there.
    pub(super) fn differences(&self, other: &Environment) -> Vec<(&'static str, String, String)> {
        let parts = |one: &Environment| {
            let Environment { rustc, arch, cpu_features, libc, valgrind } = one.clone();
            [("rustc", rustc), ("arch", arch), ("CPU features", cpu_features), ("libc", libc), ("valgrind", valgrind)]
        };
        let pairs = parts(self).into_iter().zip(parts(other));
        pairs.filter(|(one, other)| one.1 != other.1).map(|(one, other)| (one.0, one.1, other.1)).collect()
    }
}

/// The accepted figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Where they were counted.
    pub environment: Environment,
    /// Instructions per operation, by workload.
    pub instructions_per_operation: BTreeMap<String, f64>,
}

impl Accepted {
    /// Reads a file; without one nothing was accepted.
    ///
    /// # Errors
    /// If it cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Accepted, Error> {
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| {
                let shown = path.display();
                Error::Usage(format!("{shown}: {error}; restore it, or remove it and accept what is counted"))
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Accepted::default()),
            Err(error) => Err(Error::os(format!("reading {}", path.display()))(error)),
        }
    }

    /// Writes the file, a workload a line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).expect("numbers and texts are JSON") + "\n";
        fs::write(path, text).map_err(Error::os(format!("writing {}", path.display())))
    }

    /// Takes over what was counted. Workloads that there are not any more are forgotten; those that were not counted keep their
    /// figures if these are from the same environment.
    ///
    /// # Errors
    /// If only a part was counted, in another environment: the file would say of the rest what is not so.
    pub(super) fn take(
        &mut self,
        counted: &BTreeMap<String, f64>,
        environment: Environment,
        is_part: bool,
        all: &[Listed],
    ) -> Result<(), Error> {
        if is_part && self.environment != environment && !self.instructions_per_operation.is_empty() {
            let text = "the accepted figures are from another environment: accept all of them, without --only";
            return Err(Error::Usage(text.to_owned()));
        }
        self.environment = environment;
        for (name, figure) in counted {
            self.instructions_per_operation.insert(name.clone(), (figure * 100.0).round() / 100.0);
        }
        self.instructions_per_operation.retain(|name, _| all.iter().any(|listed| listed.name == name));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::workloads::ALL;

    fn environment(rustc: &str) -> Environment {
        Environment { rustc: rustc.to_owned(), ..Environment::default() }
    }

    #[test]
    fn figures_survive_the_file_and_a_missing_one_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("accepted.json");
        assert_eq!(Accepted::read(&path).unwrap(), Accepted::default());
        let mut accepted = Accepted::default();
        accepted.instructions_per_operation.insert("gone/workload".to_owned(), 1.0);
        let counted = BTreeMap::from([(ALL[0].name.to_owned(), 12.345_678)]);
        accepted.take(&counted, environment("rustc 1"), false, ALL).unwrap();
        assert_eq!(accepted.instructions_per_operation, BTreeMap::from([(ALL[0].name.to_owned(), 12.35)]));
        accepted.write(&path).unwrap();
        assert_eq!(Accepted::read(&path).unwrap(), accepted);
        fs::write(&path, "{").unwrap();
        assert!(Accepted::read(&path).unwrap_err().to_string().contains("restore it"));
    }

    #[test]
    fn a_part_is_accepted_only_where_the_rest_was() {
        let counted = BTreeMap::from([(ALL[0].name.to_owned(), 1.0)]);
        let mut accepted = Accepted::default();
        accepted.take(&counted, environment("rustc 1"), true, ALL).unwrap();
        accepted.take(&counted, environment("rustc 1"), true, ALL).unwrap();
        assert!(accepted.take(&counted, environment("rustc 2"), true, ALL).is_err());
        assert_eq!(accepted.environment, environment("rustc 1"));
    }

    #[test]
    fn differences_name_the_part_and_both_sides() {
        assert!(environment("a").differences(&environment("a")).is_empty());
        assert_eq!(environment("a").differences(&environment("b")), [("rustc", "a".to_owned(), "b".to_owned())]);
    }
}
