//! Tuples of message types: which handlers an actor has.

use std::future::Future;

use postroad_edf::{Message, Payload, Registry};

use super::{Actor, Answer, Context, ExitReason, Handle, Reply};

/// A tuple of message types that `A` handles. Implemented for tuples of up to
/// sixteen types; not meant to be implemented elsewhere.
#[diagnostic::on_unimplemented(
    message = "`{A}` cannot have the messages `{Self}`",
    label = "not a tuple of message types that `{A}` handles",
    note = "a tuple of one type has a comma, `(Tick,)`; `()` is no message, sixteen are the most",
    note = "`{A}` needs `impl Handle<Tick> for {A}` for each of them"
)]
pub trait Messages<A: Actor>: sealed::Sealed {
    /// Makes the types known to the node, so that they arrive as themselves.
    #[doc(hidden)]
    fn register(registry: &Registry);

    /// Calls the handler of the message's type.
    #[doc(hidden)]
    fn handle(
        actor: &mut A,
        message: Payload,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send;
}

/// A tuple of request types that `A` answers. Implemented for tuples of up to
/// sixteen types; not meant to be implemented elsewhere.
#[diagnostic::on_unimplemented(
    message = "`{A}` cannot have the requests `{Self}`",
    label = "not a tuple of request types that `{A}` answers",
    note = "a tuple of one type has a comma, `(Get,)`; `()` is no request, sixteen are the most",
    note = "`{A}` needs `impl Answer<Get> for {A}` for each of them"
)]
pub trait Requests<A: Actor>: sealed::Sealed {
    /// Makes the types known to the node, so that they arrive as themselves.
    #[doc(hidden)]
    fn register(registry: &Registry);

    /// Calls the handler of the request's type.
    #[doc(hidden)]
    fn answer(
        actor: &mut A,
        request: Payload,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<Reply<Payload>, ExitReason>> + Send;
}

mod sealed {
    pub trait Sealed {}
}

/// Makes a type known to the node, so that it arrives as itself.
pub(crate) fn register<M: Message>(registry: &Registry) {
    // What was found when the program was linked has been said when the node started.
    if let Err(error) = registry.register::<M>()
        && !registry.conflicts().contains(&error)
    {
        tracing::error!(r#type = std::any::type_name::<M>(), %error, "message type not registered: it does not arrive from other nodes as itself");
    }
}

macro_rules! sets {
    ($($name:ident)*) => {
        impl<$($name),*> sealed::Sealed for ($($name,)*) {}

        impl<A: Actor $(+ Handle<$name>)*, $($name: Message),*> Messages<A> for ($($name,)*) {
            fn register(registry: &Registry) {
                let _ = registry;
                $(register::<$name>(registry);)*
            }

            async fn handle(actor: &mut A, message: Payload, ctx: &mut Context) -> Result<(), ExitReason> {
                $(let message = match message.downcast::<$name>() {
                    Ok(message) => return actor.handle(message, ctx).await,
                    Err(message) => message,
                };)*
                actor.handle_other(message, ctx).await
            }
        }

        impl<A: Actor $(+ Answer<$name>)*, $($name: Message),*> Requests<A> for ($($name,)*) {
            fn register(registry: &Registry) {
                let _ = registry;
                $(register::<$name>(registry);)*
            }

            async fn answer(actor: &mut A, request: Payload, ctx: &mut Context) -> Result<Reply<Payload>, ExitReason> {
                $(let request = match request.downcast::<$name>() {
                    Ok(request) => return Ok(actor.answer(request, ctx).await?.erase()),
                    Err(request) => request,
                };)*
                actor.answer_other(request, ctx).await
            }
        }
    };
}

macro_rules! sets_up_to {
    () => { sets!(); };
    ($first:ident $($rest:ident)*) => {
        sets_up_to!($($rest)*);
        sets!($first $($rest)*);
    };
}
sets_up_to!(M1 M2 M3 M4 M5 M6 M7 M8 M9 M10 M11 M12 M13 M14 M15 M16);
