//! Large messages, and messages that are too large, both ways.

use postroad::{Actor, Answer, CallError, Context, ExitReason, Reply, SendError};
use serde_json::{Value as Json, json};

use crate::PATIENCE;
use crate::peer::{Peer, by_pid};
use crate::road::{Dialer, at, connect, end, pair};
use crate::support::{Echo, builder, next, node, probe, unique};
use crate::within;

const SIZES: [usize; 2] = [1 << 20, 64 << 20];

/// What Go makes of `{"payload": len, "seed": seed}` (`interop/README.md`).
pub(crate) fn payload(len: usize, seed: u64) -> Vec<u8> {
    let (mut x, mut bytes) = (seed, vec![0; len]);
    for byte in &mut bytes {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (x >> 56) as u8;
    }
    bytes
}

/// How Go tells of long bytes.
pub(crate) fn told(bytes: &[u8]) -> Json {
    json!({"type": "binary", "value": {"len": bytes.len(), "crc32": format!("{:08x}", crc32(bytes))}})
}

/// The CRC-32 of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    static TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let (mut entry, mut bit) = (index as u32, 0);
            while bit < 8 {
                entry = if entry & 1 == 1 { (entry >> 1) ^ 0xedb8_8320 } else { entry >> 1 };
                bit += 1;
            }
            table[index] = entry;
            index += 1;
        }
        table
    };
    let mut crc = u32::MAX;
    for byte in bytes {
        crc = TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
    }
    !crc
}

#[tokio::test]
async fn rust_sends_large_messages() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        for size in SIZES.map(|size| go.longest(size)) {
            let bytes = payload(size, 7);
            node.send(at("driver", go.atom()), bytes.clone()).await.unwrap();
            assert_eq!(go.event("message").await["value"], told(&bytes), "{dialer:?} dials");
            let echo = at("echo", go.atom());
            let back: Vec<u8> = node.call_with_timeout(echo, bytes.clone(), PATIENCE).await.unwrap();
            assert!(back == bytes, "{size} bytes");
        }
        end(node, go).await;
    }
}

#[tokio::test]
async fn go_sends_large_messages() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let (probe, mut inbox) = probe(&node).await;
        let echo = node.spawn::<Echo>(()).await.unwrap();
        for size in SIZES {
            let (bytes, spec) = (payload(size, 9), json!({"payload": size, "seed": 9}));
            go.send(by_pid(probe), spec.clone()).await;
            let got: Vec<u8> = within("the payload", next(&mut inbox)).await;
            assert!(got == bytes, "{size} bytes, {dialer:?} dials");
            let size = go.longest(size);
            let answer = go.call(by_pid(echo), json!({"payload": size, "seed": 9})).await.unwrap();
            assert_eq!(answer, told(&bytes[..size]));
        }
        end(node, go).await;
    }
}

#[tokio::test]
async fn go_keeps_to_the_limit_of_rust() {
    for dialer in Dialer::BOTH {
        let node = builder("small").max_message_size(65536).start();
        let (node, go) = tokio::join!(node, Peer::start("go"));
        let node = node.unwrap();
        connect(dialer, &node, &go).await;
        assert_eq!(go.info(node.name()).await["max_message_size"], 65536);
        let echo = node.spawn::<Echo>(()).await.unwrap();
        let error = go.call(by_pid(echo), json!({"payload": 70_000})).await.unwrap_err();
        assert_eq!(error, "too large");
        let fits = go.call(by_pid(echo), json!({"payload": 60_000})).await.unwrap();
        assert_eq!(fits, told(&payload(60_000, 0)));
        end(node, go).await;
    }
}

#[tokio::test]
async fn rust_keeps_to_the_limit_of_go() {
    for dialer in Dialer::BOTH {
        let name = unique("small");
        let (node, go) = tokio::join!(node("rust"), Peer::named(&name, &["-max-message-size", "65536"]));
        connect(dialer, &node, &go).await;
        assert_eq!(node.network().peer(go.name()).unwrap().max_message_size, 65536);
        let error = node.send(go.pid("echo"), payload(70_000, 0)).await.unwrap_err();
        assert!(matches!(error, SendError::TooLarge { limit: 65536, .. }), "{error}");
        let error = node.call::<Vec<u8>>(go.pid("echo"), payload(70_000, 0)).await.unwrap_err();
        assert!(matches!(error, CallError::Send(SendError::TooLarge { .. })), "{error}");
        let bytes = payload(60_000, 0);
        let back: Vec<u8> = node.call(go.pid("echo"), bytes.clone()).await.unwrap();
        assert!(back == bytes);
        // An answer that is too large becomes an error: the caller does not wait in vain.
        let generous = node.spawn::<Generous>(()).await.unwrap();
        let error = go.call(by_pid(generous), json!({"type": "uint32", "value": 70_000})).await.unwrap_err();
        assert!(error.contains("too large"), "{error}");
        let fits = go.call(by_pid(generous), json!({"type": "uint32", "value": 60_000})).await.unwrap();
        assert_eq!(fits, told(&bytes));
        end(node, go).await;
    }
}

/// Answers with as many bytes as it is asked for.
struct Generous;

impl Actor for Generous {
    type Args = ();
    type Messages = ();
    type Requests = (u32,);

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }
}

impl Answer<u32> for Generous {
    type Reply = Vec<u8>;

    async fn answer(&mut self, size: u32, _: &mut Context) -> Result<Reply<Vec<u8>>, ExitReason> {
        Ok(Reply::Now(payload(size as usize, 0)))
    }
}
