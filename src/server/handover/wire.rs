//! The hand-over's messages: a length, JSON, and sockets attached to the length's first byte.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, Interest};

use super::Place;

/// Sockets in a message, at most. The kernel's own limit is 253 (`SCM_MAX_FD`).
pub(super) const BATCH: usize = 32;
/// Bytes of a message's JSON, at most: far above what a path can take.
const JSON_MAX: usize = 64 * 1024;
/// The bytes of a message's length, big-endian.
const LENGTH: usize = size_of::<u32>();

/// What the old process says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// `count` sockets that listen at `place` are attached. A place may come in several messages.
    Sockets {
        /// Where they listen.
        place: Place,
        /// How many were attached.
        count: usize,
    },
    /// That was all.
    End {
        /// The sockets of all messages.
        total: usize,
    },
}

/// Sends a message with at most [`BATCH`] sockets attached.
pub(super) async fn send(
    stream: &mut tokio::net::UnixStream,
    message: &Message,
    sockets: &[OwnedFd],
) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let frame = [&length.to_be_bytes()[..], &json].concat();
    let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [const { MaybeUninit::uninit() }; cmsg_space!(ScmRights(BATCH))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
                return Err(io::Error::other("too many sockets for one message"));
            }
            let frame = [IoSlice::new(&frame)];
            Ok(sendmsg(
                &*stream,
                &frame,
                &mut control,
                SendFlags::NOSIGNAL,
            )?)
        })
        .await?;
    stream
        .write_all(frame.get(sent..).unwrap_or_default())
        .await
}

/// Receives a message and what is attached to it. Received sockets are closed on exec.
pub(super) fn receive(stream: &UnixStream) -> io::Result<(Message, Vec<OwnedFd>)> {
    let mut length = [0; LENGTH];
    let mut sockets = Vec::new();
    let mut space = [const { MaybeUninit::uninit() }; cmsg_space!(ScmRights(BATCH))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut length)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(attached) = message {
            sockets.extend(attached);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other(
            "not all sockets of a message arrived; is the limit of open files (RLIMIT_NOFILE) too low?",
        ));
    }
    if received.bytes < LENGTH {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > JSON_MAX {
        return Err(io::Error::other("a message of the hand-over is too long"));
    }
    let mut json = vec![0; length];
    (&*stream).read_exact(&mut json)?;
    Ok((serde_json::from_slice(&json)?, sockets))
}
