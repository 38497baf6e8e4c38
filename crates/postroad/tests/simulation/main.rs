//! Whole nodes on a network in memory, with everything going wrong that can:
//! links break, roads are cut, nodes are restarted, processes end, while others
//! watch, call, send and publish, also through a gateway and with TLS. Whatever
//! happens, no notice is lost or doubled, every
//! request ends, order holds, nothing stays behind.
//!
//! `POSTROAD_SEED=7` runs one seed and prints what happens; `POSTROAD_SEEDS=1000`
//! says how many are run. With `RUSTFLAGS="--cfg tokio_unstable"` a seed is the
//! same run each time, down to the last line.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../support/authority.rs"]
#[allow(dead_code, reason = "other tests need more kinds of certificates")]
mod authority;
mod ledger;
mod player;
mod publications;
mod setting;
mod world;

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use setting::Setting;
use world::{Outcome, World};

/// How many seeds are run if nobody says: a glance. `./test simulation` runs
/// a thousand.
const SEEDS: u64 = 40;

/// How many of the faults of a run are printed.
const PRINTED: usize = 5;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Runs one seed on a runtime of its own.
fn run(seed: u64) -> Outcome {
    quiet_panics();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    builder.build().unwrap().block_on(World::run(seed))
}

/// Those that the simulation wants are not worth a line.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&"the simulation wants it") {
                hook(info);
            }
        }));
    });
}

/// In another process too: no order depends on where things lie in memory.
#[cfg(tokio_unstable)]
#[test]
fn a_seed_is_the_same_run_each_time() {
    let test = "whatever_happens_every_end_is_told_once_and_every_request_ends";
    for seed in [4, 8, 13, 28] {
        let Outcome { trace, .. } = run(seed);
        assert_eq!(run(seed).trace, trace, "seed {seed}");
        let elsewhere = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env("POSTROAD_SEED", seed.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8(elsewhere.stdout).unwrap();
        assert!(trace.len() > 100);
        for (line, (here, there)) in trace.iter().zip(said.lines().skip(2)).enumerate() {
            assert_eq!(here, there, "seed {seed}, line {line}");
        }
    }
}

#[test]
fn whatever_happens_every_end_is_told_once_and_every_request_ends() {
    if let Some(seed) = number("POSTROAD_SEED") {
        let Outcome { trace, faults } = run(seed);
        println!("{}", trace.join("\n"));
        assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
        return;
    }
    let seeds = number("POSTROAD_SEEDS").unwrap_or(SEEDS);
    let (next, failed) = (AtomicU64::new(0), parking_lot::Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let Ok(Outcome { faults, .. }) = std::panic::catch_unwind(|| run(seed)) else {
                        failed.lock().push((seed, vec!["panicked".to_owned()]));
                        continue;
                    };
                    if !faults.is_empty() {
                        failed.lock().push((seed, faults));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner();
    failed.sort();
    for (seed, faults) in &failed {
        let setting = Setting::of(*seed);
        println!("seed {seed}, {setting} (again with POSTROAD_SEED={seed}): {} faults", faults.len());
        faults.iter().take(PRINTED).for_each(|fault| println!("    {fault}"));
    }
    assert!(failed.is_empty(), "{} of {seeds} seeds failed", failed.len());
}
