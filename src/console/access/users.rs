//! Who may use the console: names and roles in a file of their own, with people's password hashes and the
//! hashes of machines' tokens.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sessions::random;
use crate::control::What;
use crate::durable::folder_of;
use crate::hex;
use crate::site::Mode;

/// What someone may do. Each may do all that those before it may.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Approves, overrides, directs, acknowledges, takes over, and gives back up to the mode that the site
    /// file starts in.
    Operator,
    /// Gives the agent more than the site file does.
    Engineer,
}

impl Role {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Engineer => "engineer",
        }
    }

    /// Whether this role may do this, or why not. `start`: the mode of the site file.
    pub fn may(self, what: &What, start: Mode) -> Result<(), String> {
        let needed = match what {
            What::Mode { mode } if trust(*mode) > trust(start) => Self::Engineer,
            What::ProposeUpgrade { .. } | What::AcceptUpgrade { .. } | What::RevertUpgrade => Self::Engineer,
            What::Mode { .. }
            | What::Approve { .. }
            | What::Reject { .. }
            | What::Override { .. }
            | What::ClearOverride { .. }
            | What::Directive { .. }
            | What::WithdrawDirective { .. }
            | What::Acknowledge { .. } => Self::Operator,
        };
        if self >= needed {
            return Ok(());
        }
        let more = needed == Self::Engineer && matches!(what, What::Mode { .. });
        let why = if more { " (more than the site file starts in)" } else { "" };
        Err(format!("this takes the role {}{why}; you are {}", needed.as_str(), self.as_str()))
    }
}

/// How much a mode leaves to the agent.
fn trust(mode: Mode) -> u8 {
    match mode {
        Mode::Manual => 0,
        Mode::Shadow => 1,
        Mode::Advise => 2,
        Mode::Auto => 3,
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    pub role: Role,
    /// Argon2id, in the PHC string format.
    pub hash: String,
}

/// What a machine shows instead of a password. It is long and random: a plain hash tells nothing of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub name: String,
    pub role: Role,
    pub sha256: String,
    pub created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl Token {
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}

/// Tells people, and what looks for secrets in files, what it is.
const TOKEN_PREFIX: &str = "isotherm_";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    #[serde(default, rename = "user")]
    list: Vec<User>,
    #[serde(default, rename = "token", skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<Token>,
}

#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {why}. It is made by `isotherm console user add`", path = path.display())]
    Syntax { path: PathBuf, why: String },
    #[error(
        "{0:?} is no name: expected 1 to 64 letters, digits, dots, dashes, underscores or at signs, from any alphabet"
    )]
    Name(String),
    #[error(
        "the password has {0} characters: at least {MIN_PASSWORD} are needed; a few words are easy to keep"
    )]
    Short(usize),
    #[error("there is no user {0:?}")]
    Unknown(String),
    #[error("there is no token {0:?}")]
    UnknownToken(String),
    #[error("there is a token {0:?} already: revoke it first, or choose another name")]
    TokenExists(String),
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

pub const MIN_PASSWORD: usize = 10;

/// One of OWASP's equivalent settings for Argon2id: the one with little memory, since the guard process is to
/// stay small. Old hashes keep the settings they were made with.
const MEMORY_KIB: u32 = 9 * 1024;
const PASSES: u32 = 4;

fn argon2() -> Result<Argon2<'static>, UsersError> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|e| UsersError::Hash(e.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

