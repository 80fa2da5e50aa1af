//! What stands where on the screen of `top`: everything on 80 by 24, and more of it where there is more room.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, Table};

use crate::admin::stats::{EntryStats, Quantiles, RateLimitStats, Stats, UpstreamStats};
use crate::cli::amounts::{bytes, count, millis, millis_or_none, percent, seconds, whole};

/// What comes from the store, here and on the status page.
const CACHE: Color = Color::Cyan;
/// The least that it is drawn for.
const LEAST: (u16, u16) = (60, 16);

/// In which order entries are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sort {
    /// By what the list is about: hits, or cost.
    #[default]
    Rank,
    /// The largest first.
    Size,
    /// Those that expire next first.
    Expiry,
}

impl Sort {
    /// The one that the key leads to.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Rank => Self::Size,
            Self::Size => Self::Expiry,
            Self::Expiry => Self::Rank,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Rank => "rank",
            Self::Size => "size",
            Self::Expiry => "expiry",
        }
    }
}

/// What the lower half lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Lists {
    /// The hottest and the costliest.
    #[default]
    Entries,
    /// The routes.
    Routes,
    /// The last purges and reloads.
    Events,
}

/// What is to be drawn.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) stats: Option<Stats>,
    /// Why there is nothing newer.
    pub(super) trouble: Option<String>,
    pub(super) paused: bool,
    pub(super) sort: Sort,
    pub(super) lists: Lists,
}

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("needs {} by {}", LEAST.0, LEAST.1);
        return frame.render_widget(Paragraph::new(text), area);
    }
    let Some(stats) = &view.stats else {
        let text = view.trouble.as_deref().unwrap_or("asking the proxy …");
        return frame.render_widget(Paragraph::new(text), area);
    };
    let of_upstreams = upstream_lines(&stats.upstreams);
    // A quarter of the screen is enough for upstreams; those in trouble come first.
    let most = usize::from(area.height / 4).max(2);
    let shown = u16::try_from(of_upstreams.len().min(most)).unwrap_or(2);
    let rows = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Length(shown),
        Constraint::Length(1),
        Constraint::Min(6),
        Constraint::Length(1),
    ]);
    let [top, rates, _, middle, _, upstreams, _, lists, keys] = rows.areas(area);
    header(frame, top, stats, view);
    draw_rates(frame, rates, stats);
    draw_middle(frame, middle, stats);
    frame.render_widget(Paragraph::new(of_upstreams), upstreams);
    match view.lists {
        Lists::Entries => draw_entries(frame, lists, stats, view.sort),
        Lists::Routes => draw_routes(frame, lists, stats),
        Lists::Events => draw_events(frame, lists, stats),
    }
    footer(frame, keys, view);
}

fn header(frame: &mut Frame<'_>, area: Rect, stats: &Stats, view: &View) {
    let away = stats.upstreams.iter().filter(|it| !it.available).count();
    let state = match (stats.draining, away) {
        (true, _) => "draining".yellow(),
        (false, 0) => "serving".green(),
        (false, 1) => "1 upstream away".red(),
        (false, n) => format!("{n} upstreams away").red(),
    };
    let mut left = vec![
        "forebay ".bold(),
        stats.name.as_str().into(),
        "  ".into(),
        state,
    ];
    if view.paused {
        left.push("  paused".yellow());
    }
    if let Some(trouble) = &view.trouble {
        left.push(format!("  {trouble}").red());
    }
    let right = format!("{} · up {}", stats.version, seconds(stats.uptime_s));
    split(frame, area, left.into(), right.dim().into());
}

/// One to the left, the other to the right of a line, which the right one keeps where both do not fit.
fn split(frame: &mut Frame<'_>, area: Rect, left: Line<'_>, right: Line<'_>) {
    let width = u16::try_from(right.width()).unwrap_or(u16::MAX);
    let [one, other] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).areas(area);
    frame.render_widget(Paragraph::new(left), one);
    frame.render_widget(Paragraph::new(right), other);
}

