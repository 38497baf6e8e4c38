//! The handshake of Ergo's nodes: drives the machines of `postroad-wire` over a
//! stream (`docs/wire/EHS.md`).

use std::io::ErrorKind;

use postroad_wire::Version;
use postroad_wire::ehs::{self, Accept, AcceptStep, Dial, Established, Join, Stage};
use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Accepted, Admission, Dialer, Door, Handshake, HandshakeError, HandshakeStream, Joiner};
use crate::registrar::BoxFuture;
use crate::tls::TlsHandshakeError;

/// The handshake of Ergo's nodes, which every node speaks (`docs/wire/EHS.md`).
#[derive(Debug, Clone, Copy, Default)]
pub struct Ehs;

/// How a stream begins that speaks TLS: the content type of its first record.
const TLS_HANDSHAKE: u8 = 0x16;

impl Handshake for Ehs {
    fn version(&self) -> Version {
        Version::ehs()
    }

    fn dialer_begins(&self) -> bool {
        true
    }

    fn dial<'a>(
        &'a self,
        stream: &'a mut HandshakeStream<'_>,
        dialer: &'a mut Dialer<'_>,
    ) -> BoxFuture<'a, Result<Established, HandshakeError>> {
        Box::pin(dial(stream, dialer))
    }

    fn join<'a>(
        &'a self,
        stream: &'a mut HandshakeStream<'_>,
        joiner: &'a Joiner<'_>,
    ) -> BoxFuture<'a, Result<Vec<u8>, HandshakeError>> {
        Box::pin(join(stream, joiner))
    }

    fn accept<'a>(
        &'a self,
        stream: &'a mut HandshakeStream<'_>,
        door: &'a Door<'_>,
    ) -> BoxFuture<'a, Result<Accepted, HandshakeError>> {
        Box::pin(accept(stream, door))
    }
}

async fn dial(
    stream: &mut HandshakeStream<'_>,
    dialer: &mut Dialer<'_>,
) -> Result<Established, HandshakeError> {
    let (local, cookie) = (dialer.local.clone(), dialer.cookie.clone());
    let mut machine = Dial::new(local, Some(dialer.peer), cookie, salt(), stream.fingerprint());
    loop {
        send_all(stream, machine.poll_transmit()).await?;
        let Some(bytes) = receive(stream).await? else { return Err(machine.closed().into()) };
        let before = machine.stage();
        let outcome = machine.receive(&bytes);
        if before == Stage::Hello && machine.stage() == Stage::Accept {
            dialer.proved()?;
        }
        send_all(stream, machine.poll_transmit()).await?;
        if let Some(established) = outcome? {
            return Ok(established);
        }
    }
}

async fn join(stream: &mut HandshakeStream<'_>, joiner: &Joiner<'_>) -> Result<Vec<u8>, HandshakeError> {
    let Joiner { node, connection_id, cookie } = *joiner;
    let mut machine = Join::new(node, connection_id, cookie.clone(), salt(), stream.fingerprint());
    loop {
        send_all(stream, machine.poll_transmit()).await?;
        let Some(bytes) = receive(stream).await? else { return Err(machine.closed().into()) };
        if let Some(joined) = machine.receive(&bytes)? {
            return Ok(joined.tail);
        }
    }
}

async fn accept(stream: &mut HandshakeStream<'_>, door: &Door<'_>) -> Result<Accepted, HandshakeError> {
    let mut machine = Accept::new(door.local.clone(), door.cookie.clone(), salt(), stream.fingerprint());
    let mut bytes = receive(stream).await?.ok_or_else(|| HandshakeError::from(machine.closed()))?;
    if bytes.first() == Some(&TLS_HANDSHAKE) && !stream.has_tls() {
        return Err(TlsHandshakeError::PeerSpeaksTls.into());
    }
    loop {
        let outcome = machine.receive_joins(&bytes, |connection| door.made_with(connection));
        bytes.clear();
        match outcome? {
            Some(AcceptStep::JoinRequested(request)) => {
                let place = door.admit_link(&request, stream).await?;
                let joined = machine.accept_join()?;
                send_all(stream, machine.poll_transmit()).await?;
                return Ok(Accepted::Link { place, tail: joined.tail });
            }
            Some(AcceptStep::Introduced(peer)) => {
                let Admission { pool_size, addresses } = door.admit(&peer, stream).await?;
                let random: [u8; 16] = rand::rng().random();
                machine.accept(ehs::connection_id(random), pool_size, addresses)?;
                // The peer may have sent ahead.
                continue;
            }
            Some(AcceptStep::Established(established)) => return Ok(Accepted::Connection(established)),
            Some(_) | None => {}
        }
        send_all(stream, machine.poll_transmit()).await?;
        bytes = receive(stream).await?.ok_or_else(|| HandshakeError::from(machine.closed()))?;
    }
}

async fn send_all(stream: &mut HandshakeStream<'_>, bytes: Option<Vec<u8>>) -> Result<(), HandshakeError> {
    match bytes {
        Some(bytes) => {
            stream.write_all(&bytes).await?;
            Ok(stream.flush().await?)
        }
        None => Ok(()),
    }
}

/// What has arrived; nothing if the peer has closed.
async fn receive(stream: &mut HandshakeStream<'_>) -> Result<Option<Vec<u8>>, HandshakeError> {
    let mut bytes = Vec::with_capacity(4096);
    match stream.read_buf(&mut bytes).await {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(bytes)),
        // How a peer that closed with unread bytes of ours looks.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(None),
        // A program that was killed says no goodbye.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        // Whether a certificate of ours is accepted, TLS 1.3 tells behind its handshake.
        Err(error) if stream.has_tls() => Err(TlsHandshakeError::of_io(error).into()),
        Err(error) => Err(error.into()),
    }
}

fn salt() -> [u8; 32] {
    rand::rng().random()
}
