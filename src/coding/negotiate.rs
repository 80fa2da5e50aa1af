//! Which of the codings on offer a client gets, by its `Accept-Encoding` (RFC 9110 §12.5.3).
//!
//! `None` is identity, and it is also the answer where the client refuses even that (`identity;q=0`) and accepts nothing
//! else: §12.4.1 lets a server disregard the field, and 406 helps nobody.

use super::Coding;
use crate::fields::view::FieldView;
use crate::fields::weight::weight;
use http::header::ACCEPT_ENCODING;

impl Coding {
    /// What clients call it. §8.4.1.3: `x-gzip` is equivalent to `gzip`.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Zstd => &["zstd", "*"],
            Self::Brotli => &["br", "*"],
            Self::Gzip => &["gzip", "x-gzip", "*"],
        }
    }
}

/// The coding of `offered` that the client weighs highest; of equals, the first offered.
pub fn choose<'a>(request: impl Into<FieldView<'a>>, offered: &[Coding]) -> Option<Coding> {
    let request = request.into();
    // "If no Accept-Encoding header field is in the request, any content coding is considered acceptable": but who
    // does not ask for one is most often a program that cannot undo it.
    if !request.contains(&ACCEPT_ENCODING) {
        return None;
    }
    // Only a client that says so prefers identity: it is acceptable without being named, and `*` is not a wish for it.
    let mut most = weight(request, &ACCEPT_ENCODING, &["identity"]).unwrap_or(0);
    let mut chosen = None;
    for &coding in offered {
        // "If the field-value is empty", and where it does not name a coding, that one is not acceptable.
        let weight = weight(request, &ACCEPT_ENCODING, coding.names()).unwrap_or(0);
        // "A qvalue of 0 means not acceptable." Named as highly as identity, a coding is what is wanted of the two.
        if weight > 0 && (weight > most || chosen.is_none() && weight == most) {
            most = weight;
            chosen = Some(coding);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use Coding::{Brotli, Gzip, Zstd};
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    fn request(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| {
                (
                    ACCEPT_ENCODING,
                    HeaderValue::from_str(line).expect("a field value"),
                )
            })
            .collect()
    }

    /// RFC 9110 §12.5.3 and §12.4.2, its examples first.
    #[test]
    fn by_the_clients_preference() {
        for (lines, expected) in [
            (&["compress, gzip"][..], Some(Gzip)),
            (&[""], None),
            (&["*"], Some(Zstd)),
            (&["compress;q=0.5, gzip;q=1.0"], Some(Gzip)),
            (&["gzip;q=1.0, identity; q=0.5, *;q=0"], Some(Gzip)),
            // No field at all.
            (&[], None),
            // What browsers and programs send.
            (&["gzip, deflate, br, zstd"], Some(Zstd)),
            (&["gzip, deflate, br"], Some(Brotli)),
            (&["gzip, deflate"], Some(Gzip)),
            (&["deflate"], None),
            (&["identity"], None),
            // Weights, over our order.
            (&["zstd;q=0.5, br;q=0.8, gzip;q=0.8"], Some(Brotli)),
            (&["gzip;q=0.001"], Some(Gzip)),
            (&["gzip;q=0"], None),
            (&["gzip;q=0.000, br;q=0.0"], None),
            (&["gzip;q=nonsense"], None),
            // `*` is whatever is not named.
            (&["*;q=0.5, br;q=0.4"], Some(Zstd)),
            (&["*;q=0"], None),
            (&["zstd;q=0, *"], Some(Brotli)),
            (&["*;q=0, gzip"], Some(Gzip)),
            // Identity, preferred and refused.
            (&["identity, gzip;q=0.9"], None),
            (&["identity;q=0.9, gzip;q=0.9"], Some(Gzip)),
            (&["identity;q=0.5, gzip;q=0.4, br;q=0.6"], Some(Brotli)),
            (&["identity;q=0, gzip;q=0.1"], Some(Gzip)),
            (&["identity;q=0"], None),
            (&["identity;q=0, *;q=0"], None),
            // Aliases, case, several lines.
            (&["x-gzip"], Some(Gzip)),
            (&["x-gzip;q=0, *;q=0"], None),
            (&["GZIP;Q=1"], Some(Gzip)),
            (&["gzip", "br"], Some(Brotli)),
            (&["gzip;q=0.2", "zstd;q=0.1"], Some(Gzip)),
            (&["gzipped, brotli"], None),
        ] {
            assert_eq!(
                choose(&request(lines), &Coding::BY_SPEED),
                expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn only_what_is_offered_and_in_its_order() {
        let all = request(&["gzip, br, zstd"]);
        assert_eq!(choose(&all, &Coding::BY_SIZE), Some(Brotli));
        assert_eq!(choose(&all, &[Gzip]), Some(Gzip));
        assert_eq!(choose(&request(&["br"]), &[Gzip, Zstd]), None);
        assert_eq!(choose(&all, &[]), None);
    }

    proptest! {
        #[test]
        fn nothing_refused_is_chosen(weights in prop::collection::vec((0usize..4, 0u16..=10), 0..6)) {
            let names = ["zstd", "br", "gzip", "identity"];
            let members: Vec<_> = weights
                .iter()
                .map(|(name, tenths)| format!("{};q={}.{}", names[*name], tenths / 10, tenths % 10))
                .collect();
            let chosen = choose(&request(&[&members.join(", ")]), &Coding::BY_SPEED);
            let first = |name: &str| weights.iter().find(|(n, _)| names[*n] == name).map(|(_, w)| *w);
            let most = ["zstd", "br", "gzip"].into_iter().filter_map(first).max().unwrap_or(0);
            match chosen {
                Some(coding) => {
                    prop_assert_eq!(first(coding.name()), Some(most));
                    prop_assert!(most > 0 && most >= first("identity").unwrap_or(0));
                }
                None => prop_assert!(most == 0 || most < first("identity").unwrap_or(0)),
            }
        }
    }
}
