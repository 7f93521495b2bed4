//! Words that the project has given up do not come back: one word for one thing.
//!
//! [`GONE`] is the one place for them. Whoever renames something adds the old word here.

use std::collections::BTreeSet;
use std::path::PathBuf;

use coracle_tests::root;
use coracle_tests::source::{files, tokens};

/// Where a word must not stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    /// Nowhere: neither in names nor in comments and texts.
    All,
    /// In no name. In a sentence it has another meaning.
    Names,
}

/// A word that is gone, where it is not to be, and what the thing is called now. A name may be part of a path.
const GONE: &[(&str, In, &str)] = &[
    ("`io`", In::All, "host"),
    ("coracle-io", In::All, "coracle-host"),
    ("doors", In::All, "I/O traits"),
    ("Place", In::All, "CoreAddr of a core, LogPosition in the log"),
    ("Watch", In::Names, "Observer"),
    ("What", In::Names, "ObservationKind"),
    ("Looked", In::Names, "Coverage"),
    ("Blow", In::Names, "LeaderFault"),
    ("blows", In::Names, "leader_faults"),
    ("strike", In::Names, "target_leader"),
    ("hunt", In::Names, "target_new_leaders"),
    ("victims", In::Names, "faulty_nodes"),
    ("Chance", In::Names, "Prng"),
    ("happens", In::Names, "bernoulli"),
    ("Shape", In::Names, "ClusterSpec"),
    ("tamper", In::All, "corrupt"),
    ("tampering", In::All, "corruption"),
    ("about_commands", In::All, "command_info"),
    ("silences_declined", In::All, "quiesce_declined"),
    ("fall_silent", In::All, "quiesce"),
    ("loyal_until", In::All, "leader_sticky_until"),
    ("loyalty", In::All, "leader stickiness"),
    ("loyal", In::All, "leader stickiness"),
    ("inclination", In::All, "transfer_tiebreak"),
    ("lease_barred", In::All, "lease_disabled"),
    ("reads_of_strangers", In::All, "orphaned_log_reads"),
    ("Outlets", In::Names, "clients and peers"),
    ("Wholes", In::Names, "FanOuts"),
    ("WholeReply", In::Names, "MergedReply"),
    ("Lanes", In::Names, "RouteQueues"),
    ("Lane", In::Names, "RouteQueue"),
    ("parked", In::Names, "queued"),
    ("Forwards", In::Names, "InFlight"),
    ("under_way_count", In::Names, "in_flight_count"),
    ("put_back", In::Names, "requeue_refused"),
    ("put_before_all", In::Names, "push_front"),
    ("give_back", In::Names, "requeue"),
    ("find_leader_again", In::Names, "reroute"),
    ("Forming", In::Names, "BatchQueue"),
    ("Formed", In::Names, "SealedBatch"),
    ("Persisting", In::Names, "PendingWrite"),
    ("ArgStore", In::Names, "ArgArena"),
    ("HeldArgs", In::Names, "ArgSpan"),
    ("is_held_back", In::Names, "blocker"),
    ("is_held_up", In::Names, "has_unsettled"),
    ("carry_out", In::Names, "execute"),
    ("execute_here", In::Names, "execute"),
    ("about_client", In::Names, "client_command"),
    ("about_cluster", In::Names, "answer"),
    ("Absent", In::Names, "Rebuilding"),
    ("come_back", In::Names, "rejoin"),
    ("LogPace", In::Names, "DiskHealth"),
    ("tick_fitness", In::Names, "fitness"),
    ("acquaintances", In::All, "known peers"),
    ("Acquainted", In::Names, "PeerAdmitted"),
    ("Acquaint", In::Names, "RememberPeer"),
    ("let_in", In::Names, "accept_inbound"),
    ("judge", In::Names, "authenticate"),
    ("led_in", In::Names, "leader_term"),
    ("meet", In::Names, "learn_addresses"),
    ("held_back", In::All, "throttled"),
    ("Fetch", In::Names, "SnapshotRequest"),
    ("fetching", In::Names, "snapshot receive"),
    ("serving", In::Names, "snapshot send"),
    ("Served", In::Names, "SnapshotSend"),
    ("greet", In::Names, "send_hello"),
    ("brief", In::Names, "send_leaders"),
    ("silences", In::All, "quiescence"),
    ("checkpoint", In::All, "flush, tables, snapshot"),
];

