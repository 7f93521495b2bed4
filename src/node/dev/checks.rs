//! What must hold before any node starts: free ports, and a host that can run it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use super::error::{Error, PortTaken};
use super::plan::{NodePlan, Plan, Share};
use crate::{conns, memory};

/// Most clients of each port of a core, where the limit of open files allows it.
const CLIENTS_COUNT_MAX: usize = 10_000;
/// So many nodes may join without taking descriptors from clients.
const JOINING_COUNT: usize = 8;

/// Checks that every port of every node is free, by listening there for a moment.
pub fn ports(plan: &Plan) -> Result<(), Error> {
    plan.nodes.iter().try_for_each(ports_of)
}

/// Checks the same of one node.
pub fn ports_of(node: &NodePlan) -> Result<(), Error> {
    for (port, what) in node.ports() {
        let addr = SocketAddr::new(node.host, port);
        if let Err(source) = TcpListener::bind(addr) {
            return Err(Error::PortTaken(PortTaken { addr, what, owner: owner_of(addr), source }));
        }
    }
    Ok(())
}

/// Checks the limits of this host and that the directory's file system can do direct I/O. Returns how many
/// clients each port of a core can take, and its share of the memory.
pub fn host(plan: &Plan) -> Result<Share, Error> {
    let cores_per_node = plan.nodes.first().map_or(1, |node| node.cores.len());
    let other_cores_count = (plan.nodes.len() + JOINING_COUNT) * cores_per_node;
    let per_core = rt::connections_that_fit(rt::raise_files_limit()?, cores_per_node);
    let clients_count_max = conns::clients_that_fit(per_core, other_cores_count).min(CLIENTS_COUNT_MAX);
    rt::check_host(cores_per_node, conns::per_core(clients_count_max, other_cores_count) * cores_per_node)?;
    rt::check_direct_io(&plan.dir)?;
    let memory_bytes_max = memory::share_of_core(plan.nodes.len() * cores_per_node);
    Ok(Share { clients_count_max, memory_bytes_max })
}

/// The process that listens on an address, as far as this user may see it.
fn owner_of(addr: SocketAddr) -> Option<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let inode = tables.into_iter().find_map(|table| listening_inode(&table, addr))?;
    let link = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let pid = process.file_name();
        if !pid.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            continue;
        }
        // Only directories of processes that this user may look into have readable descriptors.
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds =
            descriptors.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == &*link));
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {})", name.trim(), pid.display()));
        }
    }
    None
}

/// The inode of the socket that listens on an address, from the kernel's table of sockets.
fn listening_inode(table: &str, addr: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (Some(local), Some(state), Some(inode)) = (columns.get(1), columns.get(3), columns.get(9)) else {
            continue;
        };
        let Some((ip, port)) = local.rsplit_once(':') else { continue };
        let same_port = u16::from_str_radix(port, 16) == Ok(addr.port());
        if *state == LISTEN && same_port && covers(ip, addr.ip()) {
            return inode.parse().ok();
        }
    }
    None
}

/// Whether a listener on `hex`, an address as the kernel prints it, takes what is sent to `ip`.
fn covers(hex: &str, ip: IpAddr) -> bool {
    if hex.bytes().all(|digit| digit == b'0') {
        return true;
    }
    let words = u32::from_str_radix(hex, 16);
    match ip {
        IpAddr::V4(ip) => words.is_ok_and(|word| Ipv4Addr::from(word.to_ne_bytes()) == ip),
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_owner_of_a_port_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let owner = owner_of(addr).expect("it is this process");
        assert!(owner.ends_with(&format!("(process {})", std::process::id())), "{owner}");
        let taken =
            PortTaken { addr, what: "the gateway", owner: Some(owner), source: io::ErrorKind::AddrInUse.into() };
        assert!(
            taken
                .to_string()
                .contains("listens there\n  = help: stop that process, or choose other ports with --port")
        );
    }

    #[test]
    fn a_table_of_sockets_is_read_with_care() {
        let addr = SocketAddr::from(([127, 0, 0, 2], 7_000));
        let table =
            |local: &str, state: &str| format!("head\n 0: {local} 00000000:0000 {state} 0:0 0:0 0 0 0 4711 1\n");
        let found = |local: &str, state: &str| listening_inode(&table(local, state), addr);
        assert_eq!(found("0200007F:1B58", "0A"), Some(4711));
        assert_eq!(found("00000000:1B58", "0A"), Some(4711), "it listens on every address");
        assert_eq!(found("0200007F:1B58", "01"), None, "a connection");
        assert_eq!(found("0300007F:1B58", "0A"), None, "another address");
        assert_eq!(found("0200007F:1B59", "0A"), None, "another port");
        assert_eq!(listening_inode("head\ngarbage\n 0: x\n", addr), None);
    }
}
