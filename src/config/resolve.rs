//! From sections to settings: what concerns several sections at once, such as names, addresses and order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::error::{Report, listed, nearest};
use super::file::addresses::{SchemeHttp, looks_like_url, server_url};
use super::file::{File, Route, Spotted, Target};
use super::settings::Settings;
use super::source::{Place, Sources};
use super::{Surroundings, defaults, https, rates};
use crate::access::settings::{AuthSettings, Demand};
use crate::admin::settings::{AdminListen, AdminSettings};
use crate::cache::settings::Rules;
use crate::listen::settings::ListenSettings;
use crate::routing::settings::{RouteSettings, Scheme};
use crate::routing::{
    PassedBy, PassedGuard, Shadowed, passed_guards, passed_redirects, unreachable_routes,
};
use crate::upstream::settings::{UpstreamHttp, UpstreamSettings};

/// Makes the settings of all sections. They are only good if nothing was reported as an error.
pub(super) fn resolve(
    mut file: File,
    around: &Surroundings<'_>,
    sources: &Sources,
    report: &Report,
) -> Settings {
    addresses(&file.listen, &file.admin, sources, report);
    admin(&file.admin, report);
    if file.routes.is_empty() {
        report.note(
            file.place,
            "there is no [[route]], so every request is answered 404",
        );
    }
    https::redirect(&mut file, report);
    schemes(&file, report);
    services(&mut file, report);
    certificates(&file, report);
    let upstreams = upstreams(file.upstreams, &file.routes, report);
    let names = names(&file.routes, sources, report);
    reach(&file.routes, sources, report);
    redirects(&file.routes, &names, report);
    guards(&file.routes, &names, report);
    let (rate_limits, limited) = rates::resolve(file.rate_limits, &file.routes, &names, report);
    let access = file.routes.iter().map(|it| it.access.clone()).collect();
    let (mut routes, rules) = numbered(file.routes, names);
    for (route, limits) in routes.iter_mut().zip(limited) {
        route.rate_limits = limits;
    }
    let mut settings = Settings {
        server: file.server.process,
        proxy: file.server.proxy,
        listen: file.listen.into_iter().map(|listen| listen.value).collect(),
        limits: file.limits,
        admin: file.admin.value,
        log: file.log,
        cache: file.cache,
        upstreams,
        rate_limits,
        routes,
        rules,
        access,
    };
    if settings.listen.is_empty() {
        settings.listen = defaults::settings(around).listen;
    }
    let proxies = &settings.proxy.trusted_proxies;
    settings.limits.uncounted.clone_from(proxies);
    settings.server.sources = sources.paths();
    settings
}

/// Each route with its name and number, and beside it what the cache may do there.
fn numbered(routes: Vec<Route>, names: Vec<String>) -> (Vec<RouteSettings>, Vec<Arc<Rules>>) {
    let routes = routes.into_iter().zip(names).enumerate();
    let routes = routes.map(|(index, (route, name))| {
        let settings = RouteSettings {
            name,
            index,
            ..route.settings
        };
        (settings, Arc::new(route.rules))
    });
    routes.unzip()
}

/// No address is listened on twice, the admin's included. Port 0 is a new port each time.
fn addresses(
    listen: &[Spotted<ListenSettings>],
    admin: &Spotted<AdminSettings>,
    sources: &Sources,
    report: &Report,
) {
    let mut taken: BTreeMap<SocketAddr, Place> = BTreeMap::new();
    let listen = listen
        .iter()
        .map(|listen| (listen.value.addr, listen.place));
    let admin = match admin.value.listen {
        Some(AdminListen::Tcp(address)) => Some((address, admin.place)),
        _ => None,
    };
    for (address, place) in listen.chain(admin) {
        if address.port() == 0 {
            continue;
        }
        // All addresses of a machine are those of one kind: `[::]` leaves `0.0.0.0` alone.
        let is_the_same = |other: &SocketAddr| {
            let (one, other_ip) = (address.ip(), other.ip());
            other.port() == address.port()
                && one.is_ipv4() == other_ip.is_ipv4()
                && (one == other_ip || one.is_unspecified() || other_ip.is_unspecified())
        };
        match taken.iter().find(|(other, _)| is_the_same(other)) {
            Some((_, first)) => report.error(
                place,
                format!(
                    "`{address}` is already listened on by {}",
                    sources.position(*first)
                ),
            ),
            None => {
                taken.insert(address, place);
            }
        }
    }
}

