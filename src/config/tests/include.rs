//! `include`, on real files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{ConfigErrors, load};

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> std::io::Result<Self> {
        let directory = tempfile::tempdir()?;
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
            fs::write(path, text)?;
        }
        Ok(Self(directory))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The errors of `proxy.toml`, without the directory.
    fn errors(&self) -> String {
        let errors = load(&self.path("proxy.toml")).err();
        let text = errors.as_ref().map_or(String::new(), ToString::to_string);
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

#[test]
fn files_are_merged_in_the_order_of_their_names() -> std::io::Result<()> {
    let files = Files::new(&[
        (
            "proxy.toml",
            "include = ['conf.d/*.toml', 'conf.d/10-a.toml']\n[server]\nname = 'x'\n[[route]]\npath = '/0'\nto = 'a'",
        ),
        (
            "conf.d/20-b.toml",
            "[[route]]\npath = '/2'\nto = 'a'\n[server]\nthreads = 7",
        ),
        (
            "conf.d/10-a.toml",
            "include = ['more/up?.toml']\n[[route]]\npath = '/1'\nto = 'a'",
        ),
        (
            "conf.d/more/up1.toml",
            "[upstream.a]\nservers = ['http://a']",
        ),
        ("conf.d/.hidden.toml", "what"),
        ("conf.d/notes.txt", "what"),
    ])?;
    let settings = load(&files.path("proxy.toml")).map_err(std::io::Error::other)?;
    let names: Vec<&str> = settings.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["/0", "/1", "/2"]);
    assert_eq!(settings.server.threads, 7);
    assert_eq!(settings.proxy.name, "x");
    assert_eq!(
        settings.server.sources,
        [
            "proxy.toml",
            "conf.d/10-a.toml",
            "conf.d/more/up1.toml",
            "conf.d/20-b.toml"
        ]
        .map(|name| files.path(name))
    );
    Ok(())
}

#[test]
fn errors_name_the_file_they_are_in() -> std::io::Result<()> {
    let files = Files::new(&[
        (
            "proxy.toml",
            "include = ['b.toml', 'missing.toml', 'nothing/*.toml']\n[server]\nvia = true\nviaa = 1",
        ),
        ("b.toml", "[server]\nvia = false\n[limits]\nhed = 1"),
    ])?;
    assert_eq!(
        files.errors(),
        "proxy.toml:1:22: cannot read `missing.toml`: no such file\n    \
         include = ['b.toml', 'missing.toml', 'nothing/*.toml']\n                         ^^^^^^^^^^^^^^\n\
         proxy.toml:4:1: unknown key \"viaa\" in [server] (did you mean \"via\"?)\n    viaa = 1\n    ^^^^\n\
         b.toml:2:1: \"via\" is already set at proxy.toml:3:1\n    via = false\n    ^^^\n\
         b.toml:4:1: unknown key \"hed\" in [limits] (did you mean \"head\"?)\n    hed = 1\n    ^^^"
    );
    Ok(())
}

#[test]
fn cycles_are_refused() -> std::io::Result<()> {
    let files = Files::new(&[
        ("proxy.toml", "include = ['a.toml']"),
        ("a.toml", "include = ['b.toml']"),
        ("b.toml", "include = ['./proxy.toml', 'a.toml']"),
    ])?;
    assert_eq!(
        files.errors(),
        "b.toml:1:12: `./proxy.toml` includes itself\n    \
         include = ['./proxy.toml', 'a.toml']\n               ^^^^^^^^^^^^^^\n\
         b.toml:1:28: `a.toml` includes itself\n    \
         include = ['./proxy.toml', 'a.toml']\n                               ^^^^^^^^"
    );
    Ok(())
}

#[test]
fn a_file_that_cannot_be_read_says_why() -> std::io::Result<()> {
    let files = Files::new(&[("proxy.toml/x", ""), ("latin1.toml", "")])?;
    fs::write(files.path("latin1.toml"), b"a = 1\nb = '\xe9'")?;
    assert_eq!(
        files.errors(),
        "cannot read `proxy.toml`: it is a directory"
            .replace(
                "proxy.toml",
                &files.path("proxy.toml").display().to_string()
            )
            .replace(&format!("{}/", files.0.path().display()), "")
    );
    let why = |name| {
        let errors: Option<ConfigErrors> = load(&files.path(name)).err();
        let first = errors.and_then(|errors| errors.0.into_iter().next());
        let message = first.map(|finding| finding.message).unwrap_or_default();
        message.rsplit("`: ").next().unwrap_or_default().to_owned()
    };
    assert_eq!(why("latin1.toml"), "line 2 is not UTF-8");
    assert_eq!(why("none.toml"), "no such file");
    Ok(())
}
