//! `forebay top`: the running proxy in a terminal, redrawn every second; or as lines of JSON for scripts.
//!
//! | part | question |
//! |---|---|
//! | [`screen`] | what stands where? |
//! | [`source`] | what is asked of the proxy, and when to end? |

mod screen;
mod source;

use std::io::{self, IsTerminal};
use std::time::Duration;

use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Terminal};

use super::args::TopArgs;
use super::error::CliError;
use super::output;
use crate::admin::stats::Stats;
use screen::{Lists, View};
use source::{News, Source};

/// How long a key may go unnoticed.
const BLINK: Duration = Duration::from_millis(50);
/// What `--once` is drawn for where there is no terminal to ask.
const PLAIN: (u16, u16) = (100, 40);

/// Shows it until somebody has seen enough.
pub(super) fn run(args: &TopArgs) -> Result<(), CliError> {
    let source = Source::new(args.file.config.as_deref())?;
    match (args.json, args.once) {
        (true, once) => lines(&source, args.interval, once),
        (false, true) => {
            output::print(&picture(&source.ask()?));
            Ok(())
        }
        (false, false) if !io::stdout().is_terminal() => Err(CliError::Usage(
            "standard output is no terminal: add `--json` or `--once`".to_owned(),
        )),
        (false, false) => watch(source, args.interval),
    }
}

/// A document a line, for scripts.
fn lines(source: &Source, interval: Duration, once: bool) -> Result<(), CliError> {
    loop {
        let line = source.ask_raw()?;
        if !output::printed(&format!("{line}\n")) || once {
            // Whoever read it has seen enough.
            return Ok(());
        }
        source::wait(interval);
    }
}

/// One picture, without colours.
fn picture(stats: &Stats) -> String {
    let (width, height) = PLAIN;
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let view = View {
        stats: Some(stats.clone()),
        ..View::default()
    };
    let Ok(_) = terminal.draw(|frame| screen::draw(frame, &view));
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(width)) {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    format!("{}\n", text.trim_end())
}

/// Draws until `q`, a signal, or a terminal that is gone. The terminal is given back whatever the end is, a panic included.
fn watch(source: Source, interval: Duration) -> Result<(), CliError> {
    let news = source.watch(interval);
    let mut terminal = ratatui::try_init().map_err(CliError::Terminal)?;
    let ended = draw_until_told(&mut terminal, &news);
    ratatui::restore();
    ended.map_err(CliError::Terminal)
}

fn draw_until_told(terminal: &mut DefaultTerminal, news: &News) -> io::Result<()> {
    let mut view = View::default();
    let mut stale = true;
    loop {
        if stale {
            terminal.draw(|frame| screen::draw(frame, &view))?;
            stale = false;
        }
        while let Some(latest) = news.latest() {
            match latest {
                source::Latest::End => return Ok(()),
                source::Latest::Stats(stats) if !view.paused => {
                    view.stats = Some(*stats);
                    view.trouble = None;
                    stale = true;
                }
                source::Latest::Trouble(trouble) if !view.paused => {
                    view.trouble = Some(trouble);
                    stale = true;
                }
                source::Latest::Stats(_) | source::Latest::Trouble(_) => {}
            }
        }
        if event::poll(BLINK)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if pressed(&mut view, key) {
                        return Ok(());
                    }
                    stale = true;
                }
                Event::Resize(..) => stale = true,
                _ => {}
            }
        }
    }
}

/// What a key does to the view. True where it is the end.
fn pressed(view: &mut View, key: KeyEvent) -> bool {
    let held_ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if held_ctrl => return true,
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('p' | ' ') => view.paused = !view.paused,
        KeyCode::Char('s') => view.sort = view.sort.next(),
        KeyCode::Char('r') => {
            view.lists = match view.lists {
                Lists::Entries => Lists::Routes,
                Lists::Routes => Lists::Events,
                Lists::Events => Lists::Entries,
            };
        }
        _ => {}
    }
    false
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
