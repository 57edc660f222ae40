//! The last N entries of a log, in memory.

/// A log that holds at most `capacity` entries; the newest replace the oldest.
#[derive(Debug, Clone)]
pub struct RingLog<T> {
    slots: Vec<T>,
    capacity: usize,
    /// Where the next entry goes once `slots` is full.
    next: usize,
}

impl<T> RingLog<T> {
    /// Creates an empty log.
    ///
    /// # Panics
    /// When `capacity` is zero.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "capacity must not be zero");
        RingLog { slots: Vec::with_capacity(capacity), capacity, next: 0 }
    }

    /// Adds an entry and returns the one it replaced, if any.
    pub fn push(&mut self, entry: T) -> Option<T> {
        if self.slots.len() < self.capacity {
            self.slots.push(entry);
            return None;
        }
        let old = std::mem::replace(&mut self.slots[self.next], entry);
        self.next = (self.next + 1) % self.capacity;
        Some(old)
    }

    /// The number of entries held.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing has been logged yet.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All entries, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter()
    }

    /// The newest `count` entries, oldest of them first.
    pub fn tail(&self, count: usize) -> impl Iterator<Item = &T> {
        self.slots[self.slots.len() - count..].iter()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_pushed() {
        let mut log = RingLog::new(3);
        log.push("a");
        log.push("b");
        assert_eq!(log.iter().copied().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(log.len(), 2);
    }

    #[test]
    fn the_oldest_entry_is_replaced() {
        let mut log = RingLog::new(2);
        assert_eq!(log.push(1), None);
        assert_eq!(log.push(2), None);
        assert_eq!(log.push(3), Some(1));
        assert_eq!(log.len(), 2);
    }

    #[test]
    fn tail_of_a_log_that_has_not_wrapped() {
        let mut log = RingLog::new(8);
        for n in 0..5 {
            log.push(n);
        }
        assert_eq!(log.tail(2).copied().collect::<Vec<_>>(), [3, 4]);
    }
}
