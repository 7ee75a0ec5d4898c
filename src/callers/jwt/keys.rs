//! The keys that tokens are signed with, from a file: a JWK set (RFC 7517), or public keys in PEM.

use std::collections::HashSet;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::Value;

/// Most keys of a file. Those without an id are tried one after another for each token.
const MAX_KEYS: usize = 64;

/// Bytes of an uncompressed point of P-256.
const P256_POINT_BYTES: usize = 65;

/// Bytes of an uncompressed point of P-384.
const P384_POINT_BYTES: usize = 97;

/// Bytes of a public key of Ed25519.
const ED25519_BYTES: usize = 32;

/// Bytes of the shortest modulus of RSA that is trusted.
const LEAST_MODULUS_BYTES: usize = 256;

/// Bytes of the shortest shared secret that is trusted: those of the shortest hash (RFC 7518, 3.2).
const LEAST_SECRET_BYTES: usize = 32;

/// Begins a block of PEM.
const PEM_BEGIN: &str = "-----BEGIN ";

/// Why a file of keys is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtKeysError {
    /// It is neither a JWK set nor PEM.
    #[error("the file of token keys (callers.jwt_keys_file) must be a JWK set or public keys in PEM: {0}")]
    Form(String),
    /// A key is at fault.
    #[error("the file of token keys (callers.jwt_keys_file): key {row}: {problem}")]
    Key {
        /// Which key, from 1.
        row: usize,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// It has none, or too many.
    #[error("the file of token keys (callers.jwt_keys_file) has {0} keys that sign; it must have 1 to {MAX_KEYS}")]
    Count(usize),
}

/// A key and the one algorithm that it is used with.
pub(super) struct JwtKey {
    pub(super) id: Option<String>,
    pub(super) key: DecodingKey,
    pub(super) algorithm: Algorithm,
}

/// The keys of a file.
pub struct JwtKeys {
    keys: Vec<JwtKey>,
}

impl JwtKeys {
    /// Reads what a file says.
    ///
    /// # Errors
    /// [`JwtKeysError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, JwtKeysError> {
        let text = std::str::from_utf8(bytes).map_err(|_| JwtKeysError::Form("it is not UTF-8".to_owned()))?;
        let keys = if text.contains(PEM_BEGIN) { of_pem(text)? } else { of_set(text)? };
        if !(1..=MAX_KEYS).contains(&keys.len()) {
            return Err(JwtKeysError::Count(keys.len()));
        }
        let mut ids = HashSet::new();
        for (index, key) in keys.iter().enumerate() {
            if key.id.as_ref().is_some_and(|id| !ids.insert(id)) {
                return Err(at_fault(index, "kid: must stand in one key only"));
            }
        }
        Ok(Self { keys })
    }

    /// The keys that a token may be signed with: the one that it names, or else those without an id.
    pub(super) fn candidates(&self, id: Option<&str>) -> impl Iterator<Item = &JwtKey> {
        let is_known = id.is_some_and(|id| self.keys.iter().any(|key| key.id.as_deref() == Some(id)));
        let wanted = if is_known { id } else { None };
        self.keys.iter().filter(move |key| key.id.as_deref() == wanted)
    }
}

fn at_fault(index: usize, problem: impl Into<String>) -> JwtKeysError {
    JwtKeysError::Key { row: index + 1, problem: problem.into() }
}

fn of_set(text: &str) -> Result<Vec<JwtKey>, JwtKeysError> {
    let set: Value = serde_json::from_str(text).map_err(|error| JwtKeysError::Form(error.to_string()))?;
    let listed = set.get("keys").and_then(Value::as_array);
    let listed = listed.ok_or_else(|| JwtKeysError::Form("it has no list \"keys\"".to_owned()))?;
    let mut keys = Vec::new();
    for (index, given) in listed.iter().enumerate() {
        // Sets often hold keys for encryption beside those that sign, some of kinds that are not read here.
        if given.get("use").and_then(Value::as_str) == Some("enc") {
            continue;
        }
        let key: Jwk = serde_json::from_value(given.clone()).map_err(|error| at_fault(index, error.to_string()))?;
        keys.push(of_jwk(&key).map_err(|problem| at_fault(index, problem))?);
    }
    Ok(keys)
}

