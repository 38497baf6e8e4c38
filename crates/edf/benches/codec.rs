//! Encoding and decoding of the values that Ergo's own figures are for: cached
//! is with the tables of a live connection, plain without any.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench is no library")]

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postroad_edf::{
    Atom, DecodeTables, Decoder, EncodeTables, Encoder, Message, Payload, Pid, Registered, Registry,
};

#[derive(Message, Clone)]
#[message(name = "#main/Bench")]
struct Order {
    id: i64,
    name: String,
    price: f64,
    paid: bool,
    count: u32,
    data: Vec<u8>,
}

fn order() -> Order {
    Order { id: 1, name: "fifteen letters".into(), price: 1.5, paid: true, count: 7, data: vec![1; 16] }
}

/// What both sides of a connection between stock nodes announce, or nothing.
fn tables(cached: bool) -> (EncodeTables, DecodeTables) {
    let (mut encode, mut decode) = (EncodeTables::default(), DecodeTables::default());
    if cached {
        let node = Atom::new("node@localhost").unwrap();
        encode.insert_atom(node, 256);
        decode.insert_atom(256, node);
        for (id, name) in (4096..).zip(Registry::new().names()) {
            encode.insert_type(name, id);
            decode.insert_type(id, name.as_str());
        }
    }
    (encode, decode)
}

fn bench<T: Message>(c: &mut Criterion, name: &str, value: T) {
    let registry = Registry::new();
    registry.register::<T>().unwrap();
    let mut group = c.benchmark_group(name);
    for (kind, cached) in [("cached", true), ("plain", false)] {
        let (encode, decode) = tables(cached);
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes, &encode).top(&value).unwrap();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut out = Vec::with_capacity(4096);
        group.bench_function(format!("encode {kind}"), |b| {
            b.iter(|| {
                out.clear();
                Encoder::new(&mut out, &encode).top(black_box(&value)).unwrap();
                black_box(&out);
            });
        });
        group.bench_function(format!("decode {kind}"), |b| {
            b.iter(|| Decoder::new(black_box(&bytes), &decode, &registry).payload().unwrap());
        });
        group.bench_function(format!("decode {kind} as known type"), |b| {
            b.iter(|| Decoder::new(black_box(&bytes), &decode, &registry).top::<T>().unwrap());
        });
    }
    group.finish();
}

fn codec(c: &mut Criterion) {
    assert!(Order::type_name().as_str() == "#main/Bench");
    bench(c, "int", 42isize);
    bench(c, "string of 32", "x".repeat(32));
    bench(c, "struct of 6", order());
    bench(c, "struct of 6 as payload", Payload::new(order()));
    bench(c, "100 x int64", vec![1i64; 100]);
    bench(c, "map of 20", (0..20).map(|n| (format!("key{n:02}"), n)).collect::<HashMap<String, isize>>());
    bench(c, "1 KiB", vec![1u8; 1024]);
    bench(c, "pid", Pid { node: Atom::new("node@localhost").unwrap(), id: 1001, creation: 1_700_000_000 });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(600));
    targets = codec
}
criterion_main!(benches);
