//! Text to the terminal. A reader that has gone (`forebay routes | head -1`) is no error.

use std::io::{self, Write};

/// What was asked for, to standard output.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What is said about it, to standard error, with a line end.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}
