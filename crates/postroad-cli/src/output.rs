//! What the program says to the standard output.
//!
//! `print!` and `println!` of the standard library panic when nobody reads on
//! (`| head -1`) or the disk is full. Those of this module, which take their
//! place in the whole program, end it instead.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};
use std::time::Duration;

/// What a shell makes of a program that SIGPIPE has ended, which Rust ignores.
const NOBODY_READS: i32 = 128 + 13;

macro_rules! print {
    ($($said:tt)*) => {
        $crate::output::print(format_args!($($said)*))
    };
}

macro_rules! println {
    () => {
        $crate::output::print(format_args!("\n"))
    };
    ($($said:tt)*) => {
        $crate::output::print(format_args!("{}\n", format_args!($($said)*)))
    };
}

/// `eprintln!` would panic, and there is nowhere left to say that.
macro_rules! eprintln {
    ($($said:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($said)*);
    }};
}

/// Prints, or ends the program: without a word if nobody reads any more.
pub(crate) fn print(said: Arguments<'_>) {
    let mut out = io::stdout();
    if let Err(error) = out.write_fmt(said).and_then(|()| out.flush()) {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(NOBODY_READS);
        }
        eprintln!("postroad: cannot write to the standard output: {error}");
        std::process::exit(1);
    }
}

/// Prints for a program that goes on when nobody reads.
pub(crate) fn mention(said: Arguments<'_>) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{said}").and_then(|()| out.flush());
}

/// A text of somebody else, without what would move a terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { plain.extend(letter.escape_default()) } else { plain.push(letter) }
    }
    plain
}

/// For people.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

/// For JSON: with three digits of nanoseconds.
pub(crate) fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_moves_no_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nü"), "a\\u{1b}[2Jb\\nü");
    }
}
