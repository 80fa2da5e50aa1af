//! `forebay log`: the access log for people, line by line, and of it what they ask for.
//!
//! | part | question |
//! |---|---|
//! | [`filter`] | which lines? |
//! | [`line`](mod@line) | how does a line look? |
//! | [`tail`] | what is new in the file? |

mod filter;
mod line;
mod tail;

use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub(super) use filter::Filter;

use super::args::LogArgs;
use super::error::CliError;
use super::output;
use crate::config;
use crate::telemetry::settings::AccessLogTarget;
use tail::Tail;

/// Lines before the end that `-f` begins with.
const LINES_BEFORE: usize = 10;

/// Shows it, to its end or for ever.
pub(super) fn run(args: &LogArgs) -> Result<(), CliError> {
    let mut printer = Printer {
        filter: &args.filter,
        raw: args.json,
        coloured: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        foreign: false,
    };
    if args.input.as_deref() == Some(Path::new("-")) {
        for line in io::stdin().lock().split(b'\n') {
            let line = line.map_err(|source| CliError::Log {
                file: "-".to_owned(),
                source,
            })?;
            if !printer.show(&line) {
                break;
            }
        }
        return Ok(());
    }
    let path = match &args.input {
        Some(path) => path.clone(),
        None => configured(args.config.as_deref())?,
    };
    let cannot = |source| CliError::Log {
        file: path.display().to_string(),
        source,
    };
    let before = args.lines.or(args.follow.then_some(LINES_BEFORE));
    let mut tail = Tail::open(&path, before).map_err(cannot)?;
    loop {
        if !tail.read(|line| printer.show(line)).map_err(cannot)? {
            return Ok(());
        }
        if !args.follow {
            tail.rest(|line| printer.show(line));
            return Ok(());
        }
        tail.wait();
    }
}

/// Where `[log] access` says that it goes.
fn configured(config: Option<&Path>) -> Result<PathBuf, CliError> {
    let file = config::find(config)?;
    match config::load(&file)?.log.access {
        AccessLogTarget::File(path) => Ok(path),
        AccessLogTarget::Stdout => Err(CliError::Usage(
            "the access log goes to standard output (`[log] access`): pipe it here, as in `docker logs -f edge | forebay log -`"
                .to_owned(),
        )),
        AccessLogTarget::Off => Err(CliError::Usage(
            "the access log is off (`[log] access`)".to_owned(),
        )),
    }
}

/// Prints what is wanted.
struct Printer<'a> {
    filter: &'a Filter,
    raw: bool,
    coloured: bool,
    /// Whether it was said that there are lines which cannot be filtered.
    foreign: bool,
}

impl Printer<'_> {
    /// Shows a line, if it is wanted. False where nobody reads any more.
    fn show(&mut self, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end();
        if text.is_empty() {
            return true;
        }
        let entry: Option<Map<String, Value>> = serde_json::from_str(text)
            .ok()
            .filter(|entry: &Map<_, _>| entry.contains_key("status"));
        let shown = match entry {
            Some(entry) if !self.filter.takes(&entry) => return true,
            Some(entry) if !self.raw => line::readable(&entry, self.coloured),
            Some(_) => text.to_owned(),
            // The program's own log in between, or the combined format: whoever filters has no use for it.
            None if self.filter.is_everything() => output::harmless(text),
            None => {
                if !self.foreign {
                    self.foreign = true;
                    output::say(
                        "forebay: lines that are not JSON are left out: a filter needs `[log] format = \"json\"`",
                    );
                }
                return true;
            }
        };
        output::printed(&format!("{shown}\n"))
    }
}
