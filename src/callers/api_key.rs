//! API keys: made from the system's randomness, shown once, kept as salted hashes.
//!
//! A key is `otk_ID_SECRET`. The id finds the record, so that one hash is computed for a call and not one for each key; the prefix lets
//! people and scanners of repositories recognise a key that lies where it should not. The secret has 256 bits of the system's
//! randomness. Nobody can guess or list such secrets, however fast the hash is: slow hashes (Argon2, bcrypt) are for passwords, which
//! people choose. So one round of SHA-256 with a salt of its own keeps a stolen file useless and costs a call next to nothing.

use std::fmt::Write as _;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What every key begins with.
const PREFIX: &str = "otk_";

/// Bytes of an id; written in twice as many digits.
const ID_BYTES: usize = 6;

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

/// Bytes of a salt.
const SALT_BYTES: usize = 16;

/// An API key in clear. It is never logged: its `Debug` form shows the id alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    id: String,
    secret: String,
}

/// What is no API key. What was given is not quoted: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormatError {
    /// It has another form.
    #[error("an API key has the form otk_ID_SECRET")]
    Form,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Randomness,
}

impl ApiKey {
    /// Makes a key.
    ///
    /// # Errors
    /// [`KeyFormatError::Randomness`].
    pub fn generate() -> Result<Self, KeyFormatError> {
        let (id, secret) = (random::<ID_BYTES>()?, random::<SECRET_BYTES>()?);
        Ok(Self { id: hex(&id), secret: URL_SAFE_NO_PAD.encode(secret) })
    }

    /// The public part, which names the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole key, to be shown once to whom it is for.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// True for text that means to be a key.
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// The hash to keep of it, with a new salt.
    ///
    /// # Errors
    /// [`KeyFormatError::Randomness`].
    pub fn hashed(&self) -> Result<HashedKey, KeyFormatError> {
        let salt = hex(&random::<SALT_BYTES>()?);
        let hash = hash(&salt, &self.secret);
        Ok(HashedKey { salt, hash })
    }
}

impl FromStr for ApiKey {
    type Err = KeyFormatError;

    fn from_str(text: &str) -> Result<Self, KeyFormatError> {
        let (id, secret) =
            text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(KeyFormatError::Form)?;
        let is_secret = URL_SAFE_NO_PAD.decode(secret).is_ok_and(|bytes| bytes.len() == SECRET_BYTES);
        if !is_hex(id, ID_BYTES) || !is_secret {
            return Err(KeyFormatError::Form);
        }
        Ok(Self { id: id.to_owned(), secret: secret.to_owned() })
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKey({PREFIX}{}_...)", self.id)
    }
}

/// What is kept of a key: enough to know it again, not enough to say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashedKey {
    /// Random, of this key alone: 32 hexadecimal digits.
    salt: String,
    /// SHA-256 of salt and secret: 64 hexadecimal digits.
    hash: String,
}

impl HashedKey {
    /// True if it is the hash of this key. The time it takes does not tell how much of a wrong one is right.
    pub fn is_of(&self, key: &ApiKey) -> bool {
        hash(&self.salt, &key.secret).as_bytes().ct_eq(self.hash.as_bytes()).into()
    }

    /// True for salt and hash of the right form.
    pub(super) fn is_whole(&self) -> bool {
        is_hex(&self.salt, SALT_BYTES) && is_hex(&self.hash, SECRET_BYTES)
    }
}

fn hash(salt: &str, secret: &str) -> String {
    hex(&Sha256::new().chain_update(salt).chain_update(secret).finalize())
}

fn random<const N: usize>() -> Result<[u8; N], KeyFormatError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeyFormatError::Randomness)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_known_again_by_its_hash_and_no_other_is() {
        let (key, other) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let read: ApiKey = key.reveal().parse().unwrap();
        assert_eq!(read, key);
        let hashed = key.hashed().unwrap();
        assert!(hashed.is_whole() && hashed.is_of(&read));
        assert!(!hashed.is_of(&other));
        assert!(!hashed.is_of(&ApiKey { id: key.id.clone(), secret: other.secret.clone() }));
        assert_ne!(hashed, key.hashed().unwrap(), "the same key has another salt");
    }

    #[test]
    fn neither_hash_nor_debug_form_says_the_secret() {
        let key = ApiKey::generate().unwrap();
        let shown = format!("{key:?} {:?}", key.hashed().unwrap());
        assert!(shown.contains(key.id()) && !shown.contains(&key.secret), "{shown}");
    }

    #[test]
    fn what_has_another_form_is_no_key() {
        let good = ApiKey::generate().unwrap().reveal();
        let (short, upper) = (&good[..good.len() - 1], good.replacen("otk_", "OTK_", 1));
        for text in ["", "otk_", "otk__", short, &upper, &good[4..], &format!("{good}A"), &format!(" {good}")] {
            assert_eq!(text.parse::<ApiKey>(), Err(KeyFormatError::Form), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
            if let Ok(key) = text.parse::<ApiKey>() {
                prop_assert_eq!(key.reveal(), text);
            }
        }
    }
}
