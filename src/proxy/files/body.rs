//! What of a file is sent, and a reader that yields it in chunks.

use crate::cache::serve::Piece;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// A file answer's body.
#[derive(Debug)]
pub enum FileBody {
    /// None.
    Empty,
    /// Octets of the file, and what stands between them.
    File {
        /// Open for reading.
        file: File,
        /// In turn. Ranges lie within the file's length when it was opened.
        pieces: Vec<Piece>,
    },
}

impl FileBody {
    /// In bytes, exactly.
    pub fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::File { pieces, .. } => pieces.iter().map(Piece::length).sum(),
        }
    }

    /// Reads it from the beginning.
    pub fn into_reader(self) -> BodyReader {
        let (file, pieces) = match self {
            Self::Empty => (None, VecDeque::new()),
            Self::File { file, pieces } => (Some(file), pieces.into()),
        };
        BodyReader { file, pieces }
    }
}

/// Yields a body in chunks. Blocks on the disk.
#[derive(Debug)]
pub struct BodyReader {
    file: Option<File>,
    /// What is left.
    pieces: VecDeque<Piece>,
}

/// Bytes read at once.
const CHUNK: u64 = 64 * 1024;

impl BodyReader {
    /// The next bytes, never empty; `None` at the end.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file has become shorter since it was opened: its length is promised already, so the
    /// connection must be cut for the client to see it.
    pub fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(piece) = self.pieces.pop_front() {
            let (mut range, file) = match (piece, &self.file) {
                (Piece::Frame(bytes), _) => return Ok(Some(bytes)),
                (Piece::Octets(range), Some(file)) if !range.is_empty() => (range, file),
                (Piece::Octets(_), _) => continue,
            };
            let size = (range.end - range.start).min(CHUNK);
            let mut buffer = vec![0; usize::try_from(size).unwrap_or(0)];
            let read = file.read_at(&mut buffer, range.start)?;
            if read == 0 {
                let message = "the file became shorter while it was sent";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            buffer.truncate(read);
            range.start += read as u64;
            self.pieces.push_front(Piece::Octets(range));
            return Ok(Some(buffer.into()));
        }
        Ok(None)
    }
}
