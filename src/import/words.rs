//! nginx's words: what stands between spaces, semicolons and braces, with its quotes and escapes undone.
//!
//! The rules are those of `ngx_conf_read_token`: a quote counts at the start of a word only, `#` likewise; `${` does not open
//! a block; a backslash before anything but quotes, itself, `t`, `r` and `n` stays, as regular expressions need it.

use std::iter::Peekable;
use std::str::Chars;

/// One word, or one of the three marks that end directives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or an argument.
    Word(String),
    /// `{`
    Open,
    /// `}`
    Close,
    /// `;`
    End,
}

/// What is wrong with a file, and in which of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// From 1.
    pub(super) line: usize,
    /// What was found, and what was expected.
    pub(super) message: String,
}

/// The words of one text, one after the other.
#[derive(Debug)]
pub(super) struct Words<'t> {
    chars: Peekable<Chars<'t>>,
    line: usize,
}

impl<'t> Words<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            chars: text.chars().peekable(),
            line: 1,
        }
    }

    /// The line that was read last, from 1.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The next token and the line that it begins in; `None` at the end.
    ///
    /// # Errors
    /// A quote that is not closed, or is followed by what cannot follow it.
    pub(super) fn next(&mut self) -> Result<Option<(Token, usize)>, Fault> {
        loop {
            let Some(&c) = self.chars.peek() else {
                return Ok(None);
            };
            if c.is_whitespace() {
                self.take();
            } else if c == '#' {
                while self.chars.peek().is_some_and(|&c| c != '\n') {
                    self.take();
                }
            } else {
                break;
            }
        }
        let line = self.line;
        let token = match self.take() {
            Some(';') => Token::End,
            Some('{') => Token::Open,
            Some('}') => Token::Close,
            Some(quote @ ('"' | '\'')) => Token::Word(self.quoted(quote, line)?),
            Some(first) => Token::Word(self.bare(first)),
            None => return Ok(None),
        };
        Ok(Some((token, line)))
    }

    /// Passes over a block of another language, whose `{` has been read. False where it does not end.
    pub(super) fn skip_block(&mut self) -> bool {
        let mut depth = 1_usize;
        while let Some(c) = self.take() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return true;
            }
        }
        false
    }

    fn quoted(&mut self, quote: char, line: usize) -> Result<String, Fault> {
        let mut text = String::new();
        loop {
            match self.take() {
                None => {
                    return Err(Fault {
                        line,
                        message: format!("a `{quote}` is not closed"),
                    });
                }
                Some('\\') => self.escape(&mut text),
                Some(c) if c == quote => break,
                Some(c) => text.push(c),
            }
        }
        match self.chars.peek() {
            Some(&c) if !c.is_whitespace() && !matches!(c, ';' | '{' | ')') => Err(Fault {
                line: self.line,
                message: format!("unexpected `{}` behind a closing quote", c.escape_debug()),
            }),
            _ => Ok(text),
        }
    }

    fn bare(&mut self, first: char) -> String {
        let mut text = String::new();
        let mut next = Some(first);
        while let Some(c) = next {
            match c {
                '\\' => self.escape(&mut text),
                '$' if self.chars.peek() == Some(&'{') => {
                    text.push('$');
                    text.extend(self.take());
                }
                c => text.push(c),
            }
            let ends = |c: &char| c.is_whitespace() || matches!(c, ';' | '{');
            next = match self.chars.peek() {
                Some(c) if !ends(c) => self.take(),
                _ => None,
            };
        }
        text
    }

    /// What a backslash and the character behind it stand for.
    fn escape(&mut self, text: &mut String) {
        match self.take() {
            Some(c @ ('"' | '\'' | '\\')) => text.push(c),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('n') => text.push('\n'),
            Some(c) => text.extend(['\\', c]),
            None => text.push('\\'),
        }
    }

    fn take(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Result<Vec<String>, Fault> {
        let mut words = Words::new(text);
        let mut all = Vec::new();
        while let Some((token, _)) = words.next()? {
            all.push(match token {
                Token::Word(word) => word,
                Token::Open => "{".to_owned(),
                Token::Close => "}".to_owned(),
                Token::End => ";".to_owned(),
            });
        }
        Ok(all)
    }

    #[test]
    fn as_nginx_reads_them() {
        for (text, expected) in [
            ("listen 80;", &["listen", "80", ";"][..]),
            ("a b;# c\nd;", &["a", "b", ";", "d", ";"]),
            ("a b#c;", &["a", "b#c", ";"]),
            ("a 'b;{}\" c' \"d'\";", &["a", "b;{}\" c", "d'", ";"]),
            (r#"a "b\"c" '\'' x\\y;"#, &["a", "b\"c", "'", "x\\y", ";"]),
            (r"a \.php$ \d+\;x;", &["a", r"\.php$", r"\d+\;x", ";"]),
            (r#"a "1\n2";"#, &["a", "1\n2", ";"]),
            ("a ${b}c{d;}", &["a", "${b}c", "{", "d", ";", "}"]),
            ("if ($a = \"b\") {", &["if", "($a", "=", "b", ")", "{"]),
            ("a b'c;", &["a", "b'c", ";"]),
            ("a '';", &["a", "", ";"]),
        ] {
            let expected: Vec<String> = expected.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(words(text), Ok(expected), "{text}");
        }
        for (text, line) in [("a 'b", 1), ("\na \"b\"c;", 2)] {
            assert_eq!(words(text).map_err(|fault| fault.line), Err(line), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_an_end(text in any::<String>()) {
            let _ = words(&text);
        }
    }
}
