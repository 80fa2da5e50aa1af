//! Directives: a name, its arguments, and for some a block of further ones, each with the place it stands at.

use std::fmt;
use std::rc::Rc;

use super::words::{Fault, Token, Words};

/// One directive of nginx's.
#[derive(Debug, Clone)]
pub(super) struct Directive {
    /// Different for each directive of one import.
    pub(super) id: usize,
    /// Its first word.
    pub(super) name: String,
    /// The other words.
    pub(super) args: Vec<String>,
    /// What stands in its braces.
    pub(super) block: Option<Vec<Directive>>,
    /// The file as messages call it.
    pub(super) file: Rc<str>,
    /// From 1.
    pub(super) line: usize,
}

/// More than anybody writes; the walk over a tree is recursive.
const DEPTH_MAX: usize = 32;

/// A line of a note is for reading.
const SHOWN_MAX: usize = 80;

impl Directive {
    /// The argument with this index, or nothing.
    pub(super) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// What stands in its braces; nothing where it has none.
    pub(super) fn inner(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// `nginx.conf:12`
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// As it was written, on one line and not too long.
impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name.clone();
        for arg in &self.args {
            text.push(' ');
            if arg.is_empty() || arg.contains(char::is_whitespace) {
                text.extend(["\"", arg, "\""]);
            } else {
                text.push_str(arg);
            }
        }
        let line: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        match line.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => write!(f, "{}…", &line[..end]),
            None => f.write_str(&line),
        }
    }
}

/// The directives of one text. `next_id` goes on counting over several texts.
///
/// # Errors
/// Braces and semicolons that do not fit, and blocks that are nested too deep.
pub(super) fn parse(
    text: &str,
    file: &Rc<str>,
    next_id: &mut usize,
) -> Result<Vec<Directive>, Fault> {
    let mut words = Words::new(text);
    let mut open: Vec<(Directive, Vec<Directive>)> = Vec::new();
    let mut here: Vec<Directive> = Vec::new();
    let mut begun: Option<Directive> = None;
    while let Some((token, line)) = words.next()? {
        let fault = |message: &str| Fault {
            line,
            message: message.to_owned(),
        };
        match (token, begun.take()) {
            (Token::Word(word), Some(mut directive)) => {
                directive.args.push(word);
                begun = Some(directive);
            }
            (Token::Word(name), None) => {
                *next_id += 1;
                begun = Some(Directive {
                    id: *next_id,
                    name,
                    args: Vec::new(),
                    block: None,
                    file: Rc::clone(file),
                    line,
                });
            }
            (Token::End, Some(directive)) => here.push(directive),
            (Token::End, None) => return Err(fault("unexpected `;`")),
            (Token::Open, Some(mut directive)) if directive.name.ends_with("_by_lua_block") => {
                if !words.skip_block() {
                    return Err(fault("a `{` is not closed"));
                }
                directive.block = Some(Vec::new());
                here.push(directive);
            }
            (Token::Open, Some(directive)) if open.len() < DEPTH_MAX => {
                open.push((directive, std::mem::take(&mut here)));
            }
            (Token::Open, Some(_)) => return Err(fault("blocks are nested too deep")),
            (Token::Open, None) => return Err(fault("unexpected `{`")),
            (Token::Close, None) => {
                let Some((mut directive, outer)) = open.pop() else {
                    return Err(fault("unexpected `}`"));
                };
                directive.block = Some(std::mem::replace(&mut here, outer));
                here.push(directive);
            }
            (Token::Close, Some(directive)) => {
                return Err(fault(&format!(
                    "`{}` is not ended by `;` or `{{`",
                    directive.name.escape_debug()
                )));
            }
        }
    }
    let unfinished = begun.or_else(|| open.pop().map(|(directive, _)| directive));
    match unfinished {
        None => Ok(here),
        Some(directive) => Err(Fault {
            line: words.line(),
            message: format!(
                "the file ends within `{}` of line {}",
                directive.name.escape_debug(),
                directive.line
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Directive>, Fault> {
        parse(text, &Rc::from("nginx.conf"), &mut 0)
    }

    #[test]
    fn blocks_and_places() {
        let tree =
            parsed("user www;\nhttp {\n  server { listen 80; } }\n").expect("the test is right");
        assert_eq!(tree.len(), 2);
        let server = &tree[1].inner()[0];
        assert_eq!((server.line, server.inner()[0].arg(0)), (3, "80"));
        assert_eq!(tree[0].to_string(), "user www");
    }

    #[test]
    fn code_of_another_language_is_passed_over() {
        let tree = parsed("access_by_lua_block { local a = {} }\nb c;").expect("the test is right");
        assert_eq!(tree[1].name, "b");
    }

    #[test]
    fn what_does_not_fit() {
        for (text, message) in [
            ("a b", "the file ends within `a` of line 1"),
            ("a {", "the file ends within `a` of line 1"),
            ("}", "unexpected `}`"),
            (";", "unexpected `;`"),
            ("{", "unexpected `{`"),
            ("a { b }", "`b` is not ended by `;` or `{`"),
        ] {
            let found = parsed(text).map(|_| ()).map_err(|fault| fault.message);
            assert_eq!(found, Err(message.to_owned()), "{text}");
        }
        assert!(parsed(&"a {".repeat(100)).is_err());
    }
}
