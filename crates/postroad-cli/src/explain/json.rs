//! What a plan says and what a probe found, for programs.

use postroad::network::{Discovery, HopAnswer, Plan, Probe, ProbeOutcome, ProxyFlags, Reason, Step};
use serde_json::{Value as Json, json};

use super::probe::advice;
use crate::output::microseconds;

pub(super) fn plan(plan: &Plan) -> Json {
    let failed = plan.failures().iter().map(|failed| {
        json!({
            "reason": reason(&failed.reason),
            "host": failed.endpoint.as_ref().map(|endpoint| &endpoint.host),
            "port": failed.endpoint.as_ref().map(|endpoint| endpoint.port),
            "through": failed.proxy.map(|proxy| proxy.to_string()),
            "stage": failed.stage.to_string(),
            "error": failed.error.to_string(),
        })
    });
    let discovery = match plan.discovery() {
        Discovery::First => "first",
        Discovery::AfterRoutes => "after_routes",
        Discovery::Withheld => "withheld",
        Discovery::NoRegistrar => "no_registrar",
        _ => "other",
    };
    json!({
        "failed": failed.collect::<Json>(),
        "steps": plan.steps().map(step).collect::<Json>(),
        "discovery": discovery,
        "discovery_text": plan.discovery().to_string(),
        "proxy_order": plan.proxy_order().map(|order| order.to_string()),
    })
}

/// One step, with the line that the text has of it. Under its kind stands what
/// only steps of this kind have.
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
                "will_fail": attempt.check().err().map(|error| error.to_string()),
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
                "target_cookie": whose(tunnel.ends.cookie.is_some()),
                "target_tls": tunnel.ends.endpoint.tls,
                "handshake_timeout_us": microseconds(tunnel.ends.handshake_timeout),
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
    json!({"kind": kind, "reason": reason(why), "text": step.to_string(), kind: what})
}

/// How far each road came; beneath those through gateways how the gateways
/// were reached.
pub(super) fn probes(probes: &[Probe]) -> Json {
    probes.iter().map(probe).collect()
}

fn probe(probe: &Probe) -> Json {
    let hops = probe.hops.iter().map(|hop| {
        let answer = match hop.answer {
            HopAnswer::PassesOn => "passes_on",
            HopAnswer::LeadsThere => "leads_there",
            _ => "refuses",
        };
        json!({"node": hop.node.as_str(), "after_us": microseconds(hop.after), "answer": answer})
    });
    let stages = probe
        .stages
        .iter()
        .map(|(stage, took)| json!({"stage": stage.to_string(), "took_us": microseconds(*took)}));
    let reached = match &probe.outcome {
        ProbeOutcome::Reached { version, operations, withheld, .. } => json!({
            "version": version,
            "operations": operations.map(ProxyFlags::names),
            "withheld": withheld.names(),
        }),
        _ => Json::Null,
    };
    let failed = match &probe.outcome {
        ProbeOutcome::Failed { stage, after, error } => json!({
            "stage": stage.to_string(),
            "after_us": microseconds(*after),
            "error": error.to_string(),
            "to_do": advice(error),
        }),
        _ => Json::Null,
    };
    json!({
        "reason": reason(&probe.reason),
        "host": probe.endpoint.as_ref().map(|endpoint| &endpoint.host),
        "port": probe.endpoint.as_ref().map(|endpoint| endpoint.port),
        "through": probe.proxy.map(|proxy| proxy.to_string()),
        "to_proxy": probes(&probe.to_proxy),
        "hops": hops.collect::<Json>(),
        "stages": stages.collect::<Json>(),
        "reached": reached,
        "failed": failed,
    })
}

fn reason(reason: &Reason) -> Json {
    let (kind, route) = match reason {
        Reason::Route { pattern, weight } => ("route", Some((pattern, weight))),
        Reason::HandedOut { pattern, weight } => ("handed_out", Some((pattern, weight))),
        Reason::ProxyRoute { pattern, weight } => ("proxy_route", Some((pattern, weight))),
        Reason::Fallback { pattern, weight } => ("fallback", Some((pattern, weight))),
        Reason::Discovery => ("discovery", None),
        _ => ("other", None),
    };
    let (pattern, weight) = route.unzip();
    json!({"kind": kind, "pattern": pattern.map(|pattern| &**pattern), "weight": weight})
}

fn whose(is_of_route: bool) -> &'static str {
    if is_of_route { "route" } else { "node" }
}
