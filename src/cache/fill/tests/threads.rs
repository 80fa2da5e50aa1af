//! Writers and followers on different threads: every wake-up arrives.

use super::rig::{FRESH, NO_STORE, Rig, headers};
use crate::cache::fill::{Data, Event};
use crate::cache::lookup::Answer;
use crate::cache::policy::Moment;
use bytes::Bytes;
use http::StatusCode;
use std::sync::Arc;

const CLIENTS: usize = 64;
const PIECES: usize = 50;

/// What each client got: whole bodies, and words with which it was sent away.
async fn client(rig: Arc<Rig>, path: String, storable: bool) -> &'static str {
    let mut follower = match rig.get(&path) {
        Answer::Serve(_) | Answer::ServePart(_) => return "served",
        Answer::Forward(_) => return "forwarded",
        Answer::Follow(follower) => follower,
        Answer::Lead(mut lead, follower) => {
            tokio::spawn(async move {
                let fields = if storable { FRESH } else { NO_STORE };
                tokio::task::yield_now().await;
                lead.writer
                    .head(StatusCode::OK, headers(fields), Moment::now());
                for _ in 0..PIECES {
                    std::future::poll_fn(|cx| lead.writer.poll_ready(cx)).await;
                    lead.writer.data(Bytes::from_static(b"0123456789"));
                    tokio::task::yield_now().await;
                }
                lead.writer.end();
            });
            follower
        }
        Answer::OnlyIfCached(_) => return "only-if-cached",
    };
    match follower.event().await {
        Event::Response(..) => {}
        Event::Forward(_) => return "forwarded",
        other => panic!("{other:?}"),
    }
    let mut octets = 0;
    loop {
        match follower.data().await {
            Data::Chunk(chunk) => octets += chunk.len(),
            Data::End => break,
            Data::Cut => panic!("cut"),
        }
    }
    assert_eq!(octets, PIECES * 10);
    "whole"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_misses_a_wake_up() {
    let rig = Arc::new(Rig::new());
    for round in 0..40 {
        let storable = round % 2 == 0;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| tokio::spawn(client(Arc::clone(&rig), format!("/{round}"), storable)))
            .collect();
        let mut whole = 0;
        for client in clients {
            match client.await.expect("no client panics") {
                "whole" => whole += 1,
                "served" => assert!(storable),
                "forwarded" => assert!(!storable),
                other => panic!("{other}"),
            }
        }
        assert!(whole >= 1, "one at least was answered by a fetch");
        assert!(storable || whole == 1, "what cannot be shared went to one");
    }
    rig.assert_idle();
}
