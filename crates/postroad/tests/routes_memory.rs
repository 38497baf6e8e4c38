//! What a route costs, measured by counting what is allocated.

// Counting takes an allocator, and an allocator is unsafe.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use postroad::network::routes::RoutingTable;

struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A way to write the pattern of the n-th route.
type Shape = (&'static str, fn(usize) -> String);

/// One test, for others would be counted as well.
#[test]
fn memory_is_bounded() {
    const ROUTES: usize = 2_000;
    let shapes: [Shape; 7] = [
        ("exact", |n| format!(r"^db-{n:06}@host{}\.example\.com$", n % 97)),
        ("prefix", |n| format!("^db-{n:06}-.*")),
        ("suffix", |n| format!(r".*@host{n:06}\.example\.com$")),
        ("plain", |n| format!("db-{n:06}@host{}.example.com", n % 97)),
        ("digits", |n| format!(r"^db-{n:06}[0-9]+@host{}\.example\.com$", n % 97)),
        ("sets", |n| {
            let sets = ["[a-h]", "[i-q]", "[r-z]", "[0-4]", "[5-9]", "[-@.]", r"\d", "[a-z]"];
            format!("^{}", (0..12).map(|at| sets[(n >> at) % 8]).collect::<String>())
        }),
        ("both ends", |n| format!(r"^db-{n:06}.*@host{}\.example\.com$", n % 97)),
    ];
    for (shape, pattern) in shapes {
        let before = IN_USE.load(Ordering::Relaxed);
        let table = RoutingTable::new();
        for n in 0..ROUTES {
            table.add(&pattern(n), (), 0).unwrap();
        }
        let each = (IN_USE.load(Ordering::Relaxed) - before) / ROUTES;
        println!("{shape}: {each} bytes a route");
        assert!(each < 640, "{shape}: {each} bytes a route");
        for n in 0..ROUTES {
            table.remove(&pattern(n)).unwrap();
        }
        let left = IN_USE.load(Ordering::Relaxed) - before;
        println!("{shape}: {left} bytes left");
        assert!(left < 100 * ROUTES, "{shape}: {left} bytes after everything was removed");
    }

    let table = RoutingTable::new();
    table.add("node", (), 0).unwrap();
    let before = IN_USE.load(Ordering::Relaxed);
    for n in 0..150_000 {
        table.lookup(&format!("node-{n:0100}@example.com"));
    }
    let remembered = IN_USE.load(Ordering::Relaxed) - before;
    println!("{remembered} bytes remembered");
    assert!((4 << 20..24 << 20).contains(&remembered), "{remembered} bytes remembered");
}
