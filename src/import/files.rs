//! `root`, `alias`, `try_files` and `error_page`: directories, and what is sent where a file is not there.

use std::collections::BTreeMap;

use super::document::{Action, Content, Rewrite};
use super::location::{Location, Matches, locate};
use super::scope::Scope;
use super::serve::{is_forwarding, target};
use super::tree::Directive;

/// Who answers where nothing is forwarded.
#[derive(Debug)]
pub(super) enum Served {
    Content(Box<Content>),
    /// Another location.
    By(usize),
}

/// A directory and how a path is one of its files.
struct Directory {
    root: String,
    rewrite: Rewrite,
    /// What an `alias` takes away.
    stripped: String,
}

/// The files of a location, or the location that `try_files` leads to.
pub(super) fn serve(locations: &[Location<'_>], at: usize) -> Served {
    let nothing = || Served::Content(Box::new(Content::status(404)));
    let Some(location) = locations.get(at) else {
        return nothing();
    };
    let scope = &location.scope;
    let tries = scope.here("try_files");
    if let Some(tries) = tries
        && let Some(last) = tries.args.last()
        && let Some(other) = target(locations, last).filter(|other| *other != at)
        && locations.get(other).is_some_and(is_forwarding)
    {
        scope.missing(
            tries,
            "files are not tried first: everything goes to the application; write a route with `files` for each directory, such as path = \"/static/\"",
        );
        return Served::By(other);
    }
    let Some(directory) = directory(location) else {
        if let (Some(directive), None) = (location.directive, tries) {
            let is_nothing = scope.own().iter().all(|d| d.name != "location");
            if is_nothing {
                scope.differs(
                    directive,
                    "no `root` is set, so there is nothing to serve: 404",
                );
            }
        }
        return nothing();
    };
    let mut fallback = tries.and_then(|tries| fallback(locations, at, tries, &directory));
    for page in scope.all("error_page") {
        let (Some((uri, codes)), true) = (page.args.split_last(), fallback.is_none()) else {
            continue;
        };
        let is_success = codes.iter().any(|code| code == "=200");
        if is_success && codes.iter().any(|code| code == "404") {
            fallback = below(uri, &directory);
        }
    }
    if let Some(autoindex) = scope.one("autoindex").filter(|d| d.arg(0) == "on") {
        scope.missing(
            autoindex,
            "directories are not listed; they are answered 404 where they have no index",
        );
    }
    let index = index(scope);
    let mut content = Content::of(Action::Files {
        root: directory.root,
        index,
        fallback,
    });
    content.rewrite = directory.rewrite;
    Served::Content(Box::new(content))
}

fn directory(location: &Location<'_>) -> Option<Directory> {
    let scope = &location.scope;
    let said = scope.all_of(&["root", "alias"]).pop()?;
    let plain = |root: String| Directory {
        root,
        rewrite: Rewrite::None,
        stripped: "/".to_owned(),
    };
    let Some(path) = scope.constant(said.arg(0)).filter(|path| !path.is_empty()) else {
        scope.missing(
            said,
            "the directory depends on the request; write a route for each",
        );
        return None;
    };
    if !path.starts_with('/') {
        scope.differs(
            said,
            "relative to nginx's directory there, to the working directory here",
        );
    }
    if said.name == "root" {
        return Some(plain(path));
    }
    let trimmed = || match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        trimmed => trimmed.to_owned(),
    };
    match &location.matches {
        Matches::Prefix { path: prefix, .. } if prefix == "/" => Some(plain(trimmed())),
        Matches::Prefix { path: prefix, .. } => {
            if prefix.ends_with('/') != path.ends_with('/') {
                scope.differs(said, "one of prefix and directory has a slash at its end, and nginx joins them as they are; here there is one between them");
            }
            Some(Directory {
                root: trimmed(),
                rewrite: Rewrite::Strip,
                stripped: prefix.clone(),
            })
        }
        // One file: the directory that it is in, by its own name.
        Matches::Exact(exact) => {
            let (root, file) = path.rsplit_once('/')?;
            let root = if root.is_empty() { "/" } else { root };
            let same = exact.strip_prefix('/') == Some(file);
            Some(Directory {
                root: root.to_owned(),
                rewrite: if same {
                    Rewrite::None
                } else {
                    Rewrite::Replace(format!("/{file}"))
                },
                stripped: "/".to_owned(),
            })
        }
        Matches::Regex { .. } | Matches::Named(_) => {
            scope.missing(said, "what a regular expression captures cannot be put together; write a route with `files` and `strip_prefix`");
            None
        }
    }
}

/// As a file it would show its source.
fn is_program(name: &str) -> bool {
    let end = name.rsplit('.').next().unwrap_or_default();
    let programs = ["php", "cgi", "pl", "py", "rb", "asp", "aspx", "jsp", "lua"];
    programs.contains(&end)
}

