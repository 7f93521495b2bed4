//! Random commands: those that mean something, and odd ones.

use types::limits::VALUE_BYTES_MAX;

use crate::Args;

/// SplitMix64: a seed is a sequence for ever, whatever becomes of other generators.
pub(crate) struct Random(pub(crate) u64);

/// The commands to draw from.
const NAMES: &[&str] = &[
    "GET",
    "SET",
    "SET",
    "SETNX",
    "GETSET",
    "GETDEL",
    "MGET",
    "MSET",
    "MSETNX",
    "DEL",
    "UNLINK",
    "EXISTS",
    "TOUCH",
    "TYPE",
    "APPEND",
    "STRLEN",
    "GETRANGE",
    "SUBSTR",
    "SETRANGE",
    "INCR",
    "DECR",
    "INCRBY",
    "DECRBY",
    "INCRBYFLOAT",
    "INCRBYFLOAT",
    "SETEX",
    "PSETEX",
    "GETEX",
    "EXPIRE",
    "PEXPIRE",
    "EXPIREAT",
    "PEXPIREAT",
    "PERSIST",
    "TTL",
    "PTTL",
    "EXPIRETIME",
    "PEXPIRETIME",
    "DUMP",
    "RESTORE",
    "RESTORE",
];

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    pub(crate) fn key(&mut self) -> Vec<u8> {
        self.pick(&["a", "b", "c", "d", "e", "f", "counter", "float", "{t}x", "", "k\0\r\n"]).as_bytes().to_vec()
    }

    fn integer(&mut self) -> String {
        match self.below(6) {
            0 => self
                .pick(&[
                    "9223372036854775807",
                    "-9223372036854775808",
                    "9223372036854775808",
                    "-9223372036854775809",
                    "9223372036854775806",
                    "-9223372036854775807",
                    "18446744073709551616",
                    "",
                    "-",
                    "+1",
                    "01",
                    "-0",
                    " 1",
                    "1 ",
                    "1.0",
                    "1e2",
                    "0x10",
                    "abc",
                    "1\x001",
                    "99999999999999999999999",
                ])
                .to_string(),
            1 => (self.next() as i64).to_string(),
            _ => (self.below(40) as i64 - 20).to_string(),
        }
    }

    /// A number as people write them, now and then an odd one.
    pub(crate) fn float(&mut self) -> String {
        let sign = self.pick(&["", "", "-", "+"]);
        let mut digits = |count_max: usize| {
            let count = self.below(count_max + 1);
            (0..count).map(|_| char::from(b'0' + self.below(10) as u8)).collect::<String>()
        };
        let (whole, fraction, long) = (digits(6), digits(6), digits(30));
        match self.below(12) {
            0 => self
                .pick(&[
                    "inf",
                    "-inf",
                    "+Infinity",
                    "nan",
                    "-nan",
                    "",
                    ".",
                    "-",
                    "1e",
                    "1e+",
                    "1.2.3",
                    " 1",
                    "1 ",
                    "0x",
                    "0x.8",
                    "0x1p",
                    "0X1.8P-3",
                    "-0x1p16383",
                    "0x1p-16445",
                    "0x1p-16446",
                    "1e4932",
                    "-1e4932",
                    "1e5000",
                    "1e-4950",
                    "1e-5000",
                    "-0",
                    "0e999999999999999999999",
                    "1e-18",
                    "5e-18",
                    "15e-18",
                    "0.000000000000000005",
                    "18446744073709551615",
                    "18446744073709551616.5",
                    "3.0e3",
                    "1_0",
                    "1f",
                    "infinit",
                    "1e-17",
                    "2.5e-17",
                    "abc",
                    "1\0",
                ])
                .to_string(),
            1 => format!("{sign}{long}.{fraction}"),
            2 => format!("{sign}{whole}.{long}"),
            3 => format!("{sign}{whole}.{fraction}e{}", self.below(60) as i64 - 30),
            4 => format!("{sign}0x{:x}.{:x}p{}", self.next() >> self.below(64), self.below(256), self.below(9)),
            5 => format!("{sign}{whole}{fraction}"),
            _ => format!("{sign}{whole}.{fraction}"),
        }
    }

    pub(crate) fn value(&mut self) -> Vec<u8> {
        match self.below(6) {
            0 | 1 => self.integer().into_bytes(),
            2 => self.float().into_bytes(),
            3 => self.pick(&["", "v", "hello world", "\r\n", "\0\0", "nil"]).as_bytes().to_vec(),
            4 => (0..self.below(40)).map(|_| self.next() as u8).collect(),
            _ => vec![b'x'; self.below(300)],
        }
    }

    /// An offset that is short, too long or no number: none that makes a value of megabytes.
    fn offset(&mut self) -> String {
        if !self.one_in(4) {
            return self.below(200).to_string();
        }
        let offset = self.integer();
        let is_long = offset.parse::<i64>().is_ok_and(|offset| (1_000..VALUE_BYTES_MAX as i64).contains(&offset));
        if is_long { "1000".to_string() } else { offset }
    }

    pub(crate) fn command(&mut self) -> Args {
        let name = self.pick(NAMES);
        let mut args = vec![name.as_bytes().to_vec()];
        match name {
            "GET" | "GETDEL" | "TYPE" | "STRLEN" | "INCR" | "DECR" | "PERSIST" | "TTL" | "PTTL" | "EXPIRETIME"
            | "PEXPIRETIME" | "DUMP" => args.push(self.key()),
            "SETEX" | "PSETEX" => args.extend([self.key(), self.time(false).into_bytes(), self.value()]),
            "GETEX" => {
                args.push(self.key());
                self.get_ex_options(&mut args);
            }
            "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" => {
                args.extend([self.key(), self.time(name.ends_with("AT")).into_bytes()]);
                while self.one_in(3) {
                    args.push(self.pick(&["NX", "XX", "GT", "LT", "gt", "lt"]).as_bytes().to_vec());
                }
            }
            "SET" => {
                args.extend([self.key(), self.value()]);
                self.set_options(&mut args);
            }
            "RESTORE" => self.restore(&mut args),
            "SETNX" | "GETSET" | "APPEND" => args.extend([self.key(), self.value()]),
            "MGET" | "DEL" | "UNLINK" | "EXISTS" | "TOUCH" => {
                args.extend((0..self.below(4) + 1).map(|_| self.key()));
            }
            "MSET" | "MSETNX" => {
                for _ in 0..self.below(4) + 1 {
                    args.extend([self.key(), self.value()]);
                }
            }
            "GETRANGE" | "SUBSTR" => {
                args.extend([self.key(), self.integer().into_bytes(), self.integer().into_bytes()]);
            }
            "SETRANGE" => args.extend([self.key(), self.offset().into_bytes(), self.value()]),
            "INCRBY" | "DECRBY" => args.extend([self.key(), self.integer().into_bytes()]),
            _ => args.extend([self.key(), self.float().into_bytes()]),
        }
        self.change(name, &mut args);
        if self.one_in(400) {
            args = vec![b"FLUSHALL".to_vec()];
            if self.one_in(2) {
                args.push(self.pick(&["async", "SYNC", "now"]).as_bytes().to_vec());
            }
        }
        args
    }

    /// Takes something of a command away, adds something, or writes its name otherwise, now and then.
    fn change(&mut self, name: &str, args: &mut Args) {
        // Without its options `RESTORE` may meet what is meant to differ: see `DIFFERENCES`.
        if self.one_in(25) && name != "RESTORE" {
            args.pop();
        }
        if self.one_in(25) {
            // A number might be a time that comes while the test runs; an option that there is not: see `DIFFERENCES`.
            args.push(match name {
                "SET" | "GETEX" | "RESTORE" => b"extra".to_vec(),
                "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" => b"XX".to_vec(),
                _ => self.value(),
            });
        }
        if self.one_in(10) {
            args[0].make_ascii_lowercase();
        }
    }

    /// A time, none that comes while the test runs. Two of them are hardly ever so close that it matters when they are read.
    fn time(&mut self, is_absolute: bool) -> String {
        let odd = ["0", "-1", "x", "", "1.5", "-9223372036854775808", "9223372036854775807", "9223372036854775"];
        if self.one_in(4) {
            return self.pick(&odd).to_string();
        }
        let later = 10_000_000 + self.next() % 1_000_000_000_000;
        match (is_absolute, self.one_in(4)) {
            (true, true) => (self.next() % 1_000_000).to_string(),
            (true, false) => (4_000_000_000_000 + later).to_string(),
            (false, true) => format!("-{later}"),
            (false, false) => later.to_string(),
        }
    }

    /// Unless key, time and payload are sound, whether the key exists does not matter; see `DIFFERENCES`.
    fn restore(&mut self, args: &mut Args) {
        let is_absolute = self.one_in(3);
        let mut ttl = if self.one_in(3) { "0".to_string() } else { self.time(is_absolute) };
        if ttl == i64::MAX.to_string() && !is_absolute {
            ttl = "1e3".to_string();
        }
        let (payload, is_sound) = self.payload();
        let replaces = !is_sound || ttl.parse::<i64>().is_ok_and(|ttl| ttl < 0) || ttl.parse::<i64>().is_err();
        args.extend([self.key(), ttl.into_bytes(), payload]);
        if is_absolute {
            args.push(b"absttl".to_vec());
        }
        while self.one_in(3) {
            let option = self.pick(&["REPLACE", "IDLETIME", "FREQ", "idletime", "freq", "FOO"]);
            args.push(option.as_bytes().to_vec());
            if option.len() != 7 && !self.one_in(8) {
                args.push(self.pick(&["0", "1", "255", "256", "-1", "x", "1000000"]).as_bytes().to_vec());
            }
        }
        if replaces {
            // Twice, as one may be taken away.
            args.extend([b"REPLACE".to_vec(), b"replace".to_vec()]);
        }
    }

    fn set_options(&mut self, args: &mut Args) {
        while self.one_in(2) {
            let option =
                self.pick(&["NX", "XX", "GET", "KEEPTTL", "nx", "xx", "get", "EX", "PX", "EXAT", "PXAT", "FOO"]);
            args.push(option.as_bytes().to_vec());
            self.push_time_of(option, args);
        }
    }

    fn get_ex_options(&mut self, args: &mut Args) {
        while self.one_in(2) {
            let option = self.pick(&["PERSIST", "EX", "PX", "EXAT", "PXAT", "persist", "pxat", "KEEPTTL", "NX"]);
            args.push(option.as_bytes().to_vec());
            self.push_time_of(option, args);
        }
    }

    /// The number of an option that has one, as a rule.
    fn push_time_of(&mut self, option: &str, args: &mut Args) {
        let option = option.to_ascii_uppercase();
        let is_absolute = option.ends_with("AT");
        if matches!(option.as_str(), "EX" | "PX" | "EXAT" | "PXAT") && !self.one_in(8) {
            let mut time = self.time(is_absolute);
            // `SET` with a time that is over leaves a key behind in Redis until somebody looks for it.
            while args[0].eq_ignore_ascii_case(b"SET")
                && is_absolute
                && time.parse().is_ok_and(|at| (1..1_000_000).contains(&at))
            {
                time = self.time(is_absolute);
            }
            args.push(time.into_bytes());
        }
    }
}
