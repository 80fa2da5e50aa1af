//! Whatever the text, loading ends with settings or errors, never with a panic; and settings can be written back.

use proptest::prelude::*;

use super::reference::{REFERENCE, is_key_in_comment, uncommented};
use super::{load, round_trip, variable};

/// Loads a text. What comes of it is well formed, either way.
fn judge(text: &str) {
    match load(text, "proxy.toml") {
        Ok(loaded) => drop(round_trip(&loaded)),
        Err(errors) => {
            assert!(!errors.0.is_empty());
            for error in &errors.0 {
                let at = error.location.as_ref();
                assert!(at.is_none_or(|at| at.line >= 1 && at.column >= 1));
                assert!(error.to_string().contains(&error.message));
            }
        }
    }
}

#[test]
fn a_variable_cannot_add_keys() {
    let text = "[[route]]\nrespond = \"${EVIL}\"";
    let loaded = load(text, "proxy.toml").map_err(|errors| errors.to_string());
    let written = loaded.map(|loaded| round_trip(&loaded));
    assert!(variable("EVIL").is_some_and(|evil| evil.contains("[admin]")));
    assert_eq!(
        written.map(|written| written.contains("listen = \"127.0.0.1:9900\"")),
        Ok(true)
    );
}

proptest! {
    #[test]
    fn arbitrary_text(text in any::<String>()) {
        judge(&text);
    }

    #[test]
    fn arbitrary_lines(lines in prop::collection::vec(
        "(\\[{1,2}|)(server|listen|limits|admin|log|cache|upstream\\.[a-z\"${}é]{0,3}|route)?(\\]{1,2}|)\
         |(to|path|host|name|servers|tls|health|addr|retry|include|files|cache|ttl|bypass|key|query|object) = \
         (-?[0-9]{1,20}|true|\"[ -~é]{0,9}\"|'\\$\\{[A-Z:-]{0,6}\\}'|\\[\\]|\\{ ?[a-z]{0,4}( = 1)? ?\\})",
        0..12,
    )) {
        judge(&lines.join("\n"));
    }

    #[test]
    fn any_selection_of_the_reference(bits in prop::collection::vec(any::<bool>(), 200)) {
        let mut bits = bits.into_iter().cycle();
        let lines = REFERENCE.lines().map(|line| {
            if is_key_in_comment(line) && bits.next() == Some(true) { &line[1..] } else { line }
        });
        judge(&lines.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn the_reference_with_slips(
        slips in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, any::<char>()), 1..6),
    ) {
        let mut text: Vec<char> = uncommented().chars().collect();
        for (index, kind, c) in slips {
            let index = index.index(text.len());
            match kind {
                0 => text[index] = c,
                1 => drop(text.remove(index)),
                2 => text.insert(index, c),
                _ => text.truncate(index + 1),
            }
        }
        judge(&text.into_iter().collect::<String>());
    }

    /// One value exchanged for another of the file: well-formed TOML that means something odd.
    #[test]
    fn the_reference_with_values_exchanged(
        one in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
    ) {
        let text = uncommented();
        let lines: Vec<&str> = text.lines().collect();
        let keyed: Vec<(usize, &str)> = lines.iter().enumerate()
            .filter(|(_, line)| !line.starts_with('#'))
            .filter_map(|(number, line)| Some((number, line.split_once(" = ")?.1)))
            .collect();
        let (number, _) = keyed[one.index(keyed.len())];
        let (_, value) = keyed[other.index(keyed.len())];
        let exchanged: Vec<String> = lines.iter().enumerate().map(|(here, line)| {
            match line.split_once(" = ") {
                Some((key, _)) if here == number => format!("{key} = {value}"),
                _ => (*line).to_owned(),
            }
        }).collect();
        judge(&exchanged.join("\n"));
    }
}
