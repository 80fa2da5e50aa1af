//! Fields that are lists of things: what one reader finds in them, another must find too.

use forebay::fields::directive::{self, Argument, directives as read};
use forebay::fields::{cookie, forwarded as claims, hop_by_hop, list, via};
use http::{HeaderName, Version};
use std::net::{IpAddr, Ipv4Addr};

/// A directive that is quoted is read back; one in front of a line is not lost to what stands behind it.
pub fn directives(data: &[u8]) {
    let (line, value) = halves(data);
    for found in read(line) {
        assert!(!found.name.is_empty());
        assert!(found.name.iter().all(u8::is_ascii_graphic));
    }
    let quoted = [b"a=", &directive::quote(value)[..], b", last"].concat();
    let found: Vec<_> = read(&quoted).collect();
    assert_eq!(found.len(), 2, "{quoted:?}");
    assert_eq!(found[0].argument, Argument::Value(value.into()));
    let in_front = [b"no-store, ", line].concat();
    assert_eq!(
        read(&in_front).next().map(|it| it.name),
        Some(&b"no-store"[..])
    );
    assert_eq!(read(&in_front).count(), 1 + read(line).count());
    for member in list::members(line) {
        assert!(!member.is_empty());
    }
    let tokens = list::tokens(line).count();
    assert_eq!(tokens, list::members(line).count());
}

/// What `Connection` names is taken off or refused, in any case and on any line, and nothing that is everybody's is taken off.
pub fn connection(data: &[u8]) {
    let lines: Vec<_> = data.split(|&octet| octet == b'\n').collect();
    let Ok(options) = hop_by_hop::parse_connection(&lines) else {
        return;
    };
    for name in &options.nominated {
        assert!(!hop_by_hop::is_hop_by_hop(name));
        for protected in [
            "host",
            "content-length",
            "authorization",
            "cookie",
            "x-forwarded-for",
        ] {
            assert!(name != protected);
        }
    }
    for line in &lines {
        for member in list::members(line) {
            let name = HeaderName::from_bytes(member).expect("others are refused");
            let known = match name.as_str() {
                "close" => options.close,
                "keep-alive" => options.keep_alive,
                "upgrade" => options.upgrade,
                _ => hop_by_hop::is_hop_by_hop(&name) || options.nominated.contains(&name),
            };
            assert!(known, "{name}");
        }
    }
    let upper: Vec<_> = lines.iter().map(|line| line.to_ascii_uppercase()).collect();
    assert_eq!(hop_by_hop::parse_connection(&upper).as_ref(), Ok(&options));
    let joined = lines.join(&b", "[..]);
    // A string that does not end would take what is behind it along.
    if !joined.contains(&b'"') {
        assert_eq!(hop_by_hop::parse_connection([joined]), Ok(options));
    }
}

/// A cookie is found on whichever line it stands, behind whatever.
pub fn cookies(data: &[u8]) {
    let (line, value) = halves(data);
    let plain = |octet: &u8| octet.is_ascii_graphic() && *octet != b';';
    let value: Vec<u8> = value.iter().copied().filter(plain).collect();
    let ours = [b"sid=", &value[..]].concat();
    let behind = [line, b"; ", &ours].concat();
    for lines in [
        vec![behind.clone()],
        vec![line.to_vec(), ours.clone()],
        vec![ours, line.to_vec()],
    ] {
        let found: Vec<_> = cookie::find_all(&lines, "sid").collect();
        assert!(found.contains(&&value[..]), "{lines:?}");
        assert!(cookie::any_begins(&lines, "si"));
    }
    let one = [line.to_vec()];
    let count = cookie::find_all(&one, "sid").count();
    assert_eq!(cookie::find_all(&[behind], "sid").count(), count + 1);
    assert_eq!(
        cookie::find(&one, "sid"),
        cookie::find_all(&one, "sid").next()
    );
    if count > 0 {
        assert!(cookie::any_begins(&one, "sid"));
    }
}

/// Who is behind us is the last member, whatever was said before; and what names us is found.
pub fn forwarded(data: &[u8]) {
    let lines: Vec<_> = data.split(|&octet| octet == b'\n').collect();
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let read = claims::parse_x_forwarded_for(&lines);
    let written = claims::append_x_forwarded_for(&lines, client);
    let again = claims::parse_x_forwarded_for([&written]);
    // A quote that is not closed takes the rest of a line along: of what a trusted proxy wrote, not of ours.
    if !data.contains(&b'"') {
        assert_eq!(again.last(), Some(&Some(client)));
        assert_eq!(again.len(), read.len() + 1);
        assert_eq!(again[..read.len()], read);
    }
    for line in &lines {
        let mut lower = line.to_ascii_lowercase();
        let said = claims::wherever(line, "host").count();
        lower.extend_from_slice(b";host=ours");
        let all: Vec<_> = claims::wherever(&lower, "host").collect();
        assert_eq!(all.len(), said + 1);
        assert_eq!(all.last(), Some(&Some(&b"ours"[..])));
    }
    let text = String::from_utf8_lossy(lines[0]);
    let element = claims::element(client, Some(&text), "https");
    let proto: Vec<_> = claims::wherever(element.as_bytes(), "proto").collect();
    assert_eq!(proto.last(), Some(&Some(&b"https"[..])), "{element}");
    let ours = via::element(Version::HTTP_11, "edge");
    assert!(via::contains([ours.as_bytes()], "EDGE"));
    let _ = via::contains(&lines, "edge");
    let _ = via::cdn_loop_contains(&lines, "edge");
}

/// A line, and what is behind the first line feed.
fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|&octet| octet == b'\n');
    at.map_or((data, &[][..]), |at| (&data[..at], &data[at + 1..]))
}
