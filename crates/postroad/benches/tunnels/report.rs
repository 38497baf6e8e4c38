//! What was measured, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde_json::json;

use crate::load::Road;
use crate::{Measured, RELAYS};

#[derive(Default)]
pub(crate) struct Report {
    /// The direct one first.
    pub(crate) roads: Vec<Figures>,
    pub(crate) idle: Vec<Idle>,
}

/// One road, round by round.
pub(crate) struct Figures {
    label: String,
    hops: usize,
    rates: Vec<f64>,
    round_trips: Vec<f64>,
    worked: Vec<f64>,
}

/// Memory of a gateway, in bytes.
pub(crate) struct Idle {
    /// Whether it speaks TLS with both neighbours.
    pub(crate) tls: bool,
    pub(crate) tunnels: usize,
    pub(crate) before: u64,
    pub(crate) after: u64,
}

impl Figures {
    pub(crate) fn of(road: &Road) -> Self {
        let Road { label, hops, .. } = road;
        Self { label: label.clone(), hops: *hops, rates: vec![], round_trips: vec![], worked: vec![] }
    }

    pub(crate) fn add(&mut self, (rate, round_trip, worked): Measured) {
        self.rates.push(rate);
        self.round_trips.push(micros(round_trip));
        self.worked.extend(worked.map(|worked| worked.as_nanos() as f64));
    }
}

impl Report {
    /// Throughput relative to that of the direct road, in the middle of all rounds.
    fn share(&self, road: &Figures) -> f64 {
        median(road.rates.iter().zip(&self.roads[0].rates).map(|(rate, direct)| rate / direct))
    }

    /// What a round trip takes longer than the direct one, in microseconds.
    fn added(&self, road: &Figures) -> f64 {
        median(road.round_trips.iter().zip(&self.roads[0].round_trips).map(|(road, direct)| road - direct))
    }

    /// What a road adds for each of its hops, and what it adds altogether: of what
    /// one relay adds, and of what as many relays add.
    fn beside_relays(&self, road: &Figures) -> (f64, f64) {
        let relays = |hops: usize| self.added(&self.roads[RELAYS + hops - 1]);
        let (added, hops) = (self.added(road), road.hops.max(1));
        (added / hops as f64 / relays(1), added / relays(hops))
    }

    pub(crate) fn json(&self) -> String {
        let roads = self.roads.iter().map(|road| {
            let (each, all) = self.beside_relays(road);
            json!({
                "road": road.label,
                "messages_per_second": median(road.rates.iter().copied()),
                "throughput_of_direct": self.share(road),
                "round_trip_us": median(road.round_trips.iter().copied()),
                "added_us": self.added(road),
                "added_per_hop_of_a_relay": each,
                "added_of_as_many_relays": all,
                "carrier_ns_per_kib": (!road.worked.is_empty()).then(|| median(road.worked.iter().copied())),
            })
        });
        let idle = self.idle.iter().map(|idle| {
            let Idle { tls, tunnels, before, after } = idle;
            json!({"tls": tls, "tunnels": tunnels, "gateway_rss_before": before, "gateway_rss": after})
        });
        let (roads, idle): (Vec<_>, Vec<_>) = (roads.collect(), idle.collect());
        serde_json::to_string_pretty(&json!({"roads": roads, "idle": idle})).unwrap()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:12} {:>12} {:>8} {:>12} {:>10} {:>11} {:>8} {:>14}",
            "road", "1 KiB msg/s", "share", "round trip", "added", "a hop/relay", "/relays", "carrier/KiB"
        )?;
        for road in &self.roads {
            let (each, all) = self.beside_relays(road);
            write!(
                f,
                "{:12} {:>12.0} {:>7.0}% {:>9.1} us {:>7.1} us {:>10.2}x {:>7.2}x",
                road.label,
                median(road.rates.iter().copied()),
                100.0 * self.share(road),
                median(road.round_trips.iter().copied()),
                self.added(road),
                each,
                all,
            )?;
            match &road.worked[..] {
                [] => writeln!(f)?,
                worked => writeln!(f, " {:>11.0} ns", median(worked.iter().copied()))?,
            }
        }
        for Idle { tls, tunnels, before, after } in &self.idle {
            let each = after.saturating_sub(*before) / (*tunnels).max(1) as u64;
            let mib = |bytes: &u64| *bytes as f64 / f64::from(1 << 20);
            let tls = if *tls { " with TLS on both sides" } else { "" };
            writeln!(
                f,
                "{tunnels} idle tunnels{tls}: {:.1} MiB at the gateway, {:.1} before; {each} bytes each",
                mib(after),
                mib(before)
            )?;
        }
        Ok(())
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1000.0
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
