//! An upstream as the admin API shows it.

use serde::Serialize;

use super::Upstream;
use super::address::Standing;
use super::pool::LookUp;
use crate::clock;

/// One upstream now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamView {
    /// Its name.
    pub name: String,
    /// Whether a request would be given a server at once.
    pub available: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests held.
    pub held: usize,
    /// Requests queueing for `max_in_flight`.
    pub queued: usize,
    /// Its servers, as written.
    pub servers: Vec<ServerView>,
}

/// One server now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerView {
    /// The server as written.
    pub server: String,
    /// Its share.
    pub weight: u32,
    /// Whether it is a backup.
    pub backup: bool,
    /// How the last look-up of its name went: "fixed", "pending", "resolved" or what the resolver said.
    pub dns: String,
    /// Its addresses.
    pub addresses: Vec<AddressView>,
}

/// One address now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddressView {
    /// The address.
    pub addr: String,
    /// "up", "down", "unhealthy", "starting" or "ejected".
    pub state: &'static str,
    /// What was last wrong with it, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests it is working on.
    pub in_flight: usize,
    /// Failures in a row.
    pub failures: u32,
}

impl Upstream {
    /// What the admin API shows of it.
    pub fn view(&self) -> UpstreamView {
        let now = clock::now();
        let available = self.pool.has_somebody(now);
        let look_ups = self.pool.look_ups();
        let servers = self.pool.servers().iter().enumerate();
        UpstreamView {
            name: self.name().to_owned(),
            available,
            reason: (!available).then(|| self.pool.nobody(now).to_string()),
            held: self.hold.held(),
            queued: self.queue.queued(),
            servers: servers
                .zip(look_ups)
                .map(|((index, server), look_up)| ServerView {
                    server: server.name.to_string(),
                    weight: server.weight,
                    backup: server.backup,
                    dns: match look_up {
                        LookUp::Needless => "fixed".to_owned(),
                        LookUp::Pending => "pending".to_owned(),
                        LookUp::Resolved => "resolved".to_owned(),
                        LookUp::Failed(why) => why,
                    },
                    addresses: self
                        .pool
                        .known_of(index)
                        .iter()
                        .map(|address| {
                            let standing = address.standing(now);
                            // Also of one that is asked on: the last of all is, whatever it fails.
                            let wrong = standing != Standing::Available || address.failures() > 0;
                            AddressView {
                                addr: address.socket.to_string(),
                                state: standing.word(),
                                reason: wrong.then(|| address.complaint()),
                                in_flight: address.in_flight(),
                                failures: address.failures(),
                            }
                        })
                        .collect(),
                })
                .collect(),
        }
    }
}