/// A label, figures, and the last minutes of them as far as there is room.
fn draw_rates(frame: &mut Frame<'_>, area: Rect, stats: &Stats) {
    let history = &stats.history;
    let lines = Layout::vertical([Constraint::Length(1); 3]).areas(area);
    let [requests, ratio, out] = lines;
    let rates = &stats.rates;
    let errors = format!("{} errors/s", count(rates.errors));
    let errors = if rates.errors > 0.0 {
        errors.red()
    } else {
        errors.dim()
    };
    let figures = [
        label("Requests"),
        figure(&format!("{}/s", count(rates.requests))),
        errors,
    ];
    curve(frame, requests, figures.to_vec(), &history.requests, None);
    let figures = [
        label("Hit ratio"),
        figure(&percent(stats.hit_ratio.minute)),
        format!("{} since start", percent(stats.hit_ratio.start)).dim(),
    ];
    // Where nothing was asked of the cache there is nothing to be seen.
    let ratios: Vec<f64> = history
        .hit_ratio
        .iter()
        .map(|ratio| ratio.unwrap_or(0.0) * 100.0)
        .collect();
    curve(frame, ratio, figures.to_vec(), &ratios, Some(100));
    let saved = &stats.saved;
    #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
    let figures = [
        label("Bytes out"),
        figure(&format!("{}/s", bytes(rates.bytes_out))),
        format!(
            "saved {} of origin time, {}, {} rescued",
            seconds(saved.origin_s),
            bytes(saved.bytes as f64),
            whole(saved.held + saved.retried),
        )
        .dim(),
    ];
    frame.render_widget(Paragraph::new(Line::from(figures.to_vec())), out);
}

fn label(text: &str) -> Span<'static> {
    format!("{text:<11}").into()
}

fn figure(text: &str) -> Span<'static> {
    format!("{text:<11}").bold()
}

/// Columns that the figures of a line take.
const FIGURES: u16 = 42;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are not negative, and a bar of eight heights is not exact"
)]
fn curve(
    frame: &mut Frame<'_>,
    area: Rect,
    figures: Vec<Span<'_>>,
    points: &[f64],
    most: Option<u64>,
) {
    let [left, right] =
        Layout::horizontal([Constraint::Length(FIGURES), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Paragraph::new(Line::from(figures)), left);
    let room = usize::from(right.width);
    let latest = points.get(points.len().saturating_sub(room)..);
    // Hundredths, for rates below one.
    let scaled = |point: &f64| (point * 100.0) as u64;
    let bars: Vec<u64> = latest.unwrap_or_default().iter().map(scaled).collect();
    let mut sparkline = Sparkline::default().data(&bars).fg(CACHE);
    if let Some(most) = most {
        sparkline = sparkline.max(most * 100);
    }
    // The present is at the right.
    let width = u16::try_from(bars.len()).unwrap_or(right.width);
    let [_, right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).areas(right);
    frame.render_widget(sparkline, right);
}

/// Columns that latencies take.
const QUANTILES: u16 = 39;

/// Latency to the left; what waits, is kept and is used to the right.
fn draw_middle(frame: &mut Frame<'_>, area: Rect, stats: &Stats) {
    let [left, right] =
        Layout::horizontal([Constraint::Length(QUANTILES), Constraint::Fill(1)]).areas(area);
    let heads = format!("{:<12}{:>8}{:>8}{:>8}", "Last minute", "p50", "p90", "p99");
    let minute = &stats.latency.minute;
    let latency = [
        heads.dim().into(),
        quantiles("cache", &minute.hit, CACHE),
        quantiles("upstream", &minute.miss, Color::Reset),
    ];
    frame.render_widget(Paragraph::new(latency.to_vec()), left);
    let (cache, waiting, process) = (&stats.cache, &stats.waiting, &stats.process);
    #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
    let stored = format!(
        "Cache   {} of {}, {} entries",
        bytes(cache.bytes as f64),
        bytes(cache.capacity_bytes as f64),
        whole(cache.entries),
    );
    let waits = format!(
        "Waiting {} held, {} queued, {} at {} fetches",
        whole(waiting.held),
        whole(waiting.queued),
        whole(waiting.followers),
        whole(waiting.fills),
    );
    let waits = if waiting.held + waiting.queued > 0 {
        waits.yellow()
    } else {
        waits.into()
    };
    let used = format!(
        "Uses    {}, {} cpu, {} conns",
        process.resident_bytes.map_or("–".to_owned(), bytes),
        process
            .cpus
            .map_or("–".to_owned(), |cpus| format!("{cpus:.2}")),
        whole(stats.connections.open),
    );
    let lines: Vec<Line<'_>> = vec![stored.into(), waits.into(), used.into()];
    frame.render_widget(Paragraph::new(lines), right);
}

fn quantiles(name: &str, of: &Quantiles, color: Color) -> Line<'static> {
    let figures = [of.p50_ms, of.p90_ms, of.p99_ms].map(millis_or_none);
    let [half, most, nearly] = figures;
    Line::from(vec![
        format!("{name:<12}").fg(color),
        format!("{half:>8}{most:>8}{nearly:>8}").into(),
    ])
}

