//! `forebay init`: prints a short `proxy.toml` to start with.

use std::process::ExitCode;

use super::output;

/// The text lies beside this file, so that it can be read and edited as what it is.
const START: &str = include_str!("init.toml");

/// Prints the file. It is printed, not written, so that nothing is ever overwritten.
pub fn run() -> ExitCode {
    output::print(START);
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_start_loads_as_it_is_and_with_every_key_in_force() {
        let uncommented: Vec<&str> = START
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if !key.starts_with(' ') => key,
                _ => line,
            })
            .collect();
        for text in [START, &uncommented.join("\n")] {
            let errors = config::load_str(text, "proxy.toml").err();
            assert_eq!(errors.map(|errors| errors.to_string()), None);
        }
    }
}
