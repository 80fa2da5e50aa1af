//! Reading nginx's files: the main one, and in its place whatever an `include` names.
//!
//! Relative names are looked for beside the main file, as nginx does, then beside the file that includes. Of `/etc/nginx/x` the
//! `x` beside the main file comes first: the file that is imported is mostly a copy in a repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::ImportError;
use super::tree::{self, Directive};
use crate::config::matching;

/// More files than anybody includes; a pattern that matches its own output would go on for ever.
const FILES_MAX: usize = 1000;

/// How deep files include files.
const DEPTH_MAX: usize = 16;

/// Where nginx's own directory is on most machines.
const NGINX: &str = "/etc/nginx";

/// The directives of a file, with those of its includes in their place. An `include` that finds nothing stays.
///
/// # Errors
/// A file that cannot be read or is not nginx's.
pub(super) fn read(path: &Path) -> Result<Vec<Directive>, ImportError> {
    let mut reader = Reader {
        base: parent(path),
        files: 0,
        next_id: 0,
    };
    reader.file(path, 0)
}

struct Reader {
    base: PathBuf,
    files: usize,
    next_id: usize,
}

impl Reader {
    fn file(&mut self, path: &Path, depth: usize) -> Result<Vec<Directive>, ImportError> {
        let name = path.strip_prefix(".").unwrap_or(path).display().to_string();
        let bytes = fs::read(path).map_err(|source| ImportError::Read {
            file: name.clone(),
            source,
        })?;
        self.files += 1;
        let text = String::from_utf8_lossy(&bytes);
        let file: Rc<str> = Rc::from(name.as_str());
        let tree =
            tree::parse(&text, &file, &mut self.next_id).map_err(|fault| ImportError::Syntax {
                file: name.clone(),
                line: fault.line,
                message: fault.message,
            })?;
        self.expanded(tree, &parent(path), depth)
    }

    fn expanded(
        &mut self,
        tree: Vec<Directive>,
        beside: &Path,
        depth: usize,
    ) -> Result<Vec<Directive>, ImportError> {
        let mut all = Vec::with_capacity(tree.len());
        for mut directive in tree {
            if let Some(inner) = directive.block.take() {
                directive.block = Some(self.expanded(inner, beside, depth)?);
            }
            if directive.name != "include" || directive.args.len() != 1 {
                all.push(directive);
                continue;
            }
            let found = self.found(directive.arg(0), beside);
            if found.is_empty() || depth >= DEPTH_MAX || self.files >= FILES_MAX {
                all.push(directive);
                continue;
            }
            for path in found {
                all.extend(self.file(&path, depth + 1)?);
            }
        }
        Ok(all)
    }

    fn found(&self, pattern: &str, beside: &Path) -> Vec<PathBuf> {
        let pattern = Path::new(pattern);
        let in_copy = pattern.strip_prefix(NGINX).unwrap_or(pattern);
        [
            matching(&self.base, in_copy),
            matching(beside, in_copy),
            if pattern.is_absolute() {
                matching(Path::new(""), pattern)
            } else {
                Vec::new()
            },
        ]
        .into_iter()
        .map(|found| found.into_iter().filter(|path| path.is_file()).collect())
        .find(|found: &Vec<PathBuf>| !found.is_empty())
        .unwrap_or_default()
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_stand_in_their_place_and_a_file_that_includes_itself_ends() {
        let dir = tempfile::tempdir().expect("the test is right");
        let write = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).expect("the test is right");
        };
        fs::create_dir(dir.path().join("conf.d")).expect("the test is right");
        write(
            "nginx.conf",
            "a; include /etc/nginx/conf.d/*.conf; include gone.conf; z;",
        );
        write("conf.d/b.conf", "b;");
        write("conf.d/c.conf", "c { include more; }");
        write("conf.d/more", "d;");
        let tree = read(&dir.path().join("nginx.conf")).expect("the test is right");
        let names: Vec<&str> = tree.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "include", "z"]);
        assert_eq!(tree[2].inner()[0].name, "d");
        write("loop.conf", "a; include loop.conf;");
        assert!(read(&dir.path().join("loop.conf")).is_ok());
    }
}