/// Those in trouble first.
fn upstream_lines(upstreams: &[UpstreamStats]) -> Vec<Line<'static>> {
    let mut lines: Vec<(u8, Line<'static>)> = Vec::new();
    for upstream in upstreams {
        for server in &upstream.servers {
            let (rank, color) = match server.state.as_str() {
                "up" => (2, Color::Green),
                "starting" | "ejected" | "unresolved" => (1, Color::Yellow),
                _ => (0, Color::Red),
            };
            let at = server.addr.as_deref().unwrap_or(&server.server);
            let mut line = vec![
                "● ".fg(color),
                format!("{} ", upstream.name).into(),
                if at == upstream.name || upstream.name.ends_with(at) {
                    "".into()
                } else {
                    format!("{at} ").dim()
                },
                server.state.clone().fg(color),
            ];
            if server.in_flight > 0 {
                line.push(format!(", {} in flight", whole(server.in_flight)).into());
            }
            if upstream.held > 0 {
                line.push(format!(", {} held", whole(upstream.held)).yellow());
            }
            if let Some(reason) = &server.reason {
                line.push(format!(": {reason}").dim());
            }
            lines.push((rank, line.into()));
        }
    }
    if lines.is_empty() {
        return vec!["No upstreams".dim().into()];
    }
    lines.sort_by_key(|(rank, _)| *rank);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn draw_entries(frame: &mut Frame<'_>, area: Rect, stats: &Stats, sort: Sort) {
    let [one, other] = Layout::vertical([Constraint::Fill(1); 2]).areas(area);
    for (area, title, entries) in [
        (one, "Hottest", &stats.hottest),
        (other, "Costliest misses", &stats.costliest),
    ] {
        let heads = [title, "hits", "cost", "size", "fresh"];
        let rows = sorted(entries, sort)
            .into_iter()
            .map(|entry| {
                #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
                [
                    shortened(&entry.url).to_owned(),
                    whole(entry.hits),
                    millis(entry.cost_ms),
                    bytes(entry.bytes as f64),
                    seconds(entry.ttl_s as f64),
                ]
            })
            .collect();
        table(frame, area, heads, rows);
    }
}

/// Without the scheme, which tells nobody anything.
fn shortened(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

fn sorted(entries: &[EntryStats], sort: Sort) -> Vec<&EntryStats> {
    let mut entries: Vec<&EntryStats> = entries.iter().collect();
    match sort {
        Sort::Rank => {}
        Sort::Size => entries.sort_by_key(|entry| std::cmp::Reverse(entry.bytes)),
        Sort::Expiry => entries.sort_by_key(|entry| entry.ttl_s),
    }
    entries
}

/// Routes, and below them the rate limits, where there are some.
fn draw_routes(frame: &mut Frame<'_>, area: Rect, stats: &Stats) {
    let (more, limits) = (stats.routes_more, stats.rate_limits.len());
    let below = u16::try_from(if limits == 0 { 0 } else { limits + 2 }).unwrap_or(u16::MAX);
    let below = below.min(area.height / 2);
    let [area, limits] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(below)]).areas(area);
    draw_limits(frame, limits, &stats.rate_limits);
    let rows = stats.routes.iter().map(|route| {
        [
            route.name.clone(),
            count(route.rates.requests),
            whole(route.totals.hit + route.totals.stale),
            whole(route.totals.miss + route.totals.collapsed + route.totals.revalidated),
            whole(route.totals.errors),
        ]
    });
    let mut rows: Vec<_> = rows.collect();
    if more > 0 {
        let mut rest = <[String; 5]>::default();
        rest[0] = format!("and {more} more");
        rows.push(rest);
    }
    table(
        frame,
        area,
        ["Routes", "req/s", "hits", "misses", "errors"],
        rows,
    );
}

