//! `postroad decode`: bytes from the wire as JSON.

mod frame;
mod packet;
mod schema;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use postroad_edf::Registry;

use packet::{Packet, Packets, Protocol, Stop};

/// Shows what bytes from the wire say, as JSON.
///
/// EDF values, ENP frames, EHS (handshake) messages or ESRD (registrar)
/// packets, one line for each.
///
/// What stands for names, types and errors as a number is known from the
/// Introduce message of the same direction: put that in front of the frames.
#[derive(clap::Args)]
pub(crate) struct Decode {
    /// The bytes in hexadecimal, blanks and line ends allowed; `-` reads them
    /// from the standard input.
    hex: String,
    /// What the bytes are. By default the first one tells.
    #[arg(long = "as", value_enum, value_name = "PROTOCOL")]
    protocol: Option<Protocol>,
    /// Types to know besides those of a stock Ergo node: a file with one JSON
    /// object per line, such as
    /// {"name":"#main/Order","kind":"struct","fields":[["Id","uint64"],["Tags","[]string"]]}.
    #[arg(long, value_name = "FILE")]
    schema: Vec<PathBuf>,
    /// Spreads each JSON object over many lines.
    #[arg(long)]
    pretty: bool,
}

impl Decode {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let bytes = self.bytes()?;
        // What this program derives has fields of its own under names of Ergo's types.
        let registry = Registry::empty();
        for file in &self.schema {
            schema::register_file(&registry, file)?;
        }
        schema::register_stock(&registry)?;
        let mut packets = Packets::new(registry, self.protocol);
        let mut at = 0;
        let mut whole = true;
        while at < bytes.len() {
            let Packet { json, len, damage } =
                packets.next(&bytes[at..]).map_err(|Stop { at: within, why }| {
                    anyhow::anyhow!("stopped at byte {} of {}: {why:#}", at + within, bytes.len())
                })?;
            if self.pretty {
                println!("{json:#}")
            } else {
                println!("{json}")
            }
            if let Some(Stop { at: within, why }) = damage {
                eprintln!("the payload broke off at byte {} of {}: {why:#}", at + within, bytes.len());
                whole = false;
            }
            at += len;
        }
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let text = if self.hex == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read the standard input")?;
            text
        } else {
            self.hex.clone()
        };
        let digits: String = text.split_whitespace().collect();
        let digits = digits.strip_prefix("0x").unwrap_or(&digits);
        anyhow::ensure!(!digits.is_empty(), "there are no bytes; give them in hexadecimal, such as 9207");
        hex::decode(digits).context("these are not hexadecimal digits")
    }
}
