//! Keeps what came from files as the files are, while a node uses it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::kept::{Kept, Material, Source};
use super::options::TlsOptions;
use crate::node::NodeInner;

/// Files are looked at this often, whatever the system tells: it says nothing of
/// what happens behind symbolic links and on network file systems.
const PERIOD: Duration = Duration::from_secs(2);

/// Whoever replaces files does so in several steps: the first news of it waits
/// for the others.
const GATHER: Duration = Duration::from_millis(50);

/// What a node keeps as its files are: each identity and each trust once,
/// however many routes share it.
#[derive(Default)]
pub(crate) struct Watched(Mutex<HashSet<usize>>);

impl Watched {
    /// Keeps up to date what these options name, until the node stops or
    /// nobody has a handle any more.
    pub(crate) fn add(node: &Arc<NodeInner>, options: &TlsOptions) {
        if let Some(identity) = &options.identity {
            Self::keep(node, identity.kept());
        }
        if let Some(trust) = &options.trust {
            Self::keep(node, trust.kept());
        }
    }

    fn keep<T: Material>(node: &Arc<NodeInner>, kept: &Arc<Kept<T>>) {
        let Source::Files(paths) = kept.source() else { return };
        let address = Arc::as_ptr(kept) as usize;
        if !node.network.watched.0.lock().insert(address) {
            return;
        }
        let kept = Arc::downgrade(kept);
        let stopping = node.stopping.clone();
        let node_of_task = node.clone();
        node.tasks.spawn_on(
            async move {
                stopping.run_until_cancelled(follow(&kept, &paths)).await;
                // Before the handle goes: nothing else can have this address as long as it is there.
                node_of_task.network.watched.0.lock().remove(&address);
                drop(kept);
            },
            &node.runtime,
        );
    }
}

/// Reloads when something seems to have changed, until the handles are gone.
async fn follow<T: Material>(kept: &Weak<Kept<T>>, paths: &[PathBuf]) {
    let Some(mut news) = kept.upgrade().map(|kept| kept.news()) else { return };
    let changed = Arc::new(Notify::new());
    let _watcher = watch(paths, changed.clone());
    let mut timer = interval_at(Instant::now() + PERIOD, PERIOD);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = changed.notified() => tokio::time::sleep(GATHER).await,
            told = news.changed() => match told {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        let Some(kept) = kept.upgrade() else { return };
        if !matches!(kept.source(), Source::Files(_)) {
            return;
        }
        // Its outcome is in its status; a file system that hangs holds up nobody else.
        let _ = tokio::task::spawn_blocking(move || kept.reload()).await;
    }
}

/// Has the system tell of changes in the directories of these files. Without
/// that there is still the timer.
fn watch(paths: &[PathBuf], changed: Arc<Notify>) -> Option<RecommendedWatcher> {
    let tell = move |event: notify::Result<notify::Event>| {
        // Reading is an access too, and not a change.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            changed.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(tell).ok()?;
    let directories: HashSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
    for directory in directories {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
            tracing::debug!(directory = %directory.display(), %error, "changes are noticed by the timer only");
        }
    }
    Some(watcher)
}
