//! Settings that change while the node runs: which may, and what they must be.
//!
//! A change is checked as the file is: the values first, each by its key, then the rules between them. Everything else needs a start, or
//! concerns the whole cluster, and is refused with that reason.

use super::keys::{
    self, BALANCE, CLIENT_OUTPUT_BYTES_MAX, CLIENT_STALL_TIMEOUT_MS_KEY, CLUSTER, COMPARE_INTERVAL_S, KEYS, Key,
    LATENCY_THRESHOLD_MS, LOG_LEVEL, LOG_SLOW_COMMANDS, NODE_DOWN_AFTER_S, SCRUB_BYTES_PER_S, SCRUB_INTERVAL_S,
    SLOWLOG_LEN_MAX, SLOWLOG_LOG_SLOWER_THAN, STOP_TIMEOUT_MS, TELEMETRY_INTERVAL_S,
};
use super::problem::Problem;
use super::value::{Origin, Raw};
use super::{Config, print, table};

/// The keys that take effect while the node runs.
static CHANGEABLE: &[&Key] = &[
    &LOG_LEVEL,
    &LATENCY_THRESHOLD_MS,
    &SLOWLOG_LOG_SLOWER_THAN,
    &SLOWLOG_LEN_MAX,
    &LOG_SLOW_COMMANDS,
    &TELEMETRY_INTERVAL_S,
    &COMPARE_INTERVAL_S,
    &SCRUB_BYTES_PER_S,
    &SCRUB_INTERVAL_S,
    &NODE_DOWN_AFTER_S,
    &BALANCE,
    &CLIENT_OUTPUT_BYTES_MAX,
    &CLIENT_STALL_TIMEOUT_MS_KEY,
    &STOP_TIMEOUT_MS,
];

/// What Redis calls some of them; their values mean the same.
static NAMES_OF_REDIS: &[(&str, &Key)] = &[
    ("latency-monitor-threshold", &LATENCY_THRESHOLD_MS),
    ("slowlog-log-slower-than", &SLOWLOG_LOG_SLOWER_THAN),
    ("slowlog-max-len", &SLOWLOG_LEN_MAX),
];

/// The key of this name, or that Redis calls so.
fn key_named(name: &str) -> Option<&'static Key> {
    let own = KEYS.iter().find(|key| key.name == name).copied();
    own.or_else(|| NAMES_OF_REDIS.iter().find(|(known, _)| *known == name).map(|(_, key)| *key))
}

impl Config {
    /// The configuration with other values of some keys, as (name, value).
    ///
    /// # Errors
    /// Everything that is wrong with them, in one line.
    pub fn changed(&self, pairs: &[(String, String)]) -> Result<Config, String> {
        let (mut made_from, mut problems) = (self.made_from.clone(), Vec::new());
        let tables = &mut made_from.tables;
        let mut named: Vec<&Key> = Vec::new();
        for (name, value) in pairs {
            let Some(key) = key_named(name) else {
                problems.push(table::unknown(name, CHANGEABLE, Origin::Run));
                continue;
            };
            if let Some(reason) = self.fixed_because(key) {
                problems.push(Problem::new(format!("`{}` {reason}", key.name), Origin::Run));
            } else if named.iter().any(|other| other.name == key.name) {
                problems.push(Problem::new(format!("`{}` is given twice", key.name), Origin::Run));
            } else {
                tables.top.put(key, &Raw::Word(value), Origin::Run, &mut problems);
            }
            named.push(key);
        }
        let config = if problems.is_empty() { Config::from_tables(tables, &mut problems) } else { None };
        match config {
            Some(config) if problems.is_empty() => {
                // What follows from the machine is as it was found at the start.
                let config = Config { memory_bytes_max: self.memory_bytes_max, ..config };
                let effective = print::effective(tables, config.node(), config.memory_bytes_max);
                let shown = effective.iter().map(print::shown_pair).collect();
                Ok(Config { shown, made_from, ..config })
            }
            _ => Err(one_line(&problems)),
        }
    }

    /// Whether there is a key of this name, or one that Redis calls so.
    pub fn has_key(name: &str) -> bool {
        key_named(name).is_some()
    }

