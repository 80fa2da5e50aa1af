//! Where `http-cache-semantics` 3.0.0 and we disagree, and who is right: what they misread, and what they judge otherwise.

use super::*;

/// What is written in one case of a message so that they do not read it as it is meant: why, and how to say the same to
/// them. We are right in all of these. False where the message holds nothing of the kind.
pub(super) struct Dialect(pub(super) &'static str, pub(super) fn(&mut Case) -> bool);

pub(super) const DIALECT: &[Dialect] = &[
    Dialect(
        "they do not know CDN-Cache-Control; RFC 9213 §2.2",
        |case| {
            let targeted = case.has("cdn-cache-control", "max-age=45");
            if targeted {
                case.control = vec!["max-age=45"];
                case.fields
                    .retain(|(name, _)| !matches!(*name, "cdn-cache-control" | "expires"));
            }
            targeted
        },
    ),
    Dialect("they obey Pragma in responses; RFC 9111 §5.4", |case| {
        case.replace_field(("pragma", "no-cache"), None)
    }),
    Dialect(
        "they compare directives with their case; RFC 9111 §5.2",
        |case| {
            case.replace("No-Store", Some("no-store"))
                | case.replace("MAX-AGE=60", Some("max-age=60"))
        },
    ),
    Dialect(
        "they read a max-age with a sign or a space, and overlook one without a value: stale by RFC 9111 §4.2.1",
        |case| {
            ["max-age=+60", "max-age =60", "max-age"]
                .into_iter()
                .fold(false, |any, unreadable| {
                    case.replace(unreadable, Some("max-age=x")) | any
                })
        },
    ),
    Dialect(
        "they take private=\"…\" and no-cache=\"…\" for the whole response; RFC 9111 §5.2.2.4, §5.2.2.7",
        |case| case.replace("private=\"x-a\"", None) | case.replace("no-cache=\"x-a, x-b\"", None),
    ),
    Dialect(
        "they do not know must-understand; RFC 9111 §5.2.2.3",
        |case| {
            if case.status == 599 {
                return case.replace("must-understand, no-store", Some("no-store"));
            }
            let ignored = case.says("must-understand, no-store");
            if ignored {
                for no_store in ["must-understand, no-store", "no-store", "No-Store"] {
                    case.replace(no_store, None);
                }
            }
            ignored
        },
    ),
    Dialect(
        "they read one of the three formats of dates; RFC 9110 §5.6.7",
        |case| {
            case.replace_field(
                OLD_EXPIRES,
                Some(("expires", "Sun, 06 Nov 1994 08:51:37 GMT")),
            ) | case.replace_field(
                OLD_MODIFIED,
                Some(("last-modified", "Sun, 06 Nov 1994 07:49:37 GMT")),
            )
        },
    ),
    Dialect(
        "they ignore an Age that is a list; RFC 9111 §5.1 takes the first",
        |case| case.replace_field(("age", "5, 6"), Some(("age", "5"))),
    ),
];

/// Who is right where the two disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// We are, by the section named.
    Ours,
    /// The standard leaves it open, and we chose.
    Both,
}

/// A disagreement that is known: its name, why it is there, who is right, and what it explains.
pub(super) struct Known(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) Right,
    pub(super) fn(&Case, Answers) -> bool,
);

