//! What gateways cost: throughput and round trips through none to three of them,
//! beside as many bare TCP relays; the processor's time for each KiB that passes,
//! beside a plain loop of splice(2); the memory of tunnels over which nothing comes.
//!
//! Every gateway, the relays and the targets are processes of their own; all share
//! the processors of this machine. The roads take turns in each round, and what
//! is said of one is said relative to the direct one of the same round. The figures
//! of processes are those of `/proc`: Linux only.
//!
//! ```text
//! cargo bench -p postroad --bench tunnels [-- --quick] [--idle 10000] [--idle-tls 2500] [--json FILE]
//! ```
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

mod idle;
mod load;
mod process;
mod report;
mod roles;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use self::load::{Client, Road, Target};
use self::process::Process;
use self::report::{Figures, Report};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The most gateways in a row.
const HOPS: usize = 3;

/// Where the rows of relays begin among the roads: behind the direct one and the
/// splice loop.
const RELAYS: usize = 2;

struct Options {
    rounds: usize,
    messages: u64,
    calls: u32,
    idle: usize,
    idle_tls: usize,
    json: Option<String>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((role, rest)) = arguments.split_first()
        && roles::play(role, rest)
    {
        return;
    }
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    // As a test of the benches nothing is measured that could be relied on.
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let quick = !is_bench || arguments.iter().any(|argument| argument == "--quick");
    let number =
        |name| after(name).map(|number| number.parse().unwrap_or_else(|_| panic!("{name} takes a number")));
    let options = Options {
        rounds: if quick { 3 } else { 15 },
        messages: if quick { 5_000 } else { 50_000 },
        calls: if quick { 200 } else { 2_000 },
        idle: number("--idle").unwrap_or(if is_bench { 10_000 } else { 100 }),
        idle_tls: number("--idle-tls").unwrap_or(if is_bench { 2_500 } else { 50 }),
        json: after("--json"),
    };
    let mut report = Report::default();
    roads(&options, &mut report);
    report.idle = vec![idle::measure(options.idle), idle::measure_tls(options.idle_tls)];
    print!("{report}");
    if let Some(file) = options.json {
        std::fs::write(file, report.json()).expect("the file can be written");
    }
}

fn roads(options: &Options, report: &mut Report) {
    let target = Process::start("target", &[(2 * HOPS + 2).to_string()]);
    let mut targets = target.ready().into_iter();
    let mut target = || Target::of(targets.next().unwrap());
    let (direct, spliced) = (target(), target());
    let (relayed, carried): (Vec<_>, Vec<_>) = (0..HOPS).map(|_| (target(), target())).unzip();

    let splicer = Process::start("splicer", std::slice::from_ref(&spliced.port));
    let splicer_port = splicer.ready().remove(0);
    // Rows of relays: each leads to the target of its row.
    let rows: Vec<Vec<(Process, String)>> =
        relayed.iter().zip(1..).map(|(target, hops)| row(&target.port, hops)).collect();
    // The last gateway leads to the targets, each other one to the one behind it.
    let mut gateways: Vec<(Process, String, String)> = Vec::new();
    for number in (1..=HOPS).rev() {
        let own = format!("gateway-{number}@127.0.0.1");
        let mut arguments = vec![own.clone()];
        match gateways.last() {
            None => arguments.extend(carried.iter().map(|target| target.at(&target.port))),
            Some((_, next, port)) => {
                arguments.push(format!("route {next} {port}"));
                arguments.extend(carried.iter().map(|target| format!("via {} {next}", target.name)));
            }
        }
        let gateway = Process::start("gateway", &arguments);
        let port = gateway.ready().remove(0);
        gateways.push((gateway, own, port));
    }

    let client = Client::start();
    let mut roads = vec![
        (client.road("direct", 0, &direct, &[direct.at(&direct.port)]), None),
        (client.road("splice loop", 1, &spliced, &[spliced.at(&splicer_port)]), Some(&splicer)),
    ];
    for (hops, row) in (1..).zip(&rows) {
        let (target, (relay, port)) = (&relayed[hops - 1], row.last().unwrap());
        let road = client.road(&times(hops, "relay"), hops, target, &[target.at(port)]);
        roads.push((road, (hops == 1).then_some(relay)));
    }
    for (hops, (process, gateway, port)) in (1..).zip(&gateways) {
        let target = &carried[hops - 1];
        let ways = [format!("route {gateway} {port}"), format!("via {} {gateway}", target.name)];
        let road = client.road(&times(hops, "gateway"), hops, target, &ways);
        roads.push((road, (hops == 1).then_some(process)));
    }

    report.roads = roads.iter().map(|(road, _)| Figures::of(road)).collect();
    for round in 0..=options.rounds {
        for (at, (road, carrier)) in roads.iter().enumerate() {
            let measured = measure(&client, road, *carrier, options);
            // The first round warms up.
            if round > 0 {
                report.roads[at].add(measured);
            }
        }
    }
}

/// So many bare relays, each leading to the one before it; the first to a port.
fn row(port: &str, relays: usize) -> Vec<(Process, String)> {
    let mut row: Vec<(Process, String)> = Vec::new();
    for _ in 0..relays {
        let next = row.last().map_or(port, |(_, port)| port).to_owned();
        let relay = Process::start("relay", &[next]);
        let port = relay.ready().remove(0);
        row.push((relay, port));
    }
    row
}

fn times(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Messages per second, the median round trip, and the time that a process in
/// between worked for each KiB.
type Measured = (f64, Duration, Option<Duration>);

fn measure(client: &Client, road: &Road, carrier: Option<&Process>, options: &Options) -> Measured {
    let before = carrier.map(Process::worked);
    let rate = client.flood(road, options.messages);
    let worked = carrier.zip(before).map(|(carrier, before)| carrier.worked() - before);
    let kib = options.messages * load::SENDERS as u64 * load::MESSAGE as u64 / 1024;
    let each = worked.map(|worked| worked.div_f64(kib as f64));
    (rate, client.round_trip(road, options.calls), each)
}
