//! Tells the registrar what applications do.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::Atom;
use crate::node::Node;
use crate::registrar::{ApplicationRoute, Registrar, RegistrarError, guarded};

/// How long one notice may take. The next ones wait behind it, applications do
/// not.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(5);

/// What a registrar is told, in the order in which it happened.
#[derive(Debug)]
pub(super) enum News {
    /// An application is there, or does something else now.
    Is(ApplicationRoute),
    /// It is not there any more.
    Gone(Atom),
}

/// The way to a node's registrar; nothing goes in if there is none.
pub(super) fn publish(node: &Node) -> mpsc::UnboundedSender<News> {
    let (sender, mut news) = mpsc::unbounded_channel();
    if let Some(registrar) = node.network().registrar() {
        let stopping = node.inner().stopping.clone();
        let telling = async move {
            while let Some(news) = news.recv().await {
                tell(&*registrar, news).await;
            }
        };
        let until_it_stops = async move { stopping.run_until_cancelled(telling).await };
        node.inner().tasks.spawn_on(until_it_stops, &node.inner().runtime);
    }
    sender
}

async fn tell(registrar: &dyn Registrar, news: News) {
    let told = guarded(PUBLISH_PATIENCE, || async {
        match &news {
            News::Is(route) => registrar.register_application(route.clone()).await,
            News::Gone(name) => registrar.unregister_application(*name).await,
        }
    });
    match told.await {
        Ok(Ok(()) | Err(RegistrarError::NotSupported)) => {}
        Ok(Err(error)) => tracing::warn!(registrar = registrar.describe(), ?news, %error, "not published"),
        Err(broken) => tracing::warn!(registrar = registrar.describe(), ?news, ?broken, "not published"),
    }
}
