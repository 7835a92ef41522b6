//! The signing key's file: 32 bytes as hex, readable by its owner alone.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use ed25519_dalek::SigningKey;

use super::{AuditError, PublicKey, hex};

pub(super) fn public(key: &SigningKey) -> PublicKey {
    PublicKey::new(key.verifying_key().to_bytes())
}

/// The public half, where a text is a private key.
pub(super) fn public_of(text: &str) -> Option<PublicKey> {
    hex::decode(text).ok().map(|seed| public(&SigningKey::from_bytes(&seed)))
}

/// Whether the file holds a signing key that can be used; whose log that is.
pub fn signing_key_of(path: &Path) -> Result<PublicKey, AuditError> {
    load(path, false).map(|key| public(&key))
}

/// Reads the key; with `create`, makes one where there is none.
pub(super) fn load(path: &Path, create: bool) -> Result<SigningKey, AuditError> {
    let refused = |why: String| AuditError::Key { path: path.to_owned(), why };
    let io = |doing| move |source| AuditError::Io { path: path.to_owned(), doing, source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound && create => return make(path),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(refused(
                "there is no such file, but there is a log that it signed: restore the key, or move the log \
                 away to start a new one"
                    .to_owned(),
            ));
        }
        Err(e) => return Err(io("read the signing key")(e)),
    };
    let mode = file.metadata().map_err(io("read the signing key"))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(refused(format!(
            "has mode {mode:04o}; whoever can read it can forge checkpoints: chmod 600 it"
        )));
    }
    let text = std::io::read_to_string(file).map_err(io("read the signing key"))?;
    // Never quote the text: it may be a key with a typing error.
    hex::decode(text.trim())
        .map(|seed| SigningKey::from_bytes(&seed))
        .map_err(|_| refused("expected 64 hex digits on one line".to_owned()))
}

fn make(path: &Path) -> Result<SigningKey, AuditError> {
    let io = |source| AuditError::Io { path: path.to_owned(), doing: "make the signing key", source };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| io(e.into()))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    writeln!(file, "{}", crate::hex::encode(&seed)).and_then(|()| file.sync_all()).map_err(io)?;
    Ok(SigningKey::from_bytes(&seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(load(&path, false).unwrap_err().to_string().contains("restore the key"));
        let first = load(&path, true).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(&path, true).unwrap(), first);

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load(&path, true).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_garbled_key_is_refused_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        load(&path, true).unwrap();
        std::fs::write(&path, "5ecre7").unwrap();
        let message = load(&path, true).unwrap_err().to_string();
        assert!(message.contains("64 hex digits") && !message.contains("5ecre7"), "{message}");
    }
}
