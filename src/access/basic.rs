//! Basic authentication (RFC 7617): what a client showed, and whether it lets it in.

use super::desk::{Desk, Found};
use super::settings::BasicSettings;
use super::users::Users;
use crate::fields::credentials;
use http::HeaderValue;
use std::net::IpAddr;
use std::sync::Arc;

/// A route's password check.
#[derive(Debug)]
pub struct Basic {
    users: Arc<Users>,
    desk: Arc<Desk>,
    challenge: HeaderValue,
    /// Whether the upstream gets what the client showed.
    pub pass: bool,
}

/// What a client's credentials come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It may go on.
    Right,
    /// There are none.
    Missing,
    /// They are wrong, or not understood.
    Wrong,
    /// Too many others are being looked at.
    Busy,
}

impl Basic {
    /// A check by this file.
    pub fn new(settings: &BasicSettings, users: Arc<Users>, desk: Arc<Desk>) -> Self {
        // RFC 7617 §2.1: the one value of `charset` there is.
        let challenge = format!(
            "Basic realm=\"{}\", charset=\"UTF-8\"",
            settings.realm.replace('\\', "\\\\").replace('"', "\\\"")
        );
        Self {
            users,
            desk,
            challenge: HeaderValue::from_str(&challenge)
                .unwrap_or(HeaderValue::from_static("Basic realm=\"Restricted\"")),
            pass: settings.pass,
        }
    }

    /// `WWW-Authenticate` of the 401.
    pub fn challenge(&self) -> &HeaderValue {
        &self.challenge
    }

    /// Judges the values of `Authorization`.
    pub async fn check(&self, client: IpAddr, mut values: impl Iterator<Item = &[u8]>) -> Checked {
        let Some(value) = values.next() else {
            return Checked::Missing;
        };
        // Of two, the upstream might believe the other one.
        if values.next().is_some() {
            return Checked::Wrong;
        }
        let Some((name, password)) = credentials::basic(value) else {
            return Checked::Wrong;
        };
        if self.users.is_due() {
            let users = self.users.clone();
            // Where it fails, the runtime ends.
            let _ = tokio::task::spawn_blocking(move || users.look()).await;
        }
        let table = self.users.table();
        let known = table.hash(&name);
        let decoy = || table.decoy(self.desk.number(&name));
        let Some(hash) = known.or_else(decoy) else {
            return Checked::Wrong;
        };
        let found = self
            .desk
            .check(client, &name, &password, hash, known.is_some())
            .await;
        match found {
            Found::Right => Checked::Right,
            Found::Wrong => Checked::Wrong,
            Found::Busy => Checked::Busy,
        }
    }
}
