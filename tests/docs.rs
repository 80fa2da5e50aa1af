//! Holds README.md, ARCHITECTURE.md and docs/ to the program: what they tell people to write is accepted, what they point
//! to is there, and what they name exists.
//!
//! A ```` ```toml ```` block is a whole configuration and must load without an error; ```` ```toml,fragment ```` is a part
//! of one and must be TOML.

#[path = "docs/dashboards.rs"]
mod dashboards;
#[path = "docs/manifests.rs"]
mod manifests;
#[path = "docs/replacing.rs"]
mod replacing;

use forebay::cache::outcome::Reason;
use forebay::config;
use forebay::listen::fault;
use forebay::listen::gate::refusals;
use forebay::proxy::words::WORDS;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// One page, as it lies in the repository.
struct Page {
    /// Relative to the root, with `/`.
    name: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages that are held to this, in the order of their names.
fn pages() -> Vec<Page> {
    let mut names = vec!["ARCHITECTURE.md".to_owned(), "README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).expect("docs/ is a directory") {
        let name = entry.expect("it can be listed").file_name();
        names.push(format!("docs/{}", name.to_string_lossy()));
    }
    names.retain(|name| Path::new(name).extension().is_some_and(|end| end == "md"));
    names.sort();
    let read = |name: String| Page {
        text: fs::read_to_string(root().join(&name)).expect("it was just listed"),
        name,
    };
    names.into_iter().map(read).collect()
}

/// A fenced block.
struct Block {
    /// "docs/recipes.md:12", the line of its fence.
    place: String,
    /// What stands behind the fence.
    info: String,
    text: String,
}

fn blocks(page: &Page) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => {
                open = Some(Block {
                    place: format!("{}:{}", page.name, number + 1),
                    info: info.trim().to_owned(),
                    text: String::new(),
                });
            }
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a block is not closed", page.name);
    blocks
}

