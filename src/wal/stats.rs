//! Counters.

/// Makes the struct and its list out of one entry per counter: what it counts, and its name.
macro_rules! stats {
    ($($(#[doc = $help:literal])+ $name:ident,)*) => {
        /// What a log has done since it was opened, and what it holds.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[doc = $help])+ pub $name: u64,)*
        }

        impl Stats {
            /// Every figure: its name, what it tells in words, and its value.
            pub fn list(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($help),+).trim_ascii_start(), self.$name),)*].into_iter()
            }
        }
    };
}

stats! {
    /// Blocks that became durable. Each was one write and one sync.
    blocks,
    /// Those of them that hold nothing but confirm the block before them.
    marks,
    /// Bytes of durable blocks, padding included.
    bytes,
    /// Records appended.
    records,
    /// Entries in them.
    entries,
    /// Times the log moved on to another segment.
    rolls,
    /// Times entries that are not committed were written again, so that an old segment could go.
    rewrites,
    /// Segments made anew.
    segments_created,
    /// Segments used again under another id.
    segments_recycled,
    /// Segments removed from disk, or set aside.
    segments_removed,
    /// Failed attempts to prepare a segment (full disk).
    prepare_failures,
    /// Segments that hold live or pinned data, the one being written included.
    segments_used,
    /// Bytes appended and not yet durable.
    pending_bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_listed_with_name_help_and_value() {
        let stats = Stats { blocks: 3, pending_bytes: 4, ..Stats::default() };
        let list: Vec<_> = stats.list().collect();
        assert_eq!(list[0], ("blocks", "Blocks that became durable. Each was one write and one sync.", 3));
        assert_eq!(list[list.len() - 1], ("pending_bytes", "Bytes appended and not yet durable.", 4));
        assert_eq!(list.iter().map(|(.., value)| value).sum::<u64>(), 7);
    }
}
