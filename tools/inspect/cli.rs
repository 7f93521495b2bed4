//! The command line.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::commands::log::LogQuery;
use crate::commands::table::TableQuery;
use crate::commands::target::Target;
use crate::commands::{blob, check, log, manifest, overview, space, table};
use crate::data_dir::DataDir;
use crate::error::InspectError;
use crate::finding::Finding;
use crate::report::{Report, is_sound, output};
use crate::row_key::parse_hex;

/// How many rows and records are listed unless more are asked for.
const LISTED_COUNT: usize = 1_000;

const AFTER_HELP: &str = "\
Exit codes: 0 all that was looked at is sound, 1 damage was found, 2 the command
line is wrong or the files cannot be read.

Examples:
  What is there, and is it in order?
    coracle-inspect /var/lib/coracle
    coracle-inspect check --deep /var/lib/coracle
  The disk is full. Why?
    coracle-inspect space /var/lib/coracle
  What does core 0 have in its log of group 3?
    coracle-inspect log /var/lib/coracle --core 0 --group 3 --records
  Which rows has slot 12182 (hexadecimal 2f96) in file 17?
    coracle-inspect table /var/lib/coracle --file 17 --rows --key-prefix 2f96
  Figures for other programs:
    coracle-inspect space /var/lib/coracle --json | jq .report.logs";

