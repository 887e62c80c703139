//! Arguments to commands.

use std::{io::Write as _, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use relay::{
    app::{self, App, Failure, check, mint_token},
    config::{self, Config, DEFAULTS, Overrides},
    lifecycle, telemetry,
};
use secrecy::ExposeSecret as _;

/// One server for conversations: rooms, messages, receipts, presence, search, and streams that resume.
#[derive(Parser)]
#[command(version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server. The first line on standard output says where it listens.
    Serve {
        #[command(flatten)]
        settings: Settings,
        /// Address and port to listen on; port 0 takes a free one.
        #[arg(long)]
        listen: Option<String>,
    },
    /// Bring the database's schema up to date, and end. `serve` does it too.
    Migrate(Settings),
    /// Make this signing key the one of all nodes on the database, and end. For a key that must not be used any more:
    /// tokens that it signed are refused once all nodes were restarted with the new one.
    AdoptKey(Settings),
    /// Print a token for a user.
    Token {
        #[command(flatten)]
        settings: Settings,
        /// The user's id.
        #[arg(long)]
        user: String,
        /// The project that the user belongs to.
        #[arg(long, default_value = "default")]
        project: String,
        /// How long the token is good.
        #[arg(long, default_value = "24h", value_parser = humantime::parse_duration)]
        ttl: Duration,
        /// The user is an admin of the project: they see and resolve its reports.
        #[arg(long)]
        admin: bool,
    },
    /// Look at the settings.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Read all settings as `serve` would, and say what is wrong with them.
    Check(Settings),
    /// Print every setting with its default and what it is for.
    Defaults,
}

#[derive(Args)]
struct Settings {
    /// A settings file; without it relay.toml is read if it is there.
    #[arg(long, env = "RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// Where the database and the keys lie.
    #[arg(long)]
    data_dir: Option<String>,
    /// A setting, as section.key=value. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("takes section.key=value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Settings {
    fn load(self, listen: Option<String>) -> Result<Config, Failure> {
        let mut set = self.set;
        set.extend(self.data_dir.map(|dir| ("server.data_dir".to_owned(), dir)));
        set.extend(listen.map(|listen| ("server.listen".to_owned(), listen)));
        // A variable that is no text is none of ours.
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Ok(config::load(&Overrides { file: self.config, set }, variables)?)
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Serve { settings, listen } => serve(&settings.load(listen)?),
        Command::Migrate(settings) => {
            let config = settings.load(None)?;
            once(&config, app::migrate(&config))?;
            say("the database is up to date")
        }
        Command::AdoptKey(settings) => {
            let config = settings.load(None)?;
            say(match once(&config, app::adopt_key(&config))? {
                true => "the database belongs to nodes that sign with this key: restart all of them with it",
                false => "the database belongs to nodes that sign with this key already",
            })
        }
        Command::Token { settings, user, project, ttl, admin } => {
            let config = settings.load(None)?;
            // A key that is made here is worth a line: tokens signed with it are good only for a server that has it too.
            telemetry::init_logs(&config.log)?;
            say(&mint_token(&config, &user, &project, admin, ttl)?)
        }
        Command::Config { command: ConfigCommand::Check(settings) } => {
            check(&settings.load(None)?)?;
            say("the settings are good")
        }
        Command::Config { command: ConfigCommand::Defaults } => say(DEFAULTS.trim_end()),
    }
}

fn serve(config: &Config) -> Result<(), Failure> {
    check(config)?;
    lifecycle::end_on_panic();
    telemetry::init_logs(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let app = App::start(config).await?;
        let address = app.address()?;
        say(&format!("relay listening on http://{address}"))?;
        say(&next_steps(config, &address.to_string()))?;
        app.run().await
    })
}

/// Runs a command that is done with, once, on the database.
fn once<T>(config: &Config, command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    check(config)?;
    telemetry::init_logs(&config.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command)
}

/// What a newcomer can copy.
fn next_steps(config: &Config, address: &str) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "relay".into());
    let data_dir = config.server.data_dir.display();
    let token = match data_dir.to_string().as_str() {
        "data" => format!("{program} token --user ana"),
        dir => format!("{program} token --data-dir {dir} --user ana"),
    };
    let storage = match (config.database.is_postgres(), config.redis.url.expose_secret().is_empty()) {
        (false, _) => format!("data in {data_dir}"),
        (true, true) => format!("data in PostgreSQL, the keys in {data_dir}"),
        (true, false) => format!("data in PostgreSQL, other nodes by Redis, the keys in {data_dir}"),
    };
    format!(
        "{storage}\n\n\
         Talk, in two terminals:\n  \
         cargo run -p relay-sdk --example chat -- --url http://{address} --user ana --room general\n  \
         cargo run -p relay-sdk --example chat -- --url http://{address} --user ben --room general\n\n\
         Or look at the API:\n  \
         TOKEN=$({token})\n  \
         grpcurl -plaintext {address} list\n  \
         grpcurl -plaintext -H \"authorization: Bearer $TOKEN\" {address} relay.chat.v1.RoomService/ListRooms\n"
    )
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

pub(crate) fn complain(failure: &(dyn std::error::Error + Send + Sync)) {
    // Nothing is left to do if standard error is closed.
    let _ = writeln!(std::io::stderr(), "relay: {failure}");
}
