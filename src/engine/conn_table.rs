//! What a part keeps per connection, by the connection's id.

use host::ConnId;

/// A table by connection. A stale id, of a connection whose place another one has taken, finds nothing.
pub(crate) struct ConnTable<T> {
    slots: Vec<(u32, Option<T>)>,
    count: usize,
}

impl<T> Default for ConnTable<T> {
    fn default() -> ConnTable<T> {
        ConnTable { slots: Vec::new(), count: 0 }
    }
}

impl<T> ConnTable<T> {
    /// Adds what belongs to a new connection.
    pub(crate) fn insert(&mut self, id: ConnId, value: T) {
        let idx = id.idx as usize;
        if self.slots.len() <= idx {
            self.slots.resize_with(idx + 1, || (0, None));
        }
        let former = std::mem::replace(&mut self.slots[idx], (id.generation, Some(value)));
        self.count += usize::from(former.1.is_none());
    }

    /// What belongs to a connection.
    pub(crate) fn get(&self, id: ConnId) -> Option<&T> {
        let (generation, value) = self.slots.get(id.idx as usize)?;
        if *generation == id.generation { value.as_ref() } else { None }
    }

    /// What belongs to a connection, to change it.
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(id.idx as usize)?;
        if *generation == id.generation { value.as_mut() } else { None }
    }

    /// Takes out what belongs to a connection that has ended.
    pub(crate) fn remove(&mut self, id: ConnId) -> Option<T> {
        let (generation, value) = self.slots.get_mut(id.idx as usize)?;
        let removed = if *generation == id.generation { value.take() } else { None };
        self.count -= usize::from(removed.is_some());
        removed
    }

    /// How many connections there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// All connections, by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.slots.iter().enumerate().filter_map(|(idx, (generation, value))| {
            Some((ConnId { idx: idx as u32, generation: *generation }, value.as_ref()?))
        })
    }

    /// What there is of all connections, by place.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|(_, value)| value.as_mut())
    }

    /// How many places there are, used or not: for whoever looks at a few at a time.
    pub(crate) fn places_count(&self) -> usize {
        self.slots.len()
    }

    /// The connection at a place, if there is one.
    pub(crate) fn at(&self, place: usize) -> Option<(ConnId, &T)> {
        let (generation, value) = self.slots.get(place)?;
        Some((ConnId { idx: place as u32, generation: *generation }, value.as_ref()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing() {
        let (old, new) = (ConnId { idx: 2, generation: 0 }, ConnId { idx: 2, generation: 1 });
        let mut table = ConnTable::default();
        table.insert(old, "old");
        assert_eq!(table.remove(old), Some("old"));
        table.insert(new, "new");
        assert_eq!((table.get(old), table.get(new)), (None, Some(&"new")));
        assert_eq!(table.remove(old), None);
        assert_eq!((table.count(), table.iter().count(), table.at(2)), (1, 1, Some((new, &"new"))));
        assert_eq!((table.at(0), table.at(9)), (None, None));
    }
}
