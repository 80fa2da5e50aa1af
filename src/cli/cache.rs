//! `forebay cache`: what a running proxy has stored.

use clap::{Args, Subcommand, ValueEnum};

use super::args::ConfigArg;
use super::client::Answer;
use super::error::CliError;
use super::output;
use super::running::{self, Query, Running};
use super::table;

#[derive(Debug, Subcommand)]
pub(super) enum CacheCommand {
    /// List what is stored, the most asked for first
    Ls(LsArgs),
    /// Show all that is known of what is stored for a URL
    Show(ShowArgs),
    /// Count what is stored, by route
    Stats(StatsArgs),
}

#[derive(Debug, Args)]
pub(super) struct LsArgs {
    #[command(flatten)]
    file: ConfigArg,
    /// Of this path and all below it; with a host, or of every host
    #[arg(long, value_name = "URL", conflicts_with_all = ["host", "tag"])]
    prefix: Option<String>,
    /// Of this host
    #[arg(long, conflicts_with = "tag")]
    host: Option<String>,
    /// With this tag, or with one of several
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// That came by this route
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Which come first: the most asked for, the largest, the oldest, those that took the origin longest, those whose
    /// hits saved it most time
    #[arg(long, default_value = "hits")]
    order: OrderArg,
    /// So many at most, up to 10000
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print the proxy's answer as it is
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    file: ConfigArg,
    /// The URL; a path alone is that of every host
    url: String,
    /// Print the proxy's answer as it is
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    #[command(flatten)]
    file: ConfigArg,
    /// Print the proxy's answer as it is
    #[arg(long)]
    json: bool,
}

/// What a list begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OrderArg {
    Hits,
    Size,
    Age,
    Cost,
    Saved,
}

impl OrderArg {
    fn word(self) -> &'static str {
        match self {
            Self::Hits => "hits",
            Self::Size => "size",
            Self::Age => "age",
            Self::Cost => "cost",
            Self::Saved => "saved",
        }
    }
}

/// Asks and prints.
pub(super) fn run(command: &CacheCommand) -> Result<(), CliError> {
    let mut query = Query::default();
    match command {
        CacheCommand::Ls(args) => {
            args.write(&mut query);
            let answer = Running::on(args.file.config.as_deref())?.get("/cache", &query)?;
            let words = |answer: &Answer| Ok(table::listing(&answer.json()?));
            print(&answer, args.json, words)
        }
        CacheCommand::Show(args) => {
            query.add("url", &args.url);
            let running = Running::on(args.file.config.as_deref())?;
            let answer = running.get("/cache/entry", &query)?;
            let words = |answer: &Answer| Ok(table::entries(&answer.json()?));
            print(&answer, args.json, words)
        }
        CacheCommand::Stats(args) => {
            let running = Running::on(args.file.config.as_deref())?;
            let answer = running.get("/cache/stats", &query)?;
            let words = |answer: &Answer| Ok(table::stats(&answer.json()?));
            print(&answer, args.json, words)
        }
    }
}

impl LsArgs {
    fn write(&self, query: &mut Query) {
        for (name, value) in [
            ("prefix", &self.prefix),
            ("host", &self.host),
            ("route", &self.route),
        ] {
            if let Some(value) = value {
                query.add(name, value);
            }
        }
        for tag in &self.tag {
            query.add("tag", tag);
        }
        query.add("order", self.order.word());
        query.add("limit", &self.limit.to_string());
    }
}

fn print(
    answer: &Answer,
    json: bool,
    words: impl FnOnce(&Answer) -> Result<String, CliError>,
) -> Result<(), CliError> {
    if json {
        output::print(&String::from_utf8_lossy(&answer.body));
    }
    if !answer.status.is_success() {
        return Err(running::failed(answer));
    }
    if !json {
        output::print(&words(answer)?);
    }
    Ok(())
}
