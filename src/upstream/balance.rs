//! Which of several candidates is next: by turn, by load, or by the request's key.
//!
//! The candidates are those that may be used and were not tried yet; who they are is the pool's business.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::HeaderMap;
use parking_lot::Mutex;

use super::address::Address;
use super::settings::{Balance, HashKey};

/// The balancing of one upstream.
#[derive(Debug)]
pub struct Balancer {
    method: Balance,
    /// Guards every `Address::turn` of the upstream. Held for one walk over the candidates, tens of nanoseconds;
    /// nothing may wait, allocate or log while it is held.
    turns: Mutex<()>,
}

impl Balancer {
    /// A balancer of this kind.
    pub fn new(method: Balance) -> Self {
        Self {
            method,
            turns: Mutex::new(()),
        }
    }

    /// The number that stands for the request where the method is a hash and the request has what is hashed.
    pub fn key(&self, path: &str, client: Option<IpAddr>, headers: &HeaderMap) -> Option<u64> {
        let Balance::Hash(source) = &self.method else {
            return None;
        };
        match source {
            HashKey::Path => Some(hash(path.as_bytes())),
            HashKey::Client => client.map(|ip| match ip.to_canonical() {
                IpAddr::V4(ip) => hash(&ip.octets()),
                IpAddr::V6(ip) => hash(&ip.octets()),
            }),
            HashKey::Header(name) => headers.get(name).map(|value| hash(value.as_bytes())),
            HashKey::Cookie(name) => cookie(headers, name).map(hash),
        }
    }

    /// The candidate for a request with this key, if there is any candidate.
    pub fn pick<'a, I>(&self, candidates: I, key: Option<u64>) -> Option<&'a Arc<Address>>
    where
        I: Iterator<Item = &'a Arc<Address>> + Clone,
    {
        let mut peek = candidates.clone();
        let first = peek.next()?;
        if peek.next().is_none() {
            return Some(first);
        }
        match (&self.method, key) {
            (Balance::LeastConn, _) => self.least_conn(candidates),
            (Balance::Hash(_), Some(key)) => rendezvous(candidates, key),
            // A request without the header or cookie that is hashed has no favourite.
            (Balance::RoundRobin | Balance::Hash(_), _) => self.round_robin(candidates),
        }
    }

    /// nginx's smooth weighted round robin: over a full round each candidate has exactly its share, and a heavy
    /// one's turns are spread out rather than in a row.
    fn round_robin<'a, I>(&self, candidates: I) -> Option<&'a Arc<Address>>
    where
        I: Iterator<Item = &'a Arc<Address>>,
    {
        let _turns = self.turns.lock();
        let mut total = 0;
        let mut best: Option<(&Arc<Address>, i64)> = None;
        for address in candidates {
            let weight = i64::from(address.server.weight);
            let turn = address.turn.load(Ordering::Relaxed) + weight;
            address.turn.store(turn, Ordering::Relaxed);
            total += weight;
            if best.is_none_or(|(_, highest)| turn > highest) {
                best = Some((address, turn));
            }
        }
        let (address, turn) = best?;
        address.turn.store(turn - total, Ordering::Relaxed);
        Some(address)
    }

    /// The fewest requests in flight relative to the weight; equals take turns, so that an idle upstream does not
    /// send everything to its first server.
    fn least_conn<'a, I>(&self, candidates: I) -> Option<&'a Arc<Address>>
    where
        I: Iterator<Item = &'a Arc<Address>> + Clone,
    {
        // a/v < b/w, without dividing: a·w < b·v. Each load is read once, since other threads change it meanwhile.
        let (load, weight) = candidates
            .clone()
            .map(|a| (a.in_flight() as u64, u64::from(a.server.weight)))
            .reduce(|least, next| {
                if next.0 * least.1 < least.0 * next.1 {
                    next
                } else {
                    least
                }
            })?;
        let as_idle = move |a: &&Arc<Address>| {
            a.in_flight() as u64 * weight <= load * u64::from(a.server.weight)
        };
        // All of them may have become busier since: then it is anybody's turn.
        self.round_robin(candidates.clone().filter(as_idle))
            .or_else(|| self.round_robin(candidates))
    }
}

/// Weighted rendezvous hashing: each candidate draws a number from the key and its own name, the highest wins.
/// When one leaves, only its keys move, and they spread over all others.
fn rendezvous<'a, I>(candidates: I, key: u64) -> Option<&'a Arc<Address>>
where
    I: Iterator<Item = &'a Arc<Address>>,
{
    candidates
        .map(|address| (score(address, key), address))
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, address)| address)
}

