//! What a peer may say while a tunnel is agreed on, at each place of it: the
//! first byte says how the stream is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_edf::Atom;
use postroad_wire::Cookie;
use postroad_wire::tunnel::{Admit, Knock, Refusal, Talk};

fn atom(name: &str) -> Atom {
    Atom::new(name).expect("a short name")
}

fn knock() -> Knock {
    let (own, peer) = (atom("near@localhost"), atom("far@localhost"));
    Knock::new(own, peer, "c0ffee", Some([9; 16]), Cookie::new("secret"), [1; 32], None)
}

fn admit() -> Admit {
    Admit::new(atom("far@localhost"), Cookie::new("secret"), [2; 32], None)
}

/// Both sides of a stream that has been agreed on.
fn talks() -> (Talk, Talk) {
    let (mut knock, mut admit) = (knock(), admit());
    let said = |bytes: Option<Vec<u8>>| bytes.expect("its turn");
    assert!(admit.receive(&said(knock.poll_transmit())).expect("right").is_none());
    assert!(knock.receive(&said(admit.poll_transmit())).expect("right").is_none());
    assert!(admit.receive(&said(knock.poll_transmit())).expect("right").is_some());
    let (welcome, accepting) = admit.welcome().expect("its turn");
    (knock.receive(&welcome).expect("right").expect("it is over"), accepting)
}

fuzz_target!(|data: &[u8]| {
    let Some((chunk, bytes)) = data.split_first() else { return };
    let cut = usize::from(*chunk) * 4 + 1;
    let (mut knock, mut admit) = (knock(), admit());
    let mut visited = false;
    for arrived in bytes.chunks(cut) {
        let _ = knock.receive(arrived);
        visited |= matches!(admit.receive(arrived), Ok(Some(_)));
    }
    assert_eq!(admit.refuse(Refusal::NoTransit).is_ok(), visited);
    let (mut dialing, mut accepting) = talks();
    for arrived in bytes.chunks(cut) {
        if let Ok(Some(request)) = accepting.request(arrived) {
            let _ = dialing.ask(&request);
        }
        if let Ok(Some(answer)) = dialing.answer(arrived) {
            let _ = accepting.reply(&answer);
        }
    }
});