pub(super) const KNOWN: &[Known] = &[
    Known(
        "status",
        "they understand fourteen statuses; RFC 9111 §3 wants that only for must-understand",
        Right::Ours,
        |case, answers| {
            answers.question == Question::Storing
                && answers.ours == 1
                && matches!(case.status, 206 | 500 | 503 | 599)
        },
    ),
    Known(
        "apparent age",
        "they do not compare Date with the clock; RFC 9111 §4.2.3",
        Right::Ours,
        |case, answers| case.fields.contains(&EARLIER) && answers.ours < answers.theirs,
    ),
    Known(
        "immutable",
        "they take it for a lifetime of a day; RFC 8246 §2 has none in it",
        Right::Ours,
        |case, answers| case.says("immutable") && answers.ours < answers.theirs,
    ),
    Known(
        "proxy-revalidate",
        "they take it for a lifetime of zero; RFC 9111 §5.2.2.8 forbids stale use only",
        Right::Ours,
        |case, answers| case.says("proxy-revalidate") && answers.ours > answers.theirs,
    ),
    Known(
        "windows",
        "they do not know RFC 5861",
        Right::Ours,
        |case, answers| {
            let window = case.says("stale-while-revalidate=30")
                || (case.says("stale-if-error=30") && answers.question == Question::Storing);
            window && answers.ours > answers.theirs && answers.question != Question::Lifetime
        },
    ),
    Known(
        "max-stale, forbidden",
        "they allow it against no-cache, s-maxage and proxy-revalidate; RFC 9111 §4.2.4",
        Right::Ours,
        |case, answers| {
            let forbidden = case.control.iter().any(|said| {
                said.starts_with("s-maxage") || matches!(*said, "no-cache" | "proxy-revalidate")
            });
            answers.question == Question::Reuse
                && answers.ours == 0
                && case.second_says("max-stale")
                && forbidden
        },
    ),
    Known(
        "max-stale, of a failure",
        "they allow it; we serve no 5xx beyond its freshness, which RFC 9111 §4.2.4 leaves open",
        Right::Both,
        |case, answers| {
            answers.question == Question::Reuse
                && answers.ours == 0
                && case.status >= 500
                && case.second_says("max-stale")
        },
    ),
    Known(
        "max-stale, exactly",
        "they want it to be less; RFC 9111 §5.2.1.2 says \"no more than\"",
        Right::Ours,
        |case, answers| {
            answers.question == Question::Reuse
                && answers.ours == 1
                && case.second_says("max-stale=20")
        },
    ),
    Known(
        "max-stale, unreadable",
        "they take it for any staleness; we ignore it",
        Right::Both,
        |case, answers| {
            answers.question == Question::Reuse
                && answers.ours == 0
                && case.second_says("max-stale=x")
        },
    ),
    Known(
        "repeated",
        "they add must-revalidate where values differ; RFC 9111 §4.2.1 leaves the choice",
        Right::Both,
        |case, answers| {
            case.second_says("max-stale")
                && answers.ours > answers.theirs
                && answers.question == Question::Reuse
                && case.repeats()
        },
    ),
    Known(
        "repeated, authorization",
        "the must-revalidate that they add lets them share what was asked for with a password",
        Right::Ours,
        |case, answers| {
            let password = matches!(case.credentials, Some(("authorization", _)));
            password && answers.question == Question::Storing && answers.ours == 0 && case.repeats()
        },
    ),
    Known(
        "over 2^31",
        "they count on; RFC 9111 §1.2.2 lets us stop there",
        Right::Both,
        |case, answers| {
            case.says("max-age=99999999999")
                && answers.question == Question::Lifetime
                && answers.theirs > 1 << 31
        },
    ),
    Known(
        "guess",
        "they guess without a limit; RFC 9111 §4.2.2 leaves it to us",
        Right::Both,
        |case, answers| {
            case.fields.contains(&LONG_AGO)
                && answers.question == Question::Lifetime
                && answers.ours < answers.theirs
        },
    ),
    Known(
        "set-cookie",
        "they store it to be validated, unless public; we do not store it, unless public or s-maxage",
        Right::Both,
        |case, _| case.names("set-cookie"),
    ),
    Known(
        "cookie",
        "they share what they guess to be fresh with requests that have cookies",
        Right::Both,
        |case, answers| {
            answers.question == Question::Storing
                && answers.ours == 0
                && matches!(case.credentials, Some(("cookie", _)))
        },
    ),
    Known(
        "status, guessed",
        "they guess about 405, 414 and 501; RFC 9110 §15.1 allows it, and we do not, because one request may have caused them",
        Right::Both,
        |case, answers| answers.ours < answers.theirs && matches!(case.status, 405 | 414 | 501),
    ),
];
