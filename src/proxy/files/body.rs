//! What of a file is sent, and a reader that yields it in chunks.

use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// A file answer's body.
#[derive(Debug)]
pub enum FileBody {
    /// None.
    Empty,
    /// These bytes of the file, the end exclusive.
    File {
        /// Open for reading.
        file: File,
        /// Within the file's length when it was opened.
        range: Range<u64>,
    },
    /// A multipart body: the parts in turn, then `end`.
    Parts {
        /// Open for reading.
        file: File,
        /// At least two.
        parts: Vec<Part>,
        /// The closing boundary.
        end: Bytes,
    },
}

/// One part of a multipart body.
#[derive(Debug)]
pub struct Part {
    /// The boundary before it and its fields.
    pub head: Bytes,
    /// The bytes of the file that follow, the end exclusive.
    pub range: Range<u64>,
}

impl FileBody {
    /// In bytes, exactly.
    pub fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::File { range, .. } => range.end - range.start,
            Self::Parts { parts, end, .. } => {
                let parts = parts
                    .iter()
                    .map(|p| p.head.len() as u64 + p.range.end - p.range.start);
                parts.sum::<u64>() + end.len() as u64
            }
        }
    }

    /// Reads it from the beginning.
    pub fn into_reader(self) -> BodyReader {
        let (file, pieces) = match self {
            Self::Empty => (None, VecDeque::new()),
            Self::File { file, range } => (Some(file), VecDeque::from([Piece::Range(range)])),
            Self::Parts { file, parts, end } => {
                let heads_and_ranges = parts
                    .into_iter()
                    .flat_map(|part| [Piece::Bytes(part.head), Piece::Range(part.range)]);
                let mut pieces: VecDeque<Piece> = heads_and_ranges.collect();
                pieces.push_back(Piece::Bytes(end));
                (Some(file), pieces)
            }
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

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    Range(Range<u64>),
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
                (Piece::Bytes(bytes), _) => return Ok(Some(bytes)),
                (Piece::Range(range), Some(file)) if !range.is_empty() => (range, file),
                (Piece::Range(_), _) => continue,
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
            self.pieces.push_front(Piece::Range(range));
            return Ok(Some(buffer.into()));
        }
        Ok(None)
    }
}
