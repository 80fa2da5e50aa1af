//! What an operator writes: our own file, and nginx's.

use forebay::config;
use forebay::import;
use std::path::PathBuf;
use std::sync::LazyLock;

/// A text becomes settings or errors. Settings are written as a text that becomes the same settings.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // What is included is another file, or many.
    if text.contains("include") {
        return;
    }
    match config::load_str(text, "proxy.toml") {
        Ok(mut settings) => {
            settings.server.sources.clear();
            let written = config::effective(&settings);
            match config::load_str(&written, "effective.toml") {
                Ok(mut again) => {
                    again.server.sources.clear();
                    assert_eq!(again, settings, "{written}");
                }
                Err(errors) => panic!("{errors}\n\nin\n\n{written}"),
            }
        }
        Err(errors) => {
            assert!(!errors.0.is_empty());
            for error in &errors.0 {
                let at = error.location.as_ref();
                assert!(at.is_none_or(|at| at.line >= 1 && at.column >= 1));
            }
        }
    }
}

static NGINX: LazyLock<PathBuf> = LazyLock::new(|| {
    let name = format!("forebay-fuzz-{}.conf", std::process::id());
    std::env::temp_dir().join(name)
});

/// An `nginx.conf` becomes a file that loads, or it is said what is wrong with it; never a file that does not load.
pub fn import(data: &[u8]) {
    if data.windows(7).any(|window| window == b"include") {
        return;
    }
    std::fs::write(&*NGINX, data).expect("a place for it");
    match import::nginx(&NGINX) {
        Ok(made) => {
            if let Err(errors) = config::load_str(&made.toml, "proxy.toml") {
                panic!("{errors}\n\nin\n\n{}", made.toml);
            }
        }
        Err(import::ImportError::Invalid(text)) => panic!("{text}"),
        Err(_) => {}
    }
}
