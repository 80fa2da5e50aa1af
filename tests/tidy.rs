//! The house rules that no lint knows, as tests: each failure names file and line, and says why the rule is there.
//!
//! They read the source as text. Comments, strings and character literals are blanked out first where a rule is about
//! code, so a rule is not triggered by talking about it. Exceptions are lists here, with their reasons; an exception that
//! is no longer needed is a failure too.

#[path = "tidy/source.rs"]
mod source;

use source::{Source, imports, line_of, sources, words};
use std::fmt::Write as _;

/// Which rooms a room may import, the columns of the table in `ARCHITECTURE.md`. All may use [`EVERYWHERE`] and
/// themselves. Upwards is never right: what a lower room needs of a higher one, it is given as a trait or a value.
const ROOMS: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "access",
            "admin",
            "config",
            "demo",
            "import",
            "routing",
            "server",
            "telemetry",
        ],
    ),
    ("demo", &["config", "server", "telemetry"]),
    // What it makes is loaded as any configuration is.
    ("import", &["config"]),
    (
        "server",
        &[
            "access",
            "admin",
            "cache",
            "config",
            "express",
            "fields",
            "listen",
            "proxy",
            "rate",
            "routing",
            "telemetry",
            "tls",
            "upstream",
        ],
    ),
    // Of the other rooms only their settings, see `SEE_SETTINGS`; routing judges which routes nobody can reach.
    ("config", &["routing"]),
    (
        "admin",
        &[
            "cache",
            "config",
            "fields",
            "routing",
            "telemetry",
            "upstream",
        ],
    ),
    // Whom an address stands for, where clients are counted, is rate's.
    ("listen", &["arena", "fields", "rate", "telemetry", "tls"]),
    // It stands in front of the proxy: the site and the entry are the proxy's, the burst is listen's.
    (
        "express",
        &[
            "access",
            "cache",
            "coding",
            "fields",
            "listen",
            "proxy",
            "rate",
            "routing",
            "telemetry",
        ],
    ),
    (
        "proxy",
        // The session that Pingora is given, and the ticket that travels with it, are listen's.
        &[
            "access",
            "cache",
            "coding",
            "fields",
            "listen",
            "rate",
            "routing",
            "telemetry",
            "upstream",
        ],
    ),
    ("access", &["fields", "telemetry"]),
    ("cache", &["arena", "coding", "fields", "telemetry"]),
    ("upstream", &["fields", "telemetry", "tls"]),
    ("rate", &["fields", "telemetry"]),
    ("coding", &["fields"]),
    ("routing", &["fields"]),
    ("tls", &["telemetry"]),
    ("telemetry", &[]),
    ("fields", &[]),
    ("arena", &[]),
    ("clock", &[]),
    ("file", &[]),
    ("units", &[]),
];

/// What every room may import.
const EVERYWHERE: &[&str] = &["clock", "file", "units"];

/// The rooms that make or hand on the settings of all others, and so may import any room's `settings`.
const SEE_SETTINGS: &[&str] = &["cli", "config", "demo", "server"];

/// Test support whose callers all pause Tokio's time, so that its sleeps are steps of a manual clock.
const PAUSED_TIME: &[(&str, &str)] = &[
    ("src/upstream/tests/", "a simulated network"),
    (
        "src/cache/fill/tests/interleavings.rs",
        "its histories are run on a runtime whose time is paused",
    ),
    (
        "src/cli/demo/app_tests.rs",
        "the application's own start is a sleep",
    ),
];

/// Where Pingora's types may be named, besides files called `pingora.rs`.
const PINGORA: &[&str] = &["src/express/", "src/listen/", "src/proxy/", "src/server/"];

/// A file above this many lines holds more than one thing.
const LINES_MAX: usize = 500;

/// Longer files: path, lines allowed, reason. The number only goes down.
const LONGER: &[(&str, usize, &str)] = &[];

#[test]
fn every_file_says_what_it_decides() {
    let mut found = Violations::default();
    for file in sources() {
        let first = file.text.lines().next().unwrap_or("");
        if first.strip_prefix("//! ").is_none_or(str::is_empty) {
            found.add(&file, 1, first);
        }
    }
    found.check("a file opens with `//! ` and one sentence on what it decides or holds, so that a reader knows whether to read on");
}

#[test]
fn no_file_is_long() {
    let mut found = Violations::default();
    for file in sources() {
        let lines = file.text.lines().count();
        let longer = LONGER.iter().find(|(path, ..)| *path == file.path);
        match longer {
            Some((_, most, _)) if lines > *most => {
                found.add(&file, lines, "grew beyond its exception");
            }
            Some(_) if lines <= LINES_MAX => found.add(
                &file,
                lines,
                "needs no exception any more: strike it from `LONGER`",
            ),
            None if lines > LINES_MAX => {
                found.add(&file, lines, &format!("more than {LINES_MAX} lines"));
            }
            _ => {}
        }
    }
    found.check("split it where its doc says \"and\"; nothing here is an exception for ever");
}

