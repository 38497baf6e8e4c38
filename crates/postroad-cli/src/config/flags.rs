//! Network flags by their names.

use postroad::NetworkFlags;
use postroad::network::NetworkOptions;

use super::section::{Reader, Section};

const NAMES: [(&str, NetworkFlags); 12] = [
    ("remote_spawn", NetworkFlags::REMOTE_SPAWN),
    ("remote_application_start", NetworkFlags::REMOTE_APPLICATION_START),
    ("fragmentation", NetworkFlags::FRAGMENTATION),
    ("proxy_transit", NetworkFlags::PROXY_TRANSIT),
    ("proxy_accept", NetworkFlags::PROXY_ACCEPT),
    ("important_delivery", NetworkFlags::IMPORTANT_DELIVERY),
    ("simultaneous_connect", NetworkFlags::SIMULTANEOUS_CONNECT),
    ("clock_skew", NetworkFlags::CLOCK_SKEW),
    ("tracing", NetworkFlags::TRACING),
    ("wrapped_errors", NetworkFlags::WRAPPED_ERRORS),
    ("schema_evolution", NetworkFlags::SCHEMA_EVOLUTION),
    ("ack", NetworkFlags::ACK),
];

/// The list under `flags`: what the peer may be allowed at most. Signs of life
/// are no permission, so a list does not switch them off.
pub(crate) fn read(section: &mut Section<'_>) -> Option<NetworkFlags> {
    let names = section.texts("flags")?;
    let reader: &Reader = section.reader;
    let known = NetworkOptions::default().flags;
    let named = names.get_ref().iter().filter_map(|name| {
        let flag = reader.word_of("flags", name, &NAMES)?;
        if !known.allows(flag) {
            let message = format!("{:?} has no effect: this version does not do it", name.get_ref());
            reader.warning(name.span(), message);
        }
        Some(flag)
    });
    Some(named.fold(NetworkFlags::ENABLE.with_keepalive(u8::MAX), NetworkFlags::with))
}

/// The names of the flags that are on.
pub(crate) fn names(flags: NetworkFlags) -> Vec<&'static str> {
    NAMES.iter().filter(|(_, flag)| flags.allows(*flag)).map(|(name, _)| *name).collect()
}
