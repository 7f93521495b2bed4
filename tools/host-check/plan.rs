//! The node that is to run: what of its configuration the checks depend on.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the package keeps the data and the configuration of a node.
const DATA_DIR: &str = "/var/lib/coracle";
const GATEWAY_PORT: u16 = 7_000;
/// Clients of each port of a core unless somebody sets another number.
const MAXCLIENTS: u32 = 10_000;

/// The node that is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where its data goes. It need not be there yet.
    pub data_dir: PathBuf,
    /// Its cores.
    pub cores: u32,
    /// Whether they are pinned to CPUs.
    pub pin: bool,
    /// The port that serves any key.
    pub gateway_port: u16,
    /// The port of core 0; the others follow.
    pub core_port: u16,
    /// The port of core 0 for other nodes; the others follow.
    pub peer_port: u16,
    /// The port of metrics and health; 0 if there is none.
    pub admin_port: u16,
    /// Most clients of each port of a core.
    pub maxclients: u32,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no configuration.
    #[error("{}: {text}; `coracle server --config FILE --print-config` tells what is wrong", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            data_dir: DATA_DIR.into(),
            cores: 1,
            pin: true,
            gateway_port: GATEWAY_PORT,
            core_port: GATEWAY_PORT + 1,
            peer_port: GATEWAY_PORT + 1_000,
            admin_port: GATEWAY_PORT + 2_000,
            maxclients: MAXCLIENTS,
        }
    }
}

impl Plan {
    /// What a configuration file says.
    ///
    /// # Errors
    /// If it cannot be read or says what cannot be.
    pub fn read(path: &Path) -> Result<Plan, PlanError> {
        let text = fs::read_to_string(path).map_err(|source| PlanError::Read { path: path.to_owned(), source })?;
        Plan::parse(&text).map_err(|text| PlanError::Config { path: path.to_owned(), text })
    }

    /// What the text of a configuration file says; whatever it leaves out is as usual. Other keys are not looked at.
    fn parse(text: &str) -> Result<Plan, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let number = |key: &str, max: u32| match table.get(key).map(toml::Value::as_integer) {
            None => Ok(None),
            Some(value) => match value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value <= max) {
                Some(value) => Ok(Some(value)),
                None => Err(format!("`{key}` is no number up to {max}")),
            },
        };
        let port = |key: &str| number(key, u32::from(u16::MAX)).map(|value| value.map(|value| value as u16));
        let usual = Plan::default();
        let gateway_port = port("gateway_port")?.unwrap_or(usual.gateway_port);
        let behind = |distance: u16| gateway_port.saturating_add(distance);
        let data_dir = match table.get("data_dir") {
            None => usual.data_dir,
            Some(value) => value.as_str().ok_or("`data_dir` is no text")?.into(),
        };
        let pin = match table.get("pin") {
            None => usual.pin,
            Some(value) => value.as_bool().ok_or("`pin` is neither true nor false")?,
        };
        Ok(Plan {
            data_dir,
            cores: number("cores", 256)?.unwrap_or(usual.cores).max(1),
            pin,
            gateway_port,
            core_port: port("core_port")?.unwrap_or(behind(1)),
            peer_port: port("peer_port")?.unwrap_or(behind(1_000)),
            admin_port: port("admin_port")?.unwrap_or(behind(2_000)),
            maxclients: number("maxclients", u32::MAX)?.unwrap_or(usual.maxclients),
        })
    }

    /// All ports that the node listens on, each with its use.
    pub fn ports(&self) -> Vec<(u16, &'static str)> {
        let mut ports = vec![(self.gateway_port, "gateway")];
        for core in 0..u16::try_from(self.cores).unwrap_or(u16::MAX) {
            ports.push((self.core_port.saturating_add(core), "core"));
            ports.push((self.peer_port.saturating_add(core), "peer"));
        }
        if self.admin_port != 0 {
            ports.push((self.admin_port, "admin"));
        }
        ports
    }

    /// The limit of open files that all clients need: two ports of each core, files and connections to peers beside.
    pub fn files_needed(&self) -> u64 {
        u64::from(self.cores) * (2 * u64::from(self.maxclients) + 512)
    }
}

/// A number of cores: `1 core`, `2 cores`.
pub fn cores_in_words(cores: u32) -> String {
    if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_the_gateway_unless_they_are_set() {
        let plan = Plan::parse("gateway_port = 6000\ncores = 2\nadmin_port = 0\ndata_dir = \"/d\"").unwrap();
        assert_eq!((plan.data_dir.as_path(), plan.cores, plan.pin), (Path::new("/d"), 2, true));
        let ports: Vec<u16> = plan.ports().into_iter().map(|(port, _)| port).collect();
        assert_eq!(ports, [6_000, 6_001, 7_000, 6_002, 7_001]);
        assert_eq!(Plan::parse("").unwrap(), Plan::default());
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (text, part) in
            [("cores = \"two\"", "`cores`"), ("gateway_port = 70000", "`gateway_port`"), ("pin = 1", "`pin`")]
        {
            assert!(Plan::parse(text).unwrap_err().contains(part), "{text}");
        }
        assert!(Plan::parse("cores = ").is_err());
    }

    #[test]
    fn one_core_with_the_usual_clients_needs_what_the_pages_say() {
        assert_eq!(Plan::default().files_needed(), 20_512);
    }
}
