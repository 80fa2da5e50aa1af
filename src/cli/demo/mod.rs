//! `forebay demo`: the proxy in front of an application that is built in, with a banner of things to try.
//!
//! The application comes up late on purpose and can be restarted by a button, because what a proxy does meanwhile
//! is what this one is for.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::admin::settings::AdminListen;
use crate::config;
use crate::config::settings::Settings;
use crate::server::{self, Listening, Start};

use super::args::DemoArgs;
use super::error::CliError;
use super::{banner, output};

mod app;
mod events;
mod seat;

use seat::Seat;

/// Runs the proxy and the application until a signal ends both.
pub(super) fn run(args: &DemoArgs) -> Result<(), CliError> {
    let seat = Seat::take().map_err(CliError::Demo)?;
    let settings = settings(seat.address(), &args.listen)?;
    let start = Start::fixed(settings).on_ready(move |listening| {
        output::say(&text(listening));
        if let Err(error) = app::start(seat) {
            output::say(&format!(
                "forebay: cannot start the demo application: {error}"
            ));
        }
    });
    Ok(server::run(start)?)
}

/// What `forebay run --to APP --listen ADDR` runs on, under a name of its own and beside any other forebay.
fn settings(app: SocketAddr, listen: &str) -> Result<Settings, CliError> {
    let mut settings = config::from_url(&app.to_string(), Some(listen))?;
    "forebay-demo".clone_into(&mut settings.proxy.name);
    if let Some(AdminListen::Tcp(addr)) = &mut settings.admin.listen
        && TcpListener::bind(*addr).is_err()
    {
        // Another forebay has the usual port. Nobody has configured this one, so any will do.
        *addr = (Ipv4Addr::LOCALHOST, 0).into();
    }
    Ok(settings)
}

/// The things to try.
fn text(listening: &Listening) -> String {
    let url = listening
        .addresses
        .first()
        .map_or_else(String::new, |addr| banner::local_url(*addr));
    let admin = match &listening.admin {
        Some(AdminListen::Tcp(addr)) => format!("http://{addr}"),
        Some(AdminListen::Unix(_)) | None => String::new(),
    };
    let pid = std::process::id();
    let late = app::LATE.as_secs();
    format!(
        r"
  forebay demo   {url}

  The application behind it starts {late} s after the proxy, on purpose. Ask at once: the request is held, not refused.

    curl -w '%{{http_code}} after %{{time_total}} s\n' {url}/healthz

  Then open {url} in a browser, or go on here:

    curl -i {url}/api/items               a slow list: 2 s, and from the cache after that
    curl -d 'a new item' {url}/api/items  a mutation: the list is fetched anew
    curl -N {url}/events                  events, as they happen
    curl -X POST {url}/api/restart        the application goes away for {late} s; nobody sees a 502

  The proxy itself:
    {admin}                 its status page; also /upstreams, /readyz and /metrics
    forebay explain {url}/api/items       what it would do, and why; also top, cache ls, purge --all
    kill -HUP {pid}                       reloads; SIGTERM or Ctrl-C drains
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_goes_to_the_application() {
        let app = SocketAddr::from(([127, 0, 0, 1], 4000));
        let settings = settings(app, "127.0.0.1:8080").expect("good arguments");
        assert_eq!(settings.listen[0].addr, ([127, 0, 0, 1], 8080).into());
        assert_eq!(settings.routes.len(), 1);
        assert_eq!(settings.upstreams[0].name, "http://127.0.0.1:4000");
    }

    #[test]
    fn an_address_that_cannot_be_read_is_a_usage_error() {
        let app = SocketAddr::from(([127, 0, 0, 1], 4000));
        let error = settings(app, "eighty").expect_err("no address");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--listen"), "{error}");
    }

    #[test]
    fn the_banner_fits_a_screen() {
        let text = text(&Listening {
            addresses: vec![SocketAddr::from(([0, 0, 0, 0], 8080))],
            admin: Some(AdminListen::Tcp(([127, 0, 0, 1], 9900).into())),
        });
        assert!(text.lines().count() <= 24, "{text}");
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
        assert!(text.contains("-w '%{http_code} after"), "{text}");
    }
}
