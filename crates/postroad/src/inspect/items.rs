//! What an actor says of its own state.

use std::fmt::{self, Display, Write};

use postroad_edf::Message;

/// One thing that an actor says of its state.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/Item")]
pub struct Item {
    /// What it is.
    pub key: String,
    /// Its value, as a text.
    pub value: String,
}

/// What an actor says of its state, one thing after the other; see
/// [`Actor::inspect`](crate::Actor::inspect).
///
/// Takes 256 things and 64 KiB of text; what goes beyond is cut off.
#[derive(Debug)]
pub struct Items {
    said: Vec<Item>,
    room: usize,
}

const MOST_ITEMS: usize = 256;
const MOST_TEXT: usize = 64 * 1024;

impl Items {
    pub(crate) fn new() -> Self {
        Self { said: Vec::new(), room: MOST_TEXT }
    }

    /// Says one thing.
    pub fn add(&mut self, key: &str, value: impl Display) {
        if self.said.len() == MOST_ITEMS || self.room == 0 {
            return;
        }
        let mut item = Item { key: String::new(), value: String::new() };
        // Whatever does not fit is left out, and so is what a value refuses to say.
        let _ = write!(Room { text: &mut item.key, left: &mut self.room }, "{key}");
        let _ = write!(Room { text: &mut item.value, left: &mut self.room }, "{value}");
        self.said.push(item);
    }

    pub(crate) fn into_said(self) -> Vec<Item> {
        self.said
    }
}

/// A text that grows as long as there is room.
struct Room<'a> {
    text: &'a mut String,
    left: &'a mut usize,
}

impl Write for Room<'_> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let fits = more.floor_char_boundary(*self.left);
        self.text.push_str(&more[..fits]);
        if fits < more.len() {
            *self.left = 0;
            return Err(fmt::Error);
        }
        *self.left -= fits;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_has_a_bound() {
        let mut items = Items::new();
        items.add("short", 1);
        items.add("long", "ü".repeat(MOST_TEXT));
        items.add("after", 2);
        let said = items.into_said();
        assert_eq!(said.len(), 2, "no room is left for the third");
        assert_eq!(said[0], Item { key: "short".into(), value: "1".into() });
        assert!(said[1].value.chars().all(|letter| letter == 'ü'), "no half a letter");
        let length: usize = said.iter().map(|item| item.key.len() + item.value.len()).sum();
        assert!((MOST_TEXT - 1..=MOST_TEXT).contains(&length), "{length}");
        let mut items = Items::new();
        (0..1000).for_each(|number| items.add("number", number));
        assert_eq!(items.into_said().len(), MOST_ITEMS);
    }
}
