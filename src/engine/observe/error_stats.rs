//! How many error replies there were, by their first word: what INFO errorstats shows.

/// Different first words that are told apart; those of further ones are counted together. Our own replies have about
/// twenty.
const WORDS_COUNT_MAX: usize = 64;
/// Longest first word that is told apart, in bytes.
const WORD_BYTES_MAX: usize = 32;
/// Where all others are counted.
const OTHERS: &str = "OTHERS";

/// Error replies by their first word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ErrorStats {
    /// In the order in which they came up. Few, so that a search from the front finds them at once.
    words: Vec<(String, u64)>,
}

impl ErrorStats {
    /// Counts an error reply, given with or without its leading `-`.
    #[cold]
    pub(crate) fn count(&mut self, reply: &[u8]) {
        let message = reply.strip_prefix(b"-").unwrap_or(reply);
        let word = message.split(|byte| *byte == b' ' || *byte == b'\r').next().unwrap_or_default();
        let is_word = !word.is_empty() && word.len() <= WORD_BYTES_MAX && word.iter().all(u8::is_ascii_alphanumeric);
        match std::str::from_utf8(word) {
            Ok(word) if is_word => self.add(word, 1),
            _ => self.add(OTHERS, 1),
        }
    }

    /// Every first word and how often it came, sorted by the word.
    pub(crate) fn list(&self) -> Vec<(&str, u64)> {
        let mut list: Vec<(&str, u64)> = self.words.iter().map(|(word, count)| (&**word, *count)).collect();
        list.sort_unstable();
        list
    }

    /// Adds what another core of the node has counted.
    pub(crate) fn merge(&mut self, other: &ErrorStats) {
        for (word, count) in &other.words {
            self.add(word, *count);
        }
    }

    fn add(&mut self, word: &str, count: u64) {
        if let Some((_, known)) = self.words.iter_mut().find(|(known, _)| known == word) {
            *known += count;
        } else if self.words.len() < WORDS_COUNT_MAX || word == OTHERS {
            self.words.push((word.to_owned(), count));
        } else {
            self.add(OTHERS, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_apart_by_their_first_word() {
        let mut errors = ErrorStats::default();
        for reply in [&b"-ERR syntax error\r\n"[..], b"ERR other", b"-MOVED 1 h:1\r\n", b"-OOM\r\n"] {
            errors.count(reply);
        }
        assert_eq!(errors.list(), [("ERR", 2), ("MOVED", 1), ("OOM", 1)]);
    }

    #[test]
    fn what_a_reply_may_hold_never_makes_more_words_than_allowed() {
        let mut errors = ErrorStats::default();
        for number in 0..1_000 {
            errors.count(format!("-W{number} x\r\n").as_bytes());
        }
        for odd in [&b"-\r\n"[..], b"", b"-\xff\xfe x", b"-a:b=c x", &[b'A'; 100]] {
            errors.count(odd);
        }
        assert_eq!(errors.list().len(), WORDS_COUNT_MAX + 1);
        let others = 1_000 - WORDS_COUNT_MAX as u64 + 5;
        assert!(errors.list().contains(&(OTHERS, others)), "{:?}", errors.list());
    }

    #[test]
    fn a_node_adds_up_what_its_cores_have_answered() {
        let (mut one, mut other) = (ErrorStats::default(), ErrorStats::default());
        one.count(b"-ERR a");
        other.count(b"-ERR b");
        other.count(b"-OOM c");
        one.merge(&other);
        assert_eq!(one.list(), [("ERR", 2), ("OOM", 1)]);
    }
}
