//! Starting a process on another node (`docs/wire/ENP.md` section 8 "Remote
//! spawn"; the layouts: `docs/wire/EDF.md` sections 13 and 14).

use std::collections::BTreeMap;

use postroad_edf::{Atom, DecodeError, Decoder, Edf as _, EncodeError, Encoder, Payload, Pid, Ref, TypeName};

use super::Generation;

pub(super) const TYPE_NAME: &str = "#ergo.services/ergo/net/proto/MessageSpawn";

/// Environment variables: `map[gen/Env]any`. None at all is nil on the wire.
pub type Environment = BTreeMap<String, Payload>;

/// `proto/MessageSpawn` with `gen/ProcessOptionsExtra`: the wish to start a
/// process.
#[derive(Debug)]
pub struct Spawn {
    /// Under which name the receiver has enabled the factory.
    pub name: Atom,
    /// How the process is to run.
    pub options: ProcessOptions,
    /// Who asks: a process, or PID 1 for the node.
    pub parent: Pid,
    /// The leader of that process.
    pub parent_leader: Pid,
    /// The environment of that process, if it exposes it.
    pub parent_environment: Environment,
    /// The log level of that process.
    pub parent_log_level: isize,
    /// The trace that it happens in. Since 3.3.0.
    pub tracing: Tracing,
    /// The name to register the new process by; empty for none.
    pub register: Atom,
    /// The application of the asking process; empty for none.
    pub application: Atom,
    /// Whether the new process belongs to the group of that application. Since
    /// 3.3.0.
    pub application_group_member: bool,
    /// What the factory is given.
    pub arguments: Vec<Payload>,
    /// What the answer brings back. Since 3.2.0 its last id is a deadline in
    /// Unix seconds.
    pub reference: Ref,
}

/// `gen/ProcessOptions`: how a process is to run.
#[derive(Debug)]
pub struct ProcessOptions {
    /// How many messages may wait; 0 for any number.
    pub mailbox_size: i64,
    /// The leader; a zero PID for that of the parent.
    pub leader: Pid,
    /// Variables of its own.
    pub environment: Environment,
    /// How what it sends is packed.
    pub compression: Compression,
    /// The priority of what it sends.
    pub send_priority: isize,
    /// Whether what it sends is important.
    pub important_delivery: bool,
    /// Where messages go that its mailbox has no room for.
    pub fallback: Fallback,
    /// Whether it ends with its parent.
    pub link_parent: bool,
    /// Whether its parent ends with it.
    pub link_child: bool,
    /// Its log level; 0 for that of the parent.
    pub log_level: isize,
    /// How many seconds its init may take; 0 for the default. Since 3.2.0.
    pub init_timeout: isize,
    /// Whether its mailbox survives its end. Since 3.3.0.
    pub preserve_mailbox: bool,
}

/// `gen/Compression`: how what a process sends is packed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compression {
    /// Whether it is packed.
    pub enable: bool,
    /// `gzip`, `zlib`, `lzw`, or nothing for the default.
    pub method: String,
    /// 0 default, 1 best speed, 2 best size.
    pub level: isize,
    /// Frames longer than this are packed, in bytes.
    pub threshold: isize,
}

/// `gen/ProcessFallback`: where messages go that a mailbox has no room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// Whether they go anywhere.
    pub enable: bool,
    /// The process that gets them.
    pub name: Atom,
    /// What they are marked with.
    pub tag: String,
}

/// `gen/Tracing`: the trace that something happens in; all zero for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tracing {
    /// The trace.
    pub trace: [u64; 2],
    /// The span.
    pub span: u64,
    /// The behavior that started it.
    pub behavior: String,
}

impl Spawn {
    /// A spawn with default options and nothing else.
    pub fn new(name: Atom, parent: Pid, reference: Ref) -> Self {
        Self {
            name,
            options: ProcessOptions::default(),
            parent,
            parent_leader: parent,
            parent_environment: Environment::new(),
            parent_log_level: 0,
            tracing: Tracing::default(),
            register: Atom::empty(),
            application: Atom::empty(),
            application_group_member: false,
            arguments: Vec::new(),
            reference,
        }
    }

    pub(super) fn decode(input: &mut Decoder<'_>, generation: Generation) -> Result<Self, DecodeError> {
        let since = |first| generation >= first;
        let name = Atom::decode(input)?;
        let options = ProcessOptions::decode(input, generation)?;
        let parent = Pid::decode(input)?;
        let parent_leader = Pid::decode(input)?;
        let parent_environment = decode_environment(input)?;
        let parent_log_level = isize::decode(input)?;
        let tracing = if since(Generation::V330) { Tracing::decode(input)? } else { Tracing::default() };
        let register = Atom::decode(input)?;
        let application = Atom::decode(input)?;
        let application_group_member = since(Generation::V330) && bool::decode(input)?;
        if since(Generation::V320) {
            // The same as the one behind the options.
            Ref::decode(input)?;
        }
        let arguments = Option::<Vec<Payload>>::decode(input)?.unwrap_or_default();
        let reference = Ref::decode(input)?;
        Ok(Self {
            name,
            options,
            parent,
            parent_leader,
            parent_environment,
            parent_log_level,
            tracing,
            register,
            application,
            application_group_member,
            arguments,
            reference,
        })
    }

