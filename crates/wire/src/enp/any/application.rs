//! Starting an application on another node (`docs/wire/ENP.md` section 8
//! "Remote application start"; the layouts: `docs/wire/EDF.md` sections 13
//! and 14).

use std::time::Duration;

use postroad_edf::{Atom, DecodeError, Decoder, Edf as _, EncodeError, Encoder, Pid, Ref, TypeName};

use super::Generation;
use super::spawn::{Environment, decode_environment, encode_environment};

pub(super) const START_TYPE_NAME: &str = "#ergo.services/ergo/net/proto/MessageApplicationStart";
pub(super) const INFO_TYPE_NAME: &str = "#ergo.services/ergo/net/proto/MessageApplicationInfo";

/// `proto/MessageApplicationStart` with `gen/ApplicationOptionsExtra`: the wish
/// to start an application.
#[derive(Debug)]
pub struct ApplicationStart {
    /// The application.
    pub name: Atom,
    /// How it is to run.
    pub mode: ApplicationMode,
    /// Its options.
    pub options: ApplicationOptions,
    /// PID 1 of the asking node.
    pub core: Pid,
    /// The environment of the asking node, if it exposes it.
    pub core_environment: Environment,
    /// The log level of the asking node.
    pub core_log_level: isize,
    /// What the answer brings back.
    pub reference: Ref,
}

/// `gen/ApplicationOptions`.
#[derive(Debug, Default)]
pub struct ApplicationOptions {
    /// Variables of its own.
    pub environment: Environment,
    /// Its log level; 0 for that of the node.
    pub log_level: isize,
    /// How long the init of its processes may take; zero for the default. Since
    /// 3.3.0.
    pub init_timeout: Duration,
    /// How long it may take to start; zero for the default. Since 3.3.0.
    pub start_timeout: Duration,
    /// How long it may take to stop; zero for the default. Since 3.3.0.
    pub stop_timeout: Duration,
}

/// `gen/ApplicationMode`: what becomes of an application when one of its
/// processes ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ApplicationMode {
    /// As the application itself says.
    #[default]
    Unspecified,
    /// It goes on.
    Temporary,
    /// It ends if the process ended abnormally.
    Transient,
    /// It ends.
    Permanent,
    /// A mode of a release to come.
    Other(isize),
}

/// `proto/MessageApplicationInfo`: the wish to have an application described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplicationInfo {
    /// The application.
    pub name: Atom,
    /// What the answer brings back.
    pub reference: Ref,
}

impl ApplicationStart {
    /// A start with default options.
    pub fn new(name: Atom, core: Pid, reference: Ref) -> Self {
        Self {
            name,
            mode: ApplicationMode::default(),
            options: ApplicationOptions::default(),
            core,
            core_environment: Environment::new(),
            core_log_level: 0,
            reference,
        }
    }

    pub(super) fn decode(input: &mut Decoder<'_>, generation: Generation) -> Result<Self, DecodeError> {
        Ok(Self {
            name: Atom::decode(input)?,
            mode: ApplicationMode::from_number(isize::decode(input)?),
            options: ApplicationOptions::decode(input, generation)?,
            core: Pid::decode(input)?,
            core_environment: decode_environment(input)?,
            core_log_level: isize::decode(input)?,
            reference: Ref::decode(input)?,
        })
    }

    pub(super) fn encode(&self, generation: Generation, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.registered(TypeName::new(START_TYPE_NAME)?)?;
        self.name.encode(out)?;
        self.mode.number().encode(out)?;
        self.options.encode(generation, out)?;
        self.core.encode(out)?;
        encode_environment(&self.core_environment, out)?;
        self.core_log_level.encode(out)?;
        self.reference.encode(out)
    }
}

impl ApplicationOptions {
    fn decode(input: &mut Decoder<'_>, generation: Generation) -> Result<Self, DecodeError> {
        let mut options = Self {
            environment: decode_environment(input)?,
            log_level: isize::decode(input)?,
            ..Self::default()
        };
        if generation >= Generation::V330 {
            for timeout in [&mut options.init_timeout, &mut options.start_timeout, &mut options.stop_timeout]
            {
                *timeout = Duration::from_nanos(i64::decode(input)?.max(0) as u64);
            }
        }
        Ok(options)
    }

    fn encode(&self, generation: Generation, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        encode_environment(&self.environment, out)?;
        self.log_level.encode(out)?;
        if generation >= Generation::V330 {
            for timeout in [self.init_timeout, self.start_timeout, self.stop_timeout] {
                i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX).encode(out)?;
            }
        }
        Ok(())
    }
}

impl ApplicationMode {
    const fn from_number(number: isize) -> Self {
        match number {
            0 => Self::Unspecified,
            1 => Self::Temporary,
            2 => Self::Transient,
            3 => Self::Permanent,
            other => Self::Other(other),
        }
    }

    const fn number(self) -> isize {
        match self {
            Self::Unspecified => 0,
            Self::Temporary => 1,
            Self::Transient => 2,
            Self::Permanent => 3,
            Self::Other(other) => other,
        }
    }
}

impl ApplicationInfo {
    pub(super) fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { name: Atom::decode(input)?, reference: Ref::decode(input)? })
    }

    pub(super) fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.registered(TypeName::new(INFO_TYPE_NAME)?)?;
        self.name.encode(out)?;
        self.reference.encode(out)
    }
}