#[test]
fn rooms_import_downwards_only() {
    let mut found = Violations::default();
    for file in sources() {
        let module = file.module();
        let Some(room) = module
            .first()
            .map(String::as_str)
            .filter(|room| *room != "lib" && *room != "main")
        else {
            continue;
        };
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            found.add(
                &file,
                1,
                &format!("`{room}` is a room without a row in `ROOMS`"),
            );
            continue;
        };
        for (target, rest) in imports(&file.code, module.len()) {
            let known = ROOMS.iter().any(|(name, _)| *name == target);
            let settings = rest.starts_with("::settings") && SEE_SETTINGS.contains(&room);
            let fine = !known
                || target == room
                || settings
                || EVERYWHERE.contains(&target)
                || allowed.contains(&target);
            if !fine {
                let line = line_of(&file.code, target);
                found.add(&file, line, &format!("`{room}` imports `{target}`"));
            }
        }
    }
    found.check("rooms are understood one at a time only while imports go one way; siblings meet in `proxy`, `express` and `server` (ARCHITECTURE.md has the table, `ROOMS` in this file holds it)");
}

#[test]
fn pingora_stays_where_it_is() {
    let mut found = Violations::default();
    for file in sources()
        .into_iter()
        .filter(|file| file.path.starts_with("src/"))
    {
        let lawful = PINGORA.iter().any(|place| file.path.starts_with(place))
            || file.path.ends_with("/pingora.rs");
        for (line, code) in file.code_lines().filter(|_| !lawful) {
            let names_it = words(code).any(|(at, word)| {
                let own_module = code[..at].ends_with("self::") || code[..at].ends_with("super::");
                let crate_name = word == "pingora" || word.starts_with("pingora_");
                crate_name && !own_module && code[at + word.len()..].starts_with("::")
            });
            if names_it {
                found.add(&file, line, code.trim());
            }
        }
    }
    found.check("Pingora's API changes with each release: its types stay in `server/`, `listen/`, `proxy/`, `express/` and files named `pingora.rs`");
}

#[test]
fn tests_run_and_do_not_wait() {
    let mut found = Violations::default();
    for file in sources() {
        let lines: Vec<&str> = file.code.lines().collect();
        for (line, code) in file.code_lines() {
            if code.contains("#[ignore") || code.contains("#[should_panic") {
                found.add(&file, line, code.trim());
            }
            let sleeps = words(code).any(|(at, word)| {
                let call = code[at + word.len()..].starts_with('(') && !code[..at].ends_with("fn ");
                call && (word == "sleep" || word == "sleep_until" || word == "sleep_ms")
            });
            let paused = has_paused_time(&lines[..line])
                || PAUSED_TIME
                    .iter()
                    .any(|(path, _)| file.path.starts_with(path));
            if sleeps && file.is_test(line) && !paused {
                found.add(&file, line, code.trim());
            }
        }
    }
    found.check("an ignored test tests nothing, a panic anywhere satisfies `should_panic`, and a sleep is too short on a busy machine and too long on any other: wait for an event, or pause Tokio's time (`start_paused = true`)");
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let mut found = Violations::default();
    for file in sources()
        .into_iter()
        .filter(|file| file.path.starts_with("src/"))
    {
        for (line, code) in file.code_lines() {
            if (code.contains(".unwrap()") || code.contains(".unwrap_err()")) && !file.is_test(line)
            {
                found.add(&file, line, code.trim());
            }
        }
    }
    found.check("a panic on a data thread takes other people's requests along: handle it, or `expect(\"…\")` the invariant that makes it impossible");
}

#[test]
fn what_is_to_do_has_an_issue() {
    let mut found = Violations::default();
    for file in sources()
        .into_iter()
        .filter(|file| file.path != "tests/tidy.rs")
    {
        for (index, text) in file.text.lines().enumerate() {
            let forgotten = words(text).any(|(at, word)| match word {
                "TODO" => !text[at + word.len()..].starts_with("(#"),
                "FIXME" | "XXX" | "HACK" => true,
                _ => false,
            });
            if forgotten {
                found.add(&file, index + 1, text.trim());
            }
        }
    }
    found.check(
        "what is to be done is found again only in the list of issues: write `TODO(#12): …`",
    );
}

#[derive(Default)]
struct Violations(String);

impl Violations {
    fn add(&mut self, file: &Source, line: usize, what: &str) {
        writeln!(self.0, "  {}:{line}: {what}", file.path).expect("a String takes everything");
    }

    fn check(self, why: &str) {
        assert!(self.0.is_empty(), "\n\n{}\n  why: {why}\n", self.0);
    }
}

/// Whether the test that the last of these lines belongs to has paused Tokio's time.
fn has_paused_time(lines: &[&str]) -> bool {
    let attribute = lines
        .iter()
        .rev()
        .find(|line| line.contains("#[tokio::test") || line.contains("#[test]"));
    attribute.is_some_and(|line| line.contains("start_paused = true"))
}