#[test]
fn every_configuration_loads() {
    let mut wrong = String::new();
    let mut checked = 0;
    for block in pages().iter().flat_map(blocks) {
        let error = match block.info.as_str() {
            "toml" => config::load_str(&block.text, "proxy.toml")
                .err()
                .map(|errors| errors.to_string()),
            "toml,fragment" => toml::from_str::<toml::Table>(&block.text)
                .err()
                .map(|error| error.to_string()),
            _ => continue,
        };
        checked += 1;
        if let Some(error) = error {
            let _ = writeln!(wrong, "{}:\n{error}", block.place);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(
        checked > 20,
        "only {checked} blocks were found: does the search still work?"
    );
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = String::new();
    for page in pages() {
        let from = root().join(&page.name);
        let directory = from.parent().expect("a file is in a directory");
        let targets = page.text.match_indices("](").filter_map(|(at, _)| {
            let rest = &page.text[at + 2..];
            Some(&rest[..rest.find(')')?])
        });
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path: PathBuf = if file.is_empty() {
                from.clone()
            } else {
                directory.join(file)
            };
            let known = match fs::read_to_string(&path) {
                Ok(text) => anchor.is_empty() || anchors(&text).contains(anchor),
                Err(_) => anchor.is_empty() && path.is_dir(),
            };
            if !known {
                let _ = writeln!(wrong, "{}: `{target}` leads nowhere", page.name);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The anchors of a page's headings, as forges make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// The string literals that follow `before` in a source file.
fn literals(file: &str, before: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(file)).expect("the source is there");
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let literal = |(at, _): (usize, &str)| {
        let rest = code[at + before.len()..].trim_start().strip_prefix('"')?;
        Some(rest[..rest.find('"')?].to_owned())
    };
    code.match_indices(before).filter_map(literal).collect()
}

#[test]
fn every_metric_is_described() {
    let registered: BTreeSet<String> = [
        "cache/fill/metrics.rs",
        "cache/metrics.rs",
        "telemetry/metrics.rs",
        "telemetry/route.rs",
        "proxy/events/hub.rs",
        "rate/metrics.rs",
        "telemetry/access_log/mod.rs",
        "upstream/metrics.rs",
    ]
    .into_iter()
    .flat_map(|file| literals(&format!("src/{file}"), "r.register("))
    // Those that are made of others.
    .chain(literals("src/telemetry/route.rs", "family("))
    .chain(literals("src/rate/metrics.rs", "encode_descriptor("))
    .collect();
    assert_eq!(compare(&registered, "`forebay_", &["build_info"]), "");
}

#[test]
fn every_field_of_the_access_log_is_described() {
    let file = "src/telemetry/access_log/format.rs";
    let mut written: BTreeSet<String> = ["ts", "client", "tls", "collapsed"]
        .map(str::to_owned)
        .into();
    for before in [
        "text(out,",
        "optional_text(",
        "number(out,",
        "signed(out,",
        "milliseconds(out,",
    ] {
        written.extend(literals(file, before));
    }
    // Where the call spans lines, its name stands on one of its own.
    let text = fs::read_to_string(root().join(file)).expect("the source is there");
    for (at, _) in text.match_indices("optional_text(\n        out,\n") {
        let name = text[at..].split('"').nth(1).expect("it has a name");
        written.insert(name.to_owned());
    }
    assert_eq!(compare(&written, "\n| `", &[]), "");
}

/// The table of reasons is the program's. After a change that is meant, `UPDATE_DOCS=1 cargo test --test docs` writes it anew.
#[test]
fn every_reason_of_the_cache_is_described() {
    const BEGIN: &str = "<!-- reasons -->\n";
    const END: &str = "<!-- /reasons -->";
    let path = root().join("docs/caching.md");
    let text = fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = text.split_once(BEGIN).expect("the table begins");
    let (written, after) = rest.split_once(END).expect("the table ends");
    let mut table = "| `detail` | |\n|---|---|\n".to_owned();
    for reason in Reason::ALL {
        let _ = writeln!(table, "| `{}` | {} |", reason.word(), reason.sentence());
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{before}{BEGIN}{table}{END}{after}");
        fs::write(&path, text).expect("the page can be written");
    } else {
        assert_eq!(written, table, "docs/caching.md has another table");
    }
}

/// A reason as a page has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct OnPage {
    word: String,
    sentence: String,
}

fn on_page(word: &str, sentence: &str) -> OnPage {
    OnPage {
        word: word.to_owned(),
        sentence: sentence.to_owned(),
    }
}

/// The reasons below a heading of docs/reasons.md; each must say what to do, and a gate's must have its anchor.
fn reasons_below(text: &str, heading: &str) -> Vec<OnPage> {
    let (_, rest) = text
        .split_once(&format!("\n## {heading}\n"))
        .expect(heading);
    let section = rest.split("\n## ").next().unwrap_or_default();
    let mut found = Vec::new();
    for part in section.split("\n### `").skip(1) {
        let (word, rest) = part.split_once("`\n\n").expect("a word, and an empty line");
        let mut paragraphs = rest.split("\n\n");
        let sentence = paragraphs.next().unwrap_or_default().trim();
        let to_do = paragraphs.next().unwrap_or_default();
        let says = to_do.strip_prefix("*What to do:* ").unwrap_or_default();
        assert!(says.len() > 5, "`{word}`: what is to be done? {part:?}");
        found.push(on_page(word, sentence));
    }
    found
}

/// docs/reasons.md has the program's words, in their order and with their sentences, and no others.
#[test]
fn every_reason_has_its_place() {
    let path = root().join("docs/reasons.md");
    let text = fs::read_to_string(path).expect("the page is there");
    let caches: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| on_page(reason.word(), reason.sentence()))
        .collect();
    assert_eq!(reasons_below(&text, "What the cache says"), caches);
    let is_caches = |word: &str| caches.iter().any(|it| it.word == word);
    let ours: Vec<_> = WORDS
        .iter()
        .filter(|(word, _)| !is_caches(word))
        .map(|(word, sentence)| on_page(word, sentence))
        .collect();
    assert_eq!(reasons_below(&text, "Answers of our own"), ours);
    let gates: Vec<_> = refusals::ALL
        .iter()
        .map(|refusal| {
            let mut letters = refusal.message.chars();
            let first = letters.next().expect("it says something");
            let sentence = format!("{}{}.", first.to_uppercase(), letters.as_str());
            on_page(refusal.reason, &sentence)
        })
        .collect();
    assert_eq!(reasons_below(&text, "Turned away at the gate"), gates);
    for refusal in refusals::ALL {
        let anchor = format!("<a id=\"gate-{}\"></a>", refusal.reason);
        assert!(text.contains(&anchor), "no {anchor}");
    }
    for reason in Reason::ALL {
        let (page, anchor) = reason.page().split_once('#').expect("it has an anchor");
        assert_eq!((page, anchor), ("docs/reasons.md", reason.word()));
    }
}

#[test]
fn every_end_of_an_http2_connection_is_described() {
    let text = fs::read_to_string(root().join("docs/limits.md")).expect("the page is there");
    let words = fault::ALL.iter().map(|fault| fault.word);
    for word in words.chain([fault::CROWDED]) {
        let row = format!("| `{word}` | ");
        assert!(text.contains(&row), "no {row}");
    }
}

/// Whatever the program answers by itself, it has a word of the table for.
#[test]
fn every_word_of_our_own_answers_is_in_the_table() {
    let mut words = BTreeSet::new();
    let proxy = root().join("src/proxy");
    for entry in fs::read_dir(&proxy).expect("src/proxy is a directory") {
        let name = entry.expect("it can be listed").file_name();
        let file = format!("src/proxy/{}", name.to_string_lossy());
        if Path::new(&file).extension().is_none_or(|it| it != "rs") {
            continue;
        }
        let text = fs::read_to_string(root().join(&file)).expect("the source is there");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, before) in code.match_indices("Verdict::new(") {
            let rest = &code[at + before.len()..];
            let call = rest.split(&[';', ')'][..]).next().unwrap_or_default();
            words.extend(call.split('"').nth(1).map(str::to_owned));
        }
    }
    words.extend(literals("src/proxy/events/mod.rs", "METHOD_NOT_ALLOWED,"));
    words.extend(literals("src/upstream/refusal.rs", "=>"));
    words.extend(literals("src/proxy/purge.rs", "reason:"));
    let text = fs::read_to_string(root().join("src/proxy/purge.rs")).expect("it is there");
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let purges = code.match_indices("\"purge-").filter_map(|(at, _)| {
        let rest = &code[at + 1..];
        Some(rest[..rest.find('"')?].to_owned())
    });
    words.extend(purges);
    words.extend(literals("src/cache/fill/verdict.rs", "word:"));
    words.extend(literals("src/cache/fill/writer.rs", "word:"));
    for status in [400, 404, 408, 413, 500, 502, 503, 504] {
        words.extend(literals("src/proxy/failure.rs", &format!("({status},")));
    }
    assert!(words.len() > 20, "does the search still work? {words:?}");
    let known: BTreeSet<String> = WORDS.iter().map(|(word, _)| (*word).to_owned()).collect();
    let unknown: Vec<_> = words.difference(&known).collect();
    assert!(unknown.is_empty(), "src/proxy/words.rs lacks {unknown:?}");
}

/// A key that is read and on no page is a key that nobody finds.
#[test]
fn every_key_of_the_cache_is_described() {
    let text = fs::read_to_string(root().join("docs/caching.md")).expect("the page is there");
    let keys = config::keys();
    let ours = |key: &&String| key.starts_with("cache.") || key.starts_with("route.cache.");
    let missing: Vec<&String> = keys
        .iter()
        .filter(ours)
        .filter(|key| {
            let name = key.rsplit('.').next().unwrap_or(key);
            // In its table's first column, or in an example of a value.
            !text.contains(&format!("`{name}`")) && !text.contains(&format!("{{ {name} = "))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "docs/caching.md is silent on {missing:?}"
    );
}

/// What the source has and docs/watching.md has not, and the other way round. A name of the page follows `before`, up to
/// its closing backquote; `_total` is the exposition's, not the source's.
fn compare(source: &BTreeSet<String>, before: &str, besides: &[&str]) -> String {
    let text = fs::read_to_string(root().join("docs/watching.md")).expect("the page is there");
    let section = if before == "\n| `" {
        let (_, rest) = text.split_once("\n## The access log").expect("a section");
        rest.split("\n## ").next().unwrap_or_default()
    } else {
        text.as_str()
    };
    let named: BTreeSet<String> = section
        .match_indices(before)
        .filter_map(|(at, _)| {
            let rest = &section[at + before.len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
            Some(rest[..end].trim_end_matches("_total").to_owned())
        })
        .filter(|name| !besides.contains(&name.as_str()))
        .collect();
    let mut differences = String::new();
    for missing in source.difference(&named) {
        let _ = writeln!(
            differences,
            "docs/watching.md does not describe `{missing}`"
        );
    }
    for invented in named.difference(source) {
        let _ = writeln!(
            differences,
            "docs/watching.md describes `{invented}`, which does not exist"
        );
    }
    differences
}

/// The table of rooms in ARCHITECTURE.md is the one that tests/tidy.rs holds, as far as the rooms are built.
#[test]
fn the_table_of_rooms_is_the_one_that_is_held() {
    let read = |name: &str| fs::read_to_string(root().join(name)).expect("it is there");
    let tidy = read("tests/tidy.rs");
    let (_, table) = tidy.split_once("const ROOMS").expect("it has a table");
    let (_, table) = table.split_once("= &[").expect("it has rows");
    let table = table.split("];\n").next().unwrap_or_default();
    let code = table
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.collect();
    let is_built = |room: &&str| {
        let source = root().join("src");
        source.join(room).is_dir() || source.join(format!("{room}.rs")).is_file()
    };
    let held: Vec<(&str, Vec<&str>)> = code
        .split('(')
        .filter_map(|row| {
            let mut names = row.split('"').skip(1).step_by(2);
            let room = names.next().filter(is_built)?;
            Some((room, names.filter(is_built).collect()))
        })
        .collect();

    // A row: | `room/` | what it decides or holds | `a`, `b` |
    let architecture = read("ARCHITECTURE.md");
    let name = |cell: &'_ str| {
        cell.trim_matches('`')
            .trim_end_matches(".rs")
            .trim_end_matches('/')
            .to_owned()
    };
    let rows = architecture.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.filter_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, room, _, imports, _] = cells[..] else {
            return None;
        };
        let imports = imports.split(", ").filter(|import| import.starts_with('`'));
        Some((name(room), imports.map(name).collect::<Vec<_>>()))
    });
    let written: Vec<_> = rows.collect();
    let written: Vec<(&str, Vec<&str>)> = written
        .iter()
        .map(|(room, imports)| (room.as_str(), imports.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(written, held);
}
