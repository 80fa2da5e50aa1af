//! The access log as its users see it: lines in files, losses, rotation.

use super::*;
use crate::telemetry::settings::AccessLogFormat;
use std::fs;
use std::path::Path;

const PLENTY: Duration = Duration::from_secs(30);

fn to_file(path: &Path) -> LogSettings {
    LogSettings {
        access: AccessLogTarget::File(path.to_owned()),
        format: AccessLogFormat::Combined,
        ..LogSettings::default()
    }
}

fn entry(number: usize) -> AccessEntry {
    AccessEntry {
        path: format!("/{number}").into(),
        ..AccessEntry::sample()
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("the log's file");
    text.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn all_ends_have_their_words() {
    use EndState::{ClientGone, Complete, Failed, Refused, Shutdown, TimedOut, UpstreamCut};
    let all = [
        Complete,
        ClientGone,
        UpstreamCut,
        TimedOut,
        Refused,
        Shutdown,
        Failed,
    ];
    assert_eq!(all.map(EndState::word), END);
}

#[test]
fn every_entry_becomes_a_line_in_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    let log = AccessLog::start(&to_file(&path)).expect("a log");
    for number in 0..1_000 {
        log.record(entry(number));
    }
    assert!(log.flush(PLENTY));
    let lines = lines(&path);
    assert_eq!((lines.len(), log.lost()), (1_000, 0));
    for (number, line) in lines.iter().enumerate() {
        assert!(line.contains(&format!(" /{number} ")), "{line}");
    }
}

#[test]
fn entries_of_many_threads_are_whole_lines() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    let log = AccessLog::start(&to_file(&path)).expect("a log");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|number| log.record(entry(number))));
        }
    });
    assert!(log.flush(PLENTY));
    let lines = lines(&path);
    assert_eq!(lines.len(), 2_000);
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("192.0.2.60 ") && line.ends_with('"'))
    );
}

#[test]
fn a_moved_file_is_opened_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, moved) = (
        directory.path().join("access.log"),
        directory.path().join("access.log.1"),
    );
    let log = AccessLog::start(&to_file(&path)).expect("a log");
    log.record(entry(1));
    assert!(log.flush(PLENTY));
    fs::rename(&path, &moved).expect("renaming");
    log.record(entry(2));
    log.reopen();
    // The order is obeyed together with what was queued before it, so a flush proves that it has been.
    assert!(log.flush(PLENTY));
    log.record(entry(3));
    assert!(log.flush(PLENTY));
    assert_eq!((lines(&moved).len(), lines(&path).len()), (2, 1));
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_and_keeps_the_old_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    let nowhere = to_file(Path::new("/nonexistent/access.log"));
    let error = AccessLog::start(&nowhere).expect_err("no such directory");
    assert!(
        error
            .to_string()
            .starts_with("cannot open access log `/nonexistent/access.log`: "),
        "{error}"
    );

    let log = AccessLog::start(&to_file(&path)).expect("a log");
    assert!(log.reconfigure(&nowhere).is_err());
    log.record(entry(1));
    assert!(log.flush(PLENTY));
    assert_eq!(lines(&path).len(), 1);
}

#[test]
fn a_new_target_takes_over_after_what_was_queued() {
    let directory = tempfile::tempdir().expect("a directory");
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    let log = AccessLog::start(&to_file(&one)).expect("a log");
    log.record(entry(1));
    assert!(log.flush(PLENTY));
    log.reconfigure(&to_file(&two)).expect("a second target");
    log.record(entry(2));
    assert!(log.flush(PLENTY));
    log.record(entry(3));
    assert!(log.flush(PLENTY));
    assert_eq!(lines(&one).len() + lines(&two).len(), 3);
    assert!(lines(&two).iter().any(|line| line.contains(" /3 ")));
}

#[test]
fn off_takes_nothing_and_can_be_turned_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    let off = LogSettings {
        access: AccessLogTarget::Off,
        ..LogSettings::default()
    };
    let log = AccessLog::start(&off).expect("nothing to fail");
    assert!(!log.is_enabled());
    log.record(entry(1));
    assert!(log.flush(Duration::ZERO));
    log.reconfigure(&to_file(&path)).expect("a target");
    log.record(entry(2));
    assert!(log.flush(PLENTY));
    log.reconfigure(&off).expect("nothing to fail");
    log.record(entry(3));
    assert!(log.flush(PLENTY));
    assert_eq!((lines(&path).len(), log.lost()), (1, 0));
}

#[test]
fn a_full_disk_loses_lines_and_counts_them() {
    let log = AccessLog::start(&to_file(Path::new("/dev/full"))).expect("a device");
    for number in 0..10 {
        log.record(entry(number));
    }
    assert!(log.flush(PLENTY));
    assert_eq!(log.lost(), 10);
}

/// A reader that stands still: a pipe nobody reads fills, the writer blocks, the queue fills, and recording goes on.
#[test]
fn a_reader_that_stands_still_costs_lines_not_time() {
    let (reader, file) = std::io::pipe().expect("a pipe");
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let log = AccessLog::start(&to_file(Path::new(&path))).expect("the pipe's other end");
    let recorded = 4 * QUEUE_ENTRIES_MAX;
    for number in 0..recorded {
        log.record(entry(number));
    }
    assert!(log.lost() > 0);
    assert!(!log.flush(Duration::ZERO));
    // Reading on sets the writer free; closing our copy of the write end lets the reader see the end.
    drop(file);
    let counter = std::thread::spawn(move || {
        std::io::read_to_string(reader).map(|text| text.lines().count())
    });
    assert!(log.flush(PLENTY));
    let lost = usize::try_from(log.lost()).expect("a small number");
    drop(log);
    let read = counter.join().expect("no panic").expect("text");
    assert_eq!(read + lost, recorded);
}

#[test]
fn the_queue_is_bounded_in_bytes_too() {
    let mut state = State::default();
    assert!(
        state.may_warn() && !state.may_warn(),
        "one warning a minute"
    );
    let heavy = AccessEntry {
        path: vec![b'a'; 64 * 1024].into(),
        ..AccessEntry::sample()
    };
    assert!(heavy.weight() > 64 * 1024 && heavy.weight() < 66 * 1024);
}
