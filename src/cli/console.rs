//! `isotherm console user …` and `isotherm console token …`: who may use the console.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use clap::Subcommand;
use isotherm::clock;
use isotherm::console::users::{Role, Users};
use jiff::Span;
use jiff::tz::TimeZone;

use super::{Done, Failed, load, usage};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    of: Of,
}

#[derive(Subcommand)]
enum Of {
    /// People who may log in; the running agent takes changes up at once.
    #[command(subcommand)]
    User(UserCommand),
    /// Tokens of machines that use the HTTP API; the running agent takes changes up at once.
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Makes a token and prints it, this once.
    Create {
        name: String,
        #[arg(long, value_enum)]
        role: Role,
        /// In force for so long, such as `90d` or `12h`; until revoked when absent.
        #[arg(long = "for")]
        span: Option<Span>,
        #[command(flatten)]
        file: File,
    },
    /// Takes a token out of force.
    Revoke {
        name: String,
        #[command(flatten)]
        file: File,
    },
    List {
        #[command(flatten)]
        file: File,
    },
}

#[derive(Subcommand)]
enum UserCommand {
    /// Adds somebody, or gives them a new role and password. The password is asked for, or read from stdin.
    Add {
        name: String,
        #[arg(long, value_enum)]
        role: Role,
        #[command(flatten)]
        file: File,
    },
    /// Takes somebody's access away; an open session ends too.
    Remove {
        name: String,
        #[command(flatten)]
        file: File,
    },
    List {
        #[command(flatten)]
        file: File,
    },
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct File {
    /// The site whose console it is, for `users` under [console].
    #[arg(long)]
    site: Option<PathBuf>,
    /// The file of users itself.
    #[arg(long)]
    users: Option<PathBuf>,
}

impl File {
    fn path(&self) -> Result<PathBuf, Failed> {
        let Some(site) = &self.site else { return self.users.clone().ok_or_else(|| usage("give --users")) };
        load(site)?.console.users.ok_or_else(|| {
            usage(format!("{}: [console] names no file of users: add users = \"users.toml\"", site.display()))
        })
    }

    /// As it is, to be looked at: here a file that is not there is a mistake.
    fn read(&self) -> Result<(PathBuf, Users), Failed> {
        let path = self.path()?;
        if !path.exists() {
            return Err(usage(format!(
                "{}: there is no such file; `isotherm console user add` makes it",
                path.display()
            )));
        }
        let users = Users::load(&path).map_err(usage)?;
        Ok((path, users))
    }

    /// Where the file is, and what came of the change.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Users) -> Result<T, Failed>,
    ) -> Result<(PathBuf, T), Failed> {
        let path = self.path()?;
        let mut users = Users::load(&path).map_err(usage)?;
        let changed = change(&mut users)?;
        users.save(&path).map_err(usage)?;
        Ok((path, changed))
    }
}

pub(super) fn run(args: &Args) -> Done {
    match &args.of {
        Of::User(command) => user(command),
        Of::Token(command) => token(command),
    }
}

fn token(command: &TokenCommand) -> Done {
    let now = clock::now();
    match command {
        TokenCommand::Create { name, role, span, file } => {
            let end = |span: &Span| {
                now.to_zoned_datetime(TimeZone::UTC).checked_add(*span).map(|end| end.timestamp())
            };
            let expires = span.as_ref().map(end).transpose().map_err(usage)?;
            if expires.is_some_and(|end| end <= now) {
                return Err(usage("--for: expected a time to come, such as 90d"));
            }
            let (path, token) =
                file.change(|users| users.create_token(name, *role, now, expires).map_err(usage))?;
            eprintln!(
                "{name} is {} in {}, {}. The token is shown this once; send it as `Authorization: Bearer TOKEN`:",
                role.as_str(),
                path.display(),
                expires.map_or("until revoked".to_owned(), |end| format!("until {end:.0}"))
            );
            println!("{token}")?;
        }
        TokenCommand::Revoke { name, file } => {
            let (path, ()) = file.change(|users| users.revoke_token(name).map_err(usage))?;
            println!("{name} is gone from {}", path.display())?;
        }
        TokenCommand::List { file } => {
            let (path, users) = file.read()?;
            if users.tokens().is_empty() {
                eprintln!("no tokens in {}", path.display());
            }
            for token in users.tokens() {
                let end = match token.expires {
                    None => "until revoked".to_owned(),
                    Some(end) if token.is_in_force(now) => format!("until {end:.0}"),
                    Some(end) => format!("ended {end:.0}"),
                };
                println!("{:<32} {:<9} since {:.0}, {end}", token.name, token.role.as_str(), token.created)?;
            }
        }
    }
    Ok(())
}

fn user(command: &UserCommand) -> Done {
    match command {
        UserCommand::Add { name, role, file } => {
            let (path, ()) = file.change(|users| users.set(name, *role, &password(name)?).map_err(usage))?;
            println!("{name} is {} in {}", role.as_str(), path.display())?;
        }
        UserCommand::Remove { name, file } => {
            let (path, ()) = file.change(|users| users.remove(name).map_err(usage))?;
            println!("{name} is gone from {}", path.display())?;
        }
        UserCommand::List { file } => {
            let (path, users) = file.read()?;
            if users.list().is_empty() {
                eprintln!("no users in {}", path.display());
            }
            for user in users.list() {
                println!("{:<32} {}", user.name, user.role.as_str())?;
            }
        }
    }
    Ok(())
}

/// Asked for twice on a terminal, else the first line of stdin.
fn password(name: &str) -> Result<String, Failed> {
    if std::io::stdin().is_terminal() {
        let ask = |prompt: String| rpassword::prompt_password(prompt).map_err(usage);
        let first = ask(format!("Password for {name}: "))?;
        if ask("Again: ".to_owned())? != first {
            return Err(usage("the two passwords differ"));
        }
        return Ok(first);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(usage)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
