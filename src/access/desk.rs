//! Where passwords are checked: so many at a time, by turns, and no pair twice in a while.
//!
//! Checking a password costs a core some 50 ms, by design. A flood of wrong ones may therefore take half of the cores, and no
//! more: what serves other requests are other threads. What was found right is remembered by a keyed digest (never the password itself), so that
//! who is in stays in at no cost while a flood lasts.

use super::hash::Hash;
use super::line::Line;
use crate::clock::{self, Instant};
use quick_cache::sync::Cache;
use ring::{hmac, rand};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Who has waited for so long is told to come again: a browser shows nothing meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pairs remembered, of right and of wrong ones each: some 100 octets.
const REMEMBERED: usize = 4_096;
/// A right pair is good for so long. A change of the file is noticed before.
const RIGHT_FOR: Duration = Duration::from_secs(600);
/// A wrong one is wrong for so long: programs that have an old password ask again and again.
const WRONG_FOR: Duration = Duration::from_secs(30);

type Digest = [u8; 32];

/// Shared by all routes that ask for passwords. A reload keeps it.
#[derive(Debug)]
pub struct Desk {
    line: Arc<Line>,
    right: Cache<Digest, Instant>,
    wrong: Cache<Digest, Instant>,
    key: hmac::Key,
}

/// What a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The pair is right.
    Right,
    /// It is not.
    Wrong,
    /// Too many wait.
    Busy,
}

impl Default for Desk {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with((cores / 2).max(1))
    }
}

impl Desk {
    /// One that checks so many at a time.
    fn with(places: usize) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new());
        Self {
            line: Arc::new(Line::new(places)),
            right: Cache::new(REMEMBERED),
            wrong: Cache::new(REMEMBERED),
            // Where the system has no randomness, TLS has none either; the digests never leave the process.
            key: key.unwrap_or_else(|_| {
                hmac::Key::new(hmac::HMAC_SHA256, &fastrand::u128(..).to_le_bytes())
            }),
        }
    }

    /// A number that stands for a name, and that nobody outside can foresee.
    pub(super) fn number(&self, name: &str) -> u64 {
        let digest = hmac::sign(&self.key, name.as_bytes());
        let (first, _) = digest.as_ref().split_at(8);
        u64::from_le_bytes(first.try_into().unwrap_or_default())
    }

    /// Checks a password against a hash. `known` is false where the user is not: it takes as long, and is wrong.
    pub(super) async fn check(
        &self,
        client: IpAddr,
        name: &str,
        password: &[u8],
        hash: &Hash,
        known: bool,
    ) -> Found {
        // With the hash: what is remembered of a password that was changed since is about another one.
        let digest = self.digest(&[
            &[u8::from(known)],
            hash.text().as_bytes(),
            name.as_bytes(),
            password,
        ]);
        let remembered = |cache: &Cache<Digest, Instant>| {
            cache.get(&digest).is_some_and(|until| clock::now() < until)
        };
        if remembered(&self.right) {
            return Found::Right;
        }
        if remembered(&self.wrong) {
            return Found::Wrong;
        }
        let Some(waiting) = self.line.enter(client) else {
            return Found::Busy;
        };
        let Ok(Ok(place)) = timeout(PATIENCE, waiting.turn()).await else {
            return Found::Busy;
        };
        let (hash, password) = (hash.clone(), password.to_vec());
        // A data thread has others to serve. Who leaves meanwhile does not free the place before the work is done.
        let checked = tokio::task::spawn_blocking(move || {
            let fits = hash.fits(&password);
            drop(place);
            fits
        });
        let fits = checked.await.unwrap_or(false) && known;
        drop(waiting);
        let (cache, lasts) = if fits {
            (&self.right, RIGHT_FOR)
        } else {
            (&self.wrong, WRONG_FOR)
        };
        cache.insert(digest, clock::now() + lasts);
        if fits { Found::Right } else { Found::Wrong }
    }

    /// With each part's length, so that no two lists of parts are the same octets.
    fn digest(&self, parts: &[&[u8]]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

    fn hash() -> Hash {
        Hash::parse(HASH).expect("a good hash")
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[tokio::test]
    async fn right_wrong_and_unknown() {
        let desk = Desk::with(1);
        for _ in 0..2 {
            for (name, password, known, expected) in [
                ("ann", "secret", true, Found::Right),
                ("ann", "guess", true, Found::Wrong),
                ("eve", "secret", false, Found::Wrong),
            ] {
                let (client, password) = (address(1), password.as_bytes());
                let found = desk.check(client, name, password, &hash(), known).await;
                assert_eq!(found, expected, "{name}");
            }
        }
        assert_eq!((desk.right.len(), desk.wrong.len()), (1, 2));
        assert!(desk.line.is_empty());
    }

    #[tokio::test]
    async fn what_is_remembered_needs_no_place() {
        let desk = Desk::with(1);
        desk.check(address(1), "ann", b"secret", &hash(), true)
            .await;
        let taken = desk.line.enter(address(2)).expect("room");
        let taken = taken.turn().await.expect("a place");
        let found = desk
            .check(address(1), "ann", b"secret", &hash(), true)
            .await;
        assert_eq!(found, Found::Right);
        drop(taken);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_long_is_told_to_come_again() {
        let desk = Desk::with(1);
        let other = desk.line.enter(address(2)).expect("room");
        let place = other.turn().await.expect("a place");
        let began = clock::now();
        let found = desk
            .check(address(1), "ann", b"secret", &hash(), true)
            .await;
        assert_eq!(found, Found::Busy);
        assert_eq!((clock::now() - began).as_secs(), PATIENCE.as_secs());
        drop((place, other));
        assert!(desk.line.is_empty(), "nobody is left in the line");
    }

    #[test]
    fn parts_are_told_apart() {
        let desk = Desk::with(1);
        assert_ne!(desk.digest(&[b"ab", b"c"]), desk.digest(&[b"a", b"bc"]));
        assert_ne!(Desk::with(1).digest(&[b"a"]), desk.digest(&[b"a"]));
    }
}
