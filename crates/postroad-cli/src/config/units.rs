//! Times and sizes as people write them.

use std::time::Duration;

const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Reads `3s`, `500ms`, `1m30s`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut milliseconds = 0u64;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let (number, unit, behind) = number_and_unit(rest)?;
        let (_, factor) = TIMES.iter().find(|(name, _)| *name == unit)?;
        milliseconds = milliseconds.checked_add(number.checked_mul(*factor)?)?;
        rest = behind;
    }
    Some(Duration::from_millis(milliseconds))
}

/// Writes what [`duration`] reads.
pub(crate) fn show_duration(time: Duration) -> String {
    let milliseconds = time.as_millis();
    if milliseconds.is_multiple_of(1000) {
        format!("{}s", milliseconds / 1000)
    } else {
        format!("{milliseconds}ms")
    }
}

/// Writes a limit that may be `false`: none.
pub(crate) fn show_limit(limit: Option<Duration>) -> String {
    limit.map_or_else(|| "false".to_owned(), show_duration)
}

/// Reads `64MiB`, `10MB`, `4096B`: bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, unit, behind) = number_and_unit(text)?;
    let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit).filter(|_| behind.is_empty())?;
    number.checked_mul(*factor)
}

/// Writes what [`size`] reads.
pub(crate) fn show_size(bytes: u64) -> String {
    let units = ["GiB", "MiB", "KiB", "B"]
        .into_iter()
        .filter_map(|unit| SIZES.iter().find(|(name, _)| *name == unit));
    let fits = units.into_iter().find(|(_, factor)| bytes.is_multiple_of(*factor) && bytes >= *factor);
    let (unit, factor) = fits.copied().unwrap_or(("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// The number and the unit in front, and what is behind them.
fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let unit = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, rest) = text.split_at(unit);
    let rest = rest.trim_start_matches(' ');
    let end = rest.find(|char: char| !char.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, behind) = rest.split_at(end);
    Some((number.parse().ok()?, unit, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in
            [("3s", 3000), ("500ms", 500), ("1m30s", 90_000), ("2h", 7_200_000), ("0s", 0), ("3 s", 3000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in [
            "",
            "3",
            "s",
            "3 seconds",
            "-3s",
            "3s!",
            "1.5s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        for text in ["3s", "500ms", "90s"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("64MiB", 64 << 20), ("10 MB", 10_000_000), ("4096B", 4096), ("1GiB", 1 << 30)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for wrong in ["", "64", "64MiBs", "64Mi", "MiB", "1.5MiB", "64MiB 1B", "18446744073709551615KiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
        assert_eq!([show_size(128 << 20), show_size(1500), show_size(0)], ["128MiB", "1500B", "0B"]);
    }
}
