//! Puts the rooms together and runs until told to end.

use super::control::Served;
use super::handover::{self, Inherited};
use super::listeners::Listeners;
use super::signals::{Signal, Signals};
use super::start::{Listening, RunError, Start};
use super::threads::Threads;
use super::watch::Watch;
use super::{board, drain, reload};
use crate::access::Guards;
use crate::admin::settings::AdminListen;
use crate::admin::{self, Access, Socket};
use crate::cache::Cache;
use crate::listen::fault::Told;
use crate::listen::lifecycle::Lifecycle;
use crate::listen::settings::LimitSettings;
use crate::listen::{Shared, socket};
use crate::proxy::Site;
use crate::rate::Limits;
use crate::rate::metrics::RateMetrics;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::logging::{self, Logging};
use crate::telemetry::metrics::HttpMetrics;
use crate::telemetry::registry::Registry;
use crate::upstream::metrics::UpstreamMetrics;
use crate::upstream::{Environment, Upstreams};
use arc_swap::ArcSwap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

/// Runs the server until it is told to end. Returns when the drain is over.
///
/// # Errors
/// [`RunError`], with its exit code.
pub fn run(mut start: Start) -> Result<(), RunError> {
    let logging =
        logging::init(&start.settings.log).map_err(|error| RunError::Config(error.to_string()))?;
    fit_into_files(&mut start.settings.limits);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|source| RunError::Runtime {
            attempt: "start the control runtime",
            source,
        })?;
    let result = runtime.block_on(serve(&mut start, logging));
    // Look-ups and file reads that hang are not waited for.
    runtime.shutdown_background();
    result
}

/// Keeps the limit of connections within the files that the system allows: half of them are for clients, since each
/// may need one to an upstream as well.
pub(super) fn fit_into_files(limits: &mut LimitSettings) {
    let files = usize::try_from(socket::raise_open_files()).unwrap_or(usize::MAX);
    let most = (files / 2).max(1);
    if limits.connections > most {
        tracing::warn!(
            "{files} files may be open, so {most} connections are taken at once instead of {}; raise `ulimit -n`",
            limits.connections
        );
        limits.connections = most;
    }
}

async fn serve(start: &mut Start, logging: Logging) -> Result<(), RunError> {
    let mut signals = Signals::listen().map_err(|source| RunError::Runtime {
        attempt: "listen for signals",
        source,
    })?;
    let mut inherited = handover::take().map_err(|error| RunError::Config(error.to_string()))?;
    let (served, mut running) = assemble(start, logging, &mut inherited)?;
    board::spawn_sampler(&served);
    board::spawn_clerk(&served);
    let admin = bind_admin(start, &served, &mut inherited).await?;
    let stop_admin = Arc::new(Notify::new());
    if let Some(admin) = admin {
        let access = Access::new(&served.state.lock().await.settings.admin);
        let (control, stop) = (served.clone(), stop_admin.clone());
        tokio::spawn(async move {
            if let Err(error) =
                admin::serve(admin, access, control, async move { stop.notified().await }).await
            {
                tracing::error!("the admin listener failed: {error}");
            }
        });
    }
    announce(start, &served).await;
    if let Some(inherited) = inherited {
        tell_predecessor(inherited);
    }

    let mut watch = {
        let server = &served.state.lock().await.settings.server;
        server.watch.then(|| Watch::start(&server.sources))
    };
    loop {
        let changed = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => served.reload_and_log().await,
                Signal::ReopenLogs => served.shared.access_log.reopen(),
                Signal::Upgrade => {
                    if served.hand_over().await {
                        break;
                    }
                }
                Signal::Drain => {
                    served.state.lock().await.listeners.stop(crate::listen::accept::Stop::Close);
                    break;
                }
                Signal::Now => return drain::at_once(&served),
            },
            () = changed => served.reload_and_log().await,
        }
        let server = served.state.lock().await.settings.server.clone();
        match (&mut watch, server.watch) {
            (Some(watch), true) => watch.follow(&server.sources),
            (None, true) => watch = Some(Watch::start(&server.sources)),
            (_, false) => watch = None,
        }
    }
    let ended = drain::drain(&served, &mut running, &mut signals).await;
    stop_admin.notify_one();
    ended
}

