//! Whom an address stands for where clients are counted.

use std::net::{IpAddr, Ipv6Addr};

/// The bits of an IPv6 address that one customer has to himself (RFC 6177): the rest he may change with each connection.
const PREFIX: u32 = 64;

/// The address, or of IPv6 what its first 64 bits make.
pub fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (128 - PREFIX);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_whom() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let [one, other] = [one, other].map(|it| group(it.parse().expect("an address")));
            assert_eq!(one == other, same, "{one} {other}");
        }
    }
}
