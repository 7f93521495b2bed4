//! Settings that were changed while the node ran, put into the text of its file: whatever else stands there stays as it is.

use std::path::Path;

use super::changes::one_line;
use super::problem::{ConfigError, Source};
use super::value::{Origin, Setting};
use super::{Config, FileTables, read_source, table};

impl Config {
    /// The file that the configuration was read from.
    pub fn file(&self) -> Option<&Path> {
        self.made_from.file.as_deref()
    }

    /// The text of the file with the settings that were changed while the node ran.
    ///
    /// # Errors
    /// There is no file, it cannot be read or says what cannot be, or a flag would override it at the next start; in one line.
    pub fn rewritten(&self) -> Result<String, String> {
        let Some(file) = self.file() else {
            return Err("the node was started without a configuration file: nothing can be kept".to_owned());
        };
        let changed: Vec<(&'static str, &Setting)> = self.made_from.tables.top.set_at_run_time().collect();
        if let Some((name, _)) = changed.iter().find(|(name, _)| self.made_from.flags.gives(name)) {
            let flag = name.replace('_', "-");
            return Err(format!(
                "`{name}` was given as --{flag}, which overrides the file at the next start: leave that flag out there"
            ));
        }
        let source = read_source(file).map_err(|problem| one_line(&[problem]))?;
        let text = edited(&source, &changed)?;
        // What was written must be read as what is in force.
        let tables = read(&Source { text: text.clone(), ..source })?;
        let is_kept = |(name, setting): &(&'static str, &Setting)| {
            tables.top.named(name).is_some_and(|kept| kept.value == setting.value)
        };
        assert!(changed.iter().all(is_kept), "a rewritten configuration says something else: {text}");
        Ok(text)
    }
}

/// The text with other values of some keys: where they stand, else behind the last key at the top.
fn edited(source: &Source, changed: &[(&'static str, &Setting)]) -> Result<String, String> {
    let tables = read(source)?;
    let line_end = |at: usize| source.text[at..].find('\n').map_or(source.text.len(), |len| at + len + 1);
    let last = tables.top.places().map(|span| line_end(span.end)).max().unwrap_or(0);
    let mut added = String::new();
    if last > 0 && !source.text[..last].ends_with('\n') {
        added.push('\n');
    }
    let mut edits = Vec::new();
    for (name, setting) in changed {
        let value = setting.value.to_toml();
        match tables.top.named(name).map(|there| &there.origin) {
            Some(Origin::File(span)) => edits.push((span.clone(), value)),
            _ => added.push_str(&format!("{name} = {value}\n")),
        }
    }
    edits.push((last..last, added));
    // From the end, so that places before an edit hold.
    edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = source.text.clone();
    for (span, value) in edits {
        text.replace_range(span, &value);
    }
    Ok(text)
}

fn read(source: &Source) -> Result<FileTables, String> {
    let mut problems = Vec::new();
    let tables = table::read_file(source, &mut problems);
    if problems.is_empty() {
        return Ok(tables);
    }
    let told = ConfigError::new(Some(source.clone()), problems).to_string();
    let place =
        told.lines().find_map(|line| line.trim_start().strip_prefix("--> ")).unwrap_or(&source.name).to_owned();
    let first = told.lines().next().unwrap_or_default();
    Err(format!("{place}: {first}; nothing was written"))
}

#[cfg(test)]
mod tests {
    use super::super::Flags;
    use super::*;

    const FILE: &str = "\
# Our shop.
cluster_id = \"shop\"   # its name
node_id = 1
data_dir = \"/d\"
slowlog_len_max = 0x10 # few
# Behind the keys.

# The nodes.
[[peers]]
id = 1
host = \"127.0.0.1\"
";

    fn config(text: &str, flags: &[(&str, &str)], pairs: &[(&str, &str)]) -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("node.toml");
        std::fs::write(&path, text).expect("a small file");
        let config = Config::load(Some(&path), &Flags::of(flags)).expect("sound");
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = config.changed(&pairs).expect("they may change");
        (dir, config)
    }

    #[test]
    fn values_are_put_where_they_stood_and_the_others_behind_the_last_key() {
        let pairs = [("slowlog_len_max", "77"), ("log_level", "warn"), ("log_slow_commands", "true")];
        let (_dir, config) = config(FILE, &[], &pairs);
        let expected = FILE.replace(
            "slowlog_len_max = 0x10 # few\n",
            "slowlog_len_max = 77 # few\nlog_level = \"warn\"\nlog_slow_commands = true\n",
        );
        assert_eq!(config.rewritten().expect("there is a file"), expected);
    }

    #[test]
    fn what_the_operator_has_changed_since_the_start_stays() {
        let (dir, config) = config(FILE, &[], &[("slowlog_len_max", "77")]);
        let since = FILE
            .replace("# Our shop.\n", "# Ours.\nscrub_interval_s = 60\n")
            .replace("slowlog_len_max = 0x10 # few\n", "");
        std::fs::write(dir.path().join("node.toml"), &since).expect("a small file");
        let expected = since.replace("data_dir = \"/d\"\n", "data_dir = \"/d\"\nslowlog_len_max = 77\n");
        assert_eq!(config.rewritten().expect("there is a file"), expected);
    }

    #[test]
    fn a_file_without_keys_or_without_an_end_of_line_takes_them_too() {
        let flags = [("cluster_id", "c"), ("node_id", "1"), ("data_dir", "/d")];
        let (_dir, bare) = config("[[peers]]\nid = 1\nhost = \"127.0.0.1\"", &flags, &[("stop_timeout_ms", "7")]);
        assert!(bare.rewritten().expect("a file").starts_with("stop_timeout_ms = 7\n[[peers]]\n"));
        let (_dir, cut) = config("pin = false", &flags, &[("stop_timeout_ms", "7")]);
        assert_eq!(cut.rewritten().expect("a file"), "pin = false\nstop_timeout_ms = 7\n");
        let (_dir, inline) = config(
            "pin = false # x\npeers = [\n  {id = 1, host = \"127.0.0.1\"},\n]\n",
            &flags,
            &[("stop_timeout_ms", "7")],
        );
        assert!(inline.rewritten().expect("a file").starts_with("pin = false # x\nstop_timeout_ms = 7\npeers"));
    }

    #[test]
    fn what_would_not_hold_at_the_next_start_is_refused() {
        let (_dir, overridden) = config(FILE, &[("stop_timeout_ms", "5")], &[("stop_timeout_ms", "7")]);
        assert!(
            overridden
                .rewritten()
                .expect_err("refused")
                .starts_with("`stop_timeout_ms` was given as --stop-timeout-ms")
        );
        let (dir, broken) = config(FILE, &[], &[("stop_timeout_ms", "7")]);
        std::fs::write(dir.path().join("node.toml"), format!("{FILE}x = = 3")).expect("a small file");
        let refused = broken.rewritten().expect_err("refused");
        assert!(refused.contains("node.toml:12:") && refused.contains("not valid TOML"), "{refused}");
        let given = [("cluster_id", "c"), ("node_id", "1"), ("data_dir", "/d")];
        let none = Config::load(None, &Flags::of(&given)).expect("sound");
        assert!(none.rewritten().expect_err("refused").contains("without a configuration file"));
    }
}
