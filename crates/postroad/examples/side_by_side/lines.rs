//! What is printed: JSON lines, the same that `interop/bench` prints of Ergo.

use crate::Failure;

/// Rates of several runs, in messages (or whatever is counted) per second.
/// `bytes` is how many a message has, or 0 where that says nothing.
pub(crate) fn rates(bench: &str, mut rates: Vec<f64>, bytes: usize) {
    rates.sort_by(f64::total_cmp);
    let (median, min, max) = (rates[rates.len() / 2], rates[0], rates[rates.len() - 1]);
    let volume = match bytes {
        0 => String::new(),
        bytes => format!(",\"mb_per_sec\":{:.0}", median * bytes as f64 / 1e6),
    };
    println!(
        "{{\"bench\":\"{bench}\",\"runs\":{},\"msgs_per_sec\":{median:.0},\"min\":{min:.0},\"max\":{max:.0}{volume}}}",
        rates.len()
    );
}

/// How long each of many calls took, in nanoseconds.
pub(crate) fn calls(bench: &str, mut calls: Vec<u64>) {
    calls.sort_unstable();
    let at = |q: f64| calls[((calls.len() - 1) as f64 * q) as usize] as f64 / 1e3;
    println!(
        "{{\"bench\":\"{bench}\",\"calls\":{},\"p50_us\":{:.3},\"p99_us\":{:.3},\"p999_us\":{:.3}}}",
        calls.len(),
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

/// What each of so many costs in memory.
pub(crate) fn memory(bench: &str, count: u64, bytes_each: u64) {
    println!("{{\"bench\":\"{bench}\",\"count\":{count},\"bytes_each\":{bytes_each}}}");
}

/// The memory of this process that is in use, in bytes.
pub(crate) fn resident() -> Result<u64, Failure> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    Ok(pages.split(' ').nth(1).ok_or("statm")?.parse::<u64>()? * 4096)
}
