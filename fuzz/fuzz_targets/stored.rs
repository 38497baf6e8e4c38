//! What anybody who may write to a registrar's store has written there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_wire::stored::{ApplicationRoute, ErgoRelease, decode_routes, encode_routes};

fuzz_target!(|data: &[u8]| {
    if let Ok(routes) = decode_routes(data) {
        // Text that is not UTF-8 grows as it is replaced, and is cut where its length ends.
        let again = decode_routes(&encode_routes(&routes)).expect("what we wrote");
        assert_eq!(again.len(), routes.len());
    }
    if let Ok(route) = ApplicationRoute::decode(data) {
        let untagged = ApplicationRoute { tags: Vec::new(), ..route.clone() };
        for (release, expected) in [(ErgoRelease::V3_1, untagged), (ErgoRelease::V3_2, route.clone())] {
            assert_eq!(ApplicationRoute::decode(&route.encode(release)), Ok(expected));
        }
    }
});
