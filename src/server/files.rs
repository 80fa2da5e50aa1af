//! Which files that the settings name the program would not start with.

use crate::access::settings::AuthSettings;
use crate::access::users::Users;
use crate::config::settings::Settings;
use crate::tls::Acceptor;
use crate::upstream::trust::Trust;
use std::path::Path;

/// What is wrong with files of certificates and passwords that are there. Those that are not may be where the program will run.
pub fn unusable(settings: &Settings) -> Vec<String> {
    let there = |files: &[&Path]| files.iter().all(|file| file.exists());
    let mut all = Vec::new();
    for listen in &settings.listen {
        let Some(tls) = &listen.tls else { continue };
        let pairs = tls.certificates.iter();
        let mut files: Vec<&Path> = pairs.flat_map(|pair| [&*pair.cert, &*pair.key]).collect();
        files.extend(tls.clients.iter().map(|clients| &*clients.ca));
        let loaded = there(&files).then(|| Acceptor::load(tls, listen.http2));
        if let Some(Err(error)) = loaded {
            all.push(format!("listener {}: {error}", listen.addr));
        }
    }
    for upstream in &settings.upstreams {
        let tls = &upstream.tls;
        let files = [&tls.ca, &tls.cert, &tls.key];
        let files: Vec<&Path> = files.into_iter().filter_map(Option::as_deref).collect();
        let loaded = there(&files).then(|| Trust::load(upstream));
        all.extend(loaded.and_then(Result::err).map(|it| it.to_string()));
    }
    for access in &settings.access {
        let Some(AuthSettings::Basic(basic)) = &access.auth else {
            continue;
        };
        let loaded = there(&[&basic.file]).then(|| Users::load(&basic.file));
        let error = loaded.and_then(Result::err).map(|it| it.to_string());
        // Several routes may name one file.
        all.extend(error.filter(|it| !all.contains(it)));
    }
    all
}
