//! Quality values: the weight that `Accept`, `Accept-Encoding` and their like give to a name (RFC 9110 §12.4.2).

use crate::fields::list;
use crate::fields::token::trim_ows;
use crate::fields::view::FieldView;
use http::header::HeaderName;

/// The weight, 0 to 1000, that the field gives to the first of `names` that it names; `None` where it names none.
/// `names` go from the most specific to the least: `["text/html", "text/*"]`. Parameters besides `q` are ignored.
pub fn weight<'a>(
    headers: impl Into<FieldView<'a>>,
    field: &HeaderName,
    names: &[&str],
) -> Option<u16> {
    let headers = headers.into();
    names.iter().find_map(|name| {
        headers
            .get_all(field)
            .flat_map(list::members)
            .find_map(|member| weight_in(member, name))
    })
}

fn weight_in(member: &[u8], name: &str) -> Option<u16> {
    let mut parts = member.split(|&octet| octet == b';').map(trim_ows);
    if !parts.next()?.eq_ignore_ascii_case(name.as_bytes()) {
        return None;
    }
    let weight = parts.find_map(|part| match part {
        [b'q' | b'Q', b'=', value @ ..] => Some(parse_weight(value)),
        _ => None,
    });
    // A malformed weight is no wish for anything.
    Some(weight.map_or(1000, |weight| weight.unwrap_or(0)))
}

/// `qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`, in thousandths.
fn parse_weight(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] => (*whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return None,
    };
    let digit = |octet: u8| octet.is_ascii_digit().then(|| u16::from(octet - b'0'));
    let mut thousandths = digit(whole)?;
    for at in 0..3 {
        thousandths = thousandths * 10 + fraction.get(at).map_or(Some(0), |&octet| digit(octet))?;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use http::HeaderValue;
    use http::header::ACCEPT;

    #[test]
    fn weights() {
        for (lines, expected) in [
            (&["text/html"][..], Some(1000)),
            (&["TEXT/HTML;level=1;Q=0.5"], Some(500)),
            (&["text/*;q=0.3, text/html ; q=0.25"], Some(250)),
            (&["text/*;q=0.3"], Some(300)),
            (&["a/b", "text/html;q=0"], Some(0)),
            (&["text/html;q=1.000"], Some(1000)),
            (&["text/html;q=1.001"], Some(0)),
            (&["text/html;q=2"], Some(0)),
            (&["text/html;q="], Some(0)),
            (&["text/html;q=0.1234"], Some(0)),
            (&["text/html;q=0.x"], Some(0)),
            (&["*/*"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(ACCEPT, HeaderValue::from_static(line));
            }
            let found = weight(&headers, &ACCEPT, &["text/html", "text/*"]);
            assert_eq!(found, expected, "{lines:?}");
        }
    }
}
