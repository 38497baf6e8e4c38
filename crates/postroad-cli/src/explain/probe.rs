//! What a probe found, in words, and what to do about it.

use std::io::ErrorKind;

use postroad::network::{
    AttemptError, HandshakeError, HopAnswer, Probe, ProbeOutcome, ProxyFlags, TunnelError, TunnelRefusal,
};
use postroad::tls::{CertificateFault, TlsHandshakeError};
use postroad_wire::ehs;

use crate::output::{milliseconds, plain};

/// Prints how far each road came.
pub(super) fn report(probes: &[Probe]) {
    show(probes, "");
    match probes.iter().filter(|probe| is_reached(probe)).count() {
        0 => println!("the node was not reached"),
        roads => println!("the node was reached by {roads} of {} steps", probes.len()),
    }
}

/// Whether this step led to the node.
pub(super) fn is_reached(probe: &Probe) -> bool {
    matches!(probe.outcome, ProbeOutcome::Reached { .. })
}

/// Prints steps, and beneath those through gateways how the gateways were reached.
fn show(probes: &[Probe], indent: &str) {
    for (number, probe) in (1..).zip(probes) {
        let address =
            probe.endpoint.as_ref().map(|endpoint| format!(": {}:{}", plain(&endpoint.host), endpoint.port));
        let proxy = probe.proxy.map(|proxy| format!(": through {proxy}"));
        println!("{indent}{number}. {}{}", probe.reason, address.or(proxy).unwrap_or_default());
        let indent = format!("{indent}     ");
        if let Some(proxy) = probe.proxy.filter(|_| !probe.to_proxy.is_empty()) {
            println!("{indent}to {proxy}:");
            show(&probe.to_proxy, &indent);
        }
        for (number, hop) in (1..).zip(&probe.hops) {
            let answer = match hop.answer {
                HopAnswer::PassesOn => "lets pass; another gateway comes next",
                HopAnswer::LeadsThere => "lets pass; the node comes next",
                _ => "REFUSES",
            };
            println!(
                "{indent}{:<10} {}, {} {answer}",
                format!("hop {number}"),
                milliseconds(hop.after),
                hop.node
            );
        }
        for (stage, took) in &probe.stages {
            println!("{indent}{:<10} {}", stage.to_string(), milliseconds(*took));
        }
        match &probe.outcome {
            ProbeOutcome::Reached { version, operations, withheld, .. } => {
                let operations =
                    operations.map(|operations| format!(", for {operations}")).unwrap_or_default();
                println!("{indent}reached    {version}{operations}");
                if *withheld != ProxyFlags::NONE {
                    println!(
                        "{indent}to do:     the route asks for {} as well: allow it in `operations` of the rules on the \
                         way and in the `flags` of the node that was asked for, or take it from those of the route",
                        withheld.names().join(", ")
                    );
                }
            }
            ProbeOutcome::Failed { stage, after, error } => {
                println!("{indent}{:<10} FAILED after {}: {error}", stage.to_string(), milliseconds(*after));
                if let Some(advice) = advice(error) {
                    println!("{indent}to do:     {advice}");
                }
            }
            _ => println!("{indent}answered"),
        }
    }
}