fn of_jwk(jwk: &Jwk) -> Result<JwtKey, String> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return Err("use: must be \"sig\", or not be given".to_owned());
    }
    let said = match jwk.common.key_algorithm {
        Some(said) => Some(said.to_string().parse::<Algorithm>().map_err(|_| format!("alg: {said} does not sign"))?),
        None => None,
    };
    let (allowed, default): (&[Algorithm], _) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (
            &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            Some(Algorithm::RS256),
        ),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => (&[Algorithm::ES256], Some(Algorithm::ES256)),
            EllipticCurve::P384 => (&[Algorithm::ES384], Some(Algorithm::ES384)),
            _ => return Err("crv: must be P-256 or P-384".to_owned()),
        },
        AlgorithmParameters::OctetKeyPair(key) => match key.curve {
            EllipticCurve::Ed25519 => (&[Algorithm::EdDSA], Some(Algorithm::EdDSA)),
            _ => return Err("crv: must be Ed25519".to_owned()),
        },
        // Whoever checks with a shared secret can sign with it too: only a file that says so wants that.
        AlgorithmParameters::OctetKey(_) => (&[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512], None),
    };
    let algorithm = said.or(default).ok_or("alg: must be given for a shared secret: HS256, HS384 or HS512")?;
    if !allowed.contains(&algorithm) {
        return Err(format!("alg: must be one of {allowed:?} for a key of its kind"));
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
    let length = match key.kind() {
        DecodingKeyKind::SecretOrDer(bytes) => bytes.len(),
        DecodingKeyKind::RsaModulusExponent { n, .. } => n.len(),
    };
    let (is_whole, rule) = match algorithm {
        Algorithm::ES256 => (length == P256_POINT_BYTES, "x, y: must have 32 bytes each"),
        Algorithm::ES384 => (length == P384_POINT_BYTES, "x, y: must have 48 bytes each"),
        Algorithm::EdDSA => (length == ED25519_BYTES, "x: must have 32 bytes"),
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            (length >= LEAST_SECRET_BYTES, "k: must have at least 32 bytes")
        }
        _ => (length >= LEAST_MODULUS_BYTES, "n: must have at least 2048 bits"),
    };
    if !is_whole {
        return Err(rule.to_owned());
    }
    Ok(JwtKey { id: jwk.common.key_id.clone(), key, algorithm })
}

fn of_pem(text: &str) -> Result<Vec<JwtKey>, JwtKeysError> {
    let blocks = text.split(PEM_BEGIN).skip(1).enumerate();
    let keys = blocks.map(|(index, block)| {
        let problem = match block.split("-----").next() {
            Some("PUBLIC KEY" | "RSA PUBLIC KEY") => {
                let pem = format!("{PEM_BEGIN}{block}");
                return of_public_pem(pem.as_bytes())
                    .ok_or_else(|| at_fault(index, "must be RSA, P-256, P-384 or Ed25519"));
            }
            Some(kind) if kind.contains("PRIVATE KEY") => {
                "is a private key; the service must have the public one alone"
            }
            _ => "must be a PUBLIC KEY",
        };
        Err(at_fault(index, problem))
    });
    keys.collect()
}

fn of_public_pem(pem: &[u8]) -> Option<JwtKey> {
    let (key, algorithm) = if let Ok(key) = DecodingKey::from_ed_pem(pem) {
        (key, Algorithm::EdDSA)
    } else if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        // The length of an uncompressed point tells the curve.
        let algorithm = match key.kind() {
            DecodingKeyKind::SecretOrDer(point) if point.len() == P256_POINT_BYTES => Algorithm::ES256,
            DecodingKeyKind::SecretOrDer(point) if point.len() == P384_POINT_BYTES => Algorithm::ES384,
            _ => return None,
        };
        (key, algorithm)
    } else {
        (DecodingKey::from_rsa_pem(pem).ok()?, Algorithm::RS256)
    };
    Some(JwtKey { id: None, key, algorithm })
}
