//! Responses.

use crate::request::RequestError;

/// The media type of Prometheus's text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// What a client is answered. The connection is closed behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    media_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// Figures.
    pub fn exposition(body: String) -> Response {
        Response { status: 200, media_type: EXPOSITION, body: body.into_bytes() }
    }

    /// JSON.
    pub fn json(body: String) -> Response {
        Response { status: 200, media_type: JSON, body: body.into_bytes() }
    }

    /// A file that no browser shows.
    pub fn file(body: Vec<u8>) -> Response {
        Response { status: 200, media_type: BYTES, body }
    }

    /// A text, which ends with a line break in any case.
    pub fn text(status: u16, text: impl Into<String>) -> Response {
        let mut body = text.into();
        if !body.ends_with('\n') {
            body.push('\n');
        }
        Response { status, media_type: PLAIN, body: body.into_bytes() }
    }

    /// What a request that cannot be served is answered; `None` if nobody waits for an answer.
    pub fn of_error(error: &RequestError) -> Option<Response> {
        let status = match error {
            RequestError::Malformed => 400,
            RequestError::TooLong(_) => 431,
            RequestError::Method => 405,
            RequestError::Io(_) => return None,
        };
        Some(Response::text(status, error.to_string()))
    }

    /// The bytes to be sent; without the body if only the head is wanted.
    pub fn bytes(&self, is_head: bool) -> Vec<u8> {
        let allow = if self.status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\n{allow}Connection: close\r\n\r\n",
            self.status,
            reason(self.status),
            self.media_type,
            self.body.len(),
        );
        let body = if is_head { &[] } else { &self.body[..] };
        [head.as_bytes(), body].concat()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_of_the_body_that_it_leaves_out() {
        let response = Response::text(503, "no");
        let (whole, head) = (response.bytes(false), response.bytes(true));
        assert!(whole.starts_with(b"HTTP/1.1 503 Service Unavailable\r\n") && whole.ends_with(b"\r\n\r\nno\n"));
        assert_eq!(whole.strip_suffix(b"no\n"), Some(&head[..]));
        assert!(String::from_utf8(head).expect("it is text").contains("Content-Length: 3\r\n"));
    }
}
