//! Commands about the server that need nothing but the configuration and the clock: CONFIG GET, TIME, COMMAND.

use std::borrow::Cow;

use resp::{Args, Protocol, Reply};

use crate::config::Config;
use crate::settings::NodeSettings;

/// TIME. Clients want microseconds; the clock of a turn has milliseconds.
pub(crate) fn time(unix_ms: u64, reply: &mut Reply<'_>) {
    reply.array(2);
    reply.bulk((unix_ms / 1_000).to_string().as_bytes());
    reply.bulk((unix_ms % 1_000 * 1_000).to_string().as_bytes());
}

/// Most patterns of one CONFIG GET: each is matched against every setting.
const PATTERNS_COUNT_MAX: usize = 128;

/// CONFIG GET: the node's settings, and those of Redis that tools ask for, which say how Coracle compares.
pub(crate) fn config_get(config: &Config, settings: &NodeSettings, args: Args<'_>, reply: &mut Reply<'_>) {
    if args.len() > 2 + PATTERNS_COUNT_MAX {
        return reply.error(&format!("ERR more than {PATTERNS_COUNT_MAX} patterns: ask for fewer at a time"));
    }
    let own = settings.shown.iter().map(|(name, value)| (name.as_str(), Cow::from(value.as_str())));
    let of_redis = settings_of_redis(config, settings);
    let others = of_redis.into_iter().filter(|(name, _)| !settings.shown.iter().any(|(known, _)| known == name));
    let asked_for = |name: &str| args.iter_from(2).any(|pattern| resp::glob::matches(pattern, name.as_bytes(), true));
    let shown: Vec<(&str, Cow<'_, str>)> = own.chain(others).filter(|(name, _)| asked_for(name)).collect();
    reply.map(shown.len());
    for (name, value) in shown {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
}

/// Settings of Redis that clients and tools ask for, with the values that describe what a core does.
fn settings_of_redis(config: &Config, settings: &NodeSettings) -> [(&'static str, Cow<'static, str>); 16] {
    let node = config.node();
    [
        // Load generators ask for these two: nothing is ever saved aside, and every write is in a log.
        ("save", "".into()),
        ("appendonly", "yes".into()),
        ("appendfsync", "always".into()),
        ("maxmemory", config.memory_bytes_max.to_string().into()),
        ("maxmemory-policy", "noeviction".into()),
        ("maxclients", config.clients_count_max.to_string().into()),
        ("databases", "1".into()),
        ("cluster-enabled", "yes".into()),
        ("timeout", "0".into()),
        ("io-threads", "1".into()),
        (
            "slowlog-log-slower-than",
            settings.slow_log_min.map_or("-1".into(), |time| time.as_micros().to_string()).into(),
        ),
        ("slowlog-max-len", settings.slow_log_len_max.to_string().into()),
        ("proto-max-bulk-len", types::limits::VALUE_BYTES_MAX.to_string().into()),
        ("requirepass", "".into()),
        ("port", node.gateway_port.to_string().into()),
        ("bind", node.host.to_string().into()),
    ]
}

/// The replies of COMMAND, which never change and are long: each is made once.
#[derive(Default)]
pub(crate) struct CommandTable {
    replies: Vec<(Protocol, Vec<u8>)>,
}

impl CommandTable {
    /// Writes the reply of a bare COMMAND.
    pub(crate) fn write(&mut self, protocol: Protocol, out: &mut Vec<u8>) {
        let known = self.replies.iter().position(|(made_for, _)| *made_for == protocol);
        let idx = known.unwrap_or_else(|| {
            let mut bytes = Vec::new();
            resp::command_info::all(&mut Reply::new(&mut bytes, protocol));
            self.replies.push((protocol, bytes));
            self.replies.len() - 1
        });
        out.extend_from_slice(&self.replies[idx].1);
    }
}

#[cfg(test)]
mod tests {
    use resp::ArgRange;

    use super::*;

    fn ask(config: &Config, line: &str) -> String {
        let mut ranges = Vec::new();
        let mut start = 0;
        for word in line.split(' ') {
            ranges.push(ArgRange { start, end: start + word.len() as u32 });
            start += word.len() as u32 + 1;
        }
        let mut bytes = Vec::new();
        config_get(
            config,
            &config.settings,
            Args::new(line.as_bytes(), &ranges),
            &mut Reply::new(&mut bytes, Protocol::Resp2),
        );
        String::from_utf8(bytes).expect("settings are text")
    }

    #[test]
    fn more_patterns_than_are_worth_matching_are_an_error() {
        let config = Config::of_test(1, 1, 1);
        assert!(ask(&config, &format!("CONFIG GET{}", " x".repeat(PATTERNS_COUNT_MAX))).starts_with("*0"));
        let refused = ask(&config, &format!("CONFIG GET{}", " x".repeat(PATTERNS_COUNT_MAX + 1)));
        assert!(refused.starts_with("-ERR more than 128 patterns"), "{refused}");
    }

    #[test]
    fn settings_of_the_node_come_before_those_of_redis_and_none_comes_twice() {
        let mut config = Config::of_test(1, 1, 1);
        config.settings.shown = vec![("maxmemory".into(), "77".into()), ("spin_us".into(), "5".into())];
        assert_eq!(ask(&config, "CONFIG GET MAXMEMORY"), "*2\r\n$9\r\nmaxmemory\r\n$2\r\n77\r\n");
        assert_eq!(ask(&config, "CONFIG GET nosuch"), "*0\r\n");
        assert_eq!(
            ask(&config, "CONFIG GET databases spin*"),
            "*4\r\n$7\r\nspin_us\r\n$1\r\n5\r\n$9\r\ndatabases\r\n$1\r\n1\r\n"
        );
        assert!(ask(&config, "CONFIG GET *").starts_with("*34\r\n"));
    }

    #[test]
    fn time_is_told_in_seconds_and_microseconds() {
        let mut bytes = Vec::new();
        time(1_700_000_000_042, &mut Reply::new(&mut bytes, Protocol::Resp2));
        assert_eq!(bytes, b"*2\r\n$10\r\n1700000000\r\n$5\r\n42000\r\n");
    }

    #[test]
    fn the_command_table_is_made_once_per_protocol() {
        let mut table = CommandTable::default();
        let mut replies = [Vec::new(), Vec::new(), Vec::new()];
        for (reply, protocol) in replies.iter_mut().zip([Protocol::Resp2, Protocol::Resp3, Protocol::Resp2]) {
            table.write(protocol, reply);
        }
        assert_eq!(replies[0], replies[2]);
        assert_ne!(replies[0], replies[1]);
        assert_eq!(table.replies.len(), 2);
    }
}
