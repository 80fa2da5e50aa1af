//! Whether a response is what its target's name says it is: against web cache deception.
//!
//! `/account/x.css`, `/account;x.css` and `/account%3f.css` are one page to many an application, the reader's own, and a
//! style sheet to a rule that goes by the end of the name. Who follows such a link has the page stored for whoever made
//! it. So where a rule or a guess is all that makes a response fresh, a name that ends like a file's must bring such a file.
//! What the origin itself says of freshness is not judged here.
//!
//! An end that is not in the table promises nothing: `/v1.2`, `/@user/first.last` and `/x.foo` are pages as often as files, and a
//! promise without a type cannot be broken. CDNs draw the line at the ends that they cache by themselves; that is where these are from.

use http::{HeaderMap, header};

/// What a name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    Style,
    Script,
    Json,
    Xml,
    Text,
    Image,
    Font,
    /// Sound and moving pictures, and the lists of their parts.
    Media,
    /// What is saved, not shown: documents, archives, programs.
    Download,
}

/// The ends of names, each behind a dot, in lower case. Those of pages (`html`, `php`) promise nothing.
static ENDS: &[(Promise, &[&str])] = &[
    (Promise::Style, &["css"]),
    (Promise::Script, &["js", "mjs", "cjs"]),
    (Promise::Json, &["json", "map", "webmanifest"]),
    (Promise::Xml, &["xml", "rss", "atom", "xsl"]),
    (Promise::Text, &["txt", "csv", "vtt", "md"]),
    (
        Promise::Image,
        &[
            "png", "jpg", "jpeg", "jpe", "gif", "webp", "avif", "svg", "svgz", "ico", "bmp", "tif",
            "tiff", "jxl", "heic", "apng", "pict",
        ],
    ),
    (Promise::Font, &["woff", "woff2", "ttf", "otf", "eot"]),
    (
        Promise::Media,
        &[
            "mp3", "mp4", "m4a", "m4v", "m4s", "mov", "avi", "mkv", "webm", "ogg", "oga", "ogv",
            "opus", "wav", "flac", "aac", "mid", "midi", "mpg", "mpeg", "m3u8", "mpd",
        ],
    ),
    (
        Promise::Download,
        &[
            "pdf", "ps", "eps", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "odp",
            "epub", "zip", "gz", "tgz", "bz2", "xz", "zst", "7z", "rar", "tar", "jar", "class",
            "apk", "dmg", "iso", "exe", "msi", "deb", "rpm", "bin", "wasm", "swf",
        ],
    ),
];

/// Whether a path ends like a file's name and the response is something else. A response without a type is, too: a file
/// has one, and a browser would guess.
pub fn deceives(path: &str, response: &HeaderMap) -> bool {
    let mut path = path;
    loop {
        // What a rule for files may look past: `x.css/`, `x.css.`.
        path = path.trim_end_matches(['/', '.']);
        let (before, name) = path.rsplit_once('/').unwrap_or(("", path));
        // What an origin may cut off: parameters (`x.css;v=1`), and whatever an escape hides (`x.css%00`, `x.css%3fa`).
        let cut = name.find([';', '%']).and_then(|at| name.get(..at));
        let promises = [Some(name), cut].into_iter().flatten().filter_map(promise);
        if promises.into_iter().any(|it| !keeps(it, response)) {
            return true;
        }
        // Where nothing else is in the last segment, the one before it is the name: `x.css/;a`, `x.css/%2f`.
        let is_empty = |cut: &str| cut.trim_end_matches('.').is_empty();
        if !cut.is_some_and(is_empty) || before.is_empty() {
            return false;
        }
        path = before;
    }
}

fn promise(name: &str) -> Option<Promise> {
    let (_, end) = name.trim_end_matches('.').rsplit_once('.')?;
    let said = |ends: &[&str]| ends.iter().any(|it| it.eq_ignore_ascii_case(end));
    let found = ENDS.iter().find(|(_, ends)| said(ends));
    found.map(|(promise, _)| *promise)
}

/// Whether each `Content-Type` is one of those promised: of several, browsers differ in which they take.
fn keeps(promise: Promise, response: &HeaderMap) -> bool {
    let mut types = response.get_all(header::CONTENT_TYPE).iter().peekable();
    types.peek().is_some() && types.all(|it| it.to_str().is_ok_and(|it| is_of(promise, it)))
}

