//! Packed frames, type 200 (`docs/wire/ENP.md` section 6).

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use weezl::BitOrder;

use super::frame::{Head, Method};
use super::kind;
use super::split::{HEADER_LEN, Split, SplitError, order_byte, split};
use super::write::{WriteError, write};

/// The threshold of a stock node: frames that are longer are packed, if their
/// sender has compression on.
pub const DEFAULT_THRESHOLD: usize = 1024;

/// How hard gzip tries; the other methods know one level only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Level {
    /// The middle way.
    #[default]
    Default,
    /// Fastest.
    BestSpeed,
    /// Smallest.
    BestSize,
}

/// Why a packed frame is dropped. The link lives on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The unpacked frame would be longer than this side takes.
    #[error("a packed frame announces {announced} bytes, at most {limit} are unpacked")]
    TooLong {
        /// The announced length.
        announced: u32,
        /// The limit.
        limit: u64,
    },
    /// More or fewer bytes come out than were announced.
    #[error("a packed frame announces {announced} bytes, but {unpacked} come out")]
    WrongLength {
        /// The announced length.
        announced: u32,
        /// How many came out; one more than announced if it goes on.
        unpacked: usize,
    },
    /// The packed data is damaged.
    #[error("packed data is damaged: {0}")]
    Damaged(#[source] io::Error),
    /// What comes out is not a frame.
    #[error("a packed frame holds no frame: {0}")]
    NoFrame(#[from] SplitError),
    /// What comes out is not exactly one frame.
    #[error("a packed frame of {announced} bytes holds a frame of another length")]
    NotOneFrame {
        /// The announced length.
        announced: u32,
    },
    /// A packed frame in a packed frame.
    #[error("a packed frame holds a packed frame")]
    Nested,
}

/// Appends `frame` in packed form to `out` and returns the length of the packed
/// frame. The order byte is copied. The result may be longer than what went in;
/// Ergo sends it all the same.
///
/// `frame` is a whole frame as [`write`](super::write()) appends it.
///
/// # Errors
/// [`WriteError::TooLong`] for 4 GiB and more. `out` is then as it was.
pub fn pack(
    frame: &[u8],
    method: Method,
    level: Level,
    out: &mut Vec<u8>,
) -> Result<usize, WriteError<io::Error>> {
    let unpacked_len = u32::try_from(frame.len()).map_err(|_| WriteError::TooLong(frame.len()))?;
    write(out, order_byte(frame), &Head::Compressed { method, unpacked_len }, |out| {
        deflate(frame, method, level, out)
    })
}

/// Unpacks what [`Head::Compressed`] announces and returns the frame that comes
/// out: exactly one, whole, and not packed again.
///
/// `limit` is the longest unpacked frame that is taken, in bytes; 0 stands for
/// no limit but the announced length. Memory grows with what comes out, never
/// with what is announced.
///
/// # Errors
/// The frame is to be dropped; the link lives on.
pub fn unpack(method: Method, announced: u32, packed: &[u8], limit: u64) -> Result<Vec<u8>, UnpackError> {
    if limit != 0 && u64::from(announced) > limit {
        return Err(UnpackError::TooLong { announced, limit });
    }
    let frame = inflate(method, announced, packed)?;
    match split(&frame, limit)? {
        Split::Frame { rest: [], .. } => {}
        _ => return Err(UnpackError::NotOneFrame { announced }),
    }
    if frame[HEADER_LEN - 1] == kind::COMPRESSED { Err(UnpackError::Nested) } else { Ok(frame) }
}

/// Appends `bytes` in packed form.
fn deflate(bytes: &[u8], method: Method, level: Level, out: &mut Vec<u8>) -> io::Result<()> {
    match method {
        Method::Gzip => {
            let mut packer = GzBuilder::new().operating_system(UNKNOWN_SYSTEM).write(out, level.of_gzip());
            packer.write_all(bytes)?;
            packer.finish().map(drop)
        }
        Method::Zlib => {
            let mut packer = flate2::write::ZlibEncoder::new(out, Compression::default());
            packer.write_all(bytes)?;
            packer.finish().map(drop)
        }
        Method::Lzw => {
            let mut packer = weezl::encode::Encoder::new(BitOrder::Lsb, LITERAL_BITS);
            let mut stream = packer.into_stream(out);
            stream.set_buffer_size(LZW_BUFFER);
            stream.encode_all(bytes).status
        }
    }
}

/// Unpacks exactly `announced` bytes.
fn inflate(method: Method, announced: u32, packed: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let mut sink = Sink::new(announced, packed.len());
    let outcome = match method {
        Method::Gzip => io::copy(&mut flate2::bufread::GzDecoder::new(packed), &mut sink).map(drop),
        Method::Zlib => io::copy(&mut flate2::bufread::ZlibDecoder::new(packed), &mut sink).map(drop),
        Method::Lzw => {
            let mut unpacker = weezl::decode::Decoder::new(BitOrder::Lsb, LITERAL_BITS);
            let mut stream = unpacker.into_stream(&mut sink);
            stream.set_buffer_size(LZW_BUFFER);
            stream.decode_all(packed).status
        }
    };
    sink.finish(outcome)
}

impl Level {
    const fn of_gzip(self) -> Compression {
        match self {
            Self::Default => Compression::new(6),
            Self::BestSpeed => Compression::fast(),
            Self::BestSize => Compression::best(),
        }
    }
}

/// Literals of LZW are bytes.
const LITERAL_BITS: u8 = 8;

/// How much LZW packs or unpacks at a time, in bytes: a few of the longest
/// words, where the library would take 16 MiB.
const LZW_BUFFER: usize = 32 << 10;

/// What gzip says about the system it ran on when it says nothing.
const UNKNOWN_SYSTEM: u8 = 255;

/// Takes unpacked bytes up to the announced length.
struct Sink {
    out: Vec<u8>,
    announced: u32,
    overrun: bool,
}

impl Sink {
    /// How many times the packed length is set aside at once.
    const USUAL_GAIN: usize = 4;

    fn new(announced: u32, packed_len: usize) -> Self {
        let likely = packed_len.saturating_mul(Self::USUAL_GAIN);
        Self { out: Vec::with_capacity(likely.min(announced as usize)), announced, overrun: false }
    }

    fn finish(self, outcome: io::Result<()>) -> Result<Vec<u8>, UnpackError> {
        let announced = self.announced;
        if self.overrun {
            return Err(UnpackError::WrongLength { announced, unpacked: announced as usize + 1 });
        }
        outcome.map_err(UnpackError::Damaged)?;
        if self.out.len() == announced as usize {
            Ok(self.out)
        } else {
            Err(UnpackError::WrongLength { announced, unpacked: self.out.len() })
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.announced as usize - self.out.len();
        if bytes.len() > room {
            self.overrun = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if bytes.len() > self.out.capacity() - self.out.len() {
            // Twice as much as there was, but nothing that will not be used.
            self.out.reserve_exact(room.min(bytes.len().max(self.out.len())));
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use serde_json::Value;

    use super::*;

    fn lzw_files() -> Vec<PathBuf> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
        let more = std::env::var_os("POSTROAD_VECTORS").map(PathBuf::from);
        let folders = [Some(own), more].into_iter().flatten();
        folders
            .flat_map(|folder| fs::read_dir(folder).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with("lzw") && name.ends_with(".jsonl")
            })
            .collect()
    }

    /// The bytes that were packed, of which the file says how they are made.
    fn input(line: &Value) -> Vec<u8> {
        if let Some(text) = line["input"].as_str() {
            return hex::decode(text).unwrap();
        }
        if let Some(repeat) = line["input_repeat"].as_array() {
            let unit = hex::decode(repeat[0].as_str().unwrap()).unwrap();
            return unit.repeat(repeat[1].as_u64().unwrap() as usize);
        }
        assert!(line["input_lcg"].is_string(), "an unknown kind of input in {line}");
        let mut x: u64 = 1;
        (0..line["length"].as_u64().unwrap())
            .map(|_| {
                x = (x * 1_103_515_245 + 12345) % (1 << 31);
                (x >> 16) as u8
            })
            .collect()
    }

    #[test]
    fn vector_lzw_streams_are_read_and_written() {
        let mut seen = 0;
        for path in lzw_files() {
            for line in fs::read_to_string(&path).unwrap().lines().filter(|line| !line.trim().is_empty()) {
                let line: Value = serde_json::from_str(line).unwrap();
                let name = &line["name"];
                let input = input(&line);
                let data = hex::decode(line["data"].as_str().unwrap()).unwrap();
                assert_eq!(input.len() as u64, line["length"].as_u64().unwrap(), "{name}");

                let length = input.len() as u32;
                let unpacked = inflate(Method::Lzw, length, &data).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert!(unpacked == input, "{name}: unpacked to something else");
                let mut packed = Vec::new();
                deflate(&input, Method::Lzw, Level::Default, &mut packed).unwrap();
                // When the code table is full, after 5000 bytes or more, Go clears
                // it one code earlier than we do; every decoder reads both.
                let fills_the_table = data.len() > 5000;
                assert!(packed == data || fills_the_table, "{name}: packed to something else");
                assert!(inflate(Method::Lzw, length, &packed).unwrap() == input, "{name}: damaged");
                seen += 1;
            }
        }
        assert!(seen >= 5, "only {seen} streams");
    }
}
