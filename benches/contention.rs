//! Nanoseconds of a hit on one thread, and on two that ask for the same entry or for one each.
//!
//! What two threads write to in common shows as the difference: the entry's reference count and its place in the store's order of
//! eviction, and nothing else.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod support;

use forebay::clock;
use std::sync::{Arc, Barrier};
use std::thread;
use support::{PLAIN, Warm};

const HITS: u32 = 300_000;
const ROUNDS: usize = 9;

fn main() {
    let warm = Warm::new();
    let large = PLAIN.replace("/1k", "/10k");
    for (name, requests) in [
        ("one thread", &[PLAIN][..]),
        ("two threads, one entry", &[PLAIN, PLAIN]),
        ("one thread, 10 KiB", &[&large]),
        ("two threads, an entry each", &[PLAIN, &large]),
    ] {
        let mut rounds: Vec<u128> = (0..ROUNDS).map(|_| round(&warm, requests)).collect();
        rounds.sort_unstable();
        println!("{name}: {} ns a hit", rounds[ROUNDS / 2]);
    }
}

/// The slower thread's time for each of its hits.
fn round(warm: &Warm, requests: &[&str]) -> u128 {
    let start = Arc::new(Barrier::new(requests.len()));
    let threads: Vec<_> = requests
        .iter()
        .map(|request| {
            let (mut warm, start, request) = (warm.beside(), start.clone(), (*request).to_owned());
            thread::spawn(move || {
                warm.answer(&request);
                start.wait();
                let began = clock::now();
                for _ in 0..HITS {
                    warm.answer(&request);
                }
                began.elapsed().as_nanos() / u128::from(HITS)
            })
        })
        .collect();
    let each = threads
        .into_iter()
        .map(|thread| thread.join().expect("it ends"));
    each.max().unwrap_or_default()
}
