//! Originals at rest: sealed with a key that only the environment holds (XChaCha20-Poly1305).
//!
//! A sealed text is bound to its tenant and case: moved to another it does not open. It begins with the fingerprint of its key, so that
//! a text of another key is told from a damaged one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, AeadCore, KeyInit, OsRng, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

use super::TenantId;

/// Variable of the environment that holds the key.
pub const KEY_VARIABLE: &str = "OTKLIK_CASES_KEY";

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const FINGERPRINT_BYTES: usize = 4;

/// Why a text could not be sealed or opened. Never tells anything of the text or the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key is not one.
    #[error("{KEY_VARIABLE} must be 64 hexadecimal digits (32 random bytes), as `openssl rand -hex 32` makes them")]
    Key,
    /// The text was sealed with another key.
    #[error("the original was sealed with another key; set {KEY_VARIABLE} to the one of that time")]
    OtherKey,
    /// The sealed text is not whole.
    #[error("the sealed original is damaged")]
    Damaged,
    /// The cipher refused.
    #[error("the original could not be sealed")]
    Refused,
}

/// Seals and opens originals.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    fingerprint: [u8; FINGERPRINT_BYTES],
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// A sealer with a key of 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`SealError::Key`].
    pub fn new(key: &str) -> Result<Self, SealError> {
        let digits = key.trim().as_bytes();
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
        let bytes = bytes.filter(|bytes| bytes.len() == KEY_BYTES && rest.is_empty()).ok_or(SealError::Key)?;
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| SealError::Key)?;
        let mut fingerprint = [0; FINGERPRINT_BYTES];
        let digest = Sha256::new().chain_update(b"otklik case key").chain_update(&bytes).finalize();
        fingerprint.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Ok(Self { cipher, fingerprint })
    }

    /// Seals a text of a case.
    ///
    /// # Errors
    /// [`SealError::Refused`].
    pub fn seal(&self, tenant: &TenantId, case_id: &str, text: &str) -> Result<String, SealError> {
        let nonce = XChaCha20Poly1305::generate_nonce(&mut OsRng);
        let bound = bound(tenant, case_id);
        let sealed = self.cipher.encrypt(&nonce, Payload { msg: text.as_bytes(), aad: &bound });
        let sealed = sealed.map_err(|_| SealError::Refused)?;
        Ok(STANDARD.encode([self.fingerprint.as_slice(), nonce.as_slice(), &sealed].concat()))
    }

    /// Opens what was sealed for the same case.
    ///
    /// # Errors
    /// [`SealError::OtherKey`], [`SealError::Damaged`].
    pub fn open(&self, tenant: &TenantId, case_id: &str, sealed: &str) -> Result<String, SealError> {
        let bytes = STANDARD.decode(sealed).map_err(|_| SealError::Damaged)?;
        let (fingerprint, rest) = bytes.split_first_chunk::<FINGERPRINT_BYTES>().ok_or(SealError::Damaged)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Damaged)?;
        if *fingerprint != self.fingerprint {
            return Err(SealError::OtherKey);
        }
        let bound = bound(tenant, case_id);
        let text = self.cipher.decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: &bound });
        String::from_utf8(text.map_err(|_| SealError::Damaged)?).map_err(|_| SealError::Damaged)
    }
}

/// What a sealed text is bound to.
fn bound(tenant: &TenantId, case_id: &str) -> Vec<u8> {
    let tenant = tenant.as_str().as_bytes();
    // The length goes first, so that no two pairs of tenant and id are bound alike.
    [&(tenant.len() as u64).to_le_bytes(), tenant, case_id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(digit: &str) -> Sealer {
        Sealer::new(&digit.repeat(64)).unwrap()
    }

    #[test]
    fn a_sealed_text_opens_for_its_case_and_key_alone() {
        let (tenant, other) = (TenantId::new("банк"), TenantId::new("другой"));
        let sealed = sealer("a").seal(&tenant, "1", "Иванов, карта 4276").unwrap();
        assert!(!sealed.contains("4276"));
        assert_ne!(sealed, sealer("a").seal(&tenant, "1", "Иванов, карта 4276").unwrap());
        assert_eq!(sealer("a").open(&tenant, "1", &sealed).unwrap(), "Иванов, карта 4276");
        assert_eq!(sealer("b").open(&tenant, "1", &sealed), Err(SealError::OtherKey));
        assert_eq!(sealer("a").open(&tenant, "2", &sealed), Err(SealError::Damaged));
        assert_eq!(sealer("a").open(&other, "1", &sealed), Err(SealError::Damaged));
        for length in [0, 3, 20, sealed.len() - 4] {
            assert!(sealer("a").open(&tenant, "1", &sealed[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_key_is_32_bytes_in_hexadecimal() {
        for key in ["", "a", &"a".repeat(63), &"a".repeat(65), &"g".repeat(64), &"я".repeat(32)] {
            assert_eq!(Sealer::new(key).err(), Some(SealError::Key), "{key:?}");
        }
        assert!(Sealer::new(&format!(" {}\n", "0F".repeat(32))).is_ok());
        assert!(!format!("{:?}", sealer("a")).contains("aa"));
    }
}