/// Whoever reaches the admin listener can reload: beyond this machine that takes a token.
fn admin(admin: &Spotted<AdminSettings>, report: &Report) {
    if let (Some(AdminListen::Tcp(address)), None) = (&admin.value.listen, &admin.value.token)
        && !address.ip().is_loopback()
    {
        report.error(
            admin.place,
            format!(
                "`{address}` can be reached from other machines; set a `token`, or listen on a loopback address \
                 or a unix socket"
            ),
        );
    }
}

/// A service whose URL has the name of an upstream in the place of a host is that upstream.
fn services(file: &mut File, report: &Report) {
    let names: Vec<&str> = file.upstreams.iter().map(|it| &*it.value.name).collect();
    for route in &mut file.routes {
        let (Some(service), Some(AuthSettings::Forward(forward))) =
            (&mut route.service, &mut route.access.auth)
        else {
            continue;
        };
        let declared = |name: &String| file.upstreams.iter().any(|it| it.value.name == *name);
        if let Some(name) = service.name.clone().filter(declared) {
            forward.upstream.clone_from(&name);
            // By which name it is asked is for the upstream's `host` to say.
            forward.host = None;
            service.target.name = name;
        } else if let Some(name) = &service.name
            && let Some(near) = nearest(name, names.iter().copied())
        {
            report.note(
                service.target.place,
                format!(
                    "no upstream is called `{name}`, so it is a host's name; did you mean `{near}`?"
                ),
            );
        }
    }
}

/// Where routes want certificates, some listener asks for them. Notes: such a route is closed, which is no danger.
fn certificates(file: &File, report: &Report) {
    let asks = |listen: &Spotted<ListenSettings>| {
        let tls = listen.value.tls.as_ref();
        tls.is_some_and(|tls| tls.clients.is_some())
    };
    if file.listen.iter().any(asks) {
        return;
    }
    for route in &file.routes {
        let Some(AuthSettings::Certificate(certificate)) = &route.access.auth else {
            continue;
        };
        let what = match certificate.demand {
            Demand::Optional => "nobody can show a certificate",
            Demand::Any | Demand::OneOf(_) => "nobody gets in",
        };
        report.note(
            route.place,
            format!("{what}: no listener asks for certificates; set `client_certificates` on a [[listen]] with `tls`"),
        );
    }
}

/// The declared upstreams, then those that routes declare by a URL. Every name in a route is one of them.
fn upstreams(
    declared: Vec<Spotted<UpstreamSettings>>,
    routes: &[Route],
    report: &Report,
) -> Vec<UpstreamSettings> {
    let targets = || {
        routes.iter().flat_map(|route| {
            let asked = route.service.iter().map(|service| &service.target);
            route.targets.iter().chain(asked)
        })
    };
    let used: BTreeSet<&str> = targets().map(|target| target.name.as_str()).collect();
    for upstream in &declared {
        if !used.contains(upstream.value.name.as_str()) {
            report.note(
                upstream.place,
                format!("no route leads to upstream `{}`", upstream.value.name),
            );
        }
    }
    let mut upstreams: Vec<UpstreamSettings> = declared.into_iter().map(|u| u.value).collect();
    let names: Vec<String> = upstreams.iter().map(|u| u.name.clone()).collect();
    for target in targets() {
        if upstreams.iter().any(|u| u.name == target.name) {
            continue;
        }
        match &target.server {
            Some((server, scheme)) => {
                let mut inline = UpstreamSettings::new(&target.name, vec![server.clone()]);
                if *scheme == SchemeHttp::Http2 {
                    inline.http = UpstreamHttp::Http2;
                }
                upstreams.push(inline);
            }
            None => report.error(target.place, unknown_upstream(target, &names)),
        }
    }
    upstreams
}

/// `` unknown upstream `ap1`; declared: `api`, `img` ``, with the likeliest remedy.
fn unknown_upstream(target: &Target, declared: &[String]) -> String {
    let name = &target.name;
    let as_url = format!("http://{name}");
    let names = || declared.iter().map(String::as_str);
    let known = if declared.is_empty() {
        "none is declared".to_owned()
    } else {
        format!("declared: {}", listed(names()))
    };
    let hint = if let Some(near) = nearest(name, names()) {
        format!(" (did you mean \"{near}\"?)")
    } else if name.contains([':', '.']) && !looks_like_url(name) && server_url(&as_url).is_ok() {
        format!(" (did you mean \"{as_url}\"?)")
    } else if declared.is_empty() {
        format!("; add [upstream.{name}], or write a URL such as \"http://app:5000\"")
    } else {
        String::new()
    };
    format!("unknown upstream `{name}`; {known}{hint}")
}

