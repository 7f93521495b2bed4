//! Socket system calls that have no need to go through the ring, and addresses as the kernel wants them.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;
use std::time::Duration;

/// An address in the kernel's form.
pub(crate) struct RawAddr {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl RawAddr {
    pub(crate) fn new(addr: SocketAddr) -> RawAddr {
        // SAFETY: all zeros is a valid value of this plain C struct.
        let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
        let start = (&raw mut storage).cast::<u8>();
        let len = match addr {
            SocketAddr::V4(addr) => {
                let raw = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: addr.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(addr.ip().octets()) },
                    sin_zero: [0; 8],
                };
                // SAFETY: the storage is larger than any address and aligned for all of them.
                unsafe { start.cast::<libc::sockaddr_in>().write(raw) };
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(addr) => {
                let raw = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: addr.port().to_be(),
                    sin6_flowinfo: addr.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: addr.ip().octets() },
                    sin6_scope_id: addr.scope_id(),
                };
                // SAFETY: as above.
                unsafe { start.cast::<libc::sockaddr_in6>().write(raw) };
                size_of::<libc::sockaddr_in6>()
            }
        };
        RawAddr { storage, len: len as libc::socklen_t }
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(crate) fn len(&self) -> libc::socklen_t {
        self.len
    }

    fn to_socket_addr(&self) -> Option<SocketAddr> {
        let start = (&raw const self.storage).cast::<u8>();
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says which form the storage holds, and it is large enough for any.
                let raw = unsafe { start.cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let raw = unsafe { start.cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                let port = u16::from_be(raw.sin6_port);
                Some(SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// A connection on which nothing has come for so long is asked whether its other side is there still.
pub const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(KEEP_ALIVE_IDLE_SECONDS as u64);
const KEEP_ALIVE_IDLE_SECONDS: libc::c_int = 60;
/// How often it is asked again, in seconds, and after how many questions without an answer it has failed. So a machine that
/// is gone without a word is noticed after two minutes.
const KEEP_ALIVE_INTERVAL_SECONDS: libc::c_int = 15;
const KEEP_ALIVE_COUNT: libc::c_int = 4;

/// A stream socket. It is a blocking one: for those io_uring waits by itself, while on a non-blocking one it
/// would report EAGAIN.
pub(crate) fn stream_socket(ip: IpAddr) -> io::Result<RawFd> {
    let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: the call takes no pointers.
    let fd = check(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    let options = [
        (libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, KEEP_ALIVE_IDLE_SECONDS),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL_SECONDS),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, KEEP_ALIVE_COUNT),
    ];
    match options.into_iter().try_for_each(|(level, name, value)| set_option_to(fd, level, name, value)) {
        Ok(()) => Ok(fd),
        Err(error) => {
            close(fd);
            Err(error)
        }
    }
}

/// A listening socket. Connections it accepts inherit the options of [`stream_socket`] from it. With `is_shared`, others that say so too
/// may listen on the same address.
pub(crate) fn listener(addr: SocketAddr, is_shared: bool, backlog: u32) -> io::Result<RawFd> {
    let fd = stream_socket(addr.ip())?;
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let result = set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR)
        .and_then(|()| if is_shared { set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT) } else { Ok(()) })
        .and_then(|()| if addr.is_ipv6() { set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) } else { Ok(()) })
        .and_then(|()| bind(fd, addr))
        // SAFETY: the call takes no pointers.
        .and_then(|()| check(unsafe { libc::listen(fd, backlog) }));
    match result {
        Ok(_) => Ok(fd),
        Err(error) => {
            close(fd);
            Err(error)
        }
    }
}

/// How long what was sent may stay unacknowledged before the connection has failed, in milliseconds. By default the
/// kernel tries for a quarter of an hour, at intervals that double, and finds a network that is whole again late.
const UNACKNOWLEDGED_MS_MAX: libc::c_int = 2_000;

/// A socket that will connect from a local address, whose port is chosen only when it connects.
pub(crate) fn connector(from: IpAddr) -> io::Result<RawFd> {
    let fd = stream_socket(from)?;
    if let Err(error) = set_option_to(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX) {
        close(fd);
        return Err(error);
    }
    if from.is_unspecified() {
        return Ok(fd);
    }
    let late_port =
        if from.is_ipv4() { set_option(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT) } else { Ok(()) };
    match late_port.and_then(|()| bind(fd, SocketAddr::new(from, 0))) {
        Ok(()) => Ok(fd),
        Err(error) => {
            close(fd);
            Err(error)
        }
    }
}

pub(crate) fn local_addr(fd: RawFd) -> io::Result<SocketAddr> {
    name_of(fd, libc::getsockname)
}

pub(crate) fn peer_addr(fd: RawFd) -> io::Result<SocketAddr> {
    name_of(fd, libc::getpeername)
}

/// How many bytes the other side of a connection has confirmed since it stands.
pub(crate) fn acked_bytes(fd: RawFd) -> io::Result<u64> {
    // `tcpi_bytes_acked` of `struct tcp_info` (linux/tcp.h), which the kernel only ever makes longer: eight small fields, 24
    // words and two pacing rates stand before it.
    const WORDS_BEFORE: usize = (8 + 24 * 4 + 2 * 8) / 8;
    let mut info = [0_u64; WORDS_BEFORE + 1];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: pointer and length describe memory that lives during the call.
    check(unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &mut len) })?;
    if (len as usize) < size_of_val(&info) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(info[WORDS_BEFORE])
}

