//! Points in time, as Go's binary form has them (`docs/wire/EDF.md` section 7).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{DecodeError, Decoder, EncodeError, Encoder};

/// A point in time and the zone offset it was noted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Time {
    /// Unix seconds: since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanoseconds: u32,
    /// The zone offset in seconds east of UTC; `None` is UTC itself, which the
    /// wire tells from an offset of 0. Offsets from -119 to -60 cannot be sent.
    pub offset: Option<i32>,
}

/// From the year 1, where the wire begins, to 1970, in seconds.
const UNIX_EPOCH_ON_WIRE: i64 = 62_135_596_800;
const UTC_ON_WIRE: i16 = -1;

impl Time {
    /// Go's zero time, 0001-01-01T00:00:00Z.
    pub const ZERO: Self = Self { seconds: -UNIX_EPOCH_ON_WIRE, nanoseconds: 0, offset: None };

    pub(crate) fn write(self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        let (minutes, rest) = match self.offset {
            None => (UTC_ON_WIRE, 0),
            Some(offset) => match i16::try_from(offset / 60) {
                Ok(minutes) if minutes != UTC_ON_WIRE => (minutes, (offset % 60) as i8),
                _ => return Err(EncodeError::Time(self)),
            },
        };
        if self.nanoseconds >= 1_000_000_000 {
            return Err(EncodeError::Time(self));
        }
        out.bytes(if rest == 0 { &[15, 1] } else { &[16, 2] });
        // Wrapping, as Go does: the ends of the range meet.
        out.u64(self.seconds.wrapping_add(UNIX_EPOCH_ON_WIRE) as u64);
        out.u32(self.nanoseconds);
        out.u16(minutes as u16);
        if rest != 0 {
            out.u8(rest as u8);
        }
        Ok(())
    }

    pub(crate) fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let with_seconds = match (input.u8()?, input.u8()?) {
            (15, 1) => false,
            (16, 2) => true,
            _ => return Err(DecodeError::Time),
        };
        let seconds = (input.u64()? as i64).wrapping_sub(UNIX_EPOCH_ON_WIRE);
        let nanoseconds = input.u32()?;
        let minutes = input.u16()? as i16;
        let rest = if with_seconds { input.u8()? as i8 } else { 0 };
        if nanoseconds >= 1_000_000_000 {
            return Err(DecodeError::Time);
        }
        let utc = minutes == UTC_ON_WIRE && rest == 0;
        let offset = (!utc).then_some(i32::from(minutes) * 60 + i32::from(rest));
        Ok(Self { seconds, nanoseconds, offset })
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let (seconds, nanoseconds) = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
            Err(before) => {
                let before = before.duration();
                let seconds = -(before.as_secs() as i64);
                match before.subsec_nanos() {
                    0 => (seconds, 0),
                    nanoseconds => (seconds - 1, 1_000_000_000 - nanoseconds),
                }
            }
        };
        Self { seconds, nanoseconds, offset: None }
    }
}

/// The time is outside what [`SystemTime`] can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is out of range for this system's clock")]
#[non_exhaustive]
pub struct TimeRangeError(pub Time);

impl TryFrom<Time> for SystemTime {
    type Error = TimeRangeError;

    fn try_from(time: Time) -> Result<Self, TimeRangeError> {
        let seconds = Duration::from_secs(time.seconds.unsigned_abs());
        let second =
            if time.seconds < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
        second
            .and_then(|second| second.checked_add(Duration::from_nanos(time.nanoseconds.into())))
            .ok_or(TimeRangeError(time))
    }
}

/// Unix seconds and the offset: calendars are not this crate's business.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}.{:09}", self.seconds, self.nanoseconds)?;
        match self.offset {
            None => f.write_str("Z"),
            Some(offset) => write!(f, "{offset:+}s"),
        }
    }
}
