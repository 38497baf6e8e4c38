//! Where applications are.

use crate::Atom;

/// How many labels an application may have.
pub const MAX_TAGS: usize = 64;

/// An application of a node, as registrars publish it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationRoute {
    /// The node that has it.
    pub node: Atom,
    /// Its name.
    pub name: Atom,
    /// How much of the work this node wants, compared with others. It is data:
    /// whoever resolves decides.
    pub weight: i64,
    /// Its labels, by which whoever resolves may choose: [`MAX_TAGS`] at most.
    pub tags: Vec<String>,
    /// How it was started; nothing before that.
    pub mode: Option<ApplicationMode>,
    /// What it is doing.
    pub state: ApplicationState,
}

/// What the end of a member means for its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApplicationMode {
    /// Nothing: it ends with its last member.
    Temporary,
    /// Its end, if the member ended abnormally.
    Transient,
    /// Its end.
    Permanent,
}

/// What an application is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApplicationState {
    /// It is loaded and does not run.
    Loaded,
    /// It runs.
    Running,
    /// It is about to end.
    Stopping,
}
