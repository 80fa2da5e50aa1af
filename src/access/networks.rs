//! Whether an address is in a list of networks, in a time that hardly depends on how long the list is.

use ipnet::IpNet;
use std::net::IpAddr;

/// A list of networks as ranges of addresses, sorted, none of which touches another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// Of a list in any order, with any overlaps. Networks of IPv4 addresses in IPv6 (RFC 4291 §2.5.5.2) are the plain ones.
    pub fn new(networks: &[IpNet]) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for network in networks {
            match network {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self {
            v4: merged(v4, |last| last.checked_add(1)),
            v6: merged(v6, |last| last.checked_add(1)),
        }
    }

    /// Whether an address is in one of them. An IPv4 address in an IPv6 one counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address.to_bits()),
            IpAddr::V6(address) => within(&self.v6, address.to_bits()),
        }
    }
}

fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>, after: impl Fn(T) -> Option<T>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            // The one before may end with the last address there is.
            Some((_, end)) if after(*end).is_none_or(|after| first <= after) => {
                *end = last.max(*end);
            }
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn within<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= address);
    let before = behind.checked_sub(1).and_then(|at| ranges.get(at));
    before.is_some_and(|(_, last)| address <= *last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn networks(list: &[&str]) -> Vec<IpNet> {
        list.iter()
            .map(|net| net.parse().expect("a network"))
            .collect()
    }

    #[test]
    fn addresses_and_their_networks() {
        let list = Networks::new(&networks(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "192.0.2.7/32",
            "255.255.255.255/32",
            "2001:db8::/32",
            "ffff::/16",
        ]));
        for (address, expected) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("255.255.255.255", true),
            ("0.0.0.0", false),
            ("::ffff:10.1.2.3", true),
            ("::ffff:11.1.2.3", false),
            ("2001:db8::1", true),
            ("2001:db9::", false),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("::", false),
        ] {
            let parsed = address.parse().expect("an address");
            assert_eq!(list.contains(parsed), expected, "{address}");
        }
        assert!(!Networks::default().contains(IpAddr::from([127, 0, 0, 1])));
        let everybody = Networks::new(&networks(&["0.0.0.0/0", "1.0.0.0/8"]));
        assert!(everybody.contains(IpAddr::from([255, 255, 255, 255])));
        assert_eq!(everybody.v4.len(), 1);
    }

    proptest! {
        /// The answer is that of looking at each network by itself.
        #[test]
        fn it_is_as_one_by_one(
            nets in prop::collection::vec((any::<[u8; 4]>(), 0_u8..=32, any::<bool>()), 0..24),
            asked in prop::collection::vec(any::<[u8; 4]>(), 1..24),
        ) {
            let nets: Vec<IpNet> = nets
                .into_iter()
                .map(|(octets, length, low)| {
                    // Few first octets, so that networks meet.
                    let [a, b, c, d] = octets;
                    let a = if low { a % 3 } else { a };
                    IpNet::new(IpAddr::from([a, b, c, d]), length).expect("a length").trunc()
                })
                .collect();
            let list = Networks::new(&nets);
            for octets in asked {
                for address in [IpAddr::from(octets), IpAddr::from([octets[0] % 3, octets[1], 0, 255])] {
                    let expected = nets.iter().any(|net| net.contains(&address));
                    prop_assert_eq!(list.contains(address), expected, "{}", address);
                }
            }
        }
    }
}
