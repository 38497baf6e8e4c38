//! How many answers of the inspector may be on their way.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::InspectError;
use crate::Atom;

/// So many at a time.
const MOST: usize = 64;

/// So many of them to one node: one that does not read leaves room for others.
const MOST_FOR_ONE: usize = 16;

/// The answers on their way, by the node that asked.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<HashMap<Atom, usize>>);

/// The right to one answer. Dropped, it is over.
#[derive(Debug)]
pub(super) struct Turn {
    answers: Arc<Answers>,
    asker: Atom,
}

impl Answers {
    /// Begins an answer to a node, if that has not too many already.
    pub(super) fn begin(self: &Arc<Self>, asker: Atom) -> Result<Turn, InspectError> {
        let mut waiting = self.0.lock();
        let (all, own) = (waiting.values().sum::<usize>(), waiting.get(&asker).copied().unwrap_or(0));
        if own >= MOST_FOR_ONE || all >= MOST {
            return Err(InspectError::BusyAnswering { waiting: own });
        }
        waiting.insert(asker, own + 1);
        Ok(Turn { answers: self.clone(), asker })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.lock().values().sum()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = self.answers.0.lock();
        if let Some(own) = waiting.get_mut(&self.asker) {
            *own -= 1;
            if *own == 0 {
                waiting.remove(&self.asker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_leaves_room_for_others_and_all_have_a_bound() {
        let answers = Arc::new(Answers::default());
        let node = |number: usize| Atom::new(&format!("asker-{number}@answers")).unwrap();
        let mut turns: Vec<_> = (0..MOST_FOR_ONE).map(|_| answers.begin(node(0)).unwrap()).collect();
        let full = InspectError::BusyAnswering { waiting: MOST_FOR_ONE };
        assert_eq!(answers.begin(node(0)).unwrap_err(), full);
        turns.extend((MOST_FOR_ONE..MOST).map(|number| answers.begin(node(number)).unwrap()));
        let full = InspectError::BusyAnswering { waiting: 0 };
        assert_eq!(answers.begin(node(MOST)).unwrap_err(), full, "although it has none");
        turns.truncate(1);
        assert_eq!(answers.count(), 1);
        turns.extend((1..MOST_FOR_ONE).map(|_| answers.begin(node(0)).unwrap()));
        drop(turns);
        assert_eq!((answers.count(), answers.0.lock().len()), (0, 0));
    }
}