/// Looks at the files of a stopped node, and changes nothing.
///
/// Without a command: whose data it is, and what there is of logs, stores and
/// groups. Every command lists what is damaged and what that means for the node.
#[derive(Debug, Parser)]
#[command(name = "coracle-inspect", version, after_help = AFTER_HELP, max_term_width = 80)]
#[command(subcommand_negates_reqs = true, arg_required_else_help = true)]
pub struct Cli {
    /// The directory of a node, the `data_dir` of its configuration
    #[arg(value_name = "DATA_DIR", required = true)]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Clone, Copy, Debug)]
struct Common {
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// Go on though a node runs on the directory; figures may be torn then
    #[arg(long, global = true)]
    running: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The log: segments, what is in them by group, where it ends and why
    ///
    /// With --segment its blocks are listed, with --records the records. What
    /// stands in a segment may have been replaced or cut off since; the list of
    /// groups tells what counts.
    Log(LogArgs),
    /// The manifest of a store: its two copies and the state that they make
    Manifest(ManifestArgs),
    /// A table: properties, units, rows
    ///
    /// A FILE is enough by itself; beside its manifest it is also told whose
    /// tables are in it. With a DATA_DIR and no --file all tables are listed.
    Table(TableArgs),
    /// A blob file: its values, and how many of them rows lead to
    Blob(BlobArgs),
    /// What takes room, and why it is not free
    ///
    /// Which group keeps the oldest segment of a log and from which index on;
    /// runs and what of them may be garbage; blob files by what of them is live;
    /// files that wait to be deleted; reserves.
    Space(DirArgs),
    /// Is everything sound?
    ///
    /// Reads the whole log, the manifests, and of each table the footer and the
    /// top unit. With --deep also every row and every value, which takes as long
    /// as reading all files does. Lists all damage, and what it means.
    Check(CheckArgs),
}

#[derive(Args, Debug)]
struct DirArgs {
    /// The directory of a node
    #[arg(value_name = "DATA_DIR")]
    data_dir: PathBuf,
}

#[derive(Args, Debug)]
struct LogArgs {
    #[command(flatten)]
    dir: DirArgs,
    /// Only the log of this core
    #[arg(long, value_name = "N")]
    core: Option<u16>,
    /// Only this segment, with its blocks
    #[arg(long, value_name = "S")]
    segment: Option<u64>,
    /// Only this group
    #[arg(long, value_name = "G")]
    group: Option<u32>,
    /// List the records
    #[arg(long)]
    records: bool,
    /// List at most that many blocks and records of a log
    #[arg(long, value_name = "N", default_value_t = LISTED_COUNT)]
    limit: usize,
}

#[derive(Args, Debug)]
struct ManifestArgs {
    #[command(flatten)]
    dir: DirArgs,
    /// Only the store of this core
    #[arg(long, value_name = "N")]
    core: Option<u16>,
    /// List the edits in order, each with its block
    #[arg(long)]
    edits: bool,
}

#[derive(Args, Debug)]
struct FileArgs {
    /// A file of tables or blobs, or the directory of a node
    #[arg(value_name = "FILE|DATA_DIR")]
    path: PathBuf,
    /// The file with this number
    #[arg(long, value_name = "N")]
    file: Option<u64>,
    /// In the store of this core, if several have such a file
    #[arg(long, value_name = "N", requires = "file")]
    core: Option<u16>,
}

#[derive(Args, Debug)]
struct TableArgs {
    #[command(flatten)]
    file: FileArgs,
    /// List the rows
    #[arg(long)]
    rows: bool,
    /// Only rows whose row keys begin with these bytes: two of slot, `68` of a
    /// head or `65` of an element, six of hash, the key
    #[arg(long, value_name = "HEX", requires = "rows")]
    key_prefix: Option<String>,
    /// List at most that many rows of a table
    #[arg(long, value_name = "N", default_value_t = LISTED_COUNT)]
    limit: usize,
}

#[derive(Args, Debug)]
struct BlobArgs {
    #[command(flatten)]
    file: FileArgs,
    /// List the records
    #[arg(long)]
    records: bool,
    /// List at most that many records
    #[arg(long, value_name = "N", default_value_t = LISTED_COUNT)]
    limit: usize,
}

#[derive(Args, Debug)]
struct CheckArgs {
    #[command(flatten)]
    dir: DirArgs,
    /// Read every row and every value too
    #[arg(long)]
    deep: bool,
}

/// What a command has to say, and whether nothing is damaged.
type Said = (String, bool);

impl Cli {
    /// Does what was asked for. Returns what is to be printed, and whether all that was looked at is sound.
    ///
    /// # Errors
    /// If nothing can be said: see [`InspectError`].
    pub fn run(self) -> Result<Said, InspectError> {
        let common = self.common;
        match (self.command, self.data_dir) {
            (Some(_), Some(dir)) => {
                let text = format!("{} stands before a command: directories stand behind it", dir.display());
                Err(InspectError::Usage(text))
            }
            (Some(command), None) => command.run(common),
            (None, Some(dir)) => on_dir(&dir, common, overview::overview),
            (None, None) => Err(InspectError::Usage("no DATA_DIR is given".to_owned())),
        }
    }
}

impl Command {
    fn run(self, common: Common) -> Result<Said, InspectError> {
        match self {
            Command::Log(LogArgs { dir, core, segment, group, records, limit }) => {
                let query = LogQuery { core, segment, group, records, limit };
                on_dir(&dir.data_dir, common, |data| log::log(data, query))
            }
            Command::Manifest(ManifestArgs { dir, core, edits }) => {
                on_dir(&dir.data_dir, common, |data| manifest::manifest(data, core, edits))
            }
            Command::Table(TableArgs { file, rows, key_prefix, limit }) => {
                let prefix = match &key_prefix {
                    Some(digits) => parse_hex(digits).ok_or_else(|| {
                        InspectError::Usage(format!("--key-prefix {digits}: not pairs of hexadecimal digits"))
                    })?,
                    None => Vec::new(),
                };
                let query = TableQuery { rows: rows.then_some(prefix), limit };
                on_file(&file, common, |target| table::table(target, &query))
            }
            Command::Blob(BlobArgs { file, records, limit }) => {
                on_file(&file, common, |target| blob::blob(target, records.then_some(limit)))
            }
            Command::Space(DirArgs { data_dir }) => on_dir(&data_dir, common, space::space),
            Command::Check(CheckArgs { dir, deep }) => on_dir(&dir.data_dir, common, |data| check::check(data, deep)),
        }
    }
}

type Found<R> = Result<(R, Vec<Finding>), InspectError>;

fn on_dir<R: Report>(
    dir: &Path,
    common: Common,
    look: impl FnOnce(&DataDir) -> Found<R>,
) -> Result<Said, InspectError> {
    let data = DataDir::open(dir, common.running)?;
    let found = look(&data)?;
    Ok(said(&data, dir, found, common))
}

fn on_file<R: Report>(
    args: &FileArgs,
    common: Common,
    look: impl FnOnce(&Target) -> Found<R>,
) -> Result<Said, InspectError> {
    let target = Target::find(&args.path, args.file, args.core, common.running)?;
    let found = look(&target)?;
    let (Target::All(data) | Target::One(data, ..)) = &target;
    Ok(said(data, &args.path, found, common))
}

fn said<R: Report>(data: &DataDir, path: &Path, (report, mut findings): (R, Vec<Finding>), common: Common) -> Said {
    findings.extend(data.finding_of_node());
    (output(&report, &path.display().to_string(), &findings, common.json), is_sound(&findings))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_its_help_fits_a_terminal() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        let mut pages = vec![command.render_long_help().to_string()];
        for name in names {
            let subcommand = command.find_subcommand_mut(&name).expect("it was just listed");
            pages.push(subcommand.render_long_help().to_string());
        }
        for line in pages.iter().flat_map(|page| page.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
