//! What broken and hostile peers may cost a node, measured by counting what is
//! allocated.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]
// Counting takes an allocator, and an allocator is unsafe.
#![allow(unsafe_code)]

#[path = "gateway/liar.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod liar;
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use liar::{Client, fill, tunnel};
use postroad::network::routes::Names;
use postroad::network::{TransitOptions, TransitRule};
use postroad::{Node, Pid};
use postroad_wire::NetworkFlags;
use postroad_wire::enp::compress::{Level, pack};
use postroad_wire::enp::{Head, Method};
use support::scripted::{Caller, Link, Wire, frame, introduction, message_to, request_to};
use support::{Echo, builder};

struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

/// How many bytes were in use at most while that happened, above those before.
async fn cost(future: impl Future<Output = ()>) -> usize {
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    future.await;
    PEAK.load(Ordering::Relaxed) - before
}

async fn link(node: &Node, echo: Pid) -> Link {
    let mut link = Link::to(node, introduction("peer")).await;
    serves(&mut link, echo).await;
    link
}

/// The node has handled everything that was said before.
async fn serves(link: &mut Link, echo: Pid) {
    link.send_request(echo, [7, 0, u64::MAX], &"still there?".to_owned()).await;
    assert_eq!(link.hears::<String>().await, "still there?");
}

/// One test, for others would be counted as well.
#[tokio::test]
async fn memory_is_bounded() {
    let node = builder("node").pool_size(1).max_message_size(2 * MIB).start().await.unwrap();
    let echo = node.spawn::<Echo>(()).await.unwrap();
    let mut peer = link(&node, echo).await;

    decompression_bombs(&mut peer, echo).await;
    fragments_that_do_not_all_come(&node, echo).await;
    announced_but_not_sent(&node, &mut peer, echo).await;
    type_cache_of_10_000_names(&node, echo).await;
    answers_that_are_not_read(&node, echo).await;
    handshakes_that_do_not_go_on(&node).await;
    names_that_clients_of_a_gateway_make_up().await;
    tunnels_whose_targets_do_not_read().await;
    node.stop().await;
}

/// Patterns of rules remember nobody whom they were asked about.
async fn names_that_clients_of_a_gateway_make_up() {
    let names = Names::matching("(app|db)-[0-9]+@private").unwrap();
    let cost = cost(async {
        for number in 0..50_000 {
            assert!(!names.contains(&format!("made-up-{number}@private")));
        }
    })
    .await;
    println!("50,000 made-up names: {cost} bytes");
    assert!(cost < MIB / 4, "{cost} bytes");
}

/// A gateway keeps one buffer of what a target does not take.
async fn tunnels_whose_targets_do_not_read() {
    const TUNNELS: usize = 8;
    let rule = TransitRule::new(".*", ".*").unwrap();
    let gateway = builder("gateway").transit(TransitOptions::new().allow(rule)).start().await.unwrap();
    let client = Client::of(&gateway).await;
    let mut target = Client::announcing(&gateway, NetworkFlags::TUNNELS | NetworkFlags::PROXY_ACCEPT).await;
    let mut open = Vec::new();
    let mut sent = 0;
    let cost = cost(async {
        for _ in 0..TUNNELS {
            let tunnel = tunnel(&client, &mut target, &gateway).await;
            sent += fill(&tunnel.0).await;
            open.push(tunnel);
        }
    })
    .await;
    println!("{TUNNELS} tunnels into which {sent} bytes went: {cost} bytes");
    assert!(sent > (TUNNELS * MIB / 4) as u64, "{sent} bytes");
    assert!(cost < TUNNELS * MIB / 4, "{cost} bytes");
    gateway.stop().await;
}