fn index(scope: &Scope<'_>) -> Option<String> {
    let index = scope.one("index")?;
    if index.args.iter().any(|name| is_program(name)) {
        scope.missing(
            index,
            "programs are not run, and never served as the index of a directory",
        );
    }
    let plain =
        |name: &&String| !name.contains(['/', '$']) && !name.is_empty() && !is_program(name);
    let names: Vec<&String> = index.args.iter().filter(plain).collect();
    let matters = |name: &&&String| !matches!(name.as_str(), "index.html" | "index.htm");
    if names.iter().skip(1).any(|name| matters(&name)) {
        scope.differs(index, "one name of an index can be given; the first is");
    }
    let first = names.first()?;
    (first.as_str() != "index.html").then(|| (*first).clone())
}

/// The path of `uri` within the directory of a location.
fn below(uri: &str, directory: &Directory) -> Option<String> {
    let uri = uri.split(['?', '$']).next().unwrap_or(uri);
    let path = uri
        .strip_prefix(directory.stripped.as_str())?
        .trim_start_matches('/');
    let lawful = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    lawful.then(|| path.to_owned())
}

fn fallback(
    locations: &[Location<'_>],
    at: usize,
    tries: &Directive,
    directory: &Directory,
) -> Option<String> {
    let location = locations.get(at)?;
    let scope = &location.scope;
    let (last, before) = tries.args.split_last()?;
    let is_usual = |arg: &String| matches!(arg.as_str(), "$uri" | "$uri/" | "$uri/index.html");
    if !before.iter().all(is_usual) || before.is_empty() {
        scope.missing(tries, "the file itself is tried, then its directory's index, then the last argument; nothing else");
    }
    if let Some(status) = last.strip_prefix('=') {
        if status != "404" {
            scope.differs(tries, "where no file is there, the answer is 404");
        }
        return None;
    }
    let path = last.split(['?', '$']).next().unwrap_or_default();
    if last.starts_with('@') || is_program(path) {
        scope.missing(tries, "nothing answers where no file is there: 404");
        return None;
    }
    if is_usual(last) {
        return None;
    }
    let found = below(last, directory);
    match (&found, locate(locations, path)) {
        (None, _) => scope.missing(tries, "the last file is not below this location's directory; 404 instead"),
        (Some(_), Some(other)) if other != at => scope.differs(
            tries,
            format!("nginx answers with `{path}` by the rules of its own location, here by those of this one"),
        ),
        _ => {}
    }
    found
}

/// `error_pages` of a place. Of what an application answers nginx replaces nothing, unless it is told to.
pub(super) fn error_pages(
    locations: &[Location<'_>],
    scope: &Scope<'_>,
    is_forwarded: bool,
) -> BTreeMap<u16, String> {
    let mut pages = BTreeMap::new();
    let intercepts = !is_forwarded || scope.is_on("proxy_intercept_errors");
    for page in scope.all("error_page") {
        let Some((uri, codes)) = page.args.split_last() else {
            continue;
        };
        if codes.iter().any(|code| code.starts_with('=')) || !uri.starts_with('/') {
            let is_fallback = !is_forwarded && codes.iter().any(|code| code == "=200");
            if !is_fallback {
                scope.missing(
                    page,
                    "`error_pages` are files, sent with the status of the error",
                );
            }
            continue;
        }
        let owner = locate(locations, uri).and_then(|at| locations.get(at));
        let directory = owner.and_then(directory);
        let file = directory.and_then(|directory| {
            let below = below(uri, &directory)?;
            Some(format!("{}/{below}", directory.root.trim_end_matches('/')))
        });
        let Some(file) = file else {
            scope.missing(
                page,
                "no file that could be found stands for it; set `error_pages`",
            );
            continue;
        };
        let mut left: Vec<&str> = Vec::new();
        let mut of_proxy = false;
        for code in codes {
            match code.parse::<u16>() {
                // Of a file nothing else can be wrong.
                Ok(status @ 400..=599) if !is_forwarded => {
                    if matches!(status, 403 | 404 | 405 | 500) {
                        pages.insert(status, file.clone());
                    }
                }
                // These are the proxy's own more often than the application's; what nginx says at once is 503 after a hold.
                Ok(status @ (502..=504)) => {
                    pages.insert(status, file.clone());
                    pages.entry(503).or_insert_with(|| file.clone());
                    of_proxy = true;
                }
                Ok(status @ 400..=599) if intercepts => {
                    pages.insert(status, file.clone());
                }
                Ok(400..=599) => left.push(code),
                _ => scope.missing(page, format!("{code} is no status of an error")),
            }
        }
        if of_proxy && is_forwarded && !intercepts {
            scope.differs(
                page,
                "sent for the application's own 502, 503 and 504, too; 503 is what is answered here after a hold in vain",
            );
        }
        if !left.is_empty() {
            scope.differs(
                page,
                format!("{}: the application's own pages, which nginx passes on without `proxy_intercept_errors on`; so no `error_pages` for it where requests are forwarded", left.join(", ")),
            );
        }
    }
    pages
}
