//! Reading commands out of a connection's input, wherever the bytes happen to be cut.

use types::limits::{ARGUMENTS_COUNT_MAX, COMMAND_BYTES_MAX, INLINE_BYTES_MAX, VALUE_BYTES_MAX};

use crate::args::{ArgRange, Args};
use crate::inline;
use crate::number::parse_i64;

/// Most arguments whose places a parser keeps room for between two commands.
const RANGES_RETAINED_MAX: usize = 1_024;
/// Most bytes of an inline command that a parser keeps room for between two commands.
const WORDS_RETAINED_MAX: usize = 4_096;
/// Digits that a length may have to be read in the fast way; `u32` holds them all.
const SHORT_DIGITS_MAX: usize = 9;

/// What a connection may ask for. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most arguments of one command, its name included.
    pub arguments_count_max: usize,
    /// Longest argument.
    pub bulk_bytes_max: usize,
    /// Longest inline command, and longest header, without its end of line.
    pub inline_bytes_max: usize,
    /// Longest whole command, headers included.
    pub command_bytes_max: usize,
}

impl Limits {
    /// For a connection that has yet to log in: enough for `HELLO` and `AUTH`, and 64 KiB held at most.
    pub const fn before_login() -> Limits {
        Limits {
            arguments_count_max: 10,
            bulk_bytes_max: 16 << 10,
            inline_bytes_max: INLINE_BYTES_MAX,
            command_bytes_max: 64 << 10,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            arguments_count_max: ARGUMENTS_COUNT_MAX,
            bulk_bytes_max: VALUE_BYTES_MAX,
            inline_bytes_max: INLINE_BYTES_MAX,
            command_bytes_max: COMMAND_BYTES_MAX,
        }
    }
}

/// The stream does not follow the protocol and cannot be trusted any more: answer this, then close.
/// The text is the whole error reply without its leading `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The number behind `*` is none, or beyond every limit.
    #[error("ERR Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// More arguments than are allowed before login.
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    MultibulkLengthBeforeLogin,
    /// The number behind `$` is none, negative, or beyond every limit.
    #[error("ERR Protocol error: invalid bulk length")]
    BulkLength,
    /// A longer argument than is allowed before login.
    #[error("ERR Protocol error: unauthenticated bulk length")]
    BulkLengthBeforeLogin,
    /// An argument that does not begin with `$`.
    #[error("ERR Protocol error: expected '$', got '{}'", printable(*.0))]
    ExpectedBulk(u8),
    /// An argument without an end of line behind it.
    #[error("ERR Protocol error: expected an end of line behind a bulk string")]
    ExpectedLineEnd,
    /// An inline command without an end.
    #[error("ERR Protocol error: too big inline request")]
    InlineTooBig,
    /// A `*` header without an end.
    #[error("ERR Protocol error: too big mbulk count string")]
    MultibulkHeaderTooBig,
    /// A `$` header without an end.
    #[error("ERR Protocol error: too big bulk count string")]
    BulkHeaderTooBig,
    /// All arguments together are longer than a command may be.
    #[error("ERR Protocol error: too big request")]
    CommandTooBig,
    /// Quotes of an inline command that do not match.
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
}

/// The byte as a character that is safe within an error reply.
fn printable(byte: u8) -> char {
    match byte {
        b' '..=b'~' => char::from(byte),
        0..b' ' | 0x7f => ' ',
        _ => '?',
    }
}

/// What [`Parser::parse`] found at the front of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A command: [`Parser::args`] has it, and `consumed` bytes of input are its own.
    Complete {
        /// Bytes from the command's first to behind its last. Invariant: > 0.
        consumed: usize,
    },
    /// A request without a command, such as an empty line: it is to be dropped without a reply.
    Empty {
        /// Bytes to drop. Invariant: > 0.
        consumed: usize,
    },
    /// The command goes on beyond the input. Parse again with the same bytes and more behind them.
    Incomplete,
}

/// Where in a command the parser stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before the first byte, or behind the last one of a finished command.
    Start,
    /// In a line that does not begin with `*`.
    Inline,
    /// In the `*` header.
    Count,
    /// In the `$` header of an argument.
    BulkHeader,
    /// In the bytes of an argument.
    BulkBody,
}

/// Reads one connection's commands, one after the other.
///
/// The parser remembers where it stopped, so that a command that arrives in many pieces is looked at once. It
/// holds no input itself, and its memory is proportional to the bytes that have really come, whatever lengths
/// they claim.
#[derive(Debug)]
pub struct Parser {
    stage: Stage,
    /// First byte not taken yet, from the beginning of the command.
    pos: usize,
    /// Bytes before this hold no end of the current line. Invariant: only read in a line, where it is >= pos.
    scanned: usize,
    /// Bytes there were when the command was last found incomplete.
    seen: usize,
    /// Arguments yet to come.
    missing: usize,
    /// Length of the argument being read. Invariant: <= bulk_bytes_max.
    bulk_len: usize,
    ranges: Vec<ArgRange>,
    /// The words of an inline command, whose quotes and escapes are gone.
    words: Vec<u8>,
    is_inline: bool,
}