async fn decompression_bombs(peer: &mut Link, echo: Pid) {
    let bomb = frame(&message_to(echo), &vec![0; 8 * MIB]);
    for method in [Method::Lzw, Method::Zlib, Method::Gzip] {
        let mut packed = Vec::new();
        pack(&bomb, method, Level::BestSpeed, &mut packed).unwrap();
        // Truthful; as large as is allowed; hardly larger than it is.
        for announced in [bomb.len(), 2 * MIB, 100] {
            packed[9..13].copy_from_slice(&(announced as u32).to_be_bytes());
            let cost = cost(async {
                peer.wire.send(&packed).await;
                serves(peer, echo).await;
            })
            .await;
            println!("{method:?} announcing {announced} bytes: {cost} bytes");
            assert!(cost < 5 * MIB, "{method:?} announcing {announced} bytes: {cost} bytes");
        }
    }
}

/// Incomplete frames, and parts without any bytes that come ahead of their turn.
async fn fragments_that_do_not_all_come(node: &Node, echo: Pid) {
    let mut local = introduction("peer");
    local.flags = NetworkFlags::ENABLE | NetworkFlags::FRAGMENTATION;
    let mut peer = Link::to(node, local).await;
    serves(&mut peer, echo).await;
    let part = vec![0; 60_000];
    let cost = cost(async {
        for sequence in 0..200 {
            peer.send_frame(&Head::Fragment { sequence, index: 0, total: 2 }, &part).await;
        }
        for index in 1..10_000 {
            peer.send_frame(&Head::Fragment { sequence: 1000, index, total: 10_000 }, &[]).await;
        }
        serves(&mut peer, echo).await;
    })
    .await;
    println!("12 MB of fragments: {cost} bytes");
    assert!(cost < 4 * MIB, "{cost} bytes");
}

async fn announced_but_not_sent(node: &Node, peer: &mut Link, echo: Pid) {
    let mut other = link(node, echo).await;
    let cost = cost(async {
        let mut header = vec![0x4e, 1];
        header.extend((2 * MIB as u32).to_be_bytes());
        header.extend([0, 101]);
        header.resize(1000, 0);
        other.wire.send(&header).await;
        while node.network().peer(other.local.node.as_str()).unwrap().bytes_in < 1000 {
            serves(peer, echo).await;
        }
    })
    .await;
    println!("2 MiB announced, 1000 bytes sent: {cost} bytes");
    assert!(cost < MIB, "{cost} bytes");
}

async fn type_cache_of_10_000_names(node: &Node, echo: Pid) {
    let mut well_read = introduction("well-read");
    well_read.types = (0..10_000).map(|n| (4096 + n, format!("#{n:019}").into())).collect();
    let mut caller = Caller::dial(node, well_read).await;
    let cost = cost(async {
        caller.hello().await;
        serves(&mut caller.introduce().await, echo).await;
    })
    .await;
    println!("10,000 names: {cost} bytes, those of the scripted peer included");
    assert!(cost < 4 * MIB, "{cost} bytes");
}

/// A peer that asks without end and never reads what it is answered.
async fn answers_that_are_not_read(node: &Node, echo: Pid) {
    const ASKED: usize = 200_000;
    let mut silent = link(node, echo).await;
    let garbage = frame(&request_to(echo, [1, 2, 3]), &[0]).repeat(1000);
    let cost = cost(async {
        for _ in 0..ASKED / 1000 {
            silent.wire.send(&garbage).await;
        }
        let asked = || node.network().peer(silent.local.node.as_str()).unwrap().frames_in;
        while asked() < ASKED as u64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    println!("{ASKED} answers that nobody reads: {cost} bytes");
    assert!(cost < 16 * MIB, "{cost} bytes");
}

async fn handshakes_that_do_not_go_on(node: &Node) {
    const FLOOD: usize = 60;
    let mut flood = Vec::with_capacity(FLOOD);
    let cost = cost(async {
        for _ in 0..FLOOD {
            let mut wire = Wire::to(node).await;
            wire.send(&[&[87, 1, 0, 0, 0xff, 0xff][..], &[0x83; 60_000]].concat()).await;
            flood.push(wire);
        }
    })
    .await;
    println!("{FLOOD} handshakes: {} bytes each", cost / FLOOD);
    assert!(cost < FLOOD * 256 * 1024, "{} bytes each", cost / FLOOD);
}
