//! Glob patterns for paths: `*` is any text within a segment, `**` any text. Both may be empty.
//!
//! A pattern is run as a set of states, one bit each (the shift-and method), so the time is the length of the path
//! whatever the pattern and the path are: there is no backtracking for a client to provoke.

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    /// The text before the first `*`; every match begins with it.
    literal: Box<str>,
    /// What follows. No two stars are neighbours.
    elements: Box<[Element]>,
    /// The literal elements equal to a byte, as bits: `words` words for each class of bytes.
    advance: Box<[u64]>,
    /// The class of each byte: 0 for those that are not in the pattern.
    class: Box<[u8; 256]>,
    /// The elements that are `*`, and those that are `**`, as bits.
    within_segment: Box<[u64]>,
    anything: Box<[u64]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Byte(u8),
    WithinSegment,
    Anything,
}

/// States that fit on the stack: patterns up to 511 bytes after their literal beginning.
const STACK_WORDS: usize = 8;

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        let literal = literal_of(pattern);
        let elements = elements_of(&pattern.as_bytes()[literal.len()..]);
        // One state more than elements: the one where all have matched.
        let words = elements.len() / 64 + 1;
        let mut class = Box::new([0_u8; 256]);
        let mut advance = vec![0_u64; words];
        let mut within_segment = vec![0_u64; words];
        let mut anything = vec![0_u64; words];
        for (i, element) in elements.iter().enumerate() {
            match element {
                Element::WithinSegment => set(&mut within_segment, i),
                Element::Anything => set(&mut anything, i),
                Element::Byte(byte) => {
                    let slot = &mut class[usize::from(*byte)];
                    if *slot == 0 {
                        // `*` is never a byte of its own, so there are at most 255 classes besides 0.
                        *slot = u8::try_from(advance.len() / words).unwrap_or(u8::MAX);
                        advance.resize(advance.len() + words, 0);
                    }
                    let at = usize::from(*slot) * words;
                    set(&mut advance[at..at + words], i);
                }
            }
        }
        Self {
            literal: literal.into(),
            elements: elements.into(),
            advance: advance.into(),
            class,
            within_segment: within_segment.into(),
            anything: anything.into(),
        }
    }

    pub(super) fn literal(&self) -> &str {
        &self.literal
    }

    /// Whether the pattern is its literal and `**`: any path that begins so matches.
    pub(super) fn is_open_ended(&self) -> bool {
        *self.elements == [Element::Anything]
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.as_bytes().strip_prefix(self.literal.as_bytes()) else {
            return false;
        };
        if self.is_open_ended() {
            return true;
        }
        let words = self.anything.len();
        let mut stack = [0_u64; STACK_WORDS];
        let mut heap;
        let states = if words <= STACK_WORDS {
            &mut stack[..words]
        } else {
            heap = vec![0_u64; words];
            &mut heap[..]
        };
        states[0] = 1;
        self.skip_stars(states);
        for &byte in rest {
            if !self.step(states, byte) {
                return false;
            }
        }
        let end = self.elements.len();
        states[end / 64] & (1 << (end % 64)) != 0
    }

    /// Takes one byte; false where no state is left.
    fn step(&self, states: &mut [u64], byte: u8) -> bool {
        let words = states.len();
        let at = usize::from(self.class[usize::from(byte)]) * words;
        let advance = &self.advance[at..at + words];
        let mut carry = 0;
        let mut alive = 0;
        for (word, state) in states.iter_mut().enumerate() {
            let mut stay = self.anything[word];
            if byte != b'/' {
                stay |= self.within_segment[word];
            }
            let moved = *state & advance[word];
            *state = (*state & stay) | (moved << 1) | carry;
            carry = moved >> 63;
            alive |= *state;
        }
        self.skip_stars(states);
        alive != 0
    }

    /// A star may be empty: whoever stands before one also stands behind it. Once is enough, as no two are neighbours.
    fn skip_stars(&self, states: &mut [u64]) {
        let mut carry = 0;
        for (word, state) in states.iter_mut().enumerate() {
            *state |= carry;
            let at_star = *state & (self.within_segment[word] | self.anything[word]);
            *state |= at_star << 1;
            carry = at_star >> 63;
        }
    }
}

/// The text before the first `*`.
fn literal_of(pattern: &str) -> &str {
    pattern.split('*').next().unwrap_or(pattern)
}

fn elements_of(pattern: &[u8]) -> Vec<Element> {
    let mut elements = Vec::with_capacity(pattern.len());
    for &byte in pattern {
        match (byte, elements.last_mut()) {
            (b'*', Some(star @ (Element::WithinSegment | Element::Anything))) => {
                *star = Element::Anything;
            }
            (b'*', _) => elements.push(Element::WithinSegment),
            _ => elements.push(Element::Byte(byte)),
        }
    }
    elements
}

fn set(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("/img/*.png", "/img/a.png", true),
            ("/img/*.png", "/img/.png", true),
            ("/img/*.png", "/img/a.b.png", true),
            ("/img/*.png", "/img/a/b.png", false),
            ("/img/*.png", "/img/a.png/", false),
            ("/img/**.png", "/img/a/b.png", true),
            ("/img/**", "/img/", true),
            ("/img/**", "/img", false),
            ("/**", "/", true),
            ("/*/edit", "/users/edit", true),
            ("/*/edit", "/users/7/edit", false),
            ("/**/edit", "/users/7/edit", true),
            ("/a*b*c", "/abbc", true),
            ("/a*b*c", "/ab/c", false),
            ("/***", "/x/y", true),
            ("/v*/x/**/y", "/v1/x/y", false),
            ("/v*/x/**/y", "/v1/x/1/2/y", true),
            ("/é*", "/éà", true),
        ] {
            assert_eq!(
                Glob::new(pattern).matches(path),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn states_beyond_one_word_and_beyond_the_stack() {
        for length in [61, 62, 63, 64, 65, 128, 600] {
            let tail = "ab".repeat(length);
            let glob = Glob::new(&format!("/*/{tail}*z"));
            assert!(glob.matches(&format!("/x/{tail}z")), "{length}");
            assert!(!glob.matches(&format!("/x/{tail}/z")), "{length}");
            assert!(!glob.matches(&format!("/x/{tail}")), "{length}");
        }
    }

    #[test]
    fn a_hostile_path_takes_linear_time() {
        // By backtracking this would take longer than the universe has existed.
        let glob = Glob::new(&format!("/{}z", "**a*a".repeat(12)));
        assert!(!glob.matches(&format!("/{}", "a".repeat(60_000))));
    }

    /// The meaning, by recursion.
    fn model(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => path.is_empty(),
            [b'*', b'*', rest @ ..] => (0..=path.len()).any(|n| model(rest, &path[n..])),
            [b'*', rest @ ..] => (0..=path.len())
                .take_while(|&n| !path[..n].contains(&b'/'))
                .any(|n| model(rest, &path[n..])),
            [byte, rest @ ..] => path.first() == Some(byte) && model(rest, &path[1..]),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_model(pattern in "/[ab/*]{0,8}", path in "/[ab/]{0,8}") {
            // Three stars and more are two.
            let collapsed = pattern.replace("****", "**").replace("****", "**").replace("***", "**");
            prop_assert_eq!(
                Glob::new(&pattern).matches(&path),
                model(collapsed.as_bytes(), path.as_bytes()),
                "{} {}", pattern, path
            );
        }
    }
}
