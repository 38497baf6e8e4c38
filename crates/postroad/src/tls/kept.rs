//! What is kept in memory of certificates and keys, and how it is replaced.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::error::TlsError;

/// No file of certificates or keys is longer; a system's whole trust store has
/// a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// Several files are read again if one changed while another was read, so often.
const READS: usize = 4;

/// Where certificates and keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The program gave them.
    Program,
    /// These files, which are read again when they change.
    Files(Vec<PathBuf>),
    /// The trust store of the system.
    System,
}

/// Something that was to be loaded again, and could not be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReloadFailure {
    /// Why.
    pub error: TlsError,
    /// When it was last tried.
    pub at: SystemTime,
}

/// What can be made of PEM texts.
pub(super) trait Material: Sized + Send + Sync + 'static {
    /// What it is, for logs.
    const WHAT: &'static str;

    fn parse(texts: &[&[u8]]) -> Result<Self, TlsError>;
    /// From the store of the system, and the digest of what is there.
    fn of_system() -> Result<(Self, [u8; 32]), TlsError>;
}

/// Material that is in use, and can be replaced by other material.
pub(super) struct Kept<T> {
    current: ArcSwap<Loaded<T>>,
    source: RwLock<Source>,
    failure: Mutex<Option<ReloadFailure>>,
    /// Held while something is loaded.
    loading: Mutex<()>,
    /// Counts what happened: replacements, failures, and ends of failures.
    news: watch::Sender<u64>,
}

/// Material, and where it came from.
pub(super) struct Loaded<T> {
    pub(super) material: T,
    /// Of the texts, so that the same texts are not loaded twice.
    digest: [u8; 32],
    pub(super) at: SystemTime,
}

impl<T: Material> Kept<T> {
    pub(super) fn of_texts(texts: &[&[u8]]) -> Result<Arc<Self>, TlsError> {
        Ok(Self::new(Source::Program, Loaded::parse(texts)?))
    }

    pub(super) fn of_files(paths: Vec<PathBuf>) -> Result<Arc<Self>, TlsError> {
        let loaded = Loaded::read(&paths)?;
        Ok(Self::new(Source::Files(paths), loaded))
    }

    pub(super) fn of_system() -> Result<Arc<Self>, TlsError> {
        Ok(Self::new(Source::System, Loaded::of_system()?))
    }

    fn new(source: Source, loaded: Loaded<T>) -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwap::from_pointee(loaded),
            source: RwLock::new(source),
            failure: Mutex::default(),
            loading: Mutex::default(),
            news: watch::Sender::new(0),
        })
    }

    pub(super) fn current(&self) -> Arc<Loaded<T>> {
        self.current.load_full()
    }

    pub(super) fn source(&self) -> Source {
        self.source.read().clone()
    }

    pub(super) fn failure(&self) -> Option<ReloadFailure> {
        self.failure.lock().clone()
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Replaces the material by what the program gives; from then on it is the
    /// program's.
    pub(super) fn update(&self, texts: &[&[u8]]) -> Result<(), TlsError> {
        let _loading = self.loading.lock();
        let loaded = Loaded::parse(texts)?;
        *self.source.write() = Source::Program;
        self.replace(loaded);
        Ok(())
    }

    /// Loads again from where it came; whether it was replaced.
    pub(super) fn reload(&self) -> Result<bool, TlsError> {
        let _loading = self.loading.lock();
        let source = self.source();
        let loaded = match &source {
            Source::Program => return Err(TlsError::NothingToReload),
            Source::Files(paths) => Loaded::read(paths),
            Source::System => Loaded::of_system(),
        };
        match loaded {
            Ok(loaded) if loaded.digest == self.current.load().digest => {
                if self.failure.lock().take().is_some() {
                    tracing::info!(what = T::WHAT, source = %source, "back to what is in use");
                    self.tell();
                }
                Ok(false)
            }
            Ok(loaded) => {
                self.replace(loaded);
                tracing::info!(what = T::WHAT, source = %source, "replaced");
                Ok(true)
            }
            Err(error) => {
                self.failed(&source, &error);
                Err(error)
            }
        }
    }

    fn replace(&self, loaded: Loaded<T>) {
        self.current.store(Arc::new(loaded));
        *self.failure.lock() = None;
        self.tell();
    }

    /// Notes a failure; says so once for each that is new.
    fn failed(&self, source: &Source, error: &TlsError) {
        let failure = ReloadFailure { error: error.clone(), at: SystemTime::now() };
        let before = self.failure.lock().replace(failure);
        if before.is_none_or(|before| before.error.to_string() != error.to_string()) {
            tracing::error!(what = T::WHAT, %source, %error, "not replaced: the one in use stays");
            self.tell();
        }
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }
}

impl<T: Material> Loaded<T> {
    fn parse(texts: &[&[u8]]) -> Result<Self, TlsError> {
        Ok(Self { material: T::parse(texts)?, digest: digest(texts), at: SystemTime::now() })
    }

    fn of_system() -> Result<Self, TlsError> {
        let (material, digest) = T::of_system()?;
        Ok(Self { material, digest, at: SystemTime::now() })
    }

    /// Reads files that belong together. Whoever replaces them may do so one
    /// after the other: what is taken is what two readings agree on.
    fn read(paths: &[PathBuf]) -> Result<Self, TlsError> {
        let mut texts = read_all(paths)?;
        for _ in 1..READS {
            let again = read_all(paths)?;
            if again == texts {
                break;
            }
            texts = again;
        }
        Self::parse(&texts.iter().map(|text| text.as_slice()).collect::<Vec<_>>())
    }
}

type Text = Zeroizing<Vec<u8>>;

fn read_all(paths: &[PathBuf]) -> Result<Vec<Text>, TlsError> {
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Text, TlsError> {
    let failed = |source: io::Error| TlsError::Read { path: path.to_owned(), source: source.into() };
    let mut file = std::fs::File::open(path).map_err(failed)?.take(MAX_FILE + 1);
    let mut text = Zeroizing::new(Vec::with_capacity(16 << 10));
    file.read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(TlsError::TooLong { path: path.to_owned(), limit: MAX_FILE });
    }
    Ok(text)
}

pub(super) fn digest(texts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program => f.write_str("the program"),
            Self::System => f.write_str("the system's trust store"),
            Self::Files(paths) => {
                for (number, path) in paths.iter().enumerate() {
                    write!(f, "{}{}", if number > 0 { ", " } else { "" }, path.display())?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for ReloadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.error, super::certificate::Date(self.at))
    }
}
