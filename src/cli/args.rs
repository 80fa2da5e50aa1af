//! The command line as typed: subcommands, flags and their help.

#![expect(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "doc comments are the help texts here, shown as they are written"
)]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::cache::CacheCommand;
use super::log::Filter;
use super::purge::PurgeArgs;
use crate::units;

/// An edge reverse proxy that waits for backends and never drops a deploy.
#[derive(Debug, Parser)]
#[command(
    name = "forebay",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    after_help = "\
Exit codes: 0 done, 1 failed while running, 2 bad configuration or usage, 3 cannot listen, 4 nothing
matched.
Signals of a running proxy: HUP reloads, TERM or INT drains (again: ends at once), QUIT hands
over to the program's new version, USR1 reopens logs."
)]
pub(super) struct Cli {
    /// Check the configuration, as `check` does
    #[arg(short = 't', long = "test")]
    pub(super) test: bool,
    /// The configuration that -t checks
    #[arg(short, long, value_name = "FILE", requires = "test")]
    pub(super) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the proxy
    Run(RunArgs),
    /// Run the proxy in front of a built-in application, with things to try
    Demo(DemoArgs),
    /// Check the configuration and say all that is wrong with it
    Check(ConfigArg),
    /// Print a proxy.toml to start from
    Init,
    /// Print the proxy.toml that an nginx.conf becomes, with a line for each directive that has no counterpart
    Import {
        /// nginx's configuration; what it includes is read, too
        #[arg(value_name = "NGINX_CONF")]
        file: PathBuf,
        /// Print it also where what nginx refused would be let through
        #[arg(long)]
        force: bool,
    },
    /// Print the routes in the order in which they are tried
    Routes(ConfigArg),
    /// Print the configuration as it is in force, defaults included
    Config(ShowArgs),
    /// Read a password from standard input and print the line for the password file of `auth = { basic = … }`
    Password {
        /// The user
        name: String,
    },
    /// Ask a running proxy whether it is well; for HEALTHCHECK in a container
    Healthcheck(HealthcheckArgs),
    /// Tell a running proxy to read its configuration again, and print what changed
    Reload(ConfigArg),
    /// Show what a running proxy does, as it does it: rates, hit ratio, latency, what is hot and what is costly
    Top(TopArgs),
    /// Show the access log readably, from the file that the configuration names, another one, or standard input
    Log(LogArgs),
    /// Say what would become of a request, and why, on a running proxy; nothing is sent to the application
    Explain(ExplainArgs),
    /// Tell a running proxy to serve something no more: a URL, all below a path or of a host, what has a tag, everything
    Purge(PurgeArgs),
    /// Show what a running proxy has stored
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Print the version
    Version,
    /// Print a completion script
    Completions {
        /// The shell it is for
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct ConfigArg {
    /// The configuration [default: $FOREBAY_CONFIG, ./proxy.toml, /etc/forebay/proxy.toml]
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) file: ConfigArg,
    /// Forward everything to this server, without a configuration file: 127.0.0.1:5000, http://app:5000,
    /// unix:/run/app.sock
    #[arg(
        long,
        value_name = "URL",
        env = "FOREBAY_TO",
        conflicts_with = "config"
    )]
    pub(super) to: Option<String>,
    /// Listen here instead of where the configuration says [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Where the proxy listens
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080")]
    pub(super) listen: String,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    pub(super) file: ConfigArg,
    /// With includes merged, variables replaced and defaults filled in
    #[arg(long, required = true)]
    pub(super) effective: bool,
    /// Show tokens too
    #[arg(long)]
    pub(super) secrets: bool,
}

#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    #[command(flatten)]
    pub(super) file: ConfigArg,
    /// Ask this address instead of the configuration's admin listener: http://127.0.0.1:9900, unix:/run/forebay.sock
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Ask whether every route has a server (/readyz), not only whether the proxy lives (/healthz)
    #[arg(long)]
    pub(super) ready: bool,
}

#[derive(Debug, Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    pub(super) file: ConfigArg,
    /// Print a JSON document a line instead, for scripts
    #[arg(long)]
    pub(super) json: bool,
    /// Once, and not again
    #[arg(long)]
    pub(super) once: bool,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub(super) interval: Duration,
}

/// A time that does not keep the proxy busy with being looked at.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = units::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) {
        return Err("expected at least 100ms".to_owned());
    }
    Ok(interval)
}

#[derive(Debug, Args)]
#[command(after_help = "\
Filters: KEY OP VALUE, joined by `and` or `,`; a value with spaces or commas stands in double quotes.
Keys are those of the log, and these for short: reason (cache_reason), duration, ttfb, hold, queue,
connect (…_ms), bytes (bytes_out), age and ttl (cache_…), agent (user_agent), server (upstream_addr).
  =  !=  ^= begins with  $= ends with  *= contains        for words
  =  !=  <  <=  >  >=                                     for numbers, times (1s), sizes (1MiB)
Examples: 'status>=500'  'status=5xx and route=api'  'cache=miss, path^=/api/'  'duration>1s'
          'reason=set-cookie'  'collapsed=true'
