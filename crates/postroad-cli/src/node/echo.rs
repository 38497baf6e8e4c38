//! A process that gives back whatever it gets.

use postroad::{Actor, Context, ExitReason, Payload, Reply};

pub(super) struct Echo;

impl Actor for Echo {
    type Args = ();
    type Messages = ();
    type Requests = ();

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_other(&mut self, message: Payload, ctx: &mut Context) -> Result<(), ExitReason> {
        if let Err(error) = ctx.send(ctx.sender(), message).await {
            tracing::warn!(to = %ctx.sender(), %error, "a message could not be returned");
        }
        Ok(())
    }

    async fn answer_other(
        &mut self,
        request: Payload,
        _: &mut Context,
    ) -> Result<Reply<Payload>, ExitReason> {
        Ok(Reply::Now(request))
    }
}