/// Closes a descriptor. The result is of no use: the descriptor is gone either way.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: callers own the descriptor and forget it.
    unsafe { libc::close(fd) };
}

/// Ends a stream in both directions, which also ends operations waiting on it.
pub(crate) fn shutdown(fd: RawFd) {
    // SAFETY: the call takes no pointers. It fails only for a socket that has ended already.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Throws away a little that has arrived and was not read. Closing with unread data resets the connection, and the reset
/// could overtake what was sent last.
///
/// Whoever has more unread is in the middle of sending, and must be reset: it may wait for room in a window that is
/// full, which no kernel opens once this side is closed, and would wait for a minute.
pub(crate) fn discard_received(fd: RawFd) {
    const DISCARDED_BYTES_MAX: usize = 16 << 10;
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: with MSG_TRUNC a stream socket drops the bytes and writes to no memory.
    unsafe { libc::recv(fd, std::ptr::null_mut(), DISCARDED_BYTES_MAX, flags) };
}

/// Sends a few bytes on a fresh connection, whose send buffer has room, and closes it.
pub(crate) fn refuse(fd: RawFd, refusal: &[u8]) {
    // SAFETY: the slice is valid during the call. A client that is gone already needs no refusal.
    unsafe { libc::send(fd, refusal.as_ptr().cast(), refusal.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    discard_received(fd);
    close(fd);
}

fn bind(fd: RawFd, addr: SocketAddr) -> io::Result<()> {
    let addr = RawAddr::new(addr);
    // SAFETY: pointer and length describe an address that lives during the call.
    check(unsafe { libc::bind(fd, addr.as_ptr(), addr.len()) }).map(drop)
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int) -> io::Result<()> {
    set_option_to(fd, level, name, 1)
}

fn set_option_to(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: pointer and length describe an integer that lives during the call.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) }).map(drop)
}

type NameCall = unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn name_of(fd: RawFd, call: NameCall) -> io::Result<SocketAddr> {
    // SAFETY: all zeros is a valid value of this plain C struct.
    let storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut addr = RawAddr { storage, len: size_of::<libc::sockaddr_storage>() as libc::socklen_t };
    // SAFETY: pointer and length describe memory that lives during the call.
    check(unsafe { call(fd, (&raw mut addr.storage).cast(), &mut addr.len) })?;
    addr.to_socket_addr().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernels_form() {
        for text in ["127.0.0.1:6379", "10.1.2.3:1", "[::1]:7000", "[fe80::1:2]:65535"] {
            let addr: SocketAddr = text.parse().expect("an address");
            assert_eq!(RawAddr::new(addr).to_socket_addr(), Some(addr));
        }
    }

    #[test]
    fn what_the_other_side_takes_is_counted() {
        use std::io::{Read, Write};
        use std::os::fd::AsRawFd;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut client =
            std::net::TcpStream::connect(listener.local_addr().expect("it is bound")).expect("connected");
        let (mut server, _) = listener.accept().expect("accepted");
        let before = acked_bytes(server.as_raw_fd()).expect("a connection");
        server.write_all(&[7; 10_000]).expect("there is room");
        client.read_exact(&mut [0; 10_000]).expect("all of it");
        let begin = std::time::Instant::now();
        while acked_bytes(server.as_raw_fd()).expect("a connection") != before + 10_000 {
            assert!(begin.elapsed().as_secs() < 10, "{before}, then {:?}", acked_bytes(server.as_raw_fd()));
            std::thread::yield_now();
        }
    }

    fn option_of(fd: RawFd, level: libc::c_int, name: libc::c_int) -> libc::c_int {
        let mut value: libc::c_int = 0;
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: pointer and length describe an integer that lives during the call.
        check(unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &mut len) }).expect("an option");
        value
    }

    #[test]
    fn accepted_and_connecting_sockets_have_the_options() {
        let fd = listener("127.0.0.1:0".parse().expect("an address"), false, 16).expect("a listener");
        let addr = local_addr(fd).expect("its address");
        let client = std::net::TcpStream::connect(addr).expect("a connection");
        // SAFETY: null pointers ask for no peer address.
        let accepted =
            check(unsafe { libc::accept(fd, std::ptr::null_mut(), std::ptr::null_mut()) }).expect("accept");
        let connecting = connector("127.0.0.1".parse().expect("an address")).expect("a socket");
        for fd in [accepted, connecting] {
            assert_eq!(option_of(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY), 1);
            assert_eq!(option_of(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
            assert_eq!(option_of(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE), KEEP_ALIVE_IDLE_SECONDS);
            assert_eq!(option_of(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL), KEEP_ALIVE_INTERVAL_SECONDS);
            assert_eq!(option_of(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT), KEEP_ALIVE_COUNT);
        }
        close(connecting);
        assert_eq!(peer_addr(accepted).expect("its peer"), client.local_addr().expect("the same"));
        close(accepted);
        close(fd);
    }
}
