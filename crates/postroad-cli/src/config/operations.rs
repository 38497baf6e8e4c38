//! What may be done through other nodes, by name.

use postroad::network::ProxyFlags;

use super::section::{At, Section};

/// Something that may be done through a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Link,
    Monitor,
    Spawn,
    ApplicationStart,
    ImportantDelivery,
    Encryption,
}

const NAMES: [(&str, Operation); 6] = [
    ("link", Operation::Link),
    ("monitor", Operation::Monitor),
    ("spawn", Operation::Spawn),
    ("application_start", Operation::ApplicationStart),
    ("important_delivery", Operation::ImportantDelivery),
    ("encryption", Operation::Encryption),
];

/// The list under `key`: what is not in a list that is there is not allowed.
pub(crate) fn read(section: &mut Section<'_>, key: &'static str) -> Option<ProxyFlags> {
    let names = section.texts(key)?;
    let reader = section.reader;
    let listed: Vec<Operation> =
        names.get_ref().iter().filter_map(|name: &At<String>| reader.word_of(key, name, &NAMES)).collect();
    let has = |operation| listed.contains(&operation);
    Some(ProxyFlags {
        link: has(Operation::Link),
        monitor: has(Operation::Monitor),
        spawn: has(Operation::Spawn),
        application_start: has(Operation::ApplicationStart),
        important_delivery: has(Operation::ImportantDelivery),
        encryption: has(Operation::Encryption),
    })
}

/// The names of those that are on.
pub(crate) fn names(flags: ProxyFlags) -> Vec<&'static str> {
    let is_on = |operation| match operation {
        Operation::Link => flags.link,
        Operation::Monitor => flags.monitor,
        Operation::Spawn => flags.spawn,
        Operation::ApplicationStart => flags.application_start,
        Operation::ImportantDelivery => flags.important_delivery,
        Operation::Encryption => flags.encryption,
    };
    NAMES.iter().filter(|(_, operation)| is_on(*operation)).map(|(name, _)| *name).collect()
}
