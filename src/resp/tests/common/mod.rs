//! A reader of replies and a writer of requests, written apart from the code under test.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code, reason = "each test file uses a part")]

use resp::{
    Args, ClientLine, CommandId, Greeting, HelloRequest, Limits, Parsed, Parser, Protocol, Refusal, Reply, resolve,
};

/// A reply, read back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Verbatim(String),
    Null,
    NullBulk,
    Array(Vec<Value>),
    Set(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// The elements of an array or set.
    pub(crate) fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) | Value::Set(items) => items,
            other => panic!("{other:?} has no elements"),
        }
    }

    /// The text of a string of any kind.
    pub(crate) fn text(&self) -> String {
        match self {
            Value::Simple(text) | Value::Error(text) | Value::Verbatim(text) => text.clone(),
            Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("{other:?} is no text"),
        }
    }

    /// The sorted texts of the elements.
    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.items().iter().map(Value::text).collect();
        texts.sort();
        texts
    }
}

/// Reads one reply; what is behind it comes back too. `None` if it is cut.
pub(crate) fn read(input: &[u8]) -> Option<(Value, &[u8])> {
    let end = input.windows(2).position(|pair| pair == b"\r\n")?;
    let (kind, line) = (input[0], String::from_utf8_lossy(&input[1..end]).into_owned());
    let rest = &input[end + 2..];
    let len = || line.parse::<usize>().unwrap();
    Some(match kind {
        b'+' => (Value::Simple(line), rest),
        b'-' => (Value::Error(line), rest),
        b':' => (Value::Integer(line.parse().unwrap()), rest),
        b'_' => (Value::Null, rest),
        b'$' if line == "-1" => (Value::NullBulk, rest),
        b'$' | b'=' => {
            let bytes = rest.get(..len())?.to_vec();
            let rest = rest.get(len()..)?.strip_prefix(b"\r\n")?;
            match kind {
                b'$' => (Value::Bulk(bytes), rest),
                _ => (Value::Verbatim(String::from_utf8(bytes).unwrap().strip_prefix("txt:").unwrap().into()), rest),
            }
        }
        b'*' => read_many(rest, len()).map(|(items, rest)| (Value::Array(items), rest))?,
        b'~' => read_many(rest, len()).map(|(items, rest)| (Value::Set(items), rest))?,
        b'%' => {
            let (items, rest) = read_many(rest, 2 * len())?;
            (Value::Map(items.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()), rest)
        }
        other => panic!("a reply cannot begin with {}", other.escape_ascii()),
    })
}

fn read_many(mut rest: &[u8], count: usize) -> Option<(Vec<Value>, &[u8])> {
    let mut items = Vec::new();
    for _ in 0..count {
        let (item, behind) = read(rest)?;
        items.push(item);
        rest = behind;
    }
    Some((items, rest))
}

/// A request as clients send it.
pub(crate) fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A request of words.
pub(crate) fn words(line: &str) -> Vec<u8> {
    let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
    request(&args)
}

/// What is answered to a stream of requests that need nothing but themselves; a protocol error ends it, and so does HTTP.
pub(crate) fn serve(mut input: &[u8], protocol: Protocol) -> Vec<u8> {
    let (mut out, mut parser) = (Vec::new(), Parser::new());
    loop {
        let mut reply = Reply::new(&mut out, protocol);
        match parser.parse(input, &Limits::default()) {
            Ok(Parsed::Incomplete) => return out,
            Ok(Parsed::Empty { consumed }) => input = &input[consumed..],
            Ok(Parsed::Complete { consumed }) => {
                if !dispatch(parser.args(input), &mut reply) {
                    return out;
                }
                input = &input[consumed..];
            }
            Err(error) => {
                reply.error(&error.to_string());
                return out;
            }
        }
    }
}

/// Answers a request. Returns whether the connection goes on.
fn dispatch(args: Args<'_>, reply: &mut Reply<'_>) -> bool {
    match resolve(args) {
        Ok(command) if command.id == CommandId::Hello => match HelloRequest::parse(args) {
            Ok(_) => Greeting { server: "coracle", version: "7.0.15", id: 1 }.write(reply),
            Err(message) => reply.error_bytes(&message),
        },
        Ok(command) if command.id == CommandId::Auth => resp::hello::auth_without_password(args, reply),
        Ok(command) if command.id == CommandId::Quit => reply.ok(),
        Ok(command) => assert!(resp::answer(command, args, reply), "{} needs an engine", command.full_name),
        Err(Refusal::CrossProtocol) => return false,
        Err(refusal) => reply.error_bytes(&refusal.message(args)),
    }
    true
}

/// The answer to one request of words, read back.
pub(crate) fn ask(line: &str, protocol: Protocol) -> Value {
    let out = serve(&words(line), protocol);
    let (value, rest) = read(&out).expect("the reply is whole");
    assert!(rest.is_empty(), "there is one reply");
    value
}

/// A line about some connection.
pub(crate) fn some_line() -> ClientLine<'static> {
    ClientLine {
        id: 7,
        addr: "[::1]:40000".parse().unwrap(),
        local_addr: "127.0.0.1:6379".parse().unwrap(),
        fd: 9,
        name: b"n",
        age_s: 3,
        idle_s: 2,
        input_bytes: 26,
        input_free_bytes: 20_448,
        arguments_bytes: 10,
        output_bytes: 5,
        total_bytes: 37_658,
        command: Some("client|list"),
        is_monitor: false,
        protocol: Protocol::Resp3,
        library_name: b"lib",
        library_version: b"1.2",
        received_bytes: 100,
        sent_bytes: 200,
        commands_count: 4,
    }
}
