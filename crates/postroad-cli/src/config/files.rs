//! The files that a configuration depends on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Files, and what was seen of each before it was read: so no change is missed.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<PathBuf, Option<Seen>>);

/// What tells one state of a file from another.
#[derive(Debug, PartialEq)]
struct Seen {
    modified: Option<SystemTime>,
    len: u64,
    /// Another file may have been put in its place within one tick of the clock.
    #[cfg(unix)]
    inode: u64,
}

impl Files {
    /// Adds a file that is about to be read; whether it is new here.
    pub(crate) fn add(&mut self, path: &Path) -> bool {
        if self.0.contains_key(path) {
            return false;
        }
        self.0.insert(path.to_owned(), Seen::of(path));
        true
    }

    /// Whether one of them is not what it was when this was asked last.
    pub(crate) fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, seen) in &mut self.0 {
            let now = Seen::of(path);
            changed |= now != *seen;
            *seen = now;
        }
        changed
    }
}

impl Seen {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            modified: metadata.modified().ok(),
            len: metadata.len(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&metadata),
        })
    }
}
