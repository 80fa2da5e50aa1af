//! Open-loop HTTP/1.1 load: so many requests a second, whether or not the ones before have been answered.
//!
//! `knock open ADDR[,ADDR…] PATH RATE SECONDS` sends GETs on kept connections and prints one JSON object. What a careful
//! client does is not a failure: a connection that the server closed while it was idle is replaced, and an address that
//! refuses is left for the next one. Everything else is: a status that is not 200, a reset, a cut, no answer in time.
//!
//! `knock idle ADDR PATH N` makes N connections, one request on each, says so, and holds them until its input ends.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Longer than anybody holds a request.
const PATIENCE: Duration = Duration::from_secs(20);

type Error = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["open", addresses, path, rate, seconds] => {
            LocalSet::new()
                .run_until(open(addresses, path, rate.parse()?, seconds.parse()?))
                .await;
            Ok(())
        }
        ["idle", address, path, connections] => idle(address, path, connections.parse()?).await,
        _ => Err("knock open ADDR[,ADDR…] PATH RATE SECONDS | knock idle ADDR PATH N".into()),
    }
}

/// What all requests share.
struct Load {
    addresses: Vec<String>,
    request: Vec<Vec<u8>>,
    /// Kept connections with the number of their address, the freshest last.
    idle: RefCell<VecDeque<(usize, TcpStream)>>,
    next: RefCell<usize>,
    tally: RefCell<Tally>,
}

#[derive(Default)]
struct Tally {
    outcomes: BTreeMap<String, u64>,
    latencies_ms: Vec<f64>,
    connections: u64,
    closed_while_idle: u64,
    refused: u64,
}

async fn open(addresses: &str, path: &str, rate: u64, seconds: u64) {
    let addresses: Vec<String> = addresses.split(',').map(str::to_owned).collect();
    let request = addresses.iter().map(|a| get(a, path)).collect();
    let load = Load {
        addresses,
        request,
        idle: RefCell::default(),
        next: RefCell::default(),
        tally: RefCell::default(),
    };
    let load = Rc::new(load);
    let mut requests = JoinSet::new();
    let mut ticks = interval(Duration::from_millis(1));
    // Late ticks are made up for: the load is open, the machine's hiccups are not the server's excuse.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    let mut sent = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        ticks.tick().await;
        let due = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX) * rate / 1_000_000;
        while sent < due {
            sent += 1;
            let load = load.clone();
            requests.spawn_local(async move { load.one().await });
        }
    }
    while requests.join_next().await.is_some() {}
    load.tally.borrow_mut().print(sent);
}

impl Load {
    async fn one(&self) {
        let began = Instant::now();
        let outcome = match timeout(PATIENCE, self.exchange()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.kind().to_string().replace(' ', "_"),
            Err(_) => "no_answer".to_owned(),
        };
        let mut tally = self.tally.borrow_mut();
        tally.latencies_ms.push(began.elapsed().as_secs_f64() * 1e3);
        *tally.outcomes.entry(outcome).or_default() += 1;
    }

    async fn exchange(&self) -> io::Result<u16> {
        let (at, mut stream) = match self.kept() {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        stream.write_all(&self.request[at]).await?;
        let (status, keep) = answer(&mut stream).await?;
        if keep {
            self.idle.borrow_mut().push_back((at, stream));
        }
        Ok(status)
    }

    /// A kept connection that the server has not closed.
    fn kept(&self) -> Option<(usize, TcpStream)> {
        loop {
            let (at, stream) = self.idle.borrow_mut().pop_back()?;
            match stream.try_read(&mut [0; 1]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Some((at, stream));
                }
                _ => self.tally.borrow_mut().closed_while_idle += 1,
            }
        }
    }

    /// A new connection, to the next address that does not refuse.
    async fn connect(&self) -> io::Result<(usize, TcpStream)> {
        let first = self.next.replace_with(|next| next.wrapping_add(1));
        let mut last = None;
        for after in 0..self.addresses.len() {
            let at = first.wrapping_add(after) % self.addresses.len();
            match TcpStream::connect(&self.addresses[at]).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    self.tally.borrow_mut().connections += 1;
                    return Ok((at, stream));
                }
                Err(error) => {
                    self.tally.borrow_mut().refused += 1;
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }
}

impl Tally {
    fn print(&mut self, sent: u64) {
        self.latencies_ms.sort_by(f64::total_cmp);
        let percentile = |p: usize| {
            self.latencies_ms
                .get(self.latencies_ms.len() * p / 1_000)
                .copied()
                .unwrap_or(0.0)
        };
        let outcomes: Vec<String> = self
            .outcomes
            .iter()
            .map(|(k, n)| format!("\"{k}\": {n}"))
            .collect();
        println!(
            "{{\"sent\": {sent}, \"failed\": {}, \"outcomes\": {{{}}}, \"connections\": {}, \"closed_while_idle\": {}, \
             \"refused\": {}, \"latency_ms\": {{\"p50\": {:.2}, \"p99\": {:.2}, \"max\": {:.2}}}}}",
            sent - self.outcomes.get("200").copied().unwrap_or(0),
            outcomes.join(", "),
            self.connections,
            self.closed_while_idle,
            self.refused,
            percentile(500),
            percentile(990),
            self.latencies_ms.last().copied().unwrap_or(0.0),
        );
    }
}

async fn idle(address: &str, path: &str, connections: usize) -> Result<(), Error> {
    let request = get(address, path);
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&request).await?;
        let (status, keep) = answer(&mut stream).await?;
        if status != 200 || !keep {
            return Err(format!("answered {status}, kept: {keep}").into());
        }
        open.push(stream);
    }
    println!("idle");
    // Blocking on purpose: nothing else is to happen here.
    let mut line = String::new();
    while io::stdin().read_line(&mut line)? > 0 {}
    Ok(())
}

fn get(address: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()
}

/// Reads a whole answer: its status, and whether the connection stays.
async fn answer(stream: &mut TcpStream) -> io::Result<(u16, bool)> {
    let mut bytes = Vec::with_capacity(2048);
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, &mut bytes).await?;
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let status = text
        .get(9..12)
        .and_then(|s| s.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let length: usize = field("content-length:")
        .and_then(|l| l.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    while bytes.len() < head + length {
        more(stream, &mut bytes).await?;
    }
    Ok((
        status,
        field("connection:") != Some("close") && bytes.len() == head + length,
    ))
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
