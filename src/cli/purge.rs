//! `forebay purge`: a running proxy is to serve something no more, or anew.

use clap::{ArgGroup, Args};
use serde_json::{Map, Value, json};

use super::args::ConfigArg;
use super::client::Answer;
use super::error::CliError;
use super::output;
use super::running::{self, Running};
use super::table::{self, Listing};

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    after_help = "Exit code 4 where nothing that is stored matched, as far as that is known: for URLs and tags, and for any dry run."
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of its own on the command line"
)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    file: ConfigArg,
    /// This URL in all its variants, under http and https; a path alone is that of every host
    #[arg(long, value_name = "URL", group = "what")]
    url: Option<String>,
    /// This path and all below it, by whole segments; with a host, or of every host
    #[arg(long, value_name = "URL", group = "what")]
    prefix: Option<String>,
    /// All of a host: on each of its ports, unless one is named
    #[arg(long, group = "what")]
    host: Option<String>,
    /// All that has this tag; several times: any of these tags
    #[arg(long, value_name = "TAG", group = "what")]
    tag: Vec<String>,
    /// Everything
    #[arg(long, group = "what")]
    all: bool,
    /// It is gone; the default
    #[arg(long, conflicts_with = "soft")]
    hard: bool,
    /// It is stale: served while it is fetched anew
    #[arg(long)]
    soft: bool,
    /// Purge nothing, and list what would be purged
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// List so many at most
    #[arg(long, value_name = "N", requires = "dry_run", default_value_t = 20)]
    limit: usize,
    /// Print the proxy's answer as it is
    #[arg(long)]
    json: bool,
}

/// Purges, and says what came of it.
pub(super) fn run(args: &PurgeArgs) -> Result<(), CliError> {
    let answer = Running::on(args.file.config.as_deref())?.post("/purge", &args.body())?;
    if args.json {
        output::print(&String::from_utf8_lossy(&answer.body));
    }
    if !answer.status.is_success() {
        return Err(running::failed(&answer));
    }
    if !args.json {
        output::print(&words(&answer)?);
    }
    Ok(())
}

impl PurgeArgs {
    /// As the call takes it.
    fn body(&self) -> Value {
        let mut body = Map::new();
        for (name, value) in [
            ("url", &self.url),
            ("prefix", &self.prefix),
            ("host", &self.host),
        ] {
            if let Some(value) = value {
                body.insert(name.to_owned(), json!(value));
            }
        }
        if !self.tag.is_empty() {
            body.insert("tags".to_owned(), json!(self.tag));
        }
        if self.all {
            body.insert("all".to_owned(), json!(true));
        }
        body.insert("soft".to_owned(), json!(self.soft));
        if self.dry_run {
            body.insert("dry_run".to_owned(), json!(true));
            body.insert("limit".to_owned(), json!(self.limit));
        }
        body.into()
    }
}

/// What was done, or would be.
fn words(answer: &Answer) -> Result<String, CliError> {
    let value: Value = answer.json()?;
    let scope = value["purged"].as_str().unwrap_or_default();
    let matched = value["matched"].as_u64().map(table::responses);
    if value["dry_run"] == json!(true) {
        let listing: Listing = answer.json()?;
        let matched = matched.unwrap_or_default();
        return Ok(format!(
            "{}would purge {scope}: {matched}\n",
            table::listing(&listing)
        ));
    }
    let done = if value["mode"] == json!("soft") {
        "made stale"
    } else {
        "purged"
    };
    Ok(match matched {
        Some(matched) => format!("{done} {scope}: {matched}\n"),
        None => format!("{done} {scope}\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{FromArgMatches, Parser};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: PurgeArgs,
    }

    fn read(line: &str) -> Result<Value, clap::Error> {
        let matches =
            <Line as clap::CommandFactory>::command().try_get_matches_from(line.split(' '))?;
        Line::from_arg_matches(&matches).map(|line| line.args.body())
    }

    #[test]
    fn what_is_typed_is_what_is_asked() {
        for (line, body) in [
            (
                "purge --url http://h/a",
                Some(json!({"url": "http://h/a", "soft": false})),
            ),
            (
                "purge --prefix /api/ --soft",
                Some(json!({"prefix": "/api/", "soft": true})),
            ),
            (
                "purge --host h --hard",
                Some(json!({"host": "h", "soft": false})),
            ),
            (
                "purge --tag a --tag b",
                Some(json!({"tags": ["a", "b"], "soft": false})),
            ),
            (
                "purge --all --dry-run --limit 5",
                Some(json!({"all": true, "soft": false, "dry_run": true, "limit": 5})),
            ),
            ("purge", None),
            ("purge --all --tag a", None),
            ("purge --url /a --url /b", None),
            ("purge --all --soft --hard", None),
            ("purge --all --limit 5", None),
        ] {
            assert_eq!(read(line).ok(), body, "{line}");
        }
    }

    #[test]
    fn what_is_said_of_it() {
        for (answer, text) in [
            (
                json!({"purged": "tag:items", "mode": "hard", "matched": 1}),
                "purged tag:items: 1 response\n",
            ),
            (
                json!({"purged": "prefix:/a", "mode": "soft", "matched": null}),
                "made stale prefix:/a\n",
            ),
        ] {
            let answer = Answer {
                status: http::StatusCode::OK,
                body: answer.to_string().into(),
            };
            assert_eq!(words(&answer).ok().as_deref(), Some(text));
        }
    }
}
