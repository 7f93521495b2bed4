//! Reading a request.

use std::io::{self, Read};

/// Most header lines of a request.
const HEADERS_COUNT_MAX: usize = 64;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whether only the head of the response is wanted.
    pub is_head: bool,
    /// What is asked for, without what follows a `?`.
    pub path: String,
    /// What follows the `?`.
    pub query: String,
}

/// Why a request is not answered as it wishes.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is no HTTP/1 request.
    #[error("no request of HTTP/1.0 or HTTP/1.1")]
    Malformed,
    /// It is longer than allowed.
    #[error("the request is longer than {0} bytes or has more than {HEADERS_COUNT_MAX} headers")]
    TooLong(usize),
    /// Another method than `GET` and `HEAD`.
    #[error("only GET and HEAD are served: nothing can be changed here")]
    Method,
    /// The client is gone, or has not sent its request in time.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a request of at most `bytes_max` bytes.
///
/// # Errors
/// What is wrong with it. A client that closes its connection before it has sent anything is [`io::ErrorKind::UnexpectedEof`].
pub fn read(stream: &mut impl Read, bytes_max: usize) -> Result<Request, RequestError> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 1_024];
    loop {
        if let Some(request) = parse(&bytes, bytes_max)? {
            return Ok(request);
        }
        if bytes.len() >= bytes_max {
            return Err(RequestError::TooLong(bytes_max));
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(len) => bytes.extend_from_slice(chunk.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The request at the front of `bytes`, if its head is all there.
fn parse(bytes: &[u8], bytes_max: usize) -> Result<Option<Request>, RequestError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_COUNT_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return Ok(None),
        Ok(httparse::Status::Complete(len)) if len > bytes_max => return Err(RequestError::TooLong(bytes_max)),
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(RequestError::TooLong(bytes_max)),
        Err(_) => return Err(RequestError::Malformed),
    }
    let (Some(method), Some(target)) = (request.method, request.path) else { return Err(RequestError::Malformed) };
    if !matches!(method, "GET" | "HEAD") {
        return Err(RequestError::Method);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Some(Request { is_head: method == "HEAD", path: path.to_owned(), query: query.to_owned() }))
}

impl Request {
    /// Whether the query has this name with the value `1` or `true`.
    pub fn asks_for(&self, name: &str) -> bool {
        matches!(self.value(name), Some("1" | "true"))
    }

    /// What the query has for this name, as it stands there.
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out its bytes one at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            (buf[0], self.0) = (*first, rest);
            Ok(1)
        }
    }

    fn of(text: &str) -> Result<Request, RequestError> {
        read(&mut Slow(text.as_bytes()), 400)
    }

    #[test]
    fn a_request_is_read_however_it_is_cut() {
        let request =
            of("GET /metrics?per_group=1&x HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n").expect("it is sound");
        assert_eq!((request.is_head, &*request.path, &*request.query), (false, "/metrics", "per_group=1&x"));
        assert!(request.asks_for("per_group") && !request.asks_for("x") && !request.asks_for("per"));
        let request = of("HEAD / HTTP/1.0\r\n\r\n").expect("it is sound");
        assert_eq!((request.is_head, &*request.path, &*request.query), (true, "/", ""));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in [
            "\0",
            "*1\r\n$4\r\nPING\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\nno header\r\n\r\n",
        ] {
            assert!(matches!(of(text), Err(RequestError::Malformed)), "{text:?}");
        }
        for method in ["POST", "DELETE", "CONNECT"] {
            assert!(matches!(of(&format!("{method} / HTTP/1.1\r\n\r\n")), Err(RequestError::Method)), "{method}");
        }
    }

    #[test]
    fn a_request_without_end_is_refused_before_it_fills_memory() {
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1_000));
        assert!(matches!(of(&long), Err(RequestError::TooLong(400))));
        let headers = format!("GET / HTTP/1.1\r\n{}\r\n", "a:\r\n".repeat(HEADERS_COUNT_MAX + 1));
        assert!(matches!(of(&headers), Err(RequestError::TooLong(400))));
    }

    #[test]
    fn a_client_that_leaves_is_told_from_one_that_errs() {
        for text in ["", "GET / HT"] {
            let error = of(text).expect_err("it is not whole");
            assert!(matches!(error, RequestError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof));
        }
    }
}