/// What an operator can do.
pub(super) fn advice(error: &AttemptError) -> Option<&'static str> {
    use ehs::HandshakeError as E;
    Some(match error {
        AttemptError::Dial(error) => match error.kind() {
            ErrorKind::ConnectionRefused => {
                "nothing listens there: start the node, or correct the port of the route"
            }
            ErrorKind::TimedOut => {
                "nobody answers: a firewall drops packets, the host is down, or the address is wrong"
            }
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                "there is no way to that address: check the route's host and this machine's network"
            }
            _ => "check host and port of the route; does the name of the host resolve here?",
        },
        AttemptError::Tls(error) => match error {
            TlsHandshakeError::PlainPeer | TlsHandshakeError::Closed => {
                "the acceptor is plain: give it a certificate, or take `tls` from the route"
            }
            TlsHandshakeError::Certificate(CertificateFault::Expired { .. }) => {
                "renew the certificate of the node that is dialed"
            }
            TlsHandshakeError::Certificate(CertificateFault::WrongName { .. }) => {
                "issue a certificate for that name, dial the host it is for, or say another `verify`"
            }
            TlsHandshakeError::Certificate(CertificateFault::UnknownAuthority) => {
                "name the authority of that certificate in `trust`"
            }
            TlsHandshakeError::Certificate(CertificateFault::NotPinned { .. }) => {
                "pin this certificate, if it is whose it should be"
            }
            TlsHandshakeError::Certificate(CertificateFault::NotYetValid { .. }) => {
                "compare the clocks of both machines"
            }
            TlsHandshakeError::CertificateRequired => "give the route or the node `chain` and `key`",
            _ => return None,
        },
        AttemptError::Handshake(error) => match error {
            HandshakeError::Protocol(E::WrongDigest(_) | E::Closed(ehs::Stage::Hello)) => {
                "compare the cookies of both sides: of the route or node that dials, of the acceptor or node \
                 that is dialed; a plain dial to a TLS port ends here too"
            }
            HandshakeError::Protocol(E::Closed(ehs::Stage::Introduce | ehs::Stage::Accept)) => {
                "look into the log of the node that is dialed: it let this one come so far, and does not take it under \
                 this name; its route to the name may demand a cookie or certificate that its acceptor does not"
            }
            HandshakeError::Protocol(E::WrongMagic { .. }) => {
                "something else listens there, or one side has TLS and the other has not"
            }
            HandshakeError::Protocol(E::WrongName { .. }) => {
                "another node listens there: correct the address of the route, or the name that is dialed"
            }
            HandshakeError::Timeout(_) => {
                "something accepts and says nothing: is it a node, and is it overloaded?"
            }
            _ => return None,
        },
        AttemptError::Tunnel(error) => return tunnel_advice(error),
        AttemptError::Resolve { .. } => "is the node registered, and the registrar's server running?",
        _ => return None,
    })
}

/// What an operator can do about a way through gateways.
fn tunnel_advice(error: &TunnelError) -> Option<&'static str> {
    use TunnelRefusal as R;
    Some(match error {
        TunnelError::Refused { reason, .. } => match reason {
            R::NoTransit => "give that node a [transit] section with rules, or go through another one",
            R::NotAllowed => {
                "add a [[transit.rule]] there whose `from` and `to` match client and target, in front; the client was \
                 this probe, which `--as` gives a name that the rules know"
            }
            R::HopsExhausted => {
                "raise `max_hop` of the proxy route, or of [transit] at the gateway that is named"
            }
            R::Loop => "correct the proxy routes of that gateway: they lead back",
            R::ToItself => "that gateway is the node that was asked for: give it a [[route]] of its own",
            R::Unreachable => {
                "from that gateway try `postroad explain --probe`: its own route to the node is missing or broken; a \
                 node behind NAT must be connected with it (`keep_connected`)"
            }
            R::TimedOut => "something behind that gateway is slow or dropped by a firewall: probe from there",
            R::TooManyTunnels | R::TooManyRequests => {
                "see `postroad tunnels` of that gateway, and its limits for each client in [transit]"
            }
            R::Draining => {
                "it is being drained: `postroad tunnels --resume` ends that; or go through another one"
            }
            R::NotAccepted => "set `accept_tunnels` there, if guests are welcome",
            R::EncryptionRequired => "add \"encryption\" to the `flags` of the proxy route",
            R::NoEncryption => {
                "allow \"encryption\" in the rules on the way, and give the target's acceptor a certificate"
            }
            _ => return None,
        },
        TunnelError::Proxy(_) => "the gateway itself is not reached: see the steps to it",
        TunnelError::NoGateway(_) => "give that node a [transit] section, or go through another one",
        TunnelError::Circle(_) => "give the gateway a [[route]] of its own",
        TunnelError::Narrowed(_) => {
            "compare the operations that rules on the way allow with the route's `flags`"
        }
        _ => return None,
    })
}