/// One name for each route, no two alike, because logs, metrics and readiness tell routes apart by it.
fn names(routes: &[Route], sources: &Sources, report: &Report) -> Vec<String> {
    let mut taken: BTreeMap<&str, Place> = BTreeMap::new();
    for name in routes.iter().filter_map(|route| route.name.as_ref()) {
        match taken.get(name.value.as_str()) {
            Some(first) => report.error(
                name.place,
                format!(
                    "another route is already named `{}`, at {}",
                    name.value,
                    sources.position(*first)
                ),
            ),
            None => {
                taken.insert(&name.value, name.place);
            }
        }
    }
    let mut given: BTreeSet<String> = taken.keys().map(|&name| name.to_owned()).collect();
    let mut named = |route: &Route| {
        if let Some(name) = &route.name {
            return name.value.clone();
        }
        let mut name = route.pattern.clone();
        let mut count = 1;
        while given.contains(&name) {
            count += 1;
            name = format!("{}#{count}", route.pattern);
        }
        given.insert(name.clone());
        name
    };
    routes.iter().map(&mut named).collect()
}

/// Every route can be reached.
fn reach(routes: &[Route], sources: &Sources, report: &Report) {
    let settings: Vec<RouteSettings> = routes.iter().map(|r| r.settings.clone()).collect();
    for Shadowed { route, by } in unreachable_routes(&settings) {
        if let (Some(route), Some(by)) = (routes.get(route), routes.get(by)) {
            report.error(
                route.place,
                format!(
                    "this route is never reached: every request it is for goes to the one at {}",
                    sources.position(by.place)
                ),
            );
        }
    }
}

/// There is somebody who can ask by a route's scheme. A note, because the same file may serve elsewhere.
fn schemes(file: &File, report: &Report) {
    if !file.server.proxy.trusted_proxies.is_empty() {
        return;
    }
    let is_tls = |listen: &Spotted<ListenSettings>| listen.value.tls.is_some();
    let why = if !file.listen.iter().any(is_tls) {
        (Scheme::Https, "no listener has `tls`")
    } else if file.listen.iter().all(is_tls) {
        (Scheme::Http, "every listener has `tls`")
    } else {
        return;
    };
    for route in &file.routes {
        if route.settings.matches.scheme == Some(why.0) {
            report.note(
                route.place,
                format!(
                    "this route is never reached: {}, and there are no `trusted_proxies` whose word would count",
                    why.1
                ),
            );
        }
    }
}

/// A redirect to `https` redirects what it seems to. A note, because a route may well be for both.
fn redirects(routes: &[Route], names: &[String], report: &Report) {
    let settings: Vec<RouteSettings> = routes.iter().map(|r| r.settings.clone()).collect();
    for PassedBy { redirect, route } in passed_redirects(&settings) {
        if let (Some(redirect), Some(route)) = (names.get(redirect), routes.get(route)) {
            report.note(
                route.place,
                format!(
                    "this route takes `http` too, before the redirect of route `{redirect}` is asked; say which it is \
                     for: `scheme = \"https\"` or `\"http\"`"
                ),
            );
        }
    }
}

/// A guard stands before what it seems to. A note, because a host may well be open.
fn guards(routes: &[Route], names: &[String], report: &Report) {
    let settings: Vec<RouteSettings> = routes.iter().map(|r| r.settings.clone()).collect();
    let is_guarded = |at: usize| {
        routes.get(at).is_some_and(|route| {
            let access = &route.access;
            !access.allow.is_empty() || !access.deny.is_empty() || access.auth.is_some()
        })
    };
    for PassedGuard { guard, route } in passed_guards(&settings, is_guarded) {
        if let (Some(guard), Some(route)) = (names.get(guard), routes.get(route)) {
            report.note(
                route.place,
                format!(
                    "a host goes before any path: this route takes requests that route `{guard}` would guard, and asks nothing; \
                     where that is not meant, write the guarded path for this host, too"
                ),
            );
        }
    }
}
