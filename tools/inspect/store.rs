//! A store: its manifest, the files in its directory, and what can be told of them without reading much.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures_lite::future::block_on;
use host::IoClass;
use lsm::files::{Files, data_name, data_number, is_temporary};
use lsm::manifest::{Copy, CopySurvey, GroupState, State, Survey, Surveyed};
use lsm::read::{CacheLimits, Need, Reader};
use lsm::table::footer::{FOOTER_BYTES, Footer};
use lsm::table::properties::Properties;
use lsm::table::{TableInfo, Unit, UnitRef};
use lsm::version::{FileSet, LiveBlob, PlacedBlob, PlacedTable};
use lsm::{Error, FormatError};
use types::GroupId;

use crate::blob_walk::BlobPlace;
use crate::data_dir::{CoreDir, DataDir, FileEntry};
use crate::disk::ReadDisk;
use crate::error::InspectError;
use crate::finding::{Finding, shown};

/// What a manifest that cannot be used means.
const STORE_LOST: &str = "the node does not start: nobody knows what the tables of this core are. Restore the manifest \
                          from a copy, or rebuild the node under a new identity";
const COPY_LOST: &str = "the other copy counts, and the next start writes both anew: nothing is lost";

/// A store that was looked at.
pub(crate) struct Store {
    pub(crate) dir: CoreDir,
    root: PathBuf,
    pub(crate) survey: Survey,
    /// All files in the directory.
    pub(crate) entries: Vec<FileEntry>,
    pub(crate) reader: Reader<ReadDisk>,
}

/// What a file in the directory of a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileRole {
    /// A copy of the manifest.
    Manifest,
    /// Room for the next manifest, allocated beforehand.
    Spare,
    /// Tables or blobs, named by the manifest.
    Named(u64),
    /// Tables or blobs that nothing names: to be deleted.
    Unnamed(u64),
    /// Not complete: the next start removes it.
    Temporary,
    /// Nothing of a store.
    Other,
}

impl Store {
    /// Looks at the manifest and the names of a store.
    pub(crate) fn open(data: &DataDir, dir: &CoreDir) -> Result<Store, InspectError> {
        let files = block_on(Files::open(ReadDisk::default(), dir.path.clone()));
        let files = Rc::new(files.map_err(|error| InspectError::Usage(error.to_string()))?);
        let survey = block_on(Survey::take(&files));
        let entries = data.files.iter().filter(|file| file.path.parent() == Some(&dir.path)).cloned().collect();
        // All is read once: nothing is kept.
        Ok(Store {
            dir: dir.clone(),
            root: data.root.clone(),
            survey,
            entries,
            reader: Reader::new(files, CacheLimits::NONE),
        })
    }

    /// What a start would go on from, if it would.
    pub(crate) fn surveyed(&self) -> Option<&Surveyed> {
        self.survey.state.as_ref().ok()?.as_ref()
    }

    /// What the store holds, if its manifest says so.
    pub(crate) fn state(&self) -> Option<&State> {
        self.surveyed().map(|surveyed| &surveyed.state)
    }

