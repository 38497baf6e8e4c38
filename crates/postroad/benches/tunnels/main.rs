//! What gateways cost: throughput and round trips through none to three of them,
//! beside a bare TCP relay; the processor's time for each KiB that passes; the
//! memory of tunnels over which nothing comes.
//!
//! Every gateway, the relay and the targets are processes of their own; all share
//! the processors of this machine. The roads take turns in each round, and what
//! is said of one is said relative to the direct one of the same round. The figures
//! of processes are those of `/proc`: Linux only.
//!
//! ```text
//! cargo bench -p postroad --bench tunnels [-- --quick] [--idle 10000] [--json FILE]
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

use self::load::{Client, Road};
use self::process::Process;
use self::report::{Figures, Report};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The most gateways in a row.
const HOPS: usize = 3;

struct Options {
    rounds: usize,
    messages: u64,
    calls: u32,
    idle: usize,
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
    let idle = after("--idle").map(|number| number.parse().expect("--idle takes a number"));
    let options = Options {
        rounds: if quick { 3 } else { 15 },
        messages: if quick { 5_000 } else { 50_000 },
        calls: if quick { 200 } else { 2_000 },
        idle: idle.unwrap_or(if is_bench { 10_000 } else { 100 }),
        json: after("--json"),
    };
    let mut report = Report::default();
    roads(&options, &mut report);
    report.idle = Some(idle::measure(options.idle));
    print!("{report}");
    if let Some(file) = options.json {
        std::fs::write(file, report.json()).expect("the file can be written");
    }
}

fn roads(options: &Options, report: &mut Report) {
    let target = Process::start("target", &[(HOPS + 2).to_string()]);
    let targets = target.ready();
    let port = |at: usize| targets[at].split(' ').nth(1).unwrap().to_owned();
    let name = |at: usize| targets[at].split(' ').next().unwrap().to_owned();
    let relay = Process::start("relay", &[port(HOPS + 1)]);
    let relay_port = relay.ready().remove(0);

    // The last gateway leads to the targets, each other one to the one behind it.
    let mut gateways: Vec<(Process, String, String)> = Vec::new();
    for number in (1..=HOPS).rev() {
        let own = format!("gateway-{number}@127.0.0.1");
        let mut arguments = vec![own.clone()];
        match gateways.last() {
            None => arguments.extend((1..=HOPS).map(|at| format!("route {} {}", name(at), port(at)))),
            Some((_, next, port)) => {
                arguments.push(format!("route {next} {port}"));
                arguments.extend((1..=HOPS).map(|at| format!("via {} {next}", name(at))));
            }
        }
        let gateway = Process::start("gateway", &arguments);
        let port = gateway.ready().remove(0);
        gateways.push((gateway, own, port));
    }

    let client = Client::start();
    let mut roads = vec![client.road("direct", &targets[0], &[format!("route {} {}", name(0), port(0))])];
    let to_relay = format!("route {} {relay_port}", name(HOPS + 1));
    roads.push(client.road("TCP relay", &targets[HOPS + 1], &[to_relay]));
    for (hops, (_, gateway, port)) in (1..).zip(&gateways) {
        let label = format!("{hops} gateway{}", if hops == 1 { "" } else { "s" });
        let way = [format!("route {gateway} {port}"), format!("via {} {gateway}", name(hops))];
        roads.push(client.road(&label, &targets[hops], &way));
    }

    let carriers = [None, Some(&relay), Some(&gateways[0].0)];
    report.roads = roads.iter().map(|road| Figures::of(&road.label)).collect();
    for round in 0..=options.rounds {
        for (at, road) in roads.iter().enumerate() {
            let measured = measure(&client, road, carriers.get(at).copied().flatten(), options);
            // The first round warms up.
            if round > 0 {
                report.roads[at].add(measured);
            }
        }
    }
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
