//! Answers so many hits and ends: what callgrind counts. `benches/callgrind` takes the difference of two runs, so that what is before
//! and behind the hits does not count.

mod support;

use support::{BROWSERS, CONDITIONAL, PLAIN, Warm};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (Some(kind), Some(Ok(hits))) =
        (arguments.get(1), arguments.get(2).map(|n| n.parse::<u64>()))
    else {
        // Called by `cargo bench`, which asks for everything.
        return;
    };
    let ten = PLAIN.replace("/1k", "/10k");
    let request = match kind.as_str() {
        "plain" => PLAIN,
        "browser" => BROWSERS,
        "304" => CONDITIONAL,
        "10k" => &ten,
        other => panic!("no request is called {other}"),
    };
    let mut warm = Warm::new();
    let mut octets = 0;
    for _ in 0..hits {
        octets += warm.answer(request);
    }
    assert!(octets > 0);
}
