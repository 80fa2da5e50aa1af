//! Who may use a route: by address, by password, by asking a service, by certificate; and what browsers are told to beware of.
//!
//! The decisions are here and know no connection; [`proxy::admit`](crate::proxy) asks for them at its stops and makes the requests
//! that they need. What is kept between requests is kept over reloads, too.
//!
//! | part | question |
//! |---|---|
//! | [`networks`] | is this address in the list? |
//! | [`basic`], [`users`], [`hash`], [`desk`] | is this the password, and what may finding out cost? |
//! | [`mod@line`] | whose turn is it to have a password checked? |
//! | [`forward`] | what is a service asked, and what does its answer mean? |
//! | [`certificate`] | will this certificate do, and what is the upstream told of it? |
//! | [`headers`] | which fields are added to an answer? |

pub mod basic;
pub mod certificate;
mod desk;
pub mod forward;
mod hash;
mod headers;
mod line;
mod networks;
pub mod settings;
pub mod users;

use basic::Basic;
use desk::Desk;
use forward::Forward;
use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE};
use networks::Networks;
use settings::{
    AccessSettings, AuthSettings, CLIENT_CERT, CLIENT_CERT_CHAIN, CertificateSettings,
    SecurityHeaders,
};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use users::{Users, UsersError};

pub use hash::Unfit;

/// What stands in front of one route.
#[derive(Debug)]
pub struct Guard {
    /// None where nobody is meant.
    deny: Networks,
    /// None where everybody is.
    allow: Option<Networks>,
    /// What clients must show.
    pub auth: Option<Auth>,
    /// What is added to answers.
    pub headers: SecurityHeaders,
    /// The same in a few words.
    pub summary: Option<String>,
    /// Request fields that only this guard may set: a client's own never reach the upstream.
    pub identity: Vec<HeaderName>,
}

/// What clients must show.
#[derive(Debug)]
pub enum Auth {
    /// A name and a password.
    Basic(Basic),
    /// What a service wants.
    Forward(Arc<Forward>),
    /// A certificate.
    Certificate(CertificateSettings),
}

impl Guard {
    /// Whether clients at this address may use the route.
    pub fn admits(&self, client: IpAddr) -> bool {
        !self.deny.contains(client) && self.allow.as_ref().is_none_or(|it| it.contains(client))
    }

    /// Those of them that a client has no say in from the beginning. What it shows in `Authorization` and cookies, a check may
    /// replace for the upstream, but has to see first.
    pub fn claims(&self) -> impl Iterator<Item = &HeaderName> {
        let shown = [AUTHORIZATION, COOKIE];
        self.identity
            .iter()
            .filter(move |name| !shown.contains(name))
    }

    /// Whether a client at this address need not show anything.
    pub fn is_open_to(&self, client: IpAddr) -> bool {
        self.auth.is_none() && self.admits(client)
    }
}

/// The guards of all routes.
#[derive(Debug)]
pub struct Guards {
    /// By the routes' indices; none where a route asks for nothing.
    routes: Vec<Option<Arc<Guard>>>,
    /// Request fields that a stranger has no say in, because applications take them for ours.
    claims: Arc<[HeaderName]>,
    /// Those of them that some check here sets: nobody else may, for most proxies hand on what they do not know.
    set_here: Arc<[HeaderName]>,
    desk: Arc<Desk>,
    files: Vec<Arc<Users>>,
    /// Password files that were read before, and say something else now.
    pub reread: Vec<PathBuf>,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            claims: Arc::new([CLIENT_CERT, CLIENT_CERT_CHAIN]),
            set_here: Arc::default(),
            desk: Arc::default(),
            files: Vec::new(),
            reread: Vec::new(),
        }
    }
}

impl Guards {
    /// Those of these settings, one for each route. What stays the same goes on with what it knows.
    ///
    /// # Errors
    /// A password file that cannot be used; what was in force before stays so.
    pub fn build(settings: &[AccessSettings], before: Option<&Self>) -> Result<Self, UsersError> {
        let mut guards = Self {
            desk: before.map(|it| it.desk.clone()).unwrap_or_default(),
            ..Self::default()
        };
        for settings in settings {
            let guard = guards.guard(settings, before)?;
            guards.routes.push(guard.map(Arc::new));
        }
        let set = guards.routes.iter().flatten();
        let mut set: Vec<_> = set.flat_map(|guard| guard.claims()).cloned().collect();
        if set.contains(&CLIENT_CERT) {
            set.push(CLIENT_CERT_CHAIN);
        }
        set.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        set.dedup();
        let fixed = guards.claims.iter().filter(|name| !set.contains(name));
        guards.claims = fixed.chain(&set).cloned().collect();
        guards.set_here = set.into();
        Ok(guards)
    }

