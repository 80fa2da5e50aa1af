//! The one account of the cache's memory: every octet that it keeps alive, whoever holds it.
//!
//! What is stored, what was evicted and is still being sent, and what is under way are counted alike, by the memory itself:
//! a [`Charge`] lies beside what it counts and goes with it, so that no path can forget one.

use super::super::purge::ledger::Ledger;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;

/// What is alive, and which purges there were.
#[derive(Debug)]
pub struct Account {
    /// All octets. A gauge, so that the metric is the account itself.
    pub(super) alive: Gauge,
    /// Those of them that are under way.
    pub(super) in_flight: Gauge,
    /// Those of them that lie in the arena.
    pub(super) in_arena: Gauge,
    /// The purges, and what may be told of how much each is about.
    pub(in crate::cache) ledger: Ledger,
}

impl Default for Account {
    fn default() -> Self {
        let alive = Gauge::default();
        Self {
            ledger: Ledger::new(&alive),
            in_flight: Gauge::default(),
            in_arena: Gauge::default(),
            alive,
        }
    }
}

impl Account {
    pub(super) fn alive(&self) -> u64 {
        u64::try_from(self.alive.get()).unwrap_or(0)
    }

    pub(super) fn in_flight(&self) -> u64 {
        u64::try_from(self.in_flight.get()).unwrap_or(0)
    }

    pub(in crate::cache) fn add(&self, bytes: u64) {
        self.alive.inc_by(signed(bytes));
    }

    pub(in crate::cache) fn subtract(&self, bytes: u64) {
        self.alive.dec_by(signed(bytes));
    }
}

/// Octets that are counted while this lives.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bytes: u64,
}

impl Charge {
    /// Counts so many more.
    pub(in crate::cache) fn new(account: &Arc<Account>, bytes: u64) -> Self {
        account.add(bytes);
        Self::counted(account, bytes)
    }

    /// Takes over octets that are counted already.
    pub(super) fn counted(account: &Arc<Account>, bytes: u64) -> Self {
        Self {
            account: Arc::clone(account),
            bytes,
        }
    }

    pub(in crate::cache) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.subtract(self.bytes);
    }
}

/// The memory that an allocation of so many octets takes: the larger of what mimalloc (ours) and glibc give. mimalloc has
/// classes of 16 octets up to 64, then four for each doubling; glibc eight more, in steps of 16.
pub fn allocated(bytes: usize) -> u64 {
    let bytes = bytes as u64;
    if bytes == 0 {
        return 0;
    }
    let class = if bytes <= 64 {
        bytes.next_multiple_of(16)
    } else {
        // Between 2ⁿ and 2ⁿ⁺¹ the classes are a quarter of 2ⁿ apart.
        let quarter = ((bytes - 1).ilog2()).saturating_sub(2);
        bytes.next_multiple_of(1 << quarter)
    };
    class.max((bytes + 8).next_multiple_of(16))
}

pub(in crate::cache) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_allocation_takes() {
        for (bytes, expected) in [
            (0, 0),
            (1, 16),
            (24, 32),
            (40, 48),
            (64, 80),
            (65, 80),
            (112, 128),
            (128, 144),
            (129, 160),
            (500, 512),
            (513, 640),
            (65536, 65552),
            (65537, 81920),
        ] {
            assert_eq!(allocated(bytes), expected, "{bytes}");
        }
    }
}