impl Users {
    /// No file: nobody.
    pub fn load(path: &Path) -> Result<Self, UsersError> {
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|e| UsersError::Syntax { path: path.to_owned(), why: e.message().to_owned() }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(UsersError::Io { path: path.to_owned(), source }),
        }
    }

    /// Replaces the file at once. It stays whose it was and readable for whom it was: the agent may run as
    /// somebody else. A new one is for its owner and the folder's group.
    pub fn save(&self, path: &Path) -> Result<(), UsersError> {
        let io = |source| UsersError::Io { path: path.to_owned(), source };
        let text = toml::to_string(self)
            .map_err(|e| UsersError::Syntax { path: path.to_owned(), why: e.to_string() })?;
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        keep_readable(&file, path).map_err(io)?;
        fs::rename(&new, path).map_err(io)
    }

    #[must_use]
    pub fn list(&self) -> &[User] {
        &self.list
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&User> {
        self.list.iter().find(|u| u.name == name)
    }

    /// Adds a user, or gives one a new role and password.
    pub fn set(&mut self, name: &str, role: Role, password: &str) -> Result<(), UsersError> {
        if !is_name(name) {
            return Err(UsersError::Name(name.to_owned()));
        }
        let length = password.chars().count();
        if length < MIN_PASSWORD {
            return Err(UsersError::Short(length));
        }
        let mut salt = [0; 16];
        getrandom::fill(&mut salt)?;
        let hash = argon2()?
            .hash_password_with_salt(password.as_bytes(), &salt)
            .map_err(|e| UsersError::Hash(e.to_string()))?
            .to_string();
        self.list.retain(|u| u.name != name);
        self.list.push(User { name: name.to_owned(), role, hash });
        self.list.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    pub fn remove(&mut self, name: &str) -> Result<(), UsersError> {
        let before = self.list.len();
        self.list.retain(|u| u.name != name);
        if self.list.len() == before { Err(UsersError::Unknown(name.to_owned())) } else { Ok(()) }
    }

    #[must_use]
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Makes a token and returns it. Nobody can see it again.
    pub fn create_token(
        &mut self,
        name: &str,
        role: Role,
        now: Timestamp,
        expires: Option<Timestamp>,
    ) -> Result<String, UsersError> {
        if !is_name(name) {
            return Err(UsersError::Name(name.to_owned()));
        }
        if self.tokens.iter().any(|t| t.name == name) {
            return Err(UsersError::TokenExists(name.to_owned()));
        }
        let text = format!("{TOKEN_PREFIX}{}", random()?);
        let sha256 = hex::sha256(text.as_bytes());
        self.tokens.push(Token { name: name.to_owned(), role, sha256, created: now, expires });
        self.tokens.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(text)
    }

    pub fn revoke_token(&mut self, name: &str) -> Result<(), UsersError> {
        let before = self.tokens.len();
        self.tokens.retain(|t| t.name != name);
        if self.tokens.len() == before { Err(UsersError::UnknownToken(name.to_owned())) } else { Ok(()) }
    }

    /// Whose token this is. Found by its hash: how long that takes says nothing about a token.
    #[must_use]
    pub fn token(&self, text: &str, now: Timestamp) -> Option<&Token> {
        let sha256 = hex::sha256(text.as_bytes());
        self.tokens.iter().find(|t| t.sha256 == sha256).filter(|t| t.is_in_force(now))
    }
}

/// Gives a file what the one at `path` has, or a file in its folder should have.
fn keep_readable(file: &File, path: &Path) -> std::io::Result<()> {
    let own = file.metadata()?;
    let (owner, group, mode) = match fs::metadata(path) {
        Ok(old) => (old.uid(), old.gid(), old.mode() & 0o777),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            (own.uid(), fs::metadata(folder_of(path))?.gid(), 0o640)
        }
        Err(e) => return Err(e),
    };
    if (owner, group) != (own.uid(), own.gid()) {
        fchown(file, Some(owner), Some(group))?;
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Names stand in the audit log beside role and way of entry: they must not look like those.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || ".-_@".contains(c);
    !name.is_empty() && name.chars().count() <= 64 && name.chars().all(allowed)
}

/// Whether the password is the user's. Takes as long for nobody's as for somebody's.
pub(super) fn verify(user: Option<&User>, password: &str) -> bool {
    /// Of a password that nobody has: no password hashes to it.
    const NOBODY: &str =
        "$argon2id$v=19$m=9216,t=4,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let hash = user.map_or(NOBODY, |u| u.hash.as_str());
    argon2().is_ok_and(|a| a.verify_password(password.as_bytes(), hash).is_ok()) && user.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_its_users_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        assert!(Users::load(&path).unwrap().list().is_empty());
        let mut users = Users::default();
        users.set("ann", Role::Operator, "correct horse").unwrap();
        users.set("bob", Role::Viewer, "battery staple").unwrap();
        users.save(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("$argon2id$") && !text.contains("horse"), "{text}");
        let users = Users::load(&path).unwrap();
        assert!(verify(users.get("ann"), "correct horse"));
        assert!(!verify(users.get("ann"), "battery staple"));
        assert!(!verify(users.get("eve"), "correct horse"));
    }

    /// Root adds a user to the file of an agent that runs as somebody else.
    #[test]
    fn the_agent_can_still_read_a_file_that_root_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        let is_root = fs::metadata(dir.path()).unwrap().uid() == 0;
        let of = |path: &Path| {
            let found = fs::metadata(path).unwrap();
            (found.uid(), found.gid(), found.mode() & 0o777)
        };
        let (me, mut group, _) = of(dir.path());
        if is_root {
            group = 4711;
            std::os::unix::fs::chown(dir.path(), None, Some(group)).unwrap();
        } else {
            eprintln!("SKIPPED: other owners and groups: this takes root");
        }
        Users::default().save(&path).unwrap();
        assert_eq!(of(&path), (me, group, 0o640));
        let owner = if is_root { 4712 } else { me };
        std::os::unix::fs::chown(&path, Some(owner), Some(group)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Users::default().save(&path).unwrap();
        assert_eq!(of(&path), (owner, group, 0o600));
    }

    #[test]
    fn bad_names_and_passwords_are_refused() {
        let mut users = Users::default();
        assert!(matches!(users.set("a b", Role::Viewer, "long enough!"), Err(UsersError::Name(_))));
        assert!(matches!(users.set("", Role::Viewer, "long enough!"), Err(UsersError::Name(_))));
        assert!(matches!(users.set("ann", Role::Viewer, "short"), Err(UsersError::Short(5))));
        assert!(matches!(users.remove("ann"), Err(UsersError::Unknown(_))));
    }

    #[test]
    fn a_token_is_known_by_its_hash_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        let now: Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
        let end: Timestamp = "2026-07-02T00:00:00Z".parse().unwrap();
        let mut users = Users::default();
        let grafana = users.create_token("grafana", Role::Viewer, now, None).unwrap();
        let robot = users.create_token("robot", Role::Operator, now, Some(end)).unwrap();
        assert!(matches!(
            users.create_token("robot", Role::Viewer, now, None),
            Err(UsersError::TokenExists(_))
        ));
        assert!(matches!(users.create_token("a (b)", Role::Viewer, now, None), Err(UsersError::Name(_))));
        users.save(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&grafana) && !text.contains(&robot), "{text}");
        let mut users = Users::load(&path).unwrap();
        let name = |users: &Users, token: &str, at| users.token(token, at).map(|t| t.name.clone());
        assert_eq!(name(&users, &grafana, end), Some("grafana".to_owned()));
        assert_eq!(name(&users, &robot, now), Some("robot".to_owned()));
        assert_eq!(name(&users, &robot, end), None, "it has ended");
        assert_eq!(name(&users, "isotherm_", now), None);
        assert_eq!(name(&users, &users.tokens()[0].sha256.clone(), now), None, "the hash is no token");
        users.revoke_token("grafana").unwrap();
        assert_eq!(name(&users, &grafana, now), None);
        assert!(matches!(users.revoke_token("grafana"), Err(UsersError::UnknownToken(_))));
    }

    #[test]
    fn roles_end_where_they_should() {
        let mode = |mode| What::Mode { mode };
        let approve = What::Approve { decision: 1 };
        assert!(Role::Viewer.may(&approve, Mode::Auto).is_err());
        assert!(Role::Viewer.may(&mode(Mode::Manual), Mode::Auto).is_err());
        assert!(Role::Operator.may(&approve, Mode::Advise).is_ok());
        assert!(Role::Operator.may(&mode(Mode::Manual), Mode::Shadow).is_ok());
        assert!(Role::Operator.may(&mode(Mode::Auto), Mode::Auto).is_ok(), "gives back what was taken");
        assert!(Role::Operator.may(&mode(Mode::Auto), Mode::Advise).unwrap_err().contains("engineer"));
        assert!(Role::Engineer.may(&mode(Mode::Auto), Mode::Shadow).is_ok());
    }
}
