//! What a plan says and what a probe found, for programs.

use std::time::Duration;

use postroad::network::{HopAnswer, Plan, Probe, ProbeOutcome, ProxyFlags, Reason, Step};
use serde_json::{Value as Json, json};

use super::probe::{advice, is_reached};

pub(super) fn plan(plan: &Plan) -> Json {
    let failed = plan.failures().iter().map(|failed| {
        json!({
            "reason": reason(&failed.reason),
            "stage": failed.stage.to_string(),
            "error": failed.error.to_string(),
        })
    });
    json!({
        "failed": failed.collect::<Json>(),
        "steps": plan.steps().map(step).collect::<Json>(),
        "discovery": plan.discovery().to_string(),
    })
}

fn step(step: &Step) -> Json {
    let (kind, why, what) = match step {
        Step::Attempt(attempt) => {
            let what = json!({
                "host": attempt.endpoint.host,
                "port": attempt.endpoint.port,
                "tls": attempt.endpoint.tls,
                "cookie": whose(attempt.cookie.is_some()),
                "dial_timeout_us": microseconds(attempt.dial_timeout),
                "handshake_timeout_us": microseconds(attempt.handshake_timeout),
            });
            ("dial", &attempt.reason, what)
        }
        Step::Tunnel(tunnel) => {
            let what = json!({
                "through": tunnel.proxy.as_str(),
                "cookie": whose(tunnel.cookie.is_some()),
                "max_hop": tunnel.max_hop,
                "operations": tunnel.flags.names(),
                "timeout_us": microseconds(tunnel.timeout),
            });
            ("tunnel", &tunnel.reason, what)
        }
        Step::Resolve(resolve) => {
            let what = json!({
                "resolver": resolve.resolver.describe(),
                "for": if resolve.asks_for_proxies() { "proxies" } else { "addresses" },
                "timeout_us": microseconds(resolve.timeout),
            });
            ("ask", &resolve.reason, what)
        }
    };
    json!({"kind": kind, "reason": reason(why), kind: what, "text": step.to_string()})
}

/// How far each road came; beneath those through gateways how the gateways
/// were reached.
pub(super) fn probes(probes: &[Probe]) -> Json {
    probes.iter().map(probe).collect()
}

fn probe(probe: &Probe) -> Json {
    let hops = probe.hops.iter().map(|hop| {
        let answer = match hop.answer {
            HopAnswer::PassesOn => "passes on",
            HopAnswer::LeadsThere => "leads there",
            _ => "refuses",
        };
        json!({"node": hop.node.as_str(), "after_us": microseconds(hop.after), "answer": answer})
    });
    let stages = probe
        .stages
        .iter()
        .map(|(stage, took)| json!({"stage": stage.to_string(), "took_us": microseconds(*took)}));
    let mut json = json!({
        "reason": reason(&probe.reason),
        "host": probe.endpoint.as_ref().map(|endpoint| &endpoint.host),
        "port": probe.endpoint.as_ref().map(|endpoint| endpoint.port),
        "through": probe.proxy.map(|proxy| proxy.to_string()),
        "to_proxy": probes(&probe.to_proxy),
        "hops": hops.collect::<Json>(),
        "stages": stages.collect::<Json>(),
        "reached": is_reached(probe),
    });
    match &probe.outcome {
        ProbeOutcome::Reached { version, operations, withheld, .. } => {
            json["version"] = version.as_str().into();
            json["operations"] = operations.map(ProxyFlags::names).into();
            json["withheld"] = withheld.names().into();
        }
        ProbeOutcome::Failed { stage, after, error } => {
            json["failed"] = json!({
                "stage": stage.to_string(),
                "after_us": microseconds(*after),
                "error": error.to_string(),
                "to_do": advice(error),
            });
        }
        _ => {}
    }
    json
}

fn reason(reason: &Reason) -> Json {
    match reason {
        Reason::Route { pattern, weight } => json!({"kind": "route", "pattern": **pattern, "weight": weight}),
        Reason::HandedOut { pattern, weight } => {
            json!({"kind": "route of the registrar", "pattern": **pattern, "weight": weight})
        }
        Reason::ProxyRoute { pattern, weight } => {
            json!({"kind": "proxy route", "pattern": **pattern, "weight": weight})
        }
        Reason::Fallback { pattern, weight } => {
            json!({"kind": "fallback", "pattern": **pattern, "weight": weight})
        }
        Reason::Discovery => json!({"kind": "discovery"}),
        other => json!({"kind": other.to_string()}),
    }
}

fn whose(is_of_route: bool) -> &'static str {
    if is_of_route { "route" } else { "node" }
}

fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}
