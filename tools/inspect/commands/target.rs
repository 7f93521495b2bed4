//! What a path on the command line means.

use std::path::{Path, PathBuf};

use lsm::files::data_number;

use crate::data_dir::{CoreDir, DataDir};
use crate::error::InspectError;
use crate::store::{Store, name_of};

/// How far above a file the directory is looked for that a node locks.
const ANCESTORS_COUNT: usize = 4;

/// The files of a store that a command is about.
pub(crate) enum Target {
    /// All of them.
    All(DataDir),
    /// The one with this number.
    One(DataDir, Box<Store>, u64),
}

impl Target {
    /// A file by its own path, or by the data directory, its number and, if several stores have it, its core.
    pub(crate) fn find(
        path: &Path,
        file: Option<u64>,
        core: Option<u16>,
        while_running: bool,
    ) -> Result<Target, InspectError> {
        if path.is_file() {
            return Target::of_file(path, while_running);
        }
        let data = DataDir::open(path, while_running)?;
        let Some(number) = file else { return Ok(Target::All(data)) };
        let mut found = Vec::new();
        for dir in data.stores.iter().filter(|dir| core.is_none_or(|core| dir.core == Some(core))) {
            let store = Store::open(&data, dir)?;
            if store.data_bytes(number).is_some() {
                found.push(store);
            }
        }
        if found.len() > 1 {
            let dirs: Vec<&str> = found.iter().map(|store| store.dir.shown.as_str()).collect();
            let text =
                format!("several stores have a file {number}: say --core, or give its path in {}", dirs.join(" or "));
            return Err(InspectError::Usage(text));
        }
        let none = || InspectError::Usage(format!("no store in {} has a file {number}", path.display()));
        found.pop().map(|store| Target::One(data, Box::new(store), number)).ok_or_else(none)
    }

    fn of_file(path: &Path, while_running: bool) -> Result<Target, InspectError> {
        let path = std::path::absolute(path).map_err(InspectError::io("find", path))?;
        let number = data_number(name_of(&path)).ok_or_else(|| {
            let text = "is not named as files of tables and blobs are, for example 000000000012.data";
            InspectError::Usage(format!("{} {text}", path.display()))
        })?;
        let parent = path.parent().map(Path::to_owned).unwrap_or_default();
        let locked = parent.ancestors().take(ANCESTORS_COUNT).find(|dir| dir.join("LOCK").is_file());
        let root: PathBuf = locked.unwrap_or(&parent).to_owned();
        let data = DataDir::open(&root, while_running)?;
        let dir = data.stores.iter().find(|dir| dir.path == parent).cloned();
        let dir = dir.unwrap_or_else(|| CoreDir { shown: parent.display().to_string(), path: parent, core: None });
        let store = Store::open(&data, &dir)?;
        Ok(Target::One(data, Box::new(store), number))
    }
}
