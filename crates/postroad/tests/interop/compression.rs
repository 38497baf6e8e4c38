//! Packed messages of every method and level, both ways.

use postroad::{
    Actor, Compression, CompressionLevel, CompressionMethod, Context, ExitReason, Node, Payload, Reply,
};
use serde_json::json;

use crate::PATIENCE;
use crate::payloads::{payload, told};
use crate::peer::{Peer, by_pid};
use crate::road::{Dialer, courier, end, pair};

/// What Go calls them, and what they are called here.
const WAYS: [(&str, &str, CompressionMethod, CompressionLevel); 5] = [
    ("gzip", "default", CompressionMethod::Gzip, CompressionLevel::Default),
    ("gzip", "speed", CompressionMethod::Gzip, CompressionLevel::BestSpeed),
    ("gzip", "size", CompressionMethod::Gzip, CompressionLevel::BestSize),
    ("zlib", "default", CompressionMethod::Zlib, CompressionLevel::Default),
    ("lzw", "default", CompressionMethod::Lzw, CompressionLevel::Default),
];

/// The bytes of a message that packs well.
const LONG: usize = 40_000;

/// More than a packed one has with all that goes with it.
const PACKED: u64 = 10_000;

/// How many bytes Go has read and written on its connection.
async fn traffic(node: &Node, go: &Peer) -> (u64, u64) {
    let info = go.info(node.name()).await;
    (info["bytes_in"].as_u64().unwrap(), info["bytes_out"].as_u64().unwrap())
}

/// Has a new Rust process with that compression ask Go's echo.
async fn ask_go(node: &Node, go: &Peer, compression: Option<Compression>, request: Vec<u8>) -> Vec<u8> {
    let echo = go.pid("echo");
    let (answer, ..) = courier(node, move |ctx| {
        Box::pin(async move {
            ctx.set_compression(compression);
            ctx.call_with_timeout::<Vec<u8>>(echo, request, PATIENCE).await
        })
    })
    .await;
    answer.unwrap()
}

/// Has a process of Go pack what it sends.
async fn packs(go: &Peer, process: &str, method: &str, level: &str) {
    let threshold = 2048;
    go.ask("compress", json!({"process": process, "type": method, "level": level, "threshold": threshold}))
        .await;
}

/// An echo that packs its answers.
struct Packer;

impl Actor for Packer {
    type Args = Compression;
    type Messages = ();
    type Requests = ();

    async fn init(compression: Compression, ctx: &mut Context) -> Result<Self, ExitReason> {
        ctx.set_compression(Some(compression));
        Ok(Self)
    }

    async fn answer_other(
        &mut self,
        request: Payload,
        _: &mut Context,
    ) -> Result<Reply<Payload>, ExitReason> {
        Ok(Reply::Now(request))
    }
}

#[tokio::test]
async fn rust_asks_and_go_answers_packed() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        for (method, level, packing, hard) in WAYS {
            packs(&go, "echo", method, level).await;
            let compression = Compression { method: packing, level: hard, threshold: 1024 };
            let before = traffic(&node, &go).await;
            let zeros = vec![0; LONG];
            assert!(ask_go(&node, &go, Some(compression), zeros.clone()).await == zeros, "{method} {level}");
            let after = traffic(&node, &go).await;
            assert!(after.0 - before.0 < PACKED, "{method} {level}: {} bytes in", after.0 - before.0);
            assert!(after.1 - before.1 < PACKED, "{method} {level}: {} bytes out", after.1 - before.1);
            // What does not pack well has to arrive as well.
            let noise = payload(LONG, 1);
            assert!(ask_go(&node, &go, Some(compression), noise.clone()).await == noise, "{method} {level}");
        }
        // Nothing is packed without being asked for, or below the threshold.
        packs(&go, "echo", "off", "default").await;
        let high = Compression { threshold: 2 * LONG, ..Compression::default() };
        for compression in [None, Some(high)] {
            let before = traffic(&node, &go).await;
            let zeros = vec![0; LONG];
            assert!(ask_go(&node, &go, compression, zeros.clone()).await == zeros);
            let after = traffic(&node, &go).await;
            assert!(after.0 - before.0 > LONG as u64 && after.1 - before.1 > LONG as u64);
        }
        end(node, go).await;
    }
}

#[tokio::test]
async fn go_asks_and_rust_answers_packed() {
    let zeros = json!({"type": "binary", "value": {"repeat": "00", "count": LONG}});
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        for (method, level, packing, hard) in WAYS {
            packs(&go, "driver", method, level).await;
            let compression = Compression { method: packing, level: hard, threshold: 1024 };
            let echo = node.spawn::<Packer>(compression).await.unwrap();
            let before = traffic(&node, &go).await;
            let answer = go.call(by_pid(echo), zeros.clone()).await.unwrap();
            assert_eq!(answer, told(&[0; LONG]), "{method} {level}");
            let after = traffic(&node, &go).await;
            assert!(after.0 - before.0 < PACKED, "{method} {level}: {} bytes in", after.0 - before.0);
            assert!(after.1 - before.1 < PACKED, "{method} {level}: {} bytes out", after.1 - before.1);
            let noise = go.call(by_pid(echo), json!({"payload": LONG, "seed": 1})).await.unwrap();
            assert_eq!(noise, told(&payload(LONG, 1)), "{method} {level}");
        }
        end(node, go).await;
    }
}
