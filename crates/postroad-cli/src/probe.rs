//! What a probe found, in words, and what to do about it.

use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::Duration;

use postroad::network::{AttemptError, HandshakeError, Probe, ProbeOutcome};
use postroad::tls::{CertificateFault, TlsHandshakeError};
use postroad_wire::ehs;

/// Prints how far each road came.
pub(crate) fn report(probes: &[Probe]) -> ExitCode {
    for (number, probe) in (1..).zip(probes) {
        let address =
            probe.endpoint.as_ref().map(|endpoint| format!(": {}:{}", endpoint.host, endpoint.port));
        println!("{number}. {}{}", probe.reason, address.unwrap_or_default());
        for (stage, took) in &probe.stages {
            println!("     {:<10} {}", stage.to_string(), milliseconds(*took));
        }
        match &probe.outcome {
            ProbeOutcome::Reached { version } => println!("     reached    {version}"),
            ProbeOutcome::Failed { stage, after, error } => {
                println!("     {:<10} FAILED after {}: {error}", stage.to_string(), milliseconds(*after));
                if let Some(advice) = advice(error) {
                    println!("     to do:     {advice}");
                }
            }
            _ => println!("     answered"),
        }
    }
    let reached = |probe: &&Probe| matches!(probe.outcome, ProbeOutcome::Reached { .. });
    match probes.iter().filter(reached).count() {
        0 => println!("the node was not reached"),
        roads => println!("the node was reached by {roads} of {} steps", probes.len()),
    }
    if probes.iter().any(|probe| reached(&probe)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What an operator can do.
fn advice(error: &AttemptError) -> Option<&'static str> {
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
            TlsHandshakeError::CertificateRequired => "give the route or the node `chain` and `key`",
            _ => return None,
        },
        AttemptError::Handshake(error) => match error {
            HandshakeError::Protocol(E::WrongDigest(_) | E::Closed(ehs::Stage::Hello)) => {
                "compare the cookies of both sides: of the route or node that dials, of the acceptor or node \
                 that is dialed; a plain dial to a TLS port ends here too"
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
        AttemptError::Resolve { .. } => "is the node registered, and the registrar's server running?",
        _ => return None,
    })
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}