    /// Why a key cannot change while the node runs, if it cannot.
    fn fixed_because(&self, key: &Key) -> Option<String> {
        if CHANGEABLE.iter().any(|other| other.name == key.name) {
            return None;
        }
        if key.section == CLUSTER {
            return Some("concerns the whole cluster: it is what the nodes agreed on when they formed it".to_owned());
        }
        if key.section == keys::IDENTITY || key.section == keys::ADDRESSES {
            return Some("says who the node is and where: that cannot change while it runs".to_owned());
        }
        Some(match self.file() {
            Some(file) => {
                format!("takes effect when the node starts: set it in {} and start the node again", file.display())
            }
            None => format!("takes effect when the node starts: start it again with --{}", key.flag()),
        })
    }
}

/// Problems as one line of text, as an error reply is.
pub(super) fn one_line(problems: &[Problem]) -> String {
    let one = |problem: &Problem| match &problem.help {
        Some(help) => format!("{} ({})", problem.message, help),
        None => problem.message.clone(),
    };
    problems.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Flags;
    use super::*;

    fn config() -> Config {
        let given = [("cluster_id", "c"), ("node_id", "1"), ("data_dir", "/d"), ("memory_bytes_max", "99999999")];
        Config::load(None, &Flags::of(&given)).expect("sound")
    }

    fn change(config: &Config, pairs: &[(&str, &str)]) -> Result<Config, String> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        config.changed(&pairs)
    }

    #[test]
    fn what_may_change_changes_and_is_shown_and_nothing_else_does() {
        let before = config();
        let pairs = [("slowlog-log-slower-than", "-1"), ("scrub_interval_s", "60"), ("log_slow_commands", "true")];
        let after = change(&before, &pairs).expect("they may change");
        assert_eq!((after.slow_log_min, after.scrub_interval), (None, Some(Duration::from_secs(60))));
        assert!(after.log_slow_commands && !before.log_slow_commands);
        let differing: Vec<_> = after.shown.iter().zip(&before.shown).filter(|(now, then)| now != then).collect();
        let names: Vec<_> = differing.iter().map(|((name, _), _)| name.as_str()).collect();
        assert_eq!(names, ["slowlog_log_slower_than", "log_slow_commands", "scrub_interval_s"]);
        assert_eq!((after.memory_bytes_max, &after.bootstrap), (before.memory_bytes_max, &before.bootstrap));
        // One change comes upon the other.
        let again = change(&after, &[("stop_timeout_ms", "7")]).expect("it may change");
        assert_eq!((again.slow_log_min, again.stop_timeout), (None, Duration::from_millis(7)));
    }

    #[test]
    fn every_key_changes_or_says_why_not() {
        let config = config();
        for key in KEYS {
            let shown = config.shown.iter().find(|(name, _)| name == key.name).map(|(_, value)| value.clone());
            let value = shown.unwrap_or_else(|| "x".to_owned());
            let changed = change(&config, &[(key.name, &value)]);
            match CHANGEABLE.iter().any(|other| other.name == key.name) {
                true => assert!(changed.is_ok(), "{}: {changed:?}", key.name),
                false => assert!(changed.expect_err(key.name).starts_with(&format!("`{}` ", key.name))),
            }
        }
    }

    #[test]
    fn refusals_say_what_a_value_must_be_in_the_words_of_the_file() {
        let refused = |pairs: &[(&str, &str)]| change(&config(), pairs).expect_err("refused");
        assert_eq!(
            refused(&[("slowlog_len_max", "5000")]),
            "`slowlog_len_max` must be a whole number from 0 to 4096, not 5000 (How many slow commands each core keeps)"
        );
        assert_eq!(
            refused(&[("log_slow_command", "true")]),
            "unknown key `log_slow_command` (did you mean `log_slow_commands`?)"
        );
        assert_eq!(
            refused(&[("groups", "9"), ("cores", "2")]),
            "`groups` concerns the whole cluster: it is what the nodes agreed on when they formed it; `cores` takes effect when the \
             node starts: start it again with --cores"
        );
        assert!(refused(&[("data_dir", "/e")]).contains("says who the node is"));
        let twice = refused(&[("slowlog_len_max", "1"), ("slowlog-max-len", "2")]);
        assert_eq!(twice, "`slowlog_len_max` is given twice");
    }
}
