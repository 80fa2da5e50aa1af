//! What a large body costs the thread that sends it: copied from the heap, sent by the kernel from a file, or read from it.
//!
//! `taskset -c 0 cargo bench --bench large_bodies [rounds]`. Many connections over loopback, each request by request, through
//! the outbox and the client's stream as both lanes use them. The figure is the sending thread's time on a processor, which
//! other programs do not add to; ways take turns, and of the rounds the median is told. The clients are another process, on
//! the last processor.

#![expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "it prints figures"
)]

use bytes::{Bytes, BytesMut};
use forebay::arena::{Arena, FileRange};
use forebay::listen::crowd::Place;
use forebay::listen::lifecycle::Lifecycle;
use forebay::listen::outbox::Outbox;
use forebay::listen::stream::{ClientStream, Outlet};
use forebay::listen::tcp::Socket;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const HEAD: &[u8] = &[b'h'; 250];
const SIZES_KIB: [usize; 8] = [16, 32, 64, 100, 128, 256, 1024, 64 * 1024];
const SEGMENT: usize = 64 * 1024;

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Segments on the heap, written.
    Copied,
    /// A file, sent by the kernel behind a head that says that more comes.
    Sent,
    /// The same behind a head in a packet of its own.
    SentAlone,
    /// A file, read and written, as for TLS.
    Read,
}

const WAYS: [Way; 4] = [Way::Copied, Way::Sent, Way::SentAlone, Way::Read];

/// A client's stream with some of its ways closed.
struct Limited(ClientStream, Way);

impl AsyncWrite for Limited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Outlet for Limited {
    fn poll_send_file(
        &mut self,
        file: &FileRange,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Option<Poll<io::Result<usize>>> {
        if self.1 == Way::Read {
            return None;
        }
        self.0.poll_send_file(file, most, cx)
    }

    fn poll_write_more(&mut self, octets: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.1 == Way::SentAlone {
            return Pin::new(&mut self.0).poll_write(cx, octets);
        }
        self.0.poll_write_more(octets, cx)
    }
}

/// This thread's time on a processor.
fn on_processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    let nanos = stat.split(' ').next().and_then(|it| it.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

/// Connections at once.
const CONNECTIONS: usize = 32;

/// The other process: each of its connections asks so many times, and reads as many octets.
async fn clients(addr: &str, times: usize, length: usize) {
    let connections = (0..CONNECTIONS).map(|_| async {
        let mut stream = TcpStream::connect(addr).await.expect("it listens");
        for _ in 0..times {
            stream.write_all(b"x").await.expect("it reads");
            let mut left = length;
            while left > 0 {
                stream.readable().await.expect("it is open");
                match BUF.with_borrow_mut(|buf| {
                    let most = left.min(buf.len());
                    stream.try_read(&mut buf[..most])
                }) {
                    Ok(n @ 1..) => left -= n,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    closed => panic!("it closed early: {closed:?}"),
                }
            }
        }
    });
    futures::future::join_all(connections).await;
}

thread_local! {
    static BUF: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; 64 * 1024]);
}

/// Time on a processor and time passed, for one request.
async fn measure(way: Way, times: usize, segments: &[Bytes], file: &FileRange) -> (f64, f64) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("it is bound");
    let length = HEAD.len() + segments.iter().map(Bytes::len).sum::<usize>();
    let last = std::thread::available_parallelism().map_or(1, |it| it.get().max(2)) - 1;
    let mut reading = std::process::Command::new("taskset")
        .arg("-c")
        .arg(last.to_string())
        .arg(std::env::current_exe().expect("it runs"))
        .args([
            "clients",
            &addr.to_string(),
            &times.to_string(),
            &length.to_string(),
        ])
        .spawn()
        .expect("util-linux has taskset");
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let (stream, _) = listener.accept().await.expect("it connects");
        stream.set_nodelay(true).expect("it is open");
        streams.push(stream);
    }
    let (began, cpu) = (forebay::clock::now(), on_processor());
    let place = Place::nobodys(Lifecycle::new());
    let sockets = streams
        .into_iter()
        .map(|stream| Socket::new(stream, &place));
    let serving = sockets.map(|socket| async move {
        let mut io = Limited(ClientStream::Tcp(socket), way);
        let mut outbox = Outbox::default();
        for _ in 0..times {
            io.0.readable().await.expect("it asks");
            let mut byte = [0];
            let mut buf = ReadBuf::new(&mut byte);
            poll_fn(|cx| AsyncRead::poll_read(Pin::new(&mut io.0), cx, &mut buf))
                .await
                .expect("it asks");
            outbox.copy(HEAD);
            if way == Way::Copied {
                for segment in segments {
                    outbox.push(segment.clone());
                }
            } else {
                outbox.push_file(file.clone());
            }
            poll_fn(|cx| outbox.poll_write(&mut io, Duration::from_secs(30), cx))
                .await
                .expect("it reads");
        }
    });
    futures::future::join_all(serving).await;
    let cpu = on_processor().saturating_sub(cpu);
    let passed = forebay::clock::now() - began;
    assert!(reading.wait().expect("it runs").success());
    let one = |time: Duration| time.as_secs_f64() * 1e6 / (times * CONNECTIONS) as f64;
    (one(cpu), one(passed))
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    if let [_, word, addr, times, length] = args.as_slice()
        && word == "clients"
    {
        let number = |text: &str| text.parse().expect("a number");
        return runtime.block_on(clients(addr, number(times), number(length)));
    }
    let rounds = args.iter().find_map(|it| it.parse().ok()).unwrap_or(9);
    let arena: Arc<Arena> = Arena::new().expect("the system has such files");
    println!("µs on a processor a body, and in all; in parentheses of what copying takes");
    for kib in SIZES_KIB {
        let all = BytesMut::zeroed(kib * 1024).freeze();
        let segments: Vec<Bytes> = all.chunks(SEGMENT).map(Bytes::copy_from_slice).collect();
        let file = arena
            .store(segments.iter().cloned(), all.len() as u64, ())
            .expect("there is memory");
        let times = (6 * 1024 / kib).clamp(1, 100);
        let mut found = WAYS.map(|_| (Vec::new(), Vec::new()));
        for _ in 0..rounds {
            for (way, found) in WAYS.into_iter().zip(&mut found) {
                let (cpu, passed) = runtime.block_on(measure(way, times, &segments, &file));
                found.0.push(cpu);
                found.1.push(passed);
            }
        }
        let found = found.map(|(cpu, passed)| (median(cpu), median(passed)));
        let copied = found[0];
        let line = WAYS.iter().zip(found).map(|(way, (cpu, passed))| {
            format!(
                "{way:?} {cpu:.1} ({:.2}) {passed:.1} ({:.2})",
                cpu / copied.0,
                passed / copied.1
            )
        });
        println!("{kib:>6} KiB  {}", line.collect::<Vec<_>>().join("  "));
    }
}