    fn guard(
        &mut self,
        settings: &AccessSettings,
        before: Option<&Self>,
    ) -> Result<Option<Guard>, UsersError> {
        if *settings == AccessSettings::default() {
            return Ok(None);
        }
        let auth = match &settings.auth {
            None => None,
            Some(AuthSettings::Basic(basic)) => {
                let users = self.users(&basic.file, before)?;
                Some(Auth::Basic(Basic::new(basic, users, self.desk.clone())))
            }
            Some(AuthSettings::Forward(forward)) => {
                let known = before.and_then(|it| it.forward(forward));
                let asked = known.unwrap_or_else(|| Arc::new(Forward::new(forward.clone())));
                Some(Auth::Forward(asked))
            }
            Some(AuthSettings::Certificate(certificate)) => {
                // Nobody is refused and nothing is told: that is no reason to keep a route from the express lane.
                (!certificate.is_idle()).then(|| Auth::Certificate(certificate.clone()))
            }
        };
        Ok(Some(Guard {
            deny: Networks::new(&settings.deny),
            allow: (!settings.allow.is_empty()).then(|| Networks::new(&settings.allow)),
            auth,
            headers: settings.security_headers,
            summary: settings.summary(),
            identity: settings.identity(),
        }))
    }

    /// The users of a file, read once for all routes that name it.
    fn users(&mut self, file: &Path, before: Option<&Self>) -> Result<Arc<Users>, UsersError> {
        let of = |files: &[Arc<Users>]| files.iter().find(|it| it.path() == file).cloned();
        if let Some(users) = of(&self.files) {
            return Ok(users);
        }
        let users = match before.and_then(|before| of(&before.files)) {
            Some(users) => {
                if users.reload()? {
                    self.reread.push(file.to_owned());
                }
                users
            }
            None => Arc::new(Users::load(file)?),
        };
        self.files.push(users.clone());
        Ok(users)
    }

    fn forward(&self, settings: &settings::ForwardSettings) -> Option<Arc<Forward>> {
        let guards = self.routes.iter().flatten();
        let mut asked = guards.filter_map(|guard| match &guard.auth {
            Some(Auth::Forward(forward)) => Some(forward),
            _ => None,
        });
        asked.find(|it| it.settings == *settings).cloned()
    }

    /// The guard of the route with this index.
    pub fn of(&self, route: usize) -> Option<&Arc<Guard>> {
        self.routes.get(route)?.as_ref()
    }

    /// Request fields that a client has no say in: a stranger, or a trusted proxy.
    pub fn claims(&self, trusted: bool) -> &[HeaderName] {
        if trusted {
            &self.set_here
        } else {
            &self.claims
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(allow: &[&str], deny: &[&str]) -> AccessSettings {
        let networks = |list: &[&str]| {
            list.iter()
                .map(|net| net.parse().expect("a network"))
                .collect()
        };
        AccessSettings {
            allow: networks(allow),
            deny: networks(deny),
            ..AccessSettings::default()
        }
    }

    #[test]
    fn deny_wins_over_allow() {
        for (allow, deny, expected) in [
            (&["10.0.0.0/8"][..], &[][..], true),
            (&["192.0.2.0/24"], &[], false),
            (&[], &["10.1.0.0/16"], false),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], false),
            (&["10.0.0.0/8"], &["10.2.0.0/16"], true),
            (&[], &["10.2.0.0/16"], true),
        ] {
            let guards = Guards::build(&[settings(allow, deny)], None).expect("no files");
            let guard = guards.of(0).expect("a guard");
            let client = IpAddr::from([10, 1, 2, 3]);
            assert_eq!(guard.admits(client), expected, "{allow:?} {deny:?}");
            assert_eq!(guard.is_open_to(client), expected, "{allow:?} {deny:?}");
        }
        let guards = Guards::build(&[AccessSettings::default()], None).expect("no files");
        assert!(guards.of(0).is_none());
    }

    #[test]
    fn a_reload_keeps_what_is_known() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("users");
        std::fs::write(&file, "ann:$apr1$9sNvqYxX$JCrMXxVFbAHMZmqNe/r8t1\n").expect("writing");
        let basic = AccessSettings {
            auth: Some(AuthSettings::Basic(settings::BasicSettings {
                file: file.clone(),
                realm: "r".to_owned(),
                pass: false,
            })),
            ..AccessSettings::default()
        };
        let all = [basic.clone(), basic];
        let before = Guards::build(&all, None).expect("a good file");
        assert_eq!(before.files.len(), 1);
        let after = Guards::build(&all, Some(&before)).expect("a good file");
        assert!(Arc::ptr_eq(&before.files[0], &after.files[0]));
        assert!(Arc::ptr_eq(&before.desk, &after.desk));
        std::fs::write(&file, "ann:plain\n").expect("writing");
        assert!(Guards::build(&all, Some(&after)).is_err());
    }
}
