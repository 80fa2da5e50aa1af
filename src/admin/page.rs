//! The status page: one document that draws `/stats`, with nothing from elsewhere and nothing that was not compiled in.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS};

const STYLE: &str = include_str!("page/status.css");
const SCRIPT: &str = include_str!("page/status.js");
const DOCUMENT: &str = include_str!("page/status.html");

/// The page and the fields that it is sent with.
#[derive(Debug)]
pub(super) struct Page {
    /// The document.
    pub(super) html: String,
    /// What keeps others out of it.
    pub(super) fields: [(HeaderName, String); 3],
}

/// It is the same for everybody, and holds nothing that a stranger may not know.
pub(super) static PAGE: LazyLock<Page> = LazyLock::new(|| {
    // A browser runs the one script and uses the one style that these are the digests of, and speaks to us only: what a client
    // has put into a URL that is shown can do nothing here, even if the script had a fault.
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        sha256(SCRIPT),
        sha256(STYLE),
    );
    Page {
        html: DOCUMENT
            .replace("{style}", STYLE)
            .replace("{script}", SCRIPT),
        fields: [
            (CONTENT_SECURITY_POLICY, policy),
            (X_FRAME_OPTIONS, "DENY".to_owned()),
            (REFERRER_POLICY, "no-referrer".to_owned()),
        ],
    }
});

/// The digest of a text as a policy writes it.
fn sha256(text: &str) -> String {
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_as_policies_write_them() {
        // FIPS 180-2, the digest of "abc".
        assert_eq!(
            sha256("abc"),
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
        );
    }

    /// What the policy forbids would be missing from the page without anybody noticing: so it is not there.
    #[test]
    fn nothing_comes_from_elsewhere() {
        let html = &PAGE.html;
        for (part, times) in [
            ("<script", 1),
            ("<style", 1),
            ("{style}", 0),
            ("{script}", 0),
            (" style=", 0),
            ("src=", 0),
            ("url(", 0),
            ("@import", 0),
            ("innerHTML", 0),
            ("onclick", 0),
            ("eval(", 0),
        ] {
            assert_eq!(html.matches(part).count(), times, "{part}");
        }
        // The one address in it names the language of pictures, and is asked by nobody.
        assert_eq!(html.matches("http").count(), 1);
        assert!(html.contains("http://www.w3.org/2000/svg"));
    }
}