In a container: docker logs -f edge | forebay log -")]
pub(super) struct LogArgs {
    /// The log, or - for standard input [default: where `[log] access` says]
    #[arg(value_name = "FILE")]
    pub(super) input: Option<PathBuf>,
    /// The configuration that says where the log is [default: $FOREBAY_CONFIG, ./proxy.toml, /etc/forebay/proxy.toml]
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Go on with what is written from now on, across rotation
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Begin so many lines before the end [default: 10 with -f, all without]
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) lines: Option<usize>,
    /// Only lines that are so, such as 'status>=500 and route=api'
    #[arg(long, value_name = "EXPR", value_parser = Filter::parse, default_value = "", hide_default_value = true)]
    pub(super) filter: Filter,
    /// Lines as they stand in the log
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// What is asked for: http://example.org/items?page=2, or /items with -H 'Host: …'
    #[arg(value_name = "URL")]
    pub(super) url: String,
    #[command(flatten)]
    pub(super) file: ConfigArg,
    /// A header of the request; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<String>,
    /// Its method
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    pub(super) method: String,
    /// The address that it comes from [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    pub(super) client: Option<std::net::IpAddr>,
    /// Make the request, too, as a client would, and say what came
    #[arg(long)]
    pub(super) fetch: bool,
    /// For programs
    #[arg(long)]
    pub(super) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_may_be_typed() {
        for (line, valid) in [
            ("forebay run", true),
            ("forebay run -c a.toml --listen :80", true),
            ("forebay run --to 127.0.0.1:5000", true),
            ("forebay run --to 127.0.0.1:5000 --config a.toml", false),
            ("forebay -t", true),
            ("forebay -t --config a.toml", true),
            ("forebay --config a.toml", false),
            ("forebay -t run", false),
            ("forebay config", false),
            ("forebay config --effective", true),
            ("forebay healthcheck --ready --url http://[::1]:9900", true),
            ("forebay completions bash", true),
            ("forebay import nginx.conf", true),
            ("forebay import", false),
            ("forebay purge", false),
            ("forebay top --json --once --interval 250ms", true),
            ("forebay top --interval 1ms", false),
            ("forebay top --interval soon", false),
            ("forebay log -f --filter status>=500,cache=miss", true),
            ("forebay log --filter statsu=1", false),
            ("forebay log -", true),
            ("forebay log -n 100 access.log", true),
            (
                "forebay explain http://a/ -H A:b -H C:d -X HEAD --fetch --json",
                true,
            ),
            ("forebay explain", false),
            ("forebay explain / --client nowhere", false),
            (
                "forebay purge --tag a --tag b --soft --dry-run -c a.toml",
                true,
            ),
            ("forebay purge --tag a --all", false),
            ("forebay cache", false),
            ("forebay cache ls --prefix /a --order cost --limit 5", true),
            ("forebay cache ls --prefix /a --host h", false),
            ("forebay cache ls --order best", false),
            ("forebay cache show http://h/a --json", true),
            ("forebay cache show", false),
            ("forebay cache stats", true),
        ] {
            let read = Cli::try_parse_from(line.split(' '));
            assert_eq!(read.is_ok(), valid, "{line}: {read:?}");
        }
    }

    #[test]
    fn help() {
        insta::assert_snapshot!(Cli::command().render_help(), @r"
        An edge reverse proxy that waits for backends and never drops a deploy

        Usage: forebay [OPTIONS]
               forebay <COMMAND>

        Commands:
          run          Run the proxy
          demo         Run the proxy in front of a built-in application, with things to try
          check        Check the configuration and say all that is wrong with it
          init         Print a proxy.toml to start from
          import       Print the proxy.toml that an nginx.conf becomes, with a line for each directive that has no counterpart
          routes       Print the routes in the order in which they are tried
          config       Print the configuration as it is in force, defaults included
          password     Read a password from standard input and print the line for the password file of `auth = { basic = … }`
          healthcheck  Ask a running proxy whether it is well; for HEALTHCHECK in a container
          reload       Tell a running proxy to read its configuration again, and print what changed
          top          Show what a running proxy does, as it does it: rates, hit ratio, latency, what is hot and what is costly
          log          Show the access log readably, from the file that the configuration names, another one, or standard input
          explain      Say what would become of a request, and why, on a running proxy; nothing is sent to the application
          purge        Tell a running proxy to serve something no more: a URL, all below a path or of a host, what has a tag, everything
          cache        Show what a running proxy has stored
          version      Print the version
          completions  Print a completion script
          help         Print this message or the help of the given subcommand(s)

        Options:
          -t, --test           Check the configuration, as `check` does
          -c, --config <FILE>  The configuration that -t checks
          -h, --help           Print help
          -V, --version        Print version

        Exit codes: 0 done, 1 failed while running, 2 bad configuration or usage, 3 cannot listen, 4 nothing
        matched.
        Signals of a running proxy: HUP reloads, TERM or INT drains (again: ends at once), QUIT hands
        over to the program's new version, USR1 reopens logs.
        ");
    }
}