fn is_of(promise: Promise, content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    // A list of two types is one of neither.
    if essence.contains([',', ' ', '\t']) {
        return false;
    }
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    // Browsers save these and show nothing of them, whatever they are called.
    if subtype == "octet-stream" {
        return true;
    }
    let page = matches!(subtype, "html" | "xhtml+xml");
    let json = subtype == "json" || subtype.ends_with("+json");
    let xml = !page && (subtype == "xml" || subtype.ends_with("+xml"));
    let script = subtype.contains("javascript") || subtype.contains("ecmascript");
    match promise {
        Promise::Style => essence == "text/css",
        Promise::Script => script,
        Promise::Json => json || essence == "text/plain",
        Promise::Xml => xml,
        Promise::Text => kind == "text" && !page,
        Promise::Image => kind == "image",
        Promise::Font => {
            let named = subtype.contains("font") || subtype.contains("opentype");
            kind == "font" || kind == "application" && named
        }
        Promise::Media => {
            let listed = matches!(
                subtype,
                "ogg" | "mp4" | "vnd.apple.mpegurl" | "x-mpegurl" | "dash+xml"
            );
            matches!(kind, "audio" | "video") || listed
        }
        Promise::Download => kind == "application" && !(page || json || xml || script),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::testing::headers;
    use proptest::prelude::*;

    fn typed(content_type: &str) -> HeaderMap {
        headers(&[("content-type", content_type)])
    }

    #[test]
    fn a_page_under_the_name_of_a_file() {
        for path in [
            "/account/x.css",
            "/account.css",
            "/account;x.css",
            "/account%3Bx.css",
            "/account%2Fx.css",
            "/account%00.css",
            "/account%3F.css",
            "/account%23.css",
            "/account%0A.css",
            "/account!.css",
            "/account/x.css;v=1.2",
            "/account/x.css%00",
            "/account/x.css%2Fy",
            "/account/x.css%2f",
            "/account/x.css/",
            "/account/x.css//",
            "/account/x.css.",
            "/account/x.css./",
            "/account/x.css;a",
            "/account/x.css.;a",
            "/account/x.css/;a",
            "/account/x.css/%2f",
            "/account/x.css/%00/;a/",
            "x.css/;a",
            "/account/X.CSS",
            "/account/x.js",
            "/account/x.json",
            "/account/x.xml",
            "/account/x.txt",
            "/account/x.png",
            "/account/x.woff2",
            "/account/x.mp4",
            "/account/x.pdf",
            "/favicon.ico",
            "/.css",
        ] {
            assert!(deceives(path, &typed("text/html; charset=utf-8")), "{path}");
            assert!(deceives(path, &typed("application/xhtml+xml")), "{path}");
            assert!(deceives(path, &HeaderMap::new()), "{path}");
            assert!(
                !deceives(path, &typed("application/octet-stream")),
                "{path}"
            );
        }
    }

    #[test]
    fn names_that_promise_nothing() {
        for path in [
            "/",
            "/account",
            "/index.html",
            "/v1.2/account",
            "/x.css/account",
            "/a.php",
            "/css",
            "/x.cssx",
            "/x.",
            "/x./",
            "/x.foo",
            "/x.foo/",
            "/@user/first.last",
            "/v1.2",
            "/v1.2/",
            "/;x",
            "/%2f",
            "//",
            "*",
            "",
        ] {
            assert!(!deceives(path, &typed("text/html")), "{path}");
            assert!(!deceives(path, &HeaderMap::new()), "{path}");
        }
    }

    #[test]
    fn what_a_name_may_bring() {
        for (name, content_type, fits) in [
            ("a.css", "text/css", true),
            ("a.css", "Text/CSS ; charset=utf-8", true),
            ("a.css", "text/plain", false),
            ("a.css", "text/css, text/html", false),
            ("a.css", "css", false),
            ("a.js", "text/javascript", true),
            ("a.mjs", "application/javascript", true),
            ("a.js", "application/x-javascript", true),
            ("a.js", "application/json", false),
            ("a.map", "application/json", true),
            ("a.json", "application/ld+json", true),
            ("a.json", "text/html", false),
            ("a.xml", "text/xml", true),
            ("a.rss", "application/rss+xml", true),
            ("a.xml", "application/xhtml+xml", false),
            ("robots.txt", "text/plain", true),
            ("a.csv", "text/csv", true),
            ("a.txt", "application/json", false),
            ("a.jpg", "image/webp", true),
            ("a.svg", "image/svg+xml", true),
            ("a.ico", "image/x-icon", true),
            ("a.png", "image/png, text/html", false),
            ("a.woff", "font/woff", true),
            ("a.woff", "application/font-woff", true),
            ("a.ttf", "application/x-font-ttf", true),
            ("a.eot", "application/vnd.ms-fontobject", true),
            ("a.otf", "application/vnd.ms-opentype", true),
            ("a.woff", "application/json", false),
            ("a.mp4", "video/mp4", true),
            ("a.mp4", "application/mp4", true),
            ("a.m3u8", "application/vnd.apple.mpegurl", true),
            ("a.mp3", "text/plain", false),
            ("a.pdf", "application/pdf", true),
            ("a.zip", "application/x-zip-compressed", true),
            ("a.bin", "binary/octet-stream", true),
            ("a.pdf", "application/json", false),
            ("a.pdf", "application/problem+json", false),
            ("a.zip", "text/plain", false),
        ] {
            let path = format!("/x/{name}");
            let found = !deceives(&path, &typed(content_type));
            assert_eq!(found, fits, "{name} {content_type}");
        }
        let two = headers(&[("content-type", "text/css"), ("content-type", "text/html")]);
        assert!(deceives("/x.css", &two), "whichever a browser takes");
    }

    proptest! {
        /// However a name is led up to, a page under it is none.
        #[test]
        fn no_way_to_the_end_makes_a_page_of_a_style_sheet(before in "[ -~]{0,24}") {
            let path = format!("/{before}.css");
            prop_assert!(deceives(&path, &typed("text/html")), "{}", path);
        }

        /// Nor does anything of this behind it.
        #[test]
        fn no_way_from_it_either(behind in "([/.]|;[a-z]{0,3}|%(2f|00|3f)){0,6}") {
            let path = format!("/x.css{behind}");
            prop_assert!(deceives(&path, &typed("text/html")), "{}", path);
        }
    }
}
