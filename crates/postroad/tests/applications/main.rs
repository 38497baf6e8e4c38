//! Applications and the order in which a node stops (semantics/TESTS.md M).
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod lifecycle;
mod registry;
mod stopping;
#[path = "../support/mod.rs"]
mod support;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postroad::application::{ApplicationSpec, MemberSpec};
use postroad::{Actor, Answer, Atom, Context, ExitReason, Node, Pid, Reply};
use tokio::sync::mpsc;

#[derive(Clone, Default)]
pub struct Settings {
    pub refuses: Arc<AtomicBool>,
    /// Does not end when it is asked to, until it is killed.
    pub clings: bool,
    /// Where it writes its name when it ends.
    pub log: Option<mpsc::UnboundedSender<String>>,
}

pub struct Member(Settings);

impl Actor for Member {
    type Args = Settings;
    type Messages = ();
    type Requests = (bool, u8);

    async fn init(settings: Settings, _: &mut Context) -> Result<Self, ExitReason> {
        if settings.refuses.load(Ordering::SeqCst) {
            return Err(ExitReason::error("not today"));
        }
        Ok(Self(settings))
    }

    async fn terminated(&mut self, _: &ExitReason, ctx: &mut Context) {
        if let Some(log) = &self.0.log {
            let _ = log.send(ctx.application().map_or_else(|| "none".to_owned(), |name| name.to_string()));
        }
        if self.0.clings {
            pending().await
        }
    }
}

impl Answer<bool> for Member {
    type Reply = Pid;

    /// A child of its own.
    async fn answer(&mut self, _: bool, ctx: &mut Context) -> Result<Reply<Pid>, ExitReason> {
        Ok(Reply::Now(ctx.spawn::<Member>(Settings::default()).await?))
    }
}

impl Answer<u8> for Member {
    type Reply = String;

    /// Its application, and the currency.
    async fn answer(&mut self, _: u8, ctx: &mut Context) -> Result<Reply<String>, ExitReason> {
        let application = ctx.application().as_ref().map(Atom::to_string).unwrap_or_default();
        Ok(Reply::Now(format!("{application} {}", ctx.env::<String>("currency").unwrap_or_default())))
    }
}

pub fn member(name: &str) -> MemberSpec {
    MemberSpec::new::<Member>(Settings::default()).name(name)
}

/// An application with members `a`, `b` and `c`, and how it ends.
pub fn three(name: &str) -> (ApplicationSpec, mpsc::UnboundedReceiver<ExitReason>) {
    let (sender, ends) = mpsc::unbounded_channel();
    let spec = ApplicationSpec::new(name)
        .on_end(move |reason| {
            let _ = sender.send(reason.clone());
        })
        .member(member("a"))
        .member(member("b"))
        .member(member("c"));
    (spec, ends)
}

pub fn names(atoms: Vec<Atom>) -> Vec<String> {
    atoms.iter().map(Atom::to_string).collect()
}

/// Waits until an application that has told its end is loaded again.
pub async fn settled(node: &Node, name: &str) {
    node.stop_application(name).await.unwrap();
}
