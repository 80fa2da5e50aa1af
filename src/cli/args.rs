//! The command line as typed: subcommands, flags and their help.

#![expect(
    clippy::doc_markdown,
    reason = "doc comments are the help texts here, shown as they are written"
)]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

/// An edge reverse proxy that waits for backends and never drops a deploy.
#[derive(Debug, Parser)]
#[command(
    name = "forebay",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    after_help = "\
Exit codes: 0 done, 1 failed while running, 2 bad configuration or usage, 3 cannot listen.
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
    },
    /// Print the routes in the order in which they are tried
    Routes(ConfigArg),
    /// Print the configuration as it is in force, defaults included
    Config(ShowArgs),
    /// Ask a running proxy whether it is well; for HEALTHCHECK in a container
    Healthcheck(HealthcheckArgs),
    /// Tell a running proxy to read its configuration again, and print what changed
    Reload(ConfigArg),
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
          healthcheck  Ask a running proxy whether it is well; for HEALTHCHECK in a container
          reload       Tell a running proxy to read its configuration again, and print what changed
          version      Print the version
          completions  Print a completion script
          help         Print this message or the help of the given subcommand(s)

        Options:
          -t, --test           Check the configuration, as `check` does
          -c, --config <FILE>  The configuration that -t checks
          -h, --help           Print help
          -V, --version        Print version

        Exit codes: 0 done, 1 failed while running, 2 bad configuration or usage, 3 cannot listen.
        Signals of a running proxy: HUP reloads, TERM or INT drains (again: ends at once), QUIT hands
        over to the program's new version, USR1 reopens logs.
        ");
    }
}
