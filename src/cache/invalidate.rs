//! What is no longer to be used after a write (RFC 9111 §4.4).

use super::key::CacheKey;
use super::lookup::Cache;

impl Cache {
    /// What is stored for a key's target is not used any more, all variants and routes, and what is being fetched for it is not
    /// stored nor shared by anybody who is not there already. True where there was something stored.
    pub fn invalidate(&self, key: &CacheKey) -> bool {
        let engine = &self.engine;
        engine
            .fills
            .invalidate(key, |_| engine.store.invalidate(key))
    }
}