/// Builds everything and starts to accept.
fn assemble(
    start: &Start,
    logging: Logging,
    inherited: &mut Option<Inherited>,
) -> Result<(Arc<Served>, super::listeners::Running), RunError> {
    let settings = &start.settings;
    let registry = Registry::new();
    let metrics = Arc::new(HttpMetrics::new(&registry));
    let access_log =
        AccessLog::start(&settings.log).map_err(|error| RunError::Config(error.to_string()))?;
    access_log.register(&registry);
    let upstream_metrics = UpstreamMetrics::default();
    registry.register(|registry| upstream_metrics.register(registry));
    let environment = Environment::new(tokio::runtime::Handle::current(), upstream_metrics);
    let upstreams = Upstreams::build(&settings.upstreams, None, &environment)
        .map_err(|error| RunError::Config(error.to_string()))?;
    let cache = Arc::new(Cache::new(settings.cache.clone()));
    registry.register(|registry| cache.register(registry));
    let site = Site::new(
        settings.routes.clone(),
        settings.rules.clone(),
        upstreams,
        settings.proxy.clone(),
        cache,
        &metrics,
    );
    let rate_metrics = RateMetrics::default();
    registry.register(|registry| rate_metrics.register(registry));
    let site = site.limited_by(Limits::new(&settings.rate_limits, None, &rate_metrics));
    let guards = Guards::build(&settings.access, None)
        .map_err(|error| RunError::Config(error.to_string()))?;
    let site = site.guarded(guards);
    site.events.register(&registry);
    tokio::spawn(site.events.clone().run(site.cache.purges()));
    let site = Arc::new(ArcSwap::from_pointee(site));
    let shared = Arc::new(Shared {
        limits: ArcSwap::from_pointee(settings.limits.clone()),
        lifecycle: Lifecycle::new(),
        access_log,
        metrics,
        faults_told: Told::default(),
        untrusted_told: Told::default(),
        crowds_told: Told::default(),
    });
    let listeners = Listeners::bind(
        &settings.listen,
        settings.server.threads,
        inherited,
        &shared.metrics,
    )?;
    let threads = Threads::start(settings.server.threads, &shared, &site)?;
    let (accepting, running) = mpsc::channel(1);
    for bound in &listeners.bound {
        bound.accept(&threads, &accepting)?;
    }
    let state = reload::State {
        settings: settings.clone(),
        listeners,
        closing: Vec::new(),
        threads,
        accepting,
        environment,
        logging,
        certificates: None,
        admin: None,
    };
    let served = Arc::new(Served::new(
        site,
        shared,
        registry,
        start.read_again.clone(),
        state,
    ));
    Ok((served, running))
}

/// Where the admin listener goes when its default place is taken and nobody has asked for another.
const ANY_LOOPBACK: AdminListen =
    AdminListen::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));

async fn bind_admin(
    start: &Start,
    served: &Served,
    inherited: &mut Option<Inherited>,
) -> Result<Option<Socket>, RunError> {
    let mut state = served.state.lock().await;
    let Some(listen) = state.settings.admin.listen.clone() else {
        return Ok(None);
    };
    let bind_error = |source| RunError::BindAdmin {
        address: listen.to_string(),
        source,
    };
    let mut given = inherited
        .as_mut()
        .map(|inherited| inherited.sockets(&(&listen).into()))
        .unwrap_or_default();
    let socket = match given.pop() {
        Some(socket) => Socket::inherit(&listen, socket),
        // Nothing was said about it, so a second program on this machine is no reason not to start.
        None if start.config.is_none() => {
            Socket::bind(&listen).or_else(|_| Socket::bind(&ANY_LOOPBACK))
        }
        None => Socket::bind(&listen),
    };
    let socket = socket.map_err(bind_error)?;
    let duplicate = socket.duplicate().map_err(bind_error)?;
    state.admin = Some((socket.address().clone(), duplicate));
    Ok(Some(socket))
}

async fn announce(start: &mut Start, served: &Arc<Served>) {
    let mut state = served.state.lock().await;
    let listening = Listening {
        addresses: state
            .listeners
            .bound
            .iter()
            .map(|bound| bound.addr)
            .collect(),
        admin: state.admin.as_ref().map(|(address, _)| address.clone()),
    };
    state.watch_certificates(&served.shared.metrics);
    drop(state);
    start.announce(&listening);
    tracing::info!("forebay is ready");
}

/// The predecessor drains from here on.
fn tell_predecessor(mut inherited: Inherited) {
    let unclaimed = inherited.unclaimed();
    for (place, _) in &unclaimed {
        tracing::info!("{place} is no longer listened on");
    }
    if let Err(error) = inherited.ready() {
        tracing::warn!("the predecessor is gone: {error}");
    }
}
