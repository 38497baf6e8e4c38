//! The routing table at 10 to 100,000 patterns: looking up, adding, and what a
//! route costs in memory.
//!
//! mimalloc, as in the program that postroad ships.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use postroad::network::routes::RoutingTable;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 4] = [10, 1_000, 10_000, 100_000];

/// What patterns look like.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// `^db-000042@host42\.example\.com$`
    Exact,
    /// `^db-000042-.*`
    Prefix,
    /// `.*@host000042\.example\.com$`
    Suffix,
    /// `db-000042@host42.example.com`, as the seed writes exact names.
    Plain,
    /// Twelve sets of characters in a row, such as `[0-4][a-h][-@.]…`: no
    /// character is certain and few names match.
    NoLiteral,
    /// One of each in turn, and one in ten without a literal.
    Mixture,
}

impl Shape {
    const ALL: [Self; 6] =
        [Self::Exact, Self::Prefix, Self::Suffix, Self::Plain, Self::NoLiteral, Self::Mixture];

    fn pattern(self, n: usize) -> String {
        match self {
            Self::Exact => format!(r"^db-{n:06}@host{}\.example\.com$", n % 97),
            Self::Prefix => format!("^db-{n:06}-.*"),
            Self::Suffix => format!(r".*@host{n:06}\.example\.com$"),
            Self::Plain => format!("db-{n:06}@host{}.example.com", n % 97),
            Self::NoLiteral => {
                let sets = ["[a-h]", "[i-q]", "[r-z]", "[0-4]", "[5-9]", "[-@.]", r"\d", r"[a-z]+"];
                // Scatters the numbers, so that patterns differ from their beginning on.
                let mut seed = (n as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let mut set = || {
                    seed ^= seed >> 29;
                    seed = seed.wrapping_mul(0xBF58_476D_1CE4_E5B9);
                    sets[(seed >> 61) as usize]
                };
                let body: String = (0..12).map(|_| set()).collect();
                if n % 20 < 10 { format!("^{body}") } else { body }
            }
            Self::Mixture if n % 10 == 9 => Self::NoLiteral.pattern(n),
            Self::Mixture => [Self::Exact, Self::Prefix, Self::Suffix, Self::Plain][n % 4].pattern(n),
        }
    }

    fn table(self, size: usize) -> RoutingTable<u32> {
        let table = RoutingTable::new();
        table.add_all((0..size).map(|n| (self.pattern(n), 0, 0))).expect("valid patterns");
        table
    }
}

/// A name that some patterns match.
fn name(n: usize) -> String {
    match n % 3 {
        0 => format!("db-{n:06}@host{}.example.com", n % 97),
        1 => format!("db-{n:06}-replica@internal.local"),
        _ => format!("cache@host{n:06}.example.com"),
    }
}

/// A name that was never there before, and that some patterns match or almost do.
fn new_name(turn: usize, size: usize) -> String {
    let n = turn * 7919 % size;
    match turn % 3 {
        0 => format!("db-{n:06}@host{}.example.com{turn}", n % 97),
        1 => format!("db-{n:06}-replica{turn}@internal.local"),
        _ => format!("cache{turn}@host{n:06}.example.com"),
    }
}

/// The memory of this program, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// What a route of each shape costs. All tables are kept until the end, so that
/// none is made of what another one has left.
fn memory(_: &mut Criterion) {
    const ROUTES: usize = 100_000;
    let mut tables = Vec::new();
    for shape in Shape::ALL {
        let before = resident();
        let table = RoutingTable::new();
        for n in 0..ROUTES {
            table.add(&shape.pattern(n), 0u32, 0).expect("a valid pattern");
        }
        println!("routes/memory/{shape:?}: {} bytes per route", (resident() - before) / ROUTES);
        tables.push(table);
    }
}

fn lookups(criterion: &mut Criterion) {
    for shape in Shape::ALL {
        let mut group = criterion.benchmark_group(format!("routes/lookup/{shape:?}"));
        for size in SIZES {
            let table = shape.table(size);
            let seen: Vec<String> = (0..1000).map(|n| name(n * 7919 % size)).collect();
            seen.iter().for_each(|name| drop(table.lookup(name)));
            let mut turn = seen.iter().cycle();
            group.bench_function(BenchmarkId::new("seen", size), |bencher| {
                bencher.iter(|| turn.next().map(|name| black_box(table.lookup(name))));
            });
            let mut names = (0..).map(|turn| new_name(turn, size));
            group.bench_function(BenchmarkId::new("new", size), |bencher| {
                bencher.iter_batched(
                    || names.next().unwrap_or_default(),
                    |name| table.lookup(&name),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

fn adds(criterion: &mut Criterion) {
    for shape in Shape::ALL {
        let mut group = criterion.benchmark_group(format!("routes/add/{shape:?}"));
        for size in &SIZES[..3] {
            group.throughput(Throughput::Elements(*size as u64));
            group.bench_function(BenchmarkId::new("at-once", size), |bencher| {
                bencher.iter_with_large_drop(|| shape.table(*size));
            });
            group.bench_function(BenchmarkId::new("one-by-one", size), |bencher| {
                bencher.iter_with_large_drop(|| {
                    let table = RoutingTable::new();
                    for n in 0..*size {
                        table.add(&shape.pattern(n), 0, 0).expect("a valid pattern");
                    }
                    table
                });
            });
        }
        let table = shape.table(100_000);
        let mut fresh = (100_000..).map(|n| shape.pattern(n));
        group.throughput(Throughput::Elements(1));
        group.bench_function("one-more-after-100000", |bencher| {
            bencher.iter_batched(
                || fresh.next().unwrap_or_default(),
                |pattern| table.add(&pattern, 0, 0).is_ok(),
                BatchSize::SmallInput,
            );
        });
    }
}

/// Lookups while another thread changes the table without a pause.
fn contention(criterion: &mut Criterion) {
    let table = Shape::Mixture.table(10_000);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                table.add("^nobody$", 0, 0).expect("a valid pattern");
                table.remove("^nobody$").expect("added above");
            }
        });
        let mut names = (0..).map(|n: usize| name(n * 7919 % 10_000));
        criterion.bench_function("routes/lookup-while-changing/10000", |bencher| {
            bencher.iter(|| names.next().map(|name| table.lookup(&name)));
        });
        stop.store(true, Ordering::Relaxed);
    });
}

criterion_group! {
    name = routes;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = memory, lookups, adds, contention
}
criterion_main!(routes);