/// `-weight / ln(u)`, with `u` uniform in (0, 1), makes the share of wins proportional to the weight.
fn score(address: &Address, key: u64) -> f64 {
    let mut hasher = Fnv::new();
    // `write` into this hasher cannot fail.
    let _ = fmt::Write::write_fmt(&mut hasher, format_args!("{}", address.socket));
    let draw = mix(hasher.0 ^ mix(key));
    // 53 bits are what an f64 holds exactly; the half keeps `u` away from zero.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64")]
    let uniform = ((draw >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(address.server.weight) / uniform.ln()
}

/// A hash that is the same in every process and version, so that several edges agree.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = Fnv::new();
    hasher.add(bytes);
    mix(hasher.0)
}

/// FNV-1a, 64 bits.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}

/// The finalizer of splitmix64: every input bit moves half of the output bits, which FNV alone does not do.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The value of the first cookie called `name` (RFC 6265 §4.2.1).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b';'))
        .map(<[u8]>::trim_ascii)
        .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::upstream::address::{Server, Socket};
    use crate::upstream::settings::{Endpoint, ServerSettings, UpstreamTls};

    fn addresses(weights: &[u32]) -> Vec<Arc<Address>> {
        let address = |(i, &weight): (usize, &u32)| {
            let last = u8::try_from(i + 1).expect("few addresses");
            let endpoint = Endpoint::Tcp {
                host: "app".to_owned(),
                port: 80,
            };
            let settings = ServerSettings {
                weight,
                ..ServerSettings::new(endpoint)
            };
            let server = Arc::new(Server::new(&settings, &UpstreamTls::default()));
            let socket = Socket::Tcp(SocketAddr::from(([10, 0, 0, last], 80)));
            Arc::new(Address::new(server, socket))
        };
        weights.iter().enumerate().map(address).collect()
    }

    fn order(balancer: &Balancer, addresses: &[Arc<Address>], n: usize) -> Vec<usize> {
        let index = |a: &Arc<Address>| addresses.iter().position(|b| Arc::ptr_eq(a, b));
        (0..n)
            .filter_map(|_| balancer.pick(addresses.iter(), None).and_then(index))
            .collect()
    }

    #[test]
    fn round_robin_is_smooth() {
        let balancer = Balancer::new(Balance::RoundRobin);
        assert_eq!(
            order(&balancer, &addresses(&[5, 1, 1]), 7),
            [0, 0, 1, 0, 2, 0, 0]
        );
        assert_eq!(order(&balancer, &addresses(&[1, 1, 1]), 4), [0, 1, 2, 0]);
        assert!(balancer.pick([].iter(), None).is_none());
    }

    #[test]
    fn least_conn_weighs_load_and_equals_take_turns() {
        let balancer = Balancer::new(Balance::LeastConn);
        let all = addresses(&[1, 1, 2]);
        let mut idle = order(&balancer, &all, 4);
        idle.sort_unstable();
        assert_eq!(idle, [0, 1, 2, 2], "idle equals take turns by weight");
        all[0].enter();
        all[2].enter();
        assert_eq!(order(&balancer, &all, 2), [1, 1]);
        all[1].enter();
        assert_eq!(order(&balancer, &all, 2), [2, 2], "1/2 is less than 1/1");
    }

    #[test]
    fn keys_come_from_where_the_settings_say() {
        let mut headers = HeaderMap::new();
        headers.insert("x-user", "ann".parse().expect("a value"));
        headers.append("cookie", "a=1; sid=xyz".parse().expect("a value"));
        let client = Some(IpAddr::from([192, 0, 2, 1]));
        let key = |source| Balancer::new(Balance::Hash(source)).key("/a", client, &headers);
        assert_eq!(key(HashKey::Path), Some(hash(b"/a")));
        assert_eq!(key(HashKey::Client), Some(hash(&[192, 0, 2, 1])));
        assert_eq!(
            key(HashKey::Header(http::HeaderName::from_static("x-user"))),
            Some(hash(b"ann"))
        );
        assert_eq!(key(HashKey::Cookie("sid".to_owned())), Some(hash(b"xyz")));
        assert_eq!(key(HashKey::Cookie("si".to_owned())), None);
        assert_eq!(
            key(HashKey::Header(http::HeaderName::from_static("x-none"))),
            None
        );
        assert_eq!(
            Balancer::new(Balance::RoundRobin).key("/a", client, &headers),
            None
        );
    }

    #[test]
    fn a_hash_is_the_same_in_every_version() {
        assert_eq!(
            hash(b"/a"),
            0xe37f_d2b7_5548_30fb,
            "edges of two versions must agree"
        );
    }

    #[test]
    fn hash_shares_follow_weights() {
        let balancer = Balancer::new(Balance::Hash(HashKey::Path));
        let all = addresses(&[3, 1]);
        let heavy = (0..4_000u64)
            .filter(|&k| {
                balancer
                    .pick(all.iter(), Some(mix(k)))
                    .is_some_and(|a| Arc::ptr_eq(a, &all[0]))
            })
            .count();
        assert!((2_850..3_150).contains(&heavy), "{heavy} of 4000");
    }

    proptest! {
        #[test]
        fn a_round_gives_everyone_exactly_their_share(weights in prop::collection::vec(1u32..20, 1..8)) {
            let balancer = Balancer::new(Balance::RoundRobin);
            let all = addresses(&weights);
            let total: u32 = weights.iter().sum();
            let mut counts = vec![0u32; weights.len()];
            for i in order(&balancer, &all, total as usize) {
                counts[i] += 1;
            }
            prop_assert_eq!(counts, weights);
        }

        #[test]
        fn only_the_keys_of_the_one_that_left_move(count in 2usize..8, gone in 0usize..8, keys in prop::collection::vec(any::<u64>(), 200)) {
            let gone = gone % count;
            let balancer = Balancer::new(Balance::Hash(HashKey::Path));
            let all = addresses(&vec![1; count]);
            let mut moved: HashMap<usize, usize> = HashMap::new();
            for key in keys {
                let before = balancer.pick(all.iter(), Some(key)).expect("someone");
                let rest = all.iter().enumerate().filter(|(i, _)| *i != gone).map(|(_, a)| a);
                let after = balancer.pick(rest, Some(key)).expect("someone");
                if Arc::ptr_eq(before, &all[gone]) {
                    *moved.entry(gone).or_default() += 1;
                } else {
                    prop_assert!(Arc::ptr_eq(before, after));
                }
            }
        }
    }
}
