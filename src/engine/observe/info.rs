//! INFO: which sections there are, and which of them are asked for.

use resp::Args;

use crate::observe::sections::{self, Info, InfoText};

/// When a section is shown without being named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// By a bare INFO, and by `default`, `all` and `everything`.
    Always,
    /// By `all` and `everything`.
    InAll,
    /// By `everything` only: it grows with the number of groups.
    InEverything,
}

/// A section: the name that asks for it and stands above it, when it is shown, and what it shows.
struct Section {
    title: &'static str,
    shown: Shown,
    write: fn(&Info<'_>, &mut InfoText),
}

const fn section(title: &'static str, shown: Shown, write: fn(&Info<'_>, &mut InfoText)) -> Section {
    Section { title, shown, write }
}

/// All sections, in the order of Redis; ours stand before the keyspace.
const SECTIONS: [Section; 16] = [
    section("Server", Shown::Always, sections::server),
    section("Clients", Shown::Always, sections::clients),
    section("Memory", Shown::Always, sections::memory),
    section("Persistence", Shown::Always, sections::persistence),
    section("Stats", Shown::Always, sections::stats),
    section("Replication", Shown::Always, sections::replication),
    section("CPU", Shown::Always, sections::cpu),
    section("Modules", Shown::Always, |_, _| {}),
    section("Commandstats", Shown::InAll, sections::commandstats),
    section("Errorstats", Shown::Always, sections::errorstats),
    section("Latencystats", Shown::InAll, sections::latencystats),
    section("Cluster", Shown::Always, |_, text| text.field("cluster_enabled", 1)),
    section("Coracle", Shown::Always, sections::coracle),
    section("Stages", Shown::InAll, sections::stages),
    section("Groups", Shown::InEverything, sections::groups),
    section("Keyspace", Shown::Always, sections::keyspace),
];

impl Section {
    fn is_named(&self, name: &[u8]) -> bool {
        let is_modules = self.title == "Modules" && name.eq_ignore_ascii_case(b"module_list");
        is_modules || name.eq_ignore_ascii_case(self.title.as_bytes())
    }

    fn is_asked_for(&self, args: Args<'_>) -> bool {
        let is_asked_for_by = |name: &[u8]| {
            self.is_named(name)
                || name.eq_ignore_ascii_case(b"everything")
                || (name.eq_ignore_ascii_case(b"all") && self.shown != Shown::InEverything)
                || (name.eq_ignore_ascii_case(b"default") && self.shown == Shown::Always)
        };
        if args.len() <= 1 { self.shown == Shown::Always } else { args.iter_from(1).any(is_asked_for_by) }
    }
}

impl Info<'_> {
    /// All sections.
    pub(crate) fn whole_text(&self) -> String {
        self.text_of(|_| true)
    }

    /// The reply to `INFO [section ...]`. Names that are no section's show nothing, as in Redis.
    pub(crate) fn text(&self, args: Args<'_>) -> String {
        self.text_of(|section| section.is_asked_for(args))
    }

    fn text_of(&self, is_shown: impl Fn(&Section) -> bool) -> String {
        let mut text = InfoText::default();
        for section in SECTIONS.iter().filter(|section| is_shown(section)) {
            text.title(section.title);
            (section.write)(self, &mut text);
        }
        text.into_string()
    }
}

#[cfg(test)]
#[path = "info_tests.rs"]
mod tests;
