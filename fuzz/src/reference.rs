//! HTTP/1.1 requests read by RFC 9112's grammar and nothing else, octet by octet: the second opinion that the gate is held to.
//!
//! It shares no code with the gate, knows no limits, and forgives nothing. What the grammar leaves open (RFC 9112 §2.2: empty lines in
//! front; §3: a target that is "invalid" only by RFC 3986) is taken here as widely as it is read in one way: it must know where a
//! request ends, not whether it is wise to answer it.

/// A request, as far as its octets say.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Vec<u8>,
    /// The target, as it came.
    pub target: Vec<u8>,
    /// `1` or `0`: the minor version.
    pub minor: u8,
    /// Names and values, in their order, without white space around the values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// How the body is delimited.
    pub framing: Framing,
    /// Where the head ends, its empty line included.
    pub end: usize,
}

/// How a body is delimited (RFC 9112 §6.3).
#[derive(Debug, PartialEq, Eq)]
pub enum Framing {
    /// By a number of octets, which may be none.
    Length(u64),
    /// By chunks.
    Chunked,
}

/// What octets are.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// Whole.
    Whole(T),
    /// So far the beginning of something.
    Partial,
    /// Nothing that the grammar has; the word says which rule.
    Fault(&'static str),
}

/// Reads a head at the beginning of `octets`.
pub fn head(octets: &[u8]) -> Read<Request> {
    let Some(mut at) = octets.iter().position(|&it| it != b'\r' && it != b'\n') else {
        return Read::Partial;
    };
    // §2.2: "a server that is expecting to receive and parse a request-line SHOULD ignore at least one empty line (CRLF)".
    if octets[..at].chunks(2).any(|line| line != b"\r\n") {
        return Read::Fault("what is in front is no empty line");
    }
    let mut lines = Vec::new();
    loop {
        let Some(length) = octets[at..].iter().position(|&it| it == b'\n') else {
            return Read::Partial;
        };
        let Some(line) = octets[at..at + length].strip_suffix(b"\r") else {
            return Read::Fault("a line that CRLF does not end");
        };
        if line.contains(&b'\r') {
            return Read::Fault("a CR within a line");
        }
        at += length + 1;
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    // request-line = method SP request-target SP HTTP-version
    let parts: Vec<&[u8]> = lines[0].split(|&it| it == b' ').collect();
    let [method, target, version] = parts[..] else {
        return Read::Fault("request-line");
    };
    let minor = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        _ => return Read::Fault("HTTP-version"),
    };
    if !is_token(method) {
        return Read::Fault("method");
    }
    if target.is_empty() || target.iter().any(|&it| it <= b' ' || it == 0x7f) {
        return Read::Fault("request-target");
    }
    let mut fields = Vec::new();
    for line in &lines[1..] {
        let Some(field) = field_line(line) else {
            return Read::Fault("field-line");
        };
        fields.push(field);
    }
    let framing = match framing(&fields, minor) {
        Ok(framing) => framing,
        Err(fault) => return Read::Fault(fault),
    };
    Read::Whole(Request {
        method: method.to_vec(),
        target: target.to_vec(),
        minor,
        fields,
        framing,
        end: at,
    })
}

/// §6.3, without its lenient branches: whatever two recipients might settle differently is a fault.
fn framing(fields: &[(Vec<u8>, Vec<u8>)], minor: u8) -> Result<Framing, &'static str> {
    let coding = values(fields, b"transfer-encoding");
    let length = values(fields, b"content-length");
    match (&coding[..], &length[..]) {
        ([], []) => Ok(Framing::Length(0)),
        ([], lengths) => {
            // A list of one number, or the same number several times (§6.3, 5.).
            let mut numbers = lengths
                .iter()
                .flat_map(|line| line.split(|&it| it == b','))
                .map(|number| decimal(trimmed(number)));
            let first = numbers.next().flatten().ok_or("Content-Length")?;
            if numbers.any(|other| other != Some(first)) {
                return Err("Content-Length");
            }
            Ok(Framing::Length(first))
        }
        ([coding], []) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Framing::Chunked)
        }
        ([..], []) => Err("Transfer-Encoding"),
        ([..], [..]) => Err("two framings"),
    }
}

