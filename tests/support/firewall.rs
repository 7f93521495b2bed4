//! Partitions between nodes on one machine, by firewall rules.
//!
//! Rules stand in a chain of their own and concern only packets on the loopback interface between the addresses
//! 127.0.0.x of two nodes, from or to their ports for other nodes. Clients are never cut off, nor is anybody else.
//! Packets vanish without an answer, as they do where a cable is pulled.
//!
//! The chain goes when its [`Firewall`] is dropped. What a test left that was killed goes when the next one starts:
//! the chain's name holds the process id.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Node, process};

/// Chains of these tests begin with this; the process id and a number follow.
const CHAIN_PREFIX: &str = "CORACLE-TEST-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// What does not pass.
#[derive(Clone, Copy, Debug)]
pub enum Cut<'a> {
    /// Nothing between two nodes.
    Both(&'a Node, &'a Node),
    /// What the first has to say to the second. What the second says passes, and is acknowledged.
    OneWay(&'a Node, &'a Node),
    /// Not one packet from the first to the second, acknowledgements included: what the second says arrives, for a
    /// while, and it cannot know.
    Packets(&'a Node, &'a Node),
}

/// A chain of rules.
#[derive(Debug)]
pub struct Firewall {
    chain: String,
}

impl Firewall {
    /// Makes an empty chain.
    ///
    /// # Errors
    /// Why this machine cannot: no iptables, or not the rights.
    pub fn open() -> Result<Firewall, String> {
        let listed = iptables(&["-S"])?;
        remove_leftovers(&listed);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let chain = format!("{CHAIN_PREFIX}{}-{number}", std::process::id());
        iptables(&["-N", &chain])?;
        let firewall = Firewall { chain };
        iptables(&["-I", "INPUT", "-i", "lo", "-j", &firewall.chain])?;
        Ok(firewall)
    }

    /// Cuts exactly this from now on, and nothing else, all at once.
    ///
    /// # Panics
    /// If the rules are refused.
    pub fn set(&self, cuts: &[Cut<'_>]) {
        let chain = &self.chain;
        let mut rules = format!("*filter\n-F {chain}\n");
        let mut drop = |from: &Node, to: &Node, port: &str| {
            let (from, to) = (&from.host, &to.host);
            rules.push_str(&format!("-A {chain} -s {from} -d {to} -p tcp {port} -j DROP\n"));
        };
        for cut in cuts {
            match cut {
                // A node's frames go over the connections it has made, to the other's peer ports.
                Cut::OneWay(from, to) => drop(from, to, &format!("--dport {}", peer_ports(to))),
                Cut::Packets(from, to) => {
                    drop(from, to, &format!("--dport {}", peer_ports(to)));
                    drop(from, to, &format!("--sport {}", peer_ports(from)));
                }
                Cut::Both(one, other) => {
                    for (from, to) in [(one, other), (other, one)] {
                        drop(from, to, &format!("--dport {}", peer_ports(to)));
                        drop(from, to, &format!("--sport {}", peer_ports(from)));
                    }
                }
            }
        }
        rules.push_str("COMMIT\n");
        restore(&rules).unwrap_or_else(|error| panic!("{error}\n{rules}"));
    }

    /// Lets everything pass again.
    pub fn heal(&self) {
        self.set(&[]);
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        remove(&self.chain);
    }
}

fn peer_ports(node: &Node) -> String {
    format!("{}:{}", node.peer, node.peer + node.cores.len() as u16 - 1)
}

/// Removes a chain and the jump to it. Errors mean that there is none.
fn remove(chain: &str) {
    let _ = iptables(&["-D", "INPUT", "-i", "lo", "-j", chain]);
    let _ = iptables(&["-F", chain]);
    let _ = iptables(&["-X", chain]);
}

/// Removes the chains of test programs that are no more.
fn remove_leftovers(listed: &str) {
    for chain in listed.lines().filter_map(|line| line.strip_prefix("-N ")) {
        let Some(rest) = chain.strip_prefix(CHAIN_PREFIX) else { continue };
        let owner: Option<u32> = rest.split('-').next().and_then(|pid| pid.parse().ok());
        if owner.is_some_and(|pid| !process::exists(pid)) {
            remove(chain);
        }
    }
}

fn iptables(args: &[&str]) -> Result<String, String> {
    let output = Command::new("iptables").arg("--wait").args(args).output();
    let output = output.map_err(|error| format!("iptables cannot be started ({error}); tools/verify installs it"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("iptables {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

fn restore(rules: &str) -> Result<(), String> {
    let mut command = Command::new("iptables-restore");
    command.args(["--wait", "--noflush"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("iptables-restore: {error}"))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let written = stdin.write_all(rules.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| format!("iptables-restore: {error}"))?;
    match (output.status.success(), written) {
        (true, Ok(())) => Ok(()),
        _ => Err(format!("iptables-restore: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
