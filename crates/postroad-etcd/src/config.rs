//! The configuration of one node: four places, the first one that has an item
//! counts (`docs/discovery.md`, configuration).

use std::collections::BTreeMap;
use std::sync::Arc;

use postroad::registrar::{ConfigValue, RegistrarEvent};

use crate::keys::Place;

/// Items, each in up to four places.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// By item, then by place.
    items: BTreeMap<Arc<str>, BTreeMap<Place, ConfigValue>>,
}

impl Config {
    /// The value that counts.
    pub(crate) fn get(&self, item: &str) -> Option<&ConfigValue> {
        self.items.get(item)?.values().next()
    }

    /// Sets or removes a value; tells if another one counts after that.
    pub(crate) fn set(
        &mut self,
        place: Place,
        item: &str,
        value: Option<ConfigValue>,
    ) -> Option<RegistrarEvent> {
        let old = self.get(item).cloned();
        match value {
            Some(value) => {
                self.items.entry(item.into()).or_default().insert(place, value);
            }
            None => {
                if let Some(places) = self.items.get_mut(item) {
                    places.remove(&place);
                    if places.is_empty() {
                        self.items.remove(item);
                    }
                }
            }
        }
        updated(item, old, self.get(item).cloned())
    }

    /// Puts another configuration in the place of this one; tells what
    /// has changed.
    pub(crate) fn replace(&mut self, new: Self) -> Vec<RegistrarEvent> {
        let old = std::mem::replace(self, new);
        let gone = old.items.keys().filter(|item| !self.items.contains_key(*item));
        gone.chain(self.items.keys())
            .filter_map(|item| updated(item, old.get(item).cloned(), self.get(item).cloned()))
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}

fn updated(item: &str, old: Option<ConfigValue>, value: Option<ConfigValue>) -> Option<RegistrarEvent> {
    let same = match (&old, &value) {
        // Not a number is not equal to itself, and still the same.
        (Some(ConfigValue::Float(old)), Some(ConfigValue::Float(new))) => old.to_bits() == new.to_bits(),
        (old, new) => old == new,
    };
    (!same).then(|| RegistrarEvent::ConfigUpdated { item: item.into(), old, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<ConfigValue> {
        Some(ConfigValue::Text(text.to_owned()))
    }

    #[test]
    fn the_first_place_that_has_an_item_counts() {
        let mut config = Config::default();
        let places = [Place::Global, Place::AnyNode, Place::Node, Place::NodeOfAll];
        for (place, value) in places.into_iter().zip(["4", "3", "2", "1"]) {
            let old = config.get("x").cloned();
            let event = config.set(place, "x", text(value)).expect("a better place");
            assert_eq!(event, RegistrarEvent::ConfigUpdated { item: "x".into(), old, value: text(value) });
        }
        assert_eq!(config.set(Place::Global, "x", text("other")), None, "it is shadowed");
        assert_eq!(config.set(Place::NodeOfAll, "x", text("1")), None, "it is the same");
        assert_eq!(config.set(Place::Node, "x", None), None, "it is shadowed");
        for value in [text("3"), text("other"), None] {
            let place = *config.items["x"].keys().next().expect("it is there");
            config.set(place, "x", None).expect("the next one counts");
            assert_eq!(config.get("x").cloned(), value);
        }
        assert_eq!(config.len(), 0);
        assert_eq!(config.set(Place::Global, "nothing", None), None);
    }

    #[test]
    fn replacing_tells_what_changed() {
        let mut config = Config::default();
        for (item, value) in [("same", "1"), ("gone", "1"), ("other", "1"), ("shadowed", "1")] {
            config.set(Place::Node, item, text(value));
        }
        config.set(Place::Global, "shadowed", text("0"));
        let mut new = Config::default();
        for (item, value) in [("same", "1"), ("other", "2"), ("new", "1"), ("shadowed", "1")] {
            new.set(Place::Node, item, text(value));
        }
        let changed: Vec<_> = config
            .replace(new)
            .into_iter()
            .map(|event| match event {
                RegistrarEvent::ConfigUpdated { item, old, value } => (item.to_string(), old, value),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            changed,
            [
                ("gone".to_owned(), text("1"), None),
                ("new".to_owned(), None, text("1")),
                ("other".to_owned(), text("1"), text("2")),
            ]
        );
    }
}
