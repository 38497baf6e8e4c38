//! Actors for important delivery.

use std::future::pending;

use postroad::edf::ErrorValue;
use postroad::{Actor, Answer, Context, ExitReason, Payload, Reply, SendError};
use tokio::sync::mpsc;

/// Gives back what it is asked, as an important answer; a text is an error.
/// Tells the test what became of the answer.
pub struct Careful(mpsc::UnboundedSender<Result<(), SendError>>);

impl Actor for Careful {
    type Args = mpsc::UnboundedSender<Result<(), SendError>>;
    type Messages = ();
    type Requests = (String,);

    async fn init(tell: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(tell))
    }

    async fn answer_other(
        &mut self,
        request: Payload,
        ctx: &mut Context,
    ) -> Result<Reply<Payload>, ExitReason> {
        let reply = ctx.reply_to().unwrap();
        self.0.send(reply.answer_important(request).await).unwrap();
        Ok(Reply::Later)
    }
}

impl Answer<String> for Careful {
    type Reply = String;

    async fn answer(&mut self, request: String, ctx: &mut Context) -> Result<Reply<String>, ExitReason> {
        let reply = ctx.reply_to().unwrap();
        self.0.send(reply.error_important(ErrorValue::new(request)).await).unwrap();
        Ok(Reply::Later)
    }
}

/// Never handles anything: it hangs in its first message, or while it cleans up,
/// and tells the test when it does.
pub struct Stuck(mpsc::UnboundedSender<()>);

impl Actor for Stuck {
    type Args = mpsc::UnboundedSender<()>;
    type Messages = ();
    type Requests = ();

    async fn init(tell: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(tell))
    }

    async fn handle_other(&mut self, _: Payload, _: &mut Context) -> Result<(), ExitReason> {
        self.0.send(()).unwrap();
        pending().await
    }

    async fn terminated(&mut self, _: &ExitReason, _: &mut Context) {
        let _ = self.0.send(());
        pending().await
    }
}
