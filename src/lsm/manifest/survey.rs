//! What a manifest holds, for whoever looks at it without opening it. It judges as a start does, and writes nothing.

use host::Disk;

use crate::error::Error;
use crate::files::Files;
use crate::version::FileSet;

use super::log::{NAMES, choose, damaged, read_copy};
use super::scan::Copy;
use super::state::State;

/// What a manifest holds.
pub struct Survey {
    /// Its two files, in the order in which they are written.
    pub copies: Vec<CopySurvey>,
    /// What a start would go on from; an error if it would refuse. `None` if there is no manifest, and nothing that
    /// one would name.
    pub state: Result<Option<Surveyed>, Error>,
}

/// A file of a manifest.
pub struct CopySurvey {
    /// Its name.
    pub name: &'static str,
    /// What it holds; `None` if it is not there. An error if it tells what is not known, or cannot be read.
    pub copy: Result<Option<Copy>, Error>,
}

/// What a start would go on from.
pub struct Surveyed {
    /// Which of the copies counts.
    pub chosen: usize,
    /// Id of the store.
    pub store: u64,
    /// What the store holds.
    pub state: State,
    /// The files that are named.
    pub files: FileSet,
    /// Whether both copies hold the same. If not, a start writes the manifest anew.
    pub is_settled: bool,
}

impl Survey {
    /// Reads the manifest of a directory.
    pub async fn take<D: Disk>(files: &Files<D>) -> Survey {
        let mut copies = Vec::new();
        for name in NAMES {
            // A start takes one that the disk cannot read for one that holds nothing; here that is told.
            let copy = match files.read_named(name).await {
                Ok(_) => read_copy(files, name).await,
                Err(error) => Err(error),
            };
            copies.push(CopySurvey { name, copy });
        }
        let state = decide(files, &copies).await;
        Survey { copies, state }
    }
}

async fn decide<D: Disk>(files: &Files<D>, surveyed: &[CopySurvey]) -> Result<Option<Surveyed>, Error> {
    let mut copies = Vec::new();
    for CopySurvey { name, copy } in surveyed {
        copies.push(match copy {
            Ok(copy) => copy.clone(),
            // Again, as a start meets it.
            Err(_) => read_copy(files, name).await?,
        });
    }
    let chosen = choose(&copies).map_err(|source| damaged(files, &copies, source))?;
    let Some(copy) = chosen else {
        let numbers = files.numbers().await?;
        return match numbers.is_empty() && copies.iter().all(Option::is_none) {
            true => Ok(None),
            false => Err(Error::ManifestMissing { path: files.path(NAMES[0]) }),
        };
    };
    let set = FileSet::default();
    let state = State::of_edits(&copy.edits, &set).map_err(|source| damaged(files, &copies, source))?;
    // What edits have named and later ones have not is gone, most of it.
    while set.take_unnamed().is_some() {}
    let is_same = |other: &Option<Copy>| other.as_ref().is_some_and(|other| other.ends_clean && other == copy);
    let chosen = copies.iter().position(|other| other.as_ref() == Some(copy)).unwrap_or_default();
    let is_settled = copies.iter().all(is_same);
    Ok(Some(Surveyed { chosen, store: copy.store, state, files: set, is_settled }))
}
