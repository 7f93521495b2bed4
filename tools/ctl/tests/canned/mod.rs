//! Servers with canned replies, and the program that asks them.

#![allow(dead_code, clippy::unwrap_used, reason = "parts of tests, of which each needs some")]

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

/// Serves each connection on a thread of its own, as long as the test runs. Returns the address.
pub(crate) fn serve(answer: impl Fn(&mut TcpStream, &str) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || {
                let mut bytes = [0; 4_096];
                while let Ok(len) = stream.read(&mut bytes)
                    && len > 0
                {
                    // Requests are short, and come one at a time.
                    answer(&mut stream, &words(&String::from_utf8_lossy(&bytes[..len])));
                }
            });
        }
    });
    addr
}

/// The words of a request.
pub(crate) fn words(request: &str) -> String {
    let parts = request.split("\r\n").filter(|part| !part.is_empty() && !part.starts_with(['*', '$']));
    parts.collect::<Vec<_>>().join(" ")
}

pub(crate) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

pub(crate) fn int(number: i64) -> String {
    format!(":{number}\r\n")
}

pub(crate) fn map(pairs: &[(&str, String)]) -> String {
    let written: String = pairs.iter().map(|(name, value)| bulk(name) + value).collect();
    format!("*{}\r\n{written}", 2 * pairs.len())
}

/// A list of as many elements as there are.
pub(crate) fn list(elements: &[String]) -> String {
    format!("*{}\r\n{}", elements.len(), elements.concat())
}

pub(crate) fn ctl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coracle-ctl")).args(args).output().unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// An address at which nobody listens.
pub(crate) fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
