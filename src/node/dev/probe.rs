//! Asks a node, as a client would, whether it knows a leader for every group.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use super::plan::NodePlan;

/// How long connecting, and each read, may take.
const WAIT_MAX: Duration = Duration::from_millis(300);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// How a node sees its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does not answer.
    Silent,
    /// It answers, and misses leaders: of this number of groups, if it says so.
    Leaderless(Option<u64>),
    /// It knows a leader for every group.
    Ready,
}

/// Asks a node a command of words over its gateway port, and returns what it answers, or the error with which it does.
///
/// # Errors
/// That it cannot be asked.
pub fn ask_gateway(addr: SocketAddr, command: &str) -> io::Result<Result<String, String>> {
    let mut stream = TcpStream::connect_timeout(&addr, WAIT_MAX)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    let mut line = String::new();
    answer.read_line(&mut line)?;
    if line.starts_with('$') {
        line.clear();
        answer.read_line(&mut line)?;
    }
    match line.trim_end() {
        "" => Err(io::ErrorKind::UnexpectedEof.into()),
        line => Ok(match line.strip_prefix('-') {
            Some(error) => Err(error.trim_start_matches("ERR ").to_owned()),
            None => Ok(line.to_owned()),
        }),
    }
}

/// Whether a node knows the one at another address, if it says so.
pub fn knows(node: &NodePlan, other: IpAddr) -> Option<bool> {
    ask_whom(node.gateway_addr(), other).ok()
}

fn ask_whom(addr: SocketAddr, other: IpAddr) -> io::Result<bool> {
    let stream = TcpStream::connect_timeout(&addr, WAIT_MAX)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    let mut answers = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    let nodes = command(&mut answers, b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nNODES\r\n")?;
    if nodes.is_empty() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let host = format!(" {other}:");
    Ok(nodes.lines().any(|line| line.contains(&host)))
}

/// Asks a node over its gateway port.
pub fn health(node: &NodePlan) -> Health {
    ask(node.gateway_addr()).unwrap_or(Health::Silent)
}

fn ask(addr: SocketAddr) -> io::Result<Health> {
    let stream = TcpStream::connect_timeout(&addr, WAIT_MAX)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    let mut answers = BufReader::new(stream.take(2 * ANSWER_BYTES_MAX));
    let info = command(&mut answers, b"*1\r\n$4\r\nINFO\r\n")?;
    if let Some(count) = field(&info, "groups_without_leader").and_then(|count| count.parse().ok()) {
        return Ok(if count == 0 { Health::Ready } else { Health::Leaderless(Some(count)) });
    }
    let info = command(&mut answers, b"*2\r\n$7\r\nCLUSTER\r\n$4\r\nINFO\r\n")?;
    Ok(if field(&info, "cluster_state") == Some("ok") { Health::Ready } else { Health::Leaderless(None) })
}

/// Sends a command and reads the bulk string that answers it; any other answer is empty.
fn command(answers: &mut BufReader<io::Take<TcpStream>>, request: &[u8]) -> io::Result<String> {
    answers.get_mut().get_mut().write_all(request)?;
    let mut header = String::new();
    answers.read_line(&mut header)?;
    let length = header.strip_prefix('$').and_then(|digits| digits.trim_end().parse::<u64>().ok());
    let Some(length) = length.filter(|length| *length <= ANSWER_BYTES_MAX) else { return Ok(String::new()) };
    let mut body = vec![0; length as usize + 2];
    answers.read_exact(&mut body)?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// How `ask` understands these replies.
    fn understood(replies: &[&str]) -> Health {
        answered(replies, |addr| ask(addr).unwrap_or(Health::Silent))
    }

    /// Answers a connection with the given replies, one per command.
    fn answered<T>(replies: &[&str], ask: impl FnOnce(SocketAddr) -> T) -> T {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let replies: Vec<String> = replies.iter().map(|reply| (*reply).to_owned()).collect();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            for reply in replies {
                let mut request = [0; 256];
                let _ = stream.read(&mut request).expect("a command");
                stream.write_all(reply.as_bytes()).expect("the client reads");
            }
        });
        let understood = ask(addr);
        server.join().expect("no panic");
        understood
    }

    fn bulk(body: &str) -> String {
        format!("${}\r\n{body}\r\n", body.len())
    }

    #[test]
    fn an_answer_is_told_from_an_error() {
        let answered = |reply: &'static [u8]| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let addr = listener.local_addr().expect("it is bound");
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut request = [0; 64];
                let _ = stream.read(&mut request).expect("a command");
                stream.write_all(reply).expect("the client reads");
            });
            let answer = ask_gateway(addr, "CORACLE TOKEN").ok();
            server.join().expect("no panic");
            answer
        };
        assert_eq!(answered(b"$3\r\nabc\r\n"), Some(Ok("abc".to_owned())));
        assert_eq!(answered(b"+OK it leaves\r\n"), Some(Ok("+OK it leaves".to_owned())));
        assert_eq!(answered(b"-ERR no\r\n"), Some(Err("no".to_owned())));
        assert_eq!(answered(b""), None);
    }

    #[test]
    fn a_node_says_whom_it_knows() {
        let nodes = bulk("a 127.0.0.1:7001@8000 myself,master - 0 0 1 connected\nb 127.0.0.41:7001@8000 master\n");
        let is_known = |host: [u8; 4]| answered(&[&nodes], |addr| ask_whom(addr, host.into()).ok());
        assert_eq!(is_known([127, 0, 0, 1]), Some(true));
        assert_eq!(is_known([127, 0, 0, 41]), Some(true));
        assert_eq!(is_known([127, 0, 0, 4]), Some(false));
        assert_eq!(answered(&["-CLUSTERDOWN\r\n"], |addr| ask_whom(addr, [127, 0, 0, 1].into()).ok()), None);
    }

    #[test]
    fn a_node_says_how_many_leaders_it_misses() {
        let info = |count: u32| bulk(&format!("# Server\r\n\r\n# Coracle\r\ngroups_without_leader:{count}\r\n"));
        assert_eq!(understood(&[&info(3)]), Health::Leaderless(Some(3)));
        assert_eq!(understood(&[&info(0)]), Health::Ready);
    }

    #[test]
    fn else_the_cluster_state_counts() {
        assert_eq!(understood(&["-ERR no\r\n", &bulk("cluster_state:ok\r\n")]), Health::Ready);
        assert_eq!(understood(&[&bulk(""), &bulk("cluster_state:fail\r\n")]), Health::Leaderless(None));
        assert_eq!(understood(&["$99999999999\r\n", "$x\r\n"]), Health::Leaderless(None));
        assert_eq!(understood(&["$10\r\nabc"]), Health::Silent);
    }
}
