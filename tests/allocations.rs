//! A hit on the express lane allocates nothing.

#[path = "../benches/support/mod.rs"]
mod support;

use support::{BROWSERS, PLAIN, Warm};

#[test]
fn none_for_a_hit() {
    let mut warm = Warm::new();
    let large = PLAIN.replace("/1k", "/10k");
    for request in [PLAIN, BROWSERS, &large] {
        // The first ones of a thread make its buffers and its cells of the counters.
        for _ in 0..3 {
            warm.answer(request);
        }
        let counted = allocation_counter::measure(|| {
            for _ in 0..100 {
                warm.answer(request);
            }
        });
        assert_eq!(counted.count_total, 0, "{request}");
    }
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(counted.count_total, 1);
}
