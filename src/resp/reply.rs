//! Writing replies, RESP2 or RESP3, straight into a connection's output.

/// The protocol version a connection has chosen with `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2, what every connection begins with.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

/// Appends replies to a buffer.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Reply<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Reply<'a> {
        Reply { out, protocol }
    }

    /// The version written.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// `+text`: a short status without CR or LF.
    pub fn simple(&mut self, text: &str) {
        let _ = text;
    }

    /// `+OK`.
    pub fn ok(&mut self) {}

    /// `-message`, where the message begins with its code (`ERR ...`, `MOVED ...`). CR, LF and NUL within
    /// it are replaced by spaces.
    pub fn error(&mut self, message: &str) {
        let _ = message;
    }

    /// `:number`.
    pub fn integer(&mut self, number: i64) {
        let _ = number;
    }

    /// `$len bytes`.
    pub fn bulk(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// No value: `_` in RESP3, the null bulk `$-1` in RESP2.
    pub fn null(&mut self) {}

    /// Begins an array of `len` elements, which are written next.
    pub fn array(&mut self, len: usize) {
        let _ = len;
    }

    /// Begins a map of `len` pairs, which are written next; a flat array of `2 * len` in RESP2.
    pub fn map(&mut self, len: usize) {
        let _ = len;
    }

    /// Begins a set of `len` elements, which are written next; an array in RESP2.
    pub fn set(&mut self, len: usize) {
        let _ = len;
    }

    /// Text for people: verbatim `txt` in RESP3, a bulk string in RESP2.
    pub fn verbatim(&mut self, text: &str) {
        let _ = text;
    }
}