fn draw_limits(frame: &mut Frame<'_>, area: Rect, limits: &[RateLimitStats]) {
    let mut limits: Vec<_> = limits.iter().collect();
    limits.sort_by_key(|limit| std::cmp::Reverse(limit.refused));
    let mut lines: Vec<Line<'_>> = vec!["".into(), "Rate limits".dim().into()];
    lines.extend(limits.into_iter().map(|limit| {
        let refused = whole(limit.refused);
        let does = if limit.dry_run {
            "would refuse"
        } else {
            "refused"
        };
        let refused = format!("{does} {refused}");
        let refused = if limit.refused > 0 && !limit.dry_run {
            refused.yellow()
        } else {
            refused.into()
        };
        Line::from(vec![
            format!("{:<24} {:>8}  ", limit.name, limit.rate).into(),
            refused,
        ])
    }));
    frame.render_widget(Paragraph::new(lines), area);
}

fn table(frame: &mut Frame<'_>, area: Rect, heads: [&str; 5], rows: Vec<[String; 5]>) {
    let cells = |texts: [String; 5]| {
        let [name, figures @ ..] = texts;
        let figures = figures.map(|text| Cell::from(Line::from(text).right_aligned()));
        Row::new(std::iter::once(Cell::from(name)).chain(figures))
    };
    let head = cells(heads.map(str::to_owned)).style(Style::new().dim());
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(7),
    ];
    let rows: Vec<Row<'_>> = if rows.is_empty() {
        vec![Row::new(["nothing is stored".dim()])]
    } else {
        rows.into_iter().map(cells).collect()
    };
    frame.render_widget(Table::new(rows, widths).header(head), area);
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, stats: &Stats) {
    let mut lines: Vec<Line<'_>> = vec!["Purges and reloads".dim().into()];
    let ago = |at: u64| {
        let now = Duration::try_from_secs_f64(stats.now).unwrap_or_default();
        seconds(now.saturating_sub(Duration::from_secs(at)).as_secs_f64())
    };
    for event in &stats.events {
        let color = if event.ok { Color::Green } else { Color::Red };
        lines.push(Line::from(vec![
            format!("{:>6} ago  ", ago(event.at)).dim(),
            format!("{:<7}", event.kind.word()).fg(color),
            event.text.clone().into(),
        ]));
    }
    if stats.events.is_empty() {
        lines.push("none yet".into());
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn footer(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let key = |key: &'static str, does: &str| {
        [
            key.add_modifier(Modifier::BOLD),
            format!(" {does}   ").dim(),
        ]
    };
    let pause = if view.paused { "go on" } else { "pause" };
    let line = [
        key("q", "quit"),
        key("p", pause),
        key("s", &format!("sort: {}", view.sort.word())),
        key("r", "entries, routes, events"),
    ];
    frame.render_widget(Paragraph::new(Line::from(line.concat())), area);
}
