//! What is fetched for clients that do not take it: how much of it there may be, of all together.

use super::rig::{NO_STORE, Rig, data, response};
use crate::cache::fill::Data;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

const CHUNK: usize = 8 * 1024;
const ALL: usize = 64 * 1024 * 1024;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn of_what_nobody_takes_all_fetches_together_hold_so_much() {
    let rig = Rig::new();
    let mut fetches = Vec::new();
    let mut held = 0;
    for n in 0..2_000 {
        let (mut lead, mut follower) = rig.lead(&format!("/{n}"), &[]);
        lead.head(200, NO_STORE);
        response(&mut follower);
        while lead.is_ready() {
            lead.writer.data(Bytes::from(vec![0; CHUNK]));
            held += CHUNK;
        }
        fetches.push((lead, follower));
    }
    let most = ALL + 256 * 1024 + fetches.len() * 2 * CHUNK;
    assert!((ALL..=most).contains(&held), "{held}");
    assert_eq!(rig.ahead(), held);
    // Each goes on as its client takes, however little is here of it.
    for (lead, follower) in &mut fetches[1_990..] {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(lead.writer.poll_ready(&mut cx).is_pending());
        while !woken.0.load(Ordering::Relaxed) {
            assert!(matches!(data(follower), Some(Data::Chunk(_))));
        }
        assert!(lead.is_ready());
    }
    // Who waited while there was too much, and is not far behind once there is not, is not forgotten.
    let (lead, _) = &mut fetches[1_000];
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(lead.writer.poll_ready(&mut cx).is_pending());
    let mut one = fetches.swap_remove(1_000);
    fetches.clear();
    assert!(matches!(data(&mut one.1), Some(Data::Chunk(_))));
    assert!(woken.0.load(Ordering::Relaxed));
    one.0.writer.end();
    drop(one);
    assert_eq!(rig.ahead(), 0);
    rig.assert_idle();
}