/// Where a gone word still stands, by crate and word, and why it may. Nothing is to be added without a reason; what does not
/// stand there any more must go from here.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("wire", "Place", "a type of rkyv"),
    ("node", "Forming", "a node while its cluster forms, not a batch"),
    ("node", "Formed", "a node whose cluster has formed, not a batch"),
    ("engine", "carry_out", "the core of storage's tests does what effects say; nothing is executed"),
    ("raft", "carry_out", "the world of the scripts does what a line says"),
    ("sim", "carry_out", "faults are carried out; nothing is executed"),
    ("sim", "judge", "checkers judge a history; nobody is authenticated"),
    ("bench", "judge", "replies are judged; nobody is authenticated"),
    ("sim", "Absent", "a value that is not there, in a model of the keys"),
    ("sim", "give_back", "a session notes that a key must be read again"),
    ("sim", "under_way_count", "requests of a session"),
];

/// The gone words in a text, each with its line. Only source has names.
fn found_in(text: &str, is_source: bool) -> Vec<(&'static str, usize)> {
    let mut found = Vec::new();
    let names = if is_source { tokens(text) } else { Vec::new() };
    for (word, place, _) in GONE {
        match place {
            In::Names => {
                let hits = names.iter().filter(|token| token.text == *word);
                found.extend(hits.map(|token| (*word, token.line)));
            }
            In::All => {
                let lines = text.lines().enumerate().filter(|(_, line)| has_word(line, word));
                found.extend(lines.map(|(at, _)| (*word, at + 1)));
            }
        }
    }
    found
}

/// Whether a word stands in a line, not as a part of another one.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |other: Option<char>, own: Option<char>| {
        let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
        other.is_some_and(is_letter) && own.is_some_and(is_letter)
    };
    line.match_indices(word).any(|(at, _)| {
        let (before, behind) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        !is_part(before, word.chars().next()) && !is_part(behind, word.chars().next_back())
    })
}

#[test]
fn gone_words_stay_gone() {
    let mut wrong = Vec::new();
    let mut excepted = BTreeSet::new();
    let crates = std::fs::read_dir(root().join("src")).expect("a folder of the repository").flatten();
    let mut places: Vec<PathBuf> = crates.map(|entry| entry.path()).collect();
    places.extend(
        ["bench", "tools", "tests", "ARCHITECTURE.md", "README.md", "tuning.md"].map(|name| root().join(name)),
    );
    for place in places {
        let name = place.file_name().expect("it has a name").to_string_lossy().into_owned();
        // This file has to name them.
        for file in files(&place, &["rs", "md", "toml"]).into_iter().filter(|file| !file.ends_with("tests/words.rs"))
        {
            let text = std::fs::read_to_string(&file).expect("a source is text");
            for (word, line) in found_in(&text, file.extension().is_some_and(|extension| extension == "rs")) {
                if EXCEPTIONS.iter().any(|exception| (exception.0, exception.1) == (name.as_str(), word)) {
                    excepted.insert((name.clone(), word));
                    continue;
                }
                let instead = GONE.iter().find(|gone| gone.0 == word).expect("it was found by it").2;
                let shown = file.strip_prefix(root()).unwrap_or(&file).display();
                wrong.push(format!("{shown}:{line}: \"{word}\" is gone; say: {instead}"));
            }
        }
    }
    for (name, word, _) in EXCEPTIONS {
        if !excepted.contains(&((*name).to_owned(), *word)) {
            wrong.push(format!("\"{word}\" does not stand in {name} any more: take it off the list EXCEPTIONS"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_gone_word_is_found_as_a_whole_word_only() {
    assert!(has_word("a Place, and", "Place") && has_word("Place", "Place") && has_word("(`io`)", "`io`"));
    assert!(!has_word("Placement, Replace and AnyPlace", "Place") && !has_word("std::io", "`io`"));
    // A name is one wherever the compiler sees one; a sentence may use the word.
    assert_eq!(found_in("fn f() {\n    self.strike(1);\n}", true), [("strike", 2)]);
    assert_eq!(found_in("// They strike.\nconst TEXT: &str = \"strike\";", true), []);
}
