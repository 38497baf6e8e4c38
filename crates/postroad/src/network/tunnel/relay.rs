//! Bytes both ways, as they come, no faster than they go.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::carried::{Buffers, Carried, Direction};
use crate::network::transport::{ReadHalf, Stream, WriteHalf};

/// Why a tunnel ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("both ends have closed")]
    Closed,
    #[error("closed by the operator")]
    Killed,
    #[error("nothing came for {0:?}")]
    Idle(Duration),
    #[error("broken: {0}")]
    Broken(#[from] io::Error),
}

/// Copies until both ends have closed, one is lost, nothing comes any more, or
/// somebody closes the tunnel.
///
/// Nothing is read before what was read has been written: who is slow slows the
/// other end down, and costs one buffer here.
pub(super) async fn relay(client: Stream, target: Stream, carried: &Carried, buffers: &Buffers) -> End {
    let ((from_client, to_client), (from_target, to_target)) = (client.split(), target.split());
    let copying = async {
        tokio::try_join!(
            copy(from_client, to_target, Direction::ToTarget, carried, buffers),
            copy(from_target, to_client, Direction::ToClient, carried, buffers),
        )
    };
    let idle = async {
        match carried.limit {
            Some(limit) => {
                carried.idle(limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = carried.closed.cancelled() => End::Killed,
        limit = idle => End::Idle(limit),
        outcome = copying => match outcome {
            Ok(_) => End::Closed,
            Err(error) => End::Broken(error),
        },
    }
}

/// Copies one way, until its source has closed; then its sink is closed as far
/// as this direction goes.
async fn copy(
    mut source: ReadHalf,
    mut sink: WriteHalf,
    direction: Direction,
    carried: &Carried,
    buffers: &Buffers,
) -> io::Result<()> {
    loop {
        source.readable().await?;
        let mut buffer = buffers.take();
        let outcome = pass_on(&mut source, &mut sink, &mut buffer, direction, carried).await;
        buffers.give_back(buffer);
        if !outcome? {
            return Ok(());
        }
    }
}

/// Passes on what has come, as long as the buffer is filled; false at the end.
async fn pass_on(
    source: &mut ReadHalf,
    sink: &mut WriteHalf,
    buffer: &mut [u8],
    direction: Direction,
    carried: &Carried,
) -> io::Result<bool> {
    let most = buffer.len().min(carried.portion());
    let buffer = &mut buffer[..most];
    loop {
        let read = source.read(buffer).await?;
        if read == 0 {
            sink.shutdown().await?;
            return Ok(false);
        }
        let wait = carried.passed(direction, read);
        sink.write_all(&buffer[..read]).await?;
        sink.flush().await?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if read < buffer.len() {
            return Ok(true);
        }
    }
}
