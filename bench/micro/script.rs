//! Commands laid out as a batch holds them, ready to be executed.

use resp::{ArgRange, Args, CommandId};
use types::Slot;

/// A run of commands of one kind over some keys.
pub struct Script {
    id: CommandId,
    buf: Vec<u8>,
    ranges: Vec<ArgRange>,
    /// The slot of each command and where its first range stands.
    commands: Vec<(Slot, usize)>,
}

impl Script {
    /// An empty script of such commands.
    pub fn new(id: CommandId) -> Script {
        Script { id, buf: Vec::new(), ranges: Vec::new(), commands: Vec::new() }
    }

    /// Forgets all commands and keeps the memory.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.ranges.clear();
        self.commands.clear();
    }

    /// Adds a command for `key`, with a value if it has one.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.commands.push((Slot::of_key(key), self.ranges.len()));
        // The name, which nobody looks at behind the parser.
        self.ranges.push(ArgRange { start: 0, end: 0 });
        for word in [Some(key), value].into_iter().flatten() {
            let start = self.buf.len() as u32;
            self.buf.extend_from_slice(word);
            self.ranges.push(ArgRange { start, end: self.buf.len() as u32 });
        }
    }

    /// Which command all of these are.
    pub fn id(&self) -> CommandId {
        self.id
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The commands with their slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, Args<'_>)> {
        let ends = self.commands.iter().skip(1).map(|(_, first)| *first).chain([self.ranges.len()]);
        self.commands
            .iter()
            .zip(ends)
            .map(|((slot, first), end)| (*slot, Args::new(&self.buf, &self.ranges[*first..end])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_out_as_they_went_in() {
        let mut script = Script::new(CommandId::Set);
        script.push(b"a", Some(b"one"));
        script.push(b"bc", None);
        let words =
            |args: Args<'_>| (1..args.len()).map(|at| args.get(at).unwrap_or_default().to_vec()).collect::<Vec<_>>();
        let seen: Vec<_> = script.iter().map(|(slot, args)| (slot, words(args))).collect();
        assert_eq!(
            seen,
            [(Slot::of_key(b"a"), vec![b"a".to_vec(), b"one".to_vec()]), (Slot::of_key(b"bc"), vec![b"bc".to_vec()])]
        );
        script.clear();
        assert!(script.is_empty());
    }
}
