//! What is wrong with a file, and what that means for the node.

use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use crate::error::InspectError;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something that was acknowledged is missing or changed.
    Damage,
    /// Nothing is lost; it is good to know.
    Note,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, from the directory on that is looked at.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// What it means for the node.
    pub meaning: String,
}

impl Finding {
    /// Damage.
    pub(crate) fn damage(file: impl Into<String>, what: impl Into<String>, meaning: impl Into<String>) -> Finding {
        Finding::new(Severity::Damage, file, what, meaning)
    }

    /// A note.
    pub(crate) fn note(file: impl Into<String>, what: impl Into<String>, meaning: impl Into<String>) -> Finding {
        Finding::new(Severity::Note, file, what, meaning)
    }

    fn new(
        severity: Severity,
        file: impl Into<String>,
        what: impl Into<String>,
        meaning: impl Into<String>,
    ) -> Finding {
        Finding { severity, file: file.into(), offset: None, what: what.into(), meaning: meaning.into() }
    }

    /// The same at an offset.
    pub(crate) fn at(self, offset: u64) -> Finding {
        Finding { offset: Some(offset), ..self }
    }

    /// Damage that the store tells of. An error if it is none, but somebody who must not look at a file.
    pub(crate) fn of_store(error: &lsm::Error, root: &Path, meaning: &str) -> Result<Finding, InspectError> {
        match error {
            lsm::Error::Io { attempt, path, source } => of_io((attempt, path, source), root, meaning),
            lsm::Error::Damaged { path, offset, source } => {
                Ok(Finding::damage(shown(path, root), source.to_string(), meaning).at(*offset))
            }
            lsm::Error::ManifestMissing { path } => {
                Ok(Finding::damage(shown(path, root), "missing, and there are files beside it", meaning))
            }
            other => Ok(Finding::damage("", other.to_string(), meaning)),
        }
    }

    /// Damage that the log in a directory tells of, likewise.
    pub(crate) fn of_log(error: wal::Error, dir: &Path, root: &Path, meaning: &str) -> Result<Finding, InspectError> {
        match error {
            wal::Error::Io { what, path, source } => of_io((what, &path, &source), root, meaning),
            wal::Error::Version { path, found, expected } => {
                let what = format!("a log of format version {found}; this program knows {expected}");
                Ok(Finding::damage(shown(&path, root), what, "use the version that wrote it").at(0))
            }
            wal::Error::Foreign { path, found, expected } => {
                let what = format!("belongs to another log: its id is {found:#x}, not {expected:#x}");
                Ok(Finding::damage(shown(&path, root), what, meaning))
            }
            other => Ok(Finding::damage(shown(dir, root), other.to_string(), meaning)),
        }
    }
}

fn of_io(
    (attempt, path, source): (&'static str, &Path, &std::io::Error),
    root: &Path,
    meaning: &str,
) -> Result<Finding, InspectError> {
    let what = match source.kind() {
        ErrorKind::PermissionDenied => {
            return Err(InspectError::io(attempt, path)(ErrorKind::PermissionDenied.into()));
        }
        ErrorKind::NotFound => "the file is missing".to_owned(),
        ErrorKind::UnexpectedEof => "the file ends too early".to_owned(),
        _ => format!("cannot {attempt} it: {source}"),
    };
    Ok(Finding::damage(shown(path, root), what, meaning))
}

/// A path from the directory on that is looked at.
pub(crate) fn shown(path: &Path, root: &Path) -> String {
    match path.strip_prefix(root) {
        Ok(rest) if rest.as_os_str().is_empty() => ".".to_owned(),
        Ok(rest) => rest.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}
