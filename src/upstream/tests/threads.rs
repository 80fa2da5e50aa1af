//! Real threads and real sockets: data threads with runtimes of their own, and the control runtime beside them.

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use super::*;

const DATA_THREADS: usize = 2;
const REQUESTS_A_THREAD: usize = 20;

/// One data thread: several requests on one current-thread runtime, which has no part in what wakes them.
fn data_thread(upstream: &Arc<Upstream>) -> Vec<ClaimReport> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let requests = (0..REQUESTS_A_THREAD).map(|_| request(Arc::clone(upstream)));
    runtime.block_on(futures::future::join_all(requests))
}

async fn request(upstream: Arc<Upstream>) -> ClaimReport {
    let mut claim = upstream.claim(ClaimRequest {
        path: "/",
        client: None,
        headers: &HeaderMap::new(),
        arrived: clock::now(),
    });
    loop {
        let target = claim.next().await.expect("held, not refused");
        let Socket::Tcp(addr) = *target.socket() else {
            unreachable!("the server is an address");
        };
        match TcpStream::connect(addr).await {
            Ok(_connection) => {
                claim.connected(false);
                claim.answered(StatusCode::OK);
                return claim.report();
            }
            Err(error) => {
                let complaint = connect::plain(&error);
                claim.connect_failed(ConnectFailure::NotThere, &complaint);
                claim.may_retry(ONCE).expect("a connect is always repeated");
            }
        }
    }
}

#[test]
fn requests_on_data_threads_are_woken_by_the_control_runtime() {
    let control = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    // A port that is free now and very likely a moment later; the listener's options allow it to be taken again.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = free.local_addr().expect("bound");
    drop(free);
    let server = ServerSettings::new(Endpoint::Tcp {
        host: addr.ip().to_string(),
        port: addr.port(),
    });
    let settings = [UpstreamSettings::new("api", vec![server])];
    let metrics = UpstreamMetrics::default();
    let environment = Environment::new(control.handle().clone(), metrics);
    let upstreams = Upstreams::build(&settings, None, &environment).expect("built");
    let upstream = upstreams.get("api").expect("there");
    let threads: Vec<_> = (0..DATA_THREADS)
        .map(|_| {
            let upstream = Arc::clone(upstream);
            std::thread::spawn(move || data_thread(&upstream))
        })
        .collect();
    control.block_on(async {
        while upstream.view().held < DATA_THREADS * REQUESTS_A_THREAD {
            tokio::task::yield_now().await;
        }
        let listener = TcpListener::bind(addr)
            .await
            .expect("the port is free still");
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    });
    for thread in threads {
        for report in thread.join().expect("no panic") {
            assert_eq!(report.retry_reason.is_some(), report.tries > 1);
            assert!(report.hold > Duration::ZERO);
        }
    }
    let view = upstream.view();
    assert!(view.available);
    assert_eq!((view.held, view.servers[0].addresses[0].in_flight), (0, 0));
}
