//! `DIR/dev-cluster.toml`: what a development cluster is. Written at its first start, and binding ever after, since
//! its data was laid out by it; nodes that have joined or were removed since are noted.

use std::path::Path;

use meta::ClusterId;

use super::args::DevArgs;
use super::error::Error;
use super::ports::{CORES_COUNT_MAX, NODES_COUNT_MAX};
use crate::atomic_file;

const FILE_NAME: &str = "dev-cluster.toml";
const FORMAT: u32 = 1;
const NODES_DEFAULT: u32 = 3;
const CORES_DEFAULT: u16 = 1;
const GROUPS_DEFAULT: u32 = 8;

/// What a development cluster is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    format: u32,
    /// Drawn at the first start.
    pub cluster_id: ClusterId,
    /// How many nodes have formed it.
    pub nodes: u32,
    /// Cores of each node.
    pub cores: u16,
    /// Groups that share the slots.
    pub groups: u32,
    /// How many nodes have joined since.
    #[serde(default)]
    pub joined: u32,
    /// The nodes that were removed.
    #[serde(default)]
    pub removed: Vec<u32>,
}

impl ClusterFile {
    /// Reads what the directory holds, or makes a new cluster of what `args` say. Arguments that contradict
    /// the directory are [`Error::Usage`].
    pub fn open(dir: &Path, args: &DevArgs) -> Result<ClusterFile, Error> {
        let path = dir.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return ClusterFile::create(&path, args),
            Err(error) => return Err(Error::os(format!("reading {}", path.display()))(error)),
        };
        let damaged = |reason: String| Error::ClusterFile { path: path.clone(), reason };
        let kept: ClusterFile = toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
        kept.check_format().map_err(damaged)?;
        for (flag, asked, found) in [
            ("nodes", args.nodes, kept.nodes),
            ("cores", args.cores.map(u32::from), u32::from(kept.cores)),
            ("groups", args.groups, kept.groups),
        ] {
            if let Some(asked) = asked.filter(|asked| *asked != found) {
                return Err(Error::Usage(format!(
                    "{} holds a cluster with --{flag} {found}, which cannot become {asked}; leave --{flag} out to start it \
                     again, or choose another --data-dir for a new cluster",
                    dir.display()
                )));
            }
        }
        Ok(kept)
    }

    fn create(path: &Path, args: &DevArgs) -> Result<ClusterFile, Error> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| Error::os("drawing a cluster id")(error.into()))?;
        let file = ClusterFile {
            format: FORMAT,
            cluster_id: ClusterId(u128::from_le_bytes(id)),
            nodes: args.nodes.unwrap_or(NODES_DEFAULT),
            cores: args.cores.unwrap_or(CORES_DEFAULT),
            groups: args.groups.unwrap_or(GROUPS_DEFAULT),
            joined: 0,
            removed: Vec::new(),
        };
        file.write(path)?;
        Ok(file)
    }

    /// Writes what has changed into the directory.
    pub fn store(&self, dir: &Path) -> Result<(), Error> {
        self.write(&dir.join(FILE_NAME))
    }

    fn write(&self, path: &Path) -> Result<(), Error> {
        let text = toml::to_string(self).expect("plain numbers and texts are TOML");
        atomic_file::write(path, text.as_bytes()).map_err(Error::os(format!("writing {}", path.display())))
    }

    /// The nodes that there are.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        (1..=self.nodes + self.joined).filter(|id| !self.removed.contains(id))
    }

    fn check_format(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, and this version reads format {FORMAT}", self.format));
        }
        let joined_max = NODES_COUNT_MAX.saturating_sub(self.nodes);
        if !(1..=NODES_COUNT_MAX).contains(&self.nodes)
            || self.joined > joined_max
            || !(1..=CORES_COUNT_MAX).contains(&self.cores)
        {
            return Err(format!("{} nodes with {} cores are not possible", self.nodes, self.cores));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(nodes: Option<u32>, cores: Option<u16>, groups: Option<u32>) -> DevArgs {
        DevArgs { change: None, nodes, cores, groups, port: 7_000, data_dir: None, restart: false, set: vec![] }
    }

    #[test]
    fn a_cluster_stays_what_it_was_made() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let made = ClusterFile::open(dir.path(), &args(Some(5), None, Some(16))).expect("a new cluster");
        assert_eq!((made.nodes, made.cores, made.groups), (5, CORES_DEFAULT, 16));
        for again in [args(None, None, None), args(Some(5), Some(CORES_DEFAULT), None)] {
            assert_eq!(ClusterFile::open(dir.path(), &again).expect("the same"), made);
        }
        for (other, part) in [
            (args(Some(3), None, None), "holds a cluster with --nodes 5, which cannot become 3"),
            (args(None, Some(2), None), "--cores 1, which cannot become 2"),
            (args(None, None, Some(8)), "--groups 16, which cannot become 8"),
        ] {
            let error = ClusterFile::open(dir.path(), &other).expect_err("another cluster");
            assert!(matches!(&error, Error::Usage(text) if text.contains(part)), "{error}");
        }
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        let second = ClusterFile::open(elsewhere.path(), &args(None, None, None)).expect("a new cluster");
        assert_ne!(second.cluster_id, made.cluster_id);
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let made = ClusterFile::open(dir.path(), &args(None, None, None)).expect("a new cluster");
        let sound = toml::to_string(&made).expect("plain values");
        for (from, to) in
            [("format = 1", "format = 2"), ("nodes = 3", "nodes = 0"), ("cores = 1", "cores = 9"), ("f", "")]
        {
            std::fs::write(dir.path().join(FILE_NAME), sound.replacen(from, to, 1)).expect("a small file");
            let error = ClusterFile::open(dir.path(), &args(None, None, None)).expect_err("refused");
            assert!(matches!(error, Error::ClusterFile { .. }), "{from}: {error}");
            assert!(error.to_string().contains(FILE_NAME), "{error}");
        }
    }
}
