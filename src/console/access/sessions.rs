//! Who is logged in. Sessions live in memory: a restart of the agent ends them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::users::User;
use crate::hex;

/// A shift.
const LASTS: Duration = Duration::from_hours(12);
/// The most at a time; the oldest gives way.
const MOST: usize = 256;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) user: String,
    /// SHA-256 of the hash of the password that it was opened with: another password ends it.
    pub(super) password: String,
    pub(super) csrf: String,
    began: Instant,
}

/// By the hash of the token: how long a look-up takes says nothing about a token.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_hash: BTreeMap<String, Session>,
}

impl Sessions {
    /// Returns the session's token and the one against forged requests.
    pub(super) fn open(&mut self, user: &User, now: Instant) -> Result<(String, String), getrandom::Error> {
        let (token, csrf) = (random()?, random()?);
        self.by_hash.retain(|_, s| now - s.began < LASTS);
        if self.by_hash.len() >= MOST {
            let oldest = self.by_hash.iter().min_by_key(|(_, s)| s.began).map(|(hash, _)| hash.clone());
            oldest.and_then(|hash| self.by_hash.remove(&hash));
        }
        let password = hex::sha256(user.hash.as_bytes());
        let session = Session { user: user.name.clone(), password, csrf: csrf.clone(), began: now };
        self.by_hash.insert(hex::sha256(token.as_bytes()), session);
        Ok((token, csrf))
    }

    pub(super) fn get(&mut self, token: &str, now: Instant) -> Option<&Session> {
        let hash = hex::sha256(token.as_bytes());
        if self.by_hash.get(&hash).is_some_and(|s| now - s.began >= LASTS) {
            self.by_hash.remove(&hash);
        }
        self.by_hash.get(&hash)
    }

    pub(super) fn close(&mut self, token: &str) {
        self.by_hash.remove(&hex::sha256(token.as_bytes()));
    }
}

/// 256 bits that nobody can guess.
pub(super) fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::super::users::Role;
    use super::*;
    use crate::clock;

    fn user(name: &str) -> User {
        User { name: name.to_owned(), role: Role::Viewer, hash: String::new() }
    }

    #[test]
    fn a_session_ends_with_the_shift_or_before() {
        let now = clock::monotonic();
        let mut sessions = Sessions::default();
        let (ann, csrf) = sessions.open(&user("ann"), now).unwrap();
        let (bob, _) = sessions.open(&user("bob"), now).unwrap();
        let found = sessions.get(&ann, now + LASTS - Duration::from_secs(1)).unwrap();
        assert_eq!((found.user.as_str(), &found.csrf), ("ann", &csrf));
        assert!(sessions.get(&csrf, now).is_none());
        sessions.close(&bob);
        assert!(sessions.get(&bob, now).is_none());
        assert!(sessions.get(&ann, now + LASTS).is_none());
        for i in 0..300 {
            sessions.open(&user("many"), now + Duration::from_millis(i)).unwrap();
        }
        assert_eq!(sessions.by_hash.len(), MOST);
    }
}
