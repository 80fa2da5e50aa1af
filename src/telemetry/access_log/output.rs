//! Where the lines go: a file or standard output, without a buffer of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::telemetry::TelemetryError;
use crate::telemetry::settings::{AccessLogFormat, AccessLogTarget};

/// An open target.
#[derive(Debug)]
pub(super) struct Output {
    /// The path to open again; `None` for standard output.
    path: Option<PathBuf>,
    file: File,
    pub(super) format: AccessLogFormat,
    /// True after a write that stopped within a line: the next one begins on a fresh line.
    torn: bool,
}

/// A write that did not go through.
#[derive(Debug)]
pub(super) struct WriteFailed {
    /// Lines not written, or not whole.
    pub(super) lost: u64,
    pub(super) source: io::Error,
}

impl Output {
    /// Opens a target for appending. `AccessLogTarget::Off` opens like standard output; callers do not ask for it.
    pub(super) fn open(
        target: &AccessLogTarget,
        format: AccessLogFormat,
    ) -> Result<Self, TelemetryError> {
        let (path, file) = match target {
            AccessLogTarget::File(path) => (
                Some(path.clone()),
                append(path).map_err(|source| TelemetryError::OpenAccessLog {
                    path: path.clone(),
                    source,
                })?,
            ),
            AccessLogTarget::Stdout | AccessLogTarget::Off => {
                // A descriptor of our own: std's handle would buffer, and lock against whoever prints.
                let owned = io::stdout().as_fd().try_clone_to_owned();
                (None, File::from(owned.map_err(TelemetryError::Stdout)?))
            }
        };
        Ok(Self {
            path,
            file,
            format,
            torn: false,
        })
    }

    /// Opens the file of the same path, which may be a new one; standard output stays as it is.
    pub(super) fn reopen(&mut self) -> Result<(), TelemetryError> {
        if let Some(path) = &self.path {
            self.file = append(path).map_err(|source| TelemetryError::OpenAccessLog {
                path: path.clone(),
                source,
            })?;
            self.torn = false;
        }
        Ok(())
    }

    /// Writes whole lines. A failure may leave the beginning of a line behind, which is ended before the next write.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), WriteFailed> {
        let mut rest = lines;
        let outcome = self.end_torn_line().and_then(|()| {
            while !rest.is_empty() {
                match self.file.write(rest) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        outcome.map_err(|source| {
            let written = lines.len().saturating_sub(rest.len());
            let before = lines.get(..written).unwrap_or_default();
            if !before.is_empty() {
                self.torn = !before.ends_with(b"\n");
            }
            WriteFailed {
                lost: memchr::memchr_iter(b'\n', rest).count() as u64,
                source,
            }
        })
    }

    fn end_torn_line(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        Ok(())
    }

    /// For messages.
    pub(super) fn name(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => "standard output".to_owned(),
        }
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