/// The values of all lines of a name in lower case.
pub fn values<'a>(fields: &'a [(Vec<u8>, Vec<u8>)], name: &[u8]) -> Vec<&'a [u8]> {
    let lines = fields.iter();
    let named = lines.filter(|(it, _)| it.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_slice()).collect()
}

/// Reads a chunked body at the beginning of `octets` (§7.1): its data, and where it ends.
pub fn chunked(octets: &[u8]) -> Read<(Vec<u8>, usize)> {
    let mut data = Vec::new();
    let mut at = 0;
    loop {
        let line = match line(&octets[at..]) {
            Read::Whole(line) => line,
            Read::Partial => return Read::Partial,
            Read::Fault(fault) => return Read::Fault(fault),
        };
        at += line.len() + 2;
        let digits = line.iter().take_while(|it| it.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at(digits);
        let Some(size) = hexadecimal(size) else {
            return Read::Fault("chunk-size");
        };
        // chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ): where it ends is all that matters.
        let extension = trimmed(extension);
        if !(extension.is_empty() && line.len() == digits || extension.starts_with(b";")) {
            return Read::Fault("chunk-ext");
        }
        if extension
            .iter()
            .any(|&it| (it < b' ' && it != b'\t') || it == 0x7f)
        {
            return Read::Fault("chunk-ext");
        }
        if size == 0 {
            break;
        }
        let rest = &octets[at..];
        let Some(chunk) = usize::try_from(size).ok().and_then(|size| rest.get(..size)) else {
            return Read::Partial;
        };
        data.extend_from_slice(chunk);
        at += chunk.len();
        match octets[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [] | [b'\r'] => return Read::Partial,
            _ => return Read::Fault("chunk-data"),
        }
    }
    loop {
        let line = match line(&octets[at..]) {
            Read::Whole(line) => line,
            Read::Partial => return Read::Partial,
            Read::Fault(fault) => return Read::Fault(fault),
        };
        at += line.len() + 2;
        if line.is_empty() {
            return Read::Whole((data, at));
        }
        if field_line(line).is_none() {
            return Read::Fault("trailer-section");
        }
    }
}

/// A line up to its CRLF, without another CR or LF in it.
fn line(octets: &[u8]) -> Read<&[u8]> {
    match octets.iter().position(|&it| it == b'\n') {
        None => Read::Partial,
        Some(end) => match octets[..end].strip_suffix(b"\r") {
            Some(line) if !line.contains(&b'\r') => Read::Whole(line),
            _ => Read::Fault("a line that CRLF does not end"),
        },
    }
}

/// field-line = field-name ":" OWS field-value OWS
fn field_line(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = line.iter().position(|&it| it == b':')?;
    let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
    let fits = |&octet: &u8| octet == b'\t' || octet >= b' ' && octet != 0x7f;
    (is_token(name) && value.iter().all(fits)).then(|| (name.to_vec(), value.to_vec()))
}

fn is_token(octets: &[u8]) -> bool {
    let is_tchar = |octet: &u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(octet);
    !octets.is_empty() && octets.iter().all(is_tchar)
}

/// Without the OWS around it.
fn trimmed(octets: &[u8]) -> &[u8] {
    let is_ows = |octet: &u8| matches!(octet, b' ' | b'\t');
    let start = octets
        .iter()
        .position(|it| !is_ows(it))
        .unwrap_or(octets.len());
    let end = octets
        .iter()
        .rposition(|it| !is_ows(it))
        .map_or(start, |at| at + 1);
    &octets[start..end]
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.is_empty() {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    if significant.len() > 16 {
        return None;
    }
    Some(u64::from_str_radix(significant, 16).unwrap_or(0))
}
