//! Callers by token (JWT, RFC 7519): issued and signed by somebody else, checked here without a network.
//!
//! Enters: a token, the public keys of a file, whose tokens are trusted (issuer, audience). Leaves: a [`Caller`], or why there is none.
//! Never here: keys fetched from anywhere.
//!
//! The algorithm is that of the key, never what the token says: a token signed with another is refused (RFC 8725, 3.1). Tokens must name
//! their issuer, their audience and when they expire; a time before which they do not count (`nbf`) is heeded where it is given.

mod keys;
mod signatures;

use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

pub use keys::{JwtKeys, JwtKeysError};

use super::caller::{Caller, Role, Roles, TenantError, tenant};

/// Seconds that the clocks of issuer and service may differ.
const LEEWAY_SECONDS: u64 = 30;

/// Whose tokens are trusted, and what they say where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtOptions {
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must be or contain.
    pub audience: String,
    /// The claim that names the tenant; with dots, the path to it.
    pub tenant_claim: String,
    /// The claim that lists roles, as a list or as words parted by spaces; with dots, the path to it.
    pub roles_claim: String,
}

/// Why a token is not trusted. For the log: callers are not told.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is no token, its signature is of no key, or a claim is not as it must be.
    #[error("{0}")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// No key of the file has the id that it names.
    #[error("it is signed with a key that the file of keys does not have")]
    UnknownKey,
    /// It does not say who it is for.
    #[error("its claim {0:?} is not a text")]
    Claim(String),
    /// It names a tenant that there can't be.
    #[error("its claim {claim:?}: {problem}")]
    Tenant {
        /// The claim.
        claim: String,
        /// What is wrong.
        problem: TenantError,
    },
}

/// The caller that a token stands for.
///
/// # Errors
/// [`TokenError`].
pub fn caller(token: &str, keys: &JwtKeys, options: &JwtOptions) -> Result<Caller, TokenError> {
    signatures::install();
    let header = decode_header(token)?;
    let mut refused = TokenError::UnknownKey;
    for key in keys.candidates(header.kid.as_deref()) {
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&options.issuer]);
        validation.set_audience(&[&options.audience]);
        match decode::<Map<String, Value>>(token, &key.key, &validation) {
            Ok(decoded) => return of_claims(&decoded.claims, options),
            Err(error) => refused = error.into(),
        }
    }
    Err(refused)
}

fn of_claims(claims: &Map<String, Value>, options: &JwtOptions) -> Result<Caller, TokenError> {
    let text =
        |name: &str| find(claims, name).and_then(Value::as_str).ok_or_else(|| TokenError::Claim(name.to_owned()));
    let named = tenant(text(&options.tenant_claim)?);
    let tenant = named.map_err(|problem| TokenError::Tenant { claim: options.tenant_claim.clone(), problem })?;
    let id = text("sub").map(|subject| format!("sub:{subject}"))?;
    let roles = find(claims, &options.roles_claim).map(roles_of).unwrap_or_default();
    Ok(Caller { id, tenant, roles, limit: None })
}

/// Roles of ours among those of a claim, which may have roles of other services too.
fn roles_of(claim: &Value) -> Roles {
    let named = |name: &str| name.parse::<Role>().ok();
    match claim {
        Value::String(words) => words.split_whitespace().filter_map(named).collect(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter_map(named).collect(),
        _ => Roles::default(),
    }
}

/// A claim by its name, or by the path to it.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        find(claims.get(first)?.as_object()?, rest)
    })
}

#[cfg(test)]
mod tests;