    /// The groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (GroupId, &GroupState)> {
        self.state().into_iter().flat_map(State::groups)
    }

    pub(crate) fn files(&self) -> &Rc<Files<ReadDisk>> {
        self.reader.files()
    }

    /// A file of this store, from the data directory on.
    pub(crate) fn shown(&self, name: &str) -> String {
        shown(&self.files().path(name), &self.root)
    }

    /// The length of the file of tables or blobs with a number, if it is there.
    pub(crate) fn data_bytes(&self, number: u64) -> Option<u64> {
        let path = self.files().path(&data_name(number));
        self.entries.iter().find(|entry| entry.path == path).map(|entry| entry.bytes)
    }

    /// What a file is.
    pub(crate) fn role(&self, entry: &FileEntry) -> FileRole {
        let name = name_of(&entry.path);
        let is_copy = |copy: &CopySurvey| name == copy.name;
        let is_spare = |copy: &CopySurvey| name.strip_suffix(".new") == Some(copy.name);
        match data_number(name) {
            _ if self.survey.copies.iter().any(is_copy) => FileRole::Manifest,
            _ if self.survey.copies.iter().any(is_spare) => FileRole::Spare,
            Some(number) if self.surveyed().is_some_and(|surveyed| surveyed.files.is_named(number)) => {
                FileRole::Named(number)
            }
            Some(number) => FileRole::Unnamed(number),
            None if is_temporary(name) => FileRole::Temporary,
            None => FileRole::Other,
        }
    }

    /// Damage that an error tells of.
    pub(crate) fn finding(&self, error: &Error, meaning: &str) -> Result<Finding, InspectError> {
        Finding::of_store(error, &self.root, meaning)
    }

    /// What is wrong with the manifest.
    pub(crate) fn check_manifest(&self) -> Result<Vec<Finding>, InspectError> {
        let mut findings = Vec::new();
        let surveyed = match &self.survey.state {
            Ok(surveyed) => surveyed.as_ref(),
            Err(error) => {
                findings.push(self.finding(error, STORE_LOST)?);
                None
            }
        };
        for survey in &self.survey.copies {
            findings.extend(self.check_copy(survey, surveyed)?);
        }
        if surveyed.is_some_and(|surveyed| !surveyed.is_settled) && findings.is_empty() {
            let what = "its two copies differ: a crash came between the writes of one and the other";
            findings.push(Finding::note(self.shown("manifest.b"), what, COPY_LOST));
        }
        Ok(findings)
    }

    /// What is wrong with a copy of the manifest, beside the one that counts.
    fn check_copy(
        &self,
        CopySurvey { name, copy }: &CopySurvey,
        surveyed: Option<&Surveyed>,
    ) -> Result<Option<Finding>, InspectError> {
        let file = self.shown(name);
        let copy = match copy {
            Err(error) => return self.finding(error, COPY_LOST).map(Some),
            Ok(copy) => copy.as_ref(),
        };
        // Without one that counts that is told, and no more.
        let Some(chosen) = surveyed.and_then(|surveyed| self.copy(surveyed.chosen)) else { return Ok(None) };
        let Some(copy) = copy else { return Ok(Some(Finding::damage(file, "missing", COPY_LOST))) };
        // The copies are written one after the other: a crash leaves the last block of one torn, or not there.
        let is_broken = copy.latest > (copy.epoch, copy.blocks + 1) || !copy.is_complete();
        let is_short = copy.epoch == chosen.epoch && copy.blocks + 1 < chosen.blocks;
        Ok(if is_broken || is_short {
            let what = format!("block {} is damaged", copy.blocks + 1);
            Some(Finding::damage(file, what, COPY_LOST).at(copy.end))
        } else if !copy.ends_clean {
            let what = format!("something that is no sound block follows block {}", copy.blocks);
            let meaning = "no edit that was acknowledged is missing, and the next start writes it anew";
            Some(Finding::note(file, what, meaning).at(copy.end))
        } else {
            None
        })
    }

    /// What a copy of the manifest holds.
    pub(crate) fn copy(&self, idx: usize) -> Option<&Copy> {
        self.survey.copies.get(idx)?.copy.as_ref().ok()?.as_ref()
    }

    /// What is wrong with the files in the directory, as far as their lengths, footers, headers and top units tell.
    pub(crate) fn check_files(&self) -> Result<Vec<Finding>, InspectError> {
        let mut findings = Vec::new();
        for (group, state) in self.groups() {
            for table in state.version.tables() {
                if let Err(error) = self.check_table(table) {
                    findings.push(self.finding(&error, &lost_rows(group))?);
                }
            }
            for live in state.version.blobs() {
                if let Err(error) = self.check_blob_file(&live.blob) {
                    findings.push(self.finding(&error, &lost_rows(group))?);
                }
            }
        }
        for entry in &self.entries {
            let file = shown(&entry.path, &self.root);
            match self.role(entry) {
                FileRole::Unnamed(_) if self.surveyed().is_some() => {
                    let meaning = "it is deleted after the next start";
                    findings.push(Finding::note(file, "nothing names this file", meaning));
                }
                FileRole::Temporary => {
                    findings.push(Finding::note(file, "was not complete", "the next start removes it"));
                }
                _ => {}
            }
        }
        Ok(findings)
    }

    /// Checks that a table ends with the footer that the manifest says, and that its top unit is sound.
    fn check_table(&self, table: &Rc<PlacedTable>) -> Result<(), Error> {
        let number = table.file.number();
        let footer = self.footer(number, table.base, table.info.len)?;
        let is_same = (footer.table, footer.len, footer.top) == (table.info.id, table.info.len, table.info.top);
        if !is_same {
            let source = FormatError::Malformed("the footer is that of another table than the manifest names here");
            return Err(self.files().damaged(number, table.base, source));
        }
        self.unit(table, table.info.top).map(|_| ())
    }

    /// The footer of a table of so many bytes.
    pub(crate) fn footer(&self, number: u64, base: u64, len: u64) -> Result<Footer, Error> {
        let beyond = || self.files().damaged(number, base, FormatError::Truncated);
        let end = base.checked_add(len).ok_or_else(beyond)?;
        let at = end.checked_sub(FOOTER_BYTES as u64).filter(|at| *at >= base).ok_or_else(beyond)?;
        let read = block_on(self.files().read(number, at, FOOTER_BYTES, IoClass::Scrub))?;
        let damaged = |source| self.files().damaged(number, at, source);
        let bytes = read.bytes().first_chunk().ok_or_else(|| damaged(FormatError::Truncated))?;
        Footer::decode(bytes).map_err(damaged)
    }

    /// A unit of a table.
    pub(crate) fn unit(&self, table: &Rc<PlacedTable>, unit: UnitRef) -> Result<Unit, Error> {
        let need = Need { table: Rc::clone(table), unit };
        block_on(self.reader.unit_once(&need, IoClass::Scrub))
    }

    /// Checks a blob file's length and header.
    fn check_blob_file(&self, blob: &PlacedBlob) -> Result<(), Error> {
        let place = BlobPlace::of(blob);
        if place.id(self)? != blob.info.id {
            let source = FormatError::Malformed("the header is that of another blob file");
            return Err(place.damaged(self, 0, source));
        }
        let end = place.base.checked_add(place.len);
        match self.data_bytes(place.number) {
            Some(bytes) if end.is_none_or(|end| bytes < end) => {
                Err(self.files().damaged(place.number, bytes, FormatError::Truncated))
            }
            _ => Ok(()),
        }
    }

    /// The tables that a file ends with, found by their footers, the last one first; and what is behind the first of them
    /// if that is not the beginning of the file.
    pub(crate) fn tables_in_file(&self, number: u64) -> (Vec<(u64, Footer)>, Option<Error>) {
        let mut tables = Vec::new();
        let mut end = self.data_bytes(number).unwrap_or(0);
        while end > 0 {
            let footer = match self.footer(number, 0, end) {
                Ok(footer) => footer,
                Err(error) => return (tables, Some(error)),
            };
            // A sound footer of a table that is longer than the file was written to another one.
            let Some(base) = end.checked_sub(footer.len) else {
                let source = FormatError::Malformed("a table is longer than its file");
                return (tables, Some(self.files().damaged(number, end, source)));
            };
            tables.push((base, footer));
            end = base;
        }
        (tables, None)
    }

    /// The tables in a file: those that the manifest names there, with their group, run and level, or, of a file that
    /// nothing names, those that it ends with.
    pub(crate) fn placed_in_file(&self, number: u64) -> (Vec<Placed>, Option<Error>) {
        let mut placed = self.placed();
        placed.retain(|placed| placed.table.file.number() == number);
        if !placed.is_empty() {
            placed.sort_by_key(|placed| placed.table.base);
            return (placed, None);
        }
        let (footers, mut error) = self.tables_in_file(number);
        let set = FileSet::default();
        for (base, footer) in footers.into_iter().rev() {
            let info = TableInfo::of(&footer, Properties::default());
            let bare = Rc::new(PlacedTable { info: Rc::new(info), file: set.name(number), base, from: Vec::new() });
            match self.unit(&bare, footer.properties) {
                Ok(Unit::Properties(properties)) => {
                    let info = TableInfo::of(&footer, (*properties).clone());
                    let table = PlacedTable { info: Rc::new(info), file: set.name(number), base, from: Vec::new() };
                    placed.push(Placed { owner: None, table: Rc::new(table) });
                }
                Ok(_) => {}
                Err(found) => error = error.or(Some(found)),
            }
        }
        (placed, error)
    }

    /// All tables that the manifest names.
    pub(crate) fn placed(&self) -> Vec<Placed> {
        let mut placed = Vec::new();
        for (group, state) in self.groups() {
            for run in state.version.runs() {
                let owner = Owner { group, age: run.age, level: run.level };
                let of_run = run.tables().iter().map(|table| Placed { owner: Some(owner), table: Rc::clone(table) });
                placed.extend(of_run);
            }
        }
        placed
    }

    /// All blob files that the manifest names, with their groups.
    pub(crate) fn blobs(&self) -> Vec<(GroupId, LiveBlob)> {
        self.groups()
            .flat_map(|(group, state)| state.version.blobs().map(move |live| (group, live.clone())))
            .collect()
    }

    /// Whether a blob file that the manifest names lies in the file with a number.
    pub(crate) fn has_named_blobs(&self, number: u64) -> bool {
        self.blobs().iter().any(|(_, live)| live.blob.file.number() == number)
    }
}

/// Whose a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) group: GroupId,
    /// Age and level of its run.
    pub(crate) age: u64,
    pub(crate) level: u8,
}

/// A table, and whose it is.
#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) owner: Option<Owner>,
    pub(crate) table: Rc<PlacedTable>,
}

impl Placed {
    /// What it means if rows of it cannot be read.
    pub(crate) fn meaning(&self) -> String {
        self.owner.map_or("nothing names this table: no row is lost".to_owned(), |owner| lost_rows(owner.group))
    }
}

/// What it means if rows of a group cannot be read.
pub(crate) fn lost_rows(group: GroupId) -> String {
    format!(
        "rows of group {group} cannot be read: a start keeps this replica away until another one has sent a snapshot"
    )
}

/// The name of a file.
pub(crate) fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
