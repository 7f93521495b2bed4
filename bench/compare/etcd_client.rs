//! As much of a gRPC client as a load for etcd needs: `KV/Put` and `Maintenance/Status`, over HTTP/2.
//!
//! A call is a POST whose body is one frame { u8 compressed = 0, u32 big-endian length, protobuf message }. Its
//! outcome stands in the trailer `grpc-status`, 0 for success.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::uri::{Parts, PathAndQuery};
use http::{HeaderMap, Method, Request, Uri, Version};
use tokio::net::TcpStream;

use crate::error::Error;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The length of the head of a frame.
const FRAME_HEAD_BYTES: usize = 5;

/// A connection to one endpoint. Clones share it; each call is a stream of its own.
#[derive(Clone)]
pub struct EtcdClient {
    addr: SocketAddr,
    send: SendRequest<Bytes>,
    put_uri: Uri,
}

/// What an endpoint says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Its own id.
    pub member_id: u64,
    /// The id of the leader, or 0 if there is none.
    pub leader_id: u64,
}

impl EtcdClient {
    /// Connects, and drives the connection on the current [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// If the endpoint cannot be reached or does not speak HTTP/2.
    pub async fn connect(addr: SocketAddr) -> Result<EtcdClient, Error> {
        let failed = |what: String| Error::Rpc { addr: addr.to_string(), what };
        let stream = TcpStream::connect(addr).await.map_err(|error| failed(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let (send, connection) = h2::client::handshake(stream).await.map_err(|error| failed(error.to_string()))?;
        // How the connection ended shows in the calls that fail with it.
        tokio::task::spawn_local(async move { drop(connection.await) });
        Ok(EtcdClient { addr, send, put_uri: uri(addr, "/etcdserverpb.KV/Put") })
    }

    /// Puts a value; returns once etcd has committed it.
    ///
    /// # Errors
    /// If the connection fails or etcd refuses.
    pub async fn put(&mut self, frame: Bytes) -> Result<(), Error> {
        self.call(self.put_uri.clone(), frame).await.map(|_| ())
    }

    /// Asks for the status.
    ///
    /// # Errors
    /// If the connection fails, or the answer is not protobuf.
    pub async fn status(&mut self) -> Result<Status, Error> {
        let uri = uri(self.addr, "/etcdserverpb.Maintenance/Status");
        let answer = self.call(uri, frame(&[])).await?;
        parse_status(&answer).ok_or_else(|| self.failed("the status is no protobuf message"))
    }

    fn failed(&self, what: impl Into<String>) -> Error {
        Error::Rpc { addr: self.addr.to_string(), what: what.into() }
    }

    /// The message of the answer.
    async fn call(&mut self, uri: Uri, frame: Bytes) -> Result<Bytes, Error> {
        let addr = self.addr;
        let failed = |error: h2::Error| Error::Rpc { addr: addr.to_string(), what: error.to_string() };
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"));
        headers.insert(http::header::TE, http::HeaderValue::from_static("trailers"));
        let mut send = self.send.clone().ready().await.map_err(failed)?;
        let (response, mut body) = send.send_request(request, false).map_err(failed)?;
        body.send_data(frame, true).map_err(failed)?;
        let (head, mut body) = response.await.map_err(failed)?.into_parts();
        let answer = self.read_body(&mut body).await?;
        let trailers = body.trailers().await.map_err(failed)?.unwrap_or_default();
        // A call that fails at once has its status in the headers.
        let status_in = |map: &HeaderMap| map.get("grpc-status").map(|status| status.as_bytes() == b"0");
        match status_in(&trailers).or_else(|| status_in(&head.headers)) {
            Some(true) => Ok(answer),
            _ => {
                let message = trailers.get("grpc-message").or_else(|| head.headers.get("grpc-message"));
                Err(self.failed(message.and_then(|text| text.to_str().ok()).unwrap_or("the call has no status")))
            }
        }
    }

    async fn read_body(&self, body: &mut RecvStream) -> Result<Bytes, Error> {
        let mut frame = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(|error| self.failed(error.to_string()))?;
            body.flow_control().release_capacity(chunk.len()).map_err(|error| self.failed(error.to_string()))?;
            if frame.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.failed("an answer is too long"));
            }
            frame.extend_from_slice(&chunk);
        }
        Ok(if frame.len() >= FRAME_HEAD_BYTES { frame.split_off(FRAME_HEAD_BYTES).freeze() } else { Bytes::new() })
    }
}

/// The frame of `PutRequest { bytes key = 1; bytes value = 2; }`.
pub fn put_frame(key: &[u8], value: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(key.len() + value.len() + 12);
    for (tag, bytes) in [(0x0A, key), (0x12, value)] {
        message.push(tag);
        let mut len = bytes.len();
        while len >= 0x80 {
            message.push(len as u8 | 0x80);
            len >>= 7;
        }
        message.push(len as u8);
        message.extend_from_slice(bytes);
    }
    frame(&message)
}

fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(FRAME_HEAD_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

fn uri(addr: SocketAddr, path: &'static str) -> Uri {
    let mut parts = Parts::default();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = Some(addr.to_string().parse().expect("a socket address is an authority"));
    parts.path_and_query = Some(PathAndQuery::from_static(path));
    Uri::from_parts(parts).expect("all parts are there")
}

/// `StatusResponse { ResponseHeader header = 1 { uint64 member_id = 2; ... }; uint64 leader = 4; ... }`.
fn parse_status(message: &[u8]) -> Option<Status> {
    let mut status = Status::default();
    for (field, value) in fields(message)? {
        match (field, value) {
            (1, Value::Bytes(header)) => {
                for (field, value) in fields(header)? {
                    if let (2, Value::Number(id)) = (field, value) {
                        status.member_id = id;
                    }
                }
            }
            (4, Value::Number(id)) => status.leader_id = id,
            _ => {}
        }
    }
    Some(status)
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message; those of a fixed width do not occur here.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(take_varint(&mut message)?),
            2 => {
                let len = usize::try_from(take_varint(&mut message)?).ok()?;
                let (bytes, tail) = message.split_at_checked(len)?;
                message = tail;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        fields.push((tag >> 3, value));
    }
    Some(fields)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = bytes.split_first()?;
        *bytes = tail;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_framed() {
        let frame = put_frame(b"k", &[b'v'; 300]);
        assert_eq!(&frame[..5], [0, 0, 0, 1, 0x32], "3 bytes of key and 303 of value");
        assert_eq!(&frame[5..11], [0x0A, 1, b'k', 0x12, 0xAC, 2]);
        assert_eq!(frame.len(), 5 + 306);
    }

    #[test]
    fn a_status_is_read_and_cut_ones_are_refused() {
        // header { cluster_id = 300, member_id = 5 }, version "3", leader 300
        let message = [0x0A, 5, 0x08, 0xAC, 2, 0x10, 5, 0x12, 1, b'3', 0x20, 0xAC, 2];
        assert_eq!(parse_status(&message), Some(Status { member_id: 5, leader_id: 300 }));
        assert_eq!(parse_status(&message[..message.len() - 1]), None);
        assert_eq!(parse_status(&[0x0A, 9, 1]), None);
        assert_eq!(parse_status(&[0x80; 12]), None);
    }
}