    pub(super) fn encode(&self, generation: Generation, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.registered(TypeName::new(TYPE_NAME)?)?;
        self.name.encode(out)?;
        self.options.encode(generation, out)?;
        self.parent.encode(out)?;
        self.parent_leader.encode(out)?;
        encode_environment(&self.parent_environment, out)?;
        self.parent_log_level.encode(out)?;
        if generation >= Generation::V330 {
            self.tracing.encode(out)?;
        }
        self.register.encode(out)?;
        self.application.encode(out)?;
        if generation >= Generation::V330 {
            self.application_group_member.encode(out)?;
        }
        if generation >= Generation::V320 {
            self.reference.encode(out)?;
        }
        encode_arguments(&self.arguments, out)?;
        self.reference.encode(out)
    }
}

impl Default for ProcessOptions {
    fn default() -> Self {
        Self {
            mailbox_size: 0,
            leader: Pid { node: Atom::empty(), id: 0, creation: 0 },
            environment: Environment::new(),
            compression: Compression::default(),
            send_priority: 0,
            important_delivery: false,
            fallback: Fallback { enable: false, name: Atom::empty(), tag: String::new() },
            link_parent: false,
            link_child: false,
            log_level: 0,
            init_timeout: 0,
            preserve_mailbox: false,
        }
    }
}

impl ProcessOptions {
    fn decode(input: &mut Decoder<'_>, generation: Generation) -> Result<Self, DecodeError> {
        Ok(Self {
            mailbox_size: i64::decode(input)?,
            leader: Pid::decode(input)?,
            environment: decode_environment(input)?,
            compression: Compression {
                enable: bool::decode(input)?,
                method: String::decode(input)?,
                level: isize::decode(input)?,
                threshold: isize::decode(input)?,
            },
            send_priority: isize::decode(input)?,
            important_delivery: bool::decode(input)?,
            fallback: Fallback {
                enable: bool::decode(input)?,
                name: Atom::decode(input)?,
                tag: String::decode(input)?,
            },
            link_parent: bool::decode(input)?,
            link_child: bool::decode(input)?,
            log_level: isize::decode(input)?,
            init_timeout: if generation >= Generation::V320 { isize::decode(input)? } else { 0 },
            preserve_mailbox: generation >= Generation::V330 && bool::decode(input)?,
        })
    }

    fn encode(&self, generation: Generation, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        self.mailbox_size.encode(out)?;
        self.leader.encode(out)?;
        encode_environment(&self.environment, out)?;
        self.compression.enable.encode(out)?;
        self.compression.method.encode(out)?;
        self.compression.level.encode(out)?;
        self.compression.threshold.encode(out)?;
        self.send_priority.encode(out)?;
        self.important_delivery.encode(out)?;
        self.fallback.enable.encode(out)?;
        self.fallback.name.encode(out)?;
        self.fallback.tag.encode(out)?;
        self.link_parent.encode(out)?;
        self.link_child.encode(out)?;
        self.log_level.encode(out)?;
        if generation >= Generation::V320 {
            self.init_timeout.encode(out)?;
        }
        if generation >= Generation::V330 {
            self.preserve_mailbox.encode(out)?;
        }
        Ok(())
    }
}

impl Tracing {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            trace: <[u64; 2]>::decode(input)?,
            span: u64::decode(input)?,
            behavior: String::decode(input)?,
        })
    }

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        self.trace.encode(out)?;
        self.span.encode(out)?;
        self.behavior.encode(out)
    }
}

/// Variables, of which none may be nil or an empty map.
pub(super) fn decode_environment(input: &mut Decoder<'_>) -> Result<Environment, DecodeError> {
    Ok(Option::<Environment>::decode(input)?.unwrap_or_default())
}

/// Variables; none is nil, as Ergo writes it.
pub(super) fn encode_environment(
    environment: &Environment,
    out: &mut Encoder<'_>,
) -> Result<(), EncodeError> {
    if environment.is_empty() { encode_nil(out) } else { environment.encode(out) }
}

fn encode_arguments(arguments: &Vec<Payload>, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
    if arguments.is_empty() { encode_nil(out) } else { arguments.encode(out) }
}

fn encode_nil(out: &mut Encoder<'_>) -> Result<(), EncodeError> {
    Option::<Environment>::None.encode(out)
}