impl Default for Parser {
    fn default() -> Parser {
        Parser::new()
    }
}

impl Parser {
    /// A parser at the beginning of a stream. It allocates nothing.
    pub fn new() -> Parser {
        Parser {
            stage: Stage::Start,
            pos: 0,
            scanned: 0,
            seen: 0,
            missing: 0,
            bulk_len: 0,
            ranges: Vec::new(),
            words: Vec::new(),
            is_inline: false,
        }
    }

    /// Looks for a command at the front of `buf`.
    ///
    /// After [`Parsed::Incomplete`] the next call must bring the same bytes with more behind them; after the other
    /// two, `buf` must begin `consumed` bytes further on. `limits` may change between commands.
    ///
    /// # Errors
    ///
    /// A [`ProtocolError`] means that nothing behind can be understood either. The parser is then back at its
    /// beginning.
    #[inline]
    pub fn parse(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        let parsed = self.advance(buf, limits);
        if matches!(parsed, Ok(Parsed::Incomplete)) {
            self.seen = buf.len();
        } else {
            self.stage = Stage::Start;
        }
        parsed
    }

    /// The command that the last call of [`Parser::parse`] found complete, given the same `buf`. Empty otherwise.
    #[inline]
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        match (self.stage, self.is_inline) {
            (Stage::Start, true) => Args::new(&self.words, &self.ranges),
            (Stage::Start, false) => Args::new(buf, &self.ranges),
            _ => Args::new(buf, &[]),
        }
    }

    /// How many bytes from the beginning of the command the input must hold before it is worth parsing again.
    /// Never beyond the limits, but a client's claim all the same: memory for it should grow with what arrives.
    pub fn needed_bytes(&self) -> usize {
        match self.stage {
            Stage::Start => 1,
            Stage::Inline | Stage::Count | Stage::BulkHeader => self.seen + 1,
            Stage::BulkBody => self.pos + self.bulk_len + 2,
        }
    }

    /// Bytes of memory held beside the input. At most a few KiB and eight times the bytes of the current command.
    pub fn held_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<ArgRange>() + self.words.capacity()
    }

    #[inline]
    fn advance(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        if self.stage == Stage::Start {
            let Some(first) = buf.first() else { return Ok(Parsed::Incomplete) };
            self.restart(if *first == b'*' { Stage::Count } else { Stage::Inline });
        }
        match self.stage {
            Stage::Inline => return self.inline(buf, limits),
            Stage::Count => match self.count(buf, limits)? {
                None => return Ok(Parsed::Incomplete),
                Some(0) => return Ok(Parsed::Empty { consumed: self.pos }),
                Some(count) => {
                    self.missing = count;
                    self.stage = Stage::BulkHeader;
                }
            },
            Stage::Start | Stage::BulkHeader | Stage::BulkBody => {}
        }
        self.bulks(buf, limits)
    }

    /// Forgets the last command, and most of the room that an unusually big one took.
    #[inline]
    fn restart(&mut self, stage: Stage) {
        self.stage = stage;
        self.pos = 0;
        self.scanned = 0;
        self.is_inline = stage == Stage::Inline;
        self.ranges.clear();
        if self.ranges.capacity() > RANGES_RETAINED_MAX {
            self.ranges.shrink_to(RANGES_RETAINED_MAX);
        }
        self.words.clear();
        if self.words.capacity() > WORDS_RETAINED_MAX {
            self.words.shrink_to(WORDS_RETAINED_MAX);
        }
    }

    /// The number of arguments, or `None` if its line has not ended.
    #[inline]
    fn count(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let number = match short_number(buf, self.pos + 1) {
            Some((number, next)) => {
                self.pos = next;
                i64::from(number)
            }
            None => match self.header(buf, limits) {
                Header::Unfinished => return Ok(None),
                Header::TooBig => return Err(ProtocolError::MultibulkHeaderTooBig),
                Header::Malformed => return Err(ProtocolError::MultibulkLength),
                Header::Number(number) => number,
            },
        };
        // Zero and below are a request without a command.
        let count = usize::try_from(number).unwrap_or(0);
        if count > ARGUMENTS_COUNT_MAX {
            return Err(ProtocolError::MultibulkLength);
        }
        if count > limits.arguments_count_max {
            return Err(ProtocolError::MultibulkLengthBeforeLogin);
        }
        Ok(Some(count))
    }

    /// The arguments themselves: one pass, and no allocation beyond the reused ranges.
    #[inline]
    fn bulks(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        loop {
            if self.stage == Stage::BulkHeader && !self.bulk_header(buf, limits)? {
                return Ok(Parsed::Incomplete);
            }
            let end = self.pos + self.bulk_len;
            match buf.get(end..end + 2) {
                Some(b"\r\n") => {}
                Some(_) => return Err(ProtocolError::ExpectedLineEnd),
                None => {
                    self.stage = Stage::BulkBody;
                    return Ok(Parsed::Incomplete);
                }
            }
            // Every position is at most command_bytes_max, which is far below the range of u32.
            self.ranges.push(ArgRange { start: self.pos as u32, end: end as u32 });
            self.pos = end + 2;
            self.stage = Stage::BulkHeader;
            self.missing -= 1;
            if self.missing == 0 {
                return Ok(Parsed::Complete { consumed: self.pos });
            }
        }
    }

    /// The length of the next argument; false if its line has not ended.
    #[inline]
    fn bulk_header(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let short = match buf.get(self.pos) {
            Some(b'$') => short_number(buf, self.pos + 1),
            _ => None,
        };
        let length = match short {
            Some((number, next)) => {
                self.pos = next;
                i64::from(number)
            }
            None => {
                let first = buf.get(self.pos).copied();
                match (self.header(buf, limits), first) {
                    (Header::Unfinished, _) | (_, None) => return Ok(false),
                    (Header::TooBig, _) => return Err(ProtocolError::BulkHeaderTooBig),
                    (_, Some(first)) if first != b'$' => return Err(ProtocolError::ExpectedBulk(first)),
                    (Header::Malformed, _) => return Err(ProtocolError::BulkLength),
                    (Header::Number(number), _) => number,
                }
            }
        };
        let length = usize::try_from(length).map_err(|_| ProtocolError::BulkLength)?;
        if length > VALUE_BYTES_MAX {
            return Err(ProtocolError::BulkLength);
        }
        if length > limits.bulk_bytes_max {
            return Err(ProtocolError::BulkLengthBeforeLogin);
        }
        if self.pos + length + 2 > limits.command_bytes_max {
            return Err(ProtocolError::CommandTooBig);
        }
        self.bulk_len = length;
        Ok(true)
    }

    /// A header that is not short and whole: it may be cut, long, or wrong.
    #[cold]
    fn header(&mut self, buf: &[u8], limits: &Limits) -> Header {
        let line_end = match self.find(b'\r', buf, limits.inline_bytes_max) {
            Found::At(idx) => idx,
            Found::NotYet => return Header::Unfinished,
            Found::Never => return Header::TooBig,
        };
        match buf.get(line_end + 1) {
            None => return Header::Unfinished,
            Some(b'\n') => {}
            Some(_) => return Header::Malformed,
        }
        let digits = buf.get(self.pos + 1..line_end).unwrap_or_default();
        self.pos = line_end + 2;
        parse_i64(digits).map_or(Header::Malformed, Header::Number)
    }

    /// A whole inline command.
    #[cold]
    fn inline(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        let line_end = match self.find(b'\n', buf, limits.inline_bytes_max) {
            Found::At(idx) => idx,
            Found::NotYet => return Ok(Parsed::Incomplete),
            Found::Never => return Err(ProtocolError::InlineTooBig),
        };
        let line = buf.get(..line_end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let consumed = line_end + 1;
        inline::split(line, &mut self.words, &mut self.ranges).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        if self.ranges.is_empty() {
            return Ok(Parsed::Empty { consumed });
        }
        if self.ranges.len() > limits.arguments_count_max {
            return Err(ProtocolError::MultibulkLengthBeforeLogin);
        }
        if self.ranges.iter().any(|range| (range.end - range.start) as usize > limits.bulk_bytes_max) {
            return Err(ProtocolError::BulkLengthBeforeLogin);
        }
        Ok(Parsed::Complete { consumed })
    }

    /// Looks for `byte` in the line that begins at `pos`, going on where the last look stopped. The line may be
    /// `line_bytes_max` long, and no outcome depends on how the input was cut.
    fn find(&mut self, byte: u8, buf: &[u8], line_bytes_max: usize) -> Found {
        let from = self.scanned.max(self.pos);
        let window_end = buf.len().min(self.pos + line_bytes_max + 1);
        let window = buf.get(from..window_end).unwrap_or_default();
        match window.iter().position(|candidate| *candidate == byte) {
            Some(offset) => {
                self.scanned = from + offset;
                Found::At(from + offset)
            }
            None if buf.len() > self.pos + line_bytes_max => Found::Never,
            None => {
                self.scanned = window_end.max(from);
                Found::NotYet
            }
        }
    }
}

/// What became of a header.
enum Header {
    /// Its line has not ended.
    Unfinished,
    /// Its line is longer than any may be.
    TooBig,
    /// It holds no number.
    Malformed,
    /// It holds this number, and was taken.
    Number(i64),
}

/// Where the end of a line is.
enum Found {
    /// Here.
    At(usize),
    /// Not in the input so far.
    NotYet,
    /// Nowhere within the limit.
    Never,
}

/// The number at `at` and what lies behind its end of line, if it is short, canonical and all there.
#[inline]
pub(crate) fn short_number(buf: &[u8], at: usize) -> Option<(u32, usize)> {
    let window = buf.get(at..)?;
    let mut number = 0;
    for (idx, &byte) in window.iter().take(SHORT_DIGITS_MAX + 1).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let canonical = idx == 1 || (idx > 1 && window.first() != Some(&b'0'));
            let ended = byte == b'\r' && window.get(idx + 1) == Some(&b'\n');
            return (canonical && ended).then_some((number, at + idx + 2));
        }
        if idx == SHORT_DIGITS_MAX {
            return None;
        }
        number = number * 10 + u32::from(digit);
    }
    None
}
