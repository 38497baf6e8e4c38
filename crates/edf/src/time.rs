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

/// As RFC 3339 has it, such as `2025-11-13T18:42:50.123456789+01:00`. Years
/// before 0 and after 9999 are written out, seconds of the offset are not.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset.unwrap_or(0);
        let local = i128::from(self.seconds) + i128::from(offset);
        let (days, second) = (local.div_euclid(86400), local.rem_euclid(86400));
        let (year, month, day) = date(days);
        let sign = if year < 0 { "-" } else { "" };
        write!(f, "{sign}{:04}-{month:02}-{day:02}", year.abs())?;
        write!(f, "T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)?;
        if self.nanoseconds != 0 {
            let fraction = format!("{:09}", self.nanoseconds);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        if offset == 0 {
            return f.write_str("Z");
        }
        let minutes = offset / 60;
        let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian
/// calendar. Years begin in March here, so that a leap day is the last day.
fn date(days: i128) -> (i128, i128, i128) {
    const DAYS_OF_400_YEARS: i128 = 146_097;
    const FROM_YEAR_0_TO_1970: i128 = 719_468;
    let days = days + FROM_YEAR_0_TO_1970;
    let day_of_era = days.rem_euclid(DAYS_OF_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let january_or_february = month >= 10;
    let year = days.div_euclid(DAYS_OF_400_YEARS) * 400 + year_of_era + i128::from(january_or_february);
    (year, if january_or_february { month - 9 } else { month + 3 }, day)
}
