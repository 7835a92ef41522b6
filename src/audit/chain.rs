//! What is hashed and what is signed, byte for byte. `docs/audit.md` is the same in words.

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hex::hex_bytes;

const RECORD_DOMAIN: &[u8] = b"isotherm-audit-v1\0";
const GENESIS_DOMAIN: &[u8] = b"isotherm-genesis-v1\0";
const CHECKPOINT_DOMAIN: &[u8] = b"isotherm-checkpoint-v1\0";

hex_bytes!(
    /// SHA-256 of a record, which holds the hash of the record before it.
    Hash,
    32
);
hex_bytes!(
    /// Names one log for ever; drawn at random when it is created.
    StoreId,
    16
);
hex_bytes!(
    /// The Ed25519 key that a log's checkpoints are verified with.
    PublicKey,
    32
);
hex_bytes!(
    /// An Ed25519 signature.
    Signature,
    64
);

/// A domain, then each field after its length as eight big-endian bytes: no two lists of fields are
/// alike as bytes.
fn encode(domain: &[u8], fields: &[&[u8]], mut put: impl FnMut(&[u8])) {
    put(domain);
    for field in fields {
        put(&(field.len() as u64).to_be_bytes());
        put(field);
    }
}

fn digest(domain: &[u8], fields: &[&[u8]]) -> Hash {
    let mut sha = Sha256::new();
    encode(domain, fields, |bytes| sha.update(bytes));
    Hash::new(sha.finalize().into())
}

/// A record as it is stored, before anyone believes it: any column may hold anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) seq: i64,
    pub(super) time: Vec<u8>,
    pub(super) kind: Vec<u8>,
    pub(super) previous: Vec<u8>,
    pub(super) hash: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl From<&super::Record> for Row {
    fn from(record: &super::Record) -> Self {
        Self {
            seq: record.seq as i64,
            time: super::time_text(record.time).into_bytes(),
            kind: record.kind.as_str().into(),
            previous: record.previous.as_bytes().to_vec(),
            hash: record.hash.as_bytes().to_vec(),
            body: record.body.as_bytes().to_vec(),
        }
    }
}

impl Row {
    /// The hash that this content has.
    pub(super) fn digest(&self) -> Hash {
        self.digest_as(self.seq, &self.previous)
    }

    /// The hash that this content would have at another place.
    pub(super) fn digest_as(&self, seq: i64, previous: &[u8]) -> Hash {
        record_digest(previous, seq, &self.time, &self.kind, &self.body)
    }
}

/// The hash of a record behind one with the hash `previous`.
pub(super) fn record_digest(previous: &[u8], seq: i64, time: &[u8], kind: &[u8], body: &[u8]) -> Hash {
    digest(RECORD_DOMAIN, &[previous, &seq.to_be_bytes(), time, kind, body])
}

/// What a log is, fixed when it is created.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    pub store: StoreId,
    /// RFC 3339, exactly as it is hashed.
    pub created: String,
    pub public_key: PublicKey,
}

impl Identity {
    /// Stands for the hash before the first record.
    #[must_use]
    pub fn genesis(&self) -> Hash {
        digest(GENESIS_DOMAIN, &[self.store.as_bytes(), self.created.as_bytes(), self.public_key.as_bytes()])
    }
}

/// A signed statement that a log's record `seq` has this hash, and with it all records before. A copy
/// kept elsewhere shows when the log was cut or rewritten later.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    pub store: StoreId,
    pub seq: u64,
    pub hash: Hash,
    /// The time of that record, exactly as it is hashed.
    pub time: String,
    pub signature: Signature,
}

impl Checkpoint {
    pub(super) fn sign(store: StoreId, seq: u64, hash: Hash, time: String, key: &SigningKey) -> Self {
        let signature = key.sign(&message(store, seq, hash, &time));
        Self { store, seq, hash, time, signature: Signature::new(signature.to_bytes()) }
    }

    /// Whether the holder of the key said this.
    #[must_use]
    pub fn is_signed_by(&self, key: PublicKey) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(self.signature.as_bytes());
        VerifyingKey::from_bytes(key.as_bytes()).is_ok_and(|key| {
            key.verify_strict(&message(self.store, self.seq, self.hash, &self.time), &signature).is_ok()
        })
    }
}

fn message(store: StoreId, seq: u64, hash: Hash, time: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let fields = [store.as_bytes().as_slice(), &seq.to_be_bytes(), hash.as_bytes(), time.as_bytes()];
    encode(CHECKPOINT_DOMAIN, &fields, |bytes| out.extend_from_slice(bytes));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            seq: 7,
            time: b"2026-01-01T00:00:00.000000000Z".to_vec(),
            kind: b"event".to_vec(),
            previous: vec![1; 32],
            hash: vec![],
            body: b"{}".to_vec(),
        }
    }

    /// The hash input written out by hand, as `docs/audit.md` gives it.
    #[test]
    fn the_hash_input_is_as_documented() {
        let mut bytes = b"isotherm-audit-v1\0".to_vec();
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 32]);
        bytes.extend([1; 32]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 30]);
        bytes.extend(b"2026-01-01T00:00:00.000000000Z");
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 5]);
        bytes.extend(b"event");
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 2]);
        bytes.extend(b"{}");
        assert_eq!(row().digest().as_bytes().as_slice(), Sha256::digest(&bytes).as_slice());
    }

    #[test]
    fn moving_a_byte_between_fields_changes_the_hash() {
        let mut moved = row();
        moved.kind = b"event{".to_vec();
        moved.body = b"}".to_vec();
        assert_ne!(moved.digest(), row().digest());
    }

    #[test]
    fn a_signature_holds_for_what_was_signed_and_nothing_else() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let public = PublicKey::new(key.verifying_key().to_bytes());
        let good = Checkpoint::sign(StoreId::new([1; 16]), 5, Hash::new([2; 32]), "t".into(), &key);
        assert!(good.is_signed_by(public));
        let other = PublicKey::new(SigningKey::from_bytes(&[4; 32]).verifying_key().to_bytes());
        assert!(!good.is_signed_by(other));
        for wrong in [
            Checkpoint { store: StoreId::new([9; 16]), ..good.clone() },
            Checkpoint { seq: 6, ..good.clone() },
            Checkpoint { hash: Hash::new([9; 32]), ..good.clone() },
            Checkpoint { time: "u".into(), ..good.clone() },
        ] {
            assert!(!wrong.is_signed_by(public), "{wrong:?}");
        }
        let line = serde_json::to_string(&good).unwrap();
        assert_eq!(serde_json::from_str::<Checkpoint>(&line).unwrap(), good);
    }
}
