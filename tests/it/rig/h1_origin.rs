//! The scripted origin over HTTP/1.1.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use super::origin::{Received, Shared};
use super::reply::Step;
use super::stream::Stream;
use super::wire::{Body, Framing, Head, Reader, WireError};
use super::{Gate, Reply, status, websocket};

/// One HTTP/1.1 connection.
pub async fn serve(shared: Arc<Shared>, stream: Stream) {
    let mut reader = Reader::new(stream);
    let connection = shared.connected(reader.transcript());
    for nth in 0.. {
        match reader.head().await {
            Ok(Some(head)) => {
                if answer(&shared, &mut reader, connection, nth, head)
                    .await
                    .is_none()
                {
                    break;
                }
            }
            Ok(None) | Err(WireError::Reset(_)) => break,
            // A connection that the edge gave up in the middle of a head is strange enough to be a fault.
            Err(error) => {
                shared.fault(format!("{error}"));
                break;
            }
        }
    }
    shared.hung_up(connection);
}

/// Reads one request and answers it; `None` when the connection is over.
async fn answer(
    shared: &Shared,
    reader: &mut Reader<Stream>,
    connection: usize,
    nth: usize,
    head: Head,
) -> Option<()> {
    let framing = check(&head).unwrap_or_else(|what| {
        shared.fault(what);
        Framing::None
    });
    let close = head
        .get("connection")
        .is_some_and(|v| v.eq_ignore_ascii_case("close"));
    let bodyless = head.word(0) == "HEAD";
    let reply = shared.reply(head.word(1), nth > 0);
    let received = Received {
        connection,
        nth,
        head,
        complete: framing == Framing::None,
        ..Received::default()
    };
    let id = shared.arrived(received);

    // 100-continue is asked for by the edge only if it means to wait for it.
    if reply.reads_body {
        read_body(shared, reader, id, framing).await?;
    }
    let mut script = reply.script().into_iter().peekable();
    let mut unwritten = Vec::new();
    while let Some(step) = script.next() {
        let bytes = match step {
            Step::Wait(gate) => {
                pass_or_hang_up(&gate, reader).await?;
                continue;
            }
            Step::Interim(status, fields) => {
                let mut interim = status_reply(status, fields);
                interim.framing = Framing::None;
                interim.head_bytes()
            }
            Step::Head => reply.head_bytes(),
            Step::Data(_) | Step::Echo | Step::End if bodyless => continue,
            Step::Data(data) => framed(reply.framing, &data),
            Step::Echo => {
                if !reply.reads_body {
                    read_body(shared, reader, id, framing).await?;
                }
                framed(reply.framing, &shared.received(id).body.content)
            }
            Step::Raw(bytes) => bytes.to_vec(),
            Step::End => end(&reply),
            Step::Cut => {
                reader.io().shutdown().await.ok()?;
                drain(reader).await;
                return None;
            }
            Step::Sever => {
                reader.io().sever().await.ok()?;
                drain(reader).await;
                return None;
            }
            Step::Reset => {
                // The stream is swapped out to be dropped with SO_LINGER at zero.
                return reset_connection(reader);
            }
            Step::EchoFrames => {
                websocket::echo(reader).await;
                return None;
            }
        };
        unwritten.extend(bytes);
        // What nobody asked for is there with what was: who comes later cannot tell it from an answer.
        if !matches!(script.peek(), Some(Step::Raw(_))) {
            let bytes = std::mem::take(&mut unwritten);
            reader.io().write_all(&bytes).await.ok()?;
            reader.io().flush().await.ok()?;
        }
    }
    let says_close = reply
        .fields
        .iter()
        .any(|(n, v)| n.eq_ignore_ascii_case("connection") && v == "close");
    if reply.framing == Framing::Close || close || says_close || !reply.reads_body {
        reader.io().shutdown().await.ok()?;
        drain(reader).await;
        return None;
    }
    Some(())
}

fn status_reply(code: u16, fields: Vec<(String, String)>) -> Reply {
    let mut reply = status(code);
    reply.fields = fields;
    reply
}

/// Reads the body of request `id`, letting the test see every byte as it arrives.
async fn read_body(
    shared: &Shared,
    reader: &mut Reader<Stream>,
    id: usize,
    framing: Framing,
) -> Option<()> {
    let mut body = Body::default();
    let show = |body: &Body| {
        shared.update(id, |r| {
            r.body
                .content
                .extend_from_slice(&body.content[r.body.content.len()..]);
        });
    };
    let read = reader.body(framing, &mut body, show).await;
    shared.update(id, |r| {
        r.body = body;
        r.complete = read.is_ok();
        r.failure = read.as_ref().err().map(ToString::to_string);
    });
    if let Err(WireError::Malformed(what)) = &read {
        shared.fault(what.clone());
    }
    read.ok()
}

/// Waits at the gate; `None` when the edge hangs up first.
async fn pass_or_hang_up(gate: &Gate, reader: &mut Reader<Stream>) -> Option<()> {
    loop {
        tokio::select! {
            biased;
            () = gate.pass() => return Some(()),
            more = reader.fill() => if !more.unwrap_or(false) { return None },
        }
    }
}

/// Reads to the end, so that closing does not turn into a reset that would destroy the answer on its way.
async fn drain(reader: &mut Reader<Stream>) {
    while reader.fill().await.unwrap_or(false) {}
}

fn reset_connection(reader: &mut Reader<Stream>) -> Option<()> {
    if let Stream::Tcp(tcp) = reader.io() {
        socket2::SockRef::from(&*tcp)
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("a connected socket takes SO_LINGER");
    }
    None
}

/// The request's framing, when its head is one that an edge may send.
fn check(head: &Head) -> Result<Framing, String> {
    let seen = || format!("in {:?}", String::from_utf8_lossy(&head.raw));
    let line: Vec<&str> = head.start.split(' ').collect();
    if line.len() != 3 || line[2] != "HTTP/1.1" || !(line[1].starts_with('/') || line[1] == "*") {
        return Err(format!("request line {:?} {}", head.start, seen()));
    }
    if head.all("host").len() != 1 {
        return Err(format!("not one Host {}", seen()));
    }
    Framing::of(head)
        .map(|f| f.unwrap_or(Framing::None))
        .map_err(|e| format!("{e} {}", seen()))
}

fn framed(framing: Framing, data: &[u8]) -> Vec<u8> {
    match framing {
        Framing::Chunked if data.is_empty() => Vec::new(),
        Framing::Chunked => [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat(),
        Framing::None | Framing::Length(_) | Framing::Close => data.to_vec(),
    }
}

fn end(reply: &Reply) -> Vec<u8> {
    if reply.framing != Framing::Chunked {
        return Vec::new();
    }
    let mut end = "0\r\n".to_owned();
    for (name, value) in &reply.trailers {
        end += &format!("{name}: {value}\r\n");
    }
    (end + "\r\n").into_bytes()
}
