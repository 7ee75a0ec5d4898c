//! A caller: whose data it sees, what it may do, how much.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::cases::TenantId;
use crate::feedback::named_enum;

/// Longest name of a tenant, in characters.
const MAX_TENANT_CHARS: usize = 128;

named_enum! {
    /// What a caller may do.
    Role {
        /// Tag feedback, and store it as cases.
        Tag = "tag",
        /// Read cases and taxonomies.
        Read = "read",
        /// Say what is right: correct tags, record outcomes.
        Correct = "correct",
        /// Be helped: suggestions, reviews of replies, summaries, prompts.
        Assist = "assist",
        /// Tag stored cases anew.
        Retag = "retag",
        /// All of it, and what can't be undone: delete cases, publish taxonomies.
        Admin = "admin",
    }
}

/// The roles of a caller.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Every role.
    pub fn all() -> Self {
        Role::ALL.iter().copied().collect()
    }

    /// True if a caller with these roles may do what a role is needed for.
    pub fn allow(&self, needed: Role) -> bool {
        self.0.contains(&needed) || self.0.contains(&Role::Admin)
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The roles, in order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = Role> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().collect())
    }
}

/// How many model tokens may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenLimit {
    /// Tokens a second, 1 or more.
    pub tokens_per_second: u32,
    /// Tokens that may be asked for at once after a rest, 1 or more.
    pub burst_tokens: u32,
}

impl TokenLimit {
    /// A burst that nobody set is what comes in so many seconds.
    pub const BURST_SECONDS: u32 = 10;
}

/// Whoever makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What names it in logs: the id of its API key, or the subject of its token. Never a secret.
    pub id: String,
    /// Whose data it sees.
    pub tenant: TenantId,
    /// What it may do.
    pub roles: Roles,
    /// A limit of its own, beside that of its tenant.
    pub limit: Option<TokenLimit>,
}

impl Caller {
    /// Whoever calls a service that asks for no keys: the tenant of a service that has only one, with every role.
    pub fn anyone() -> Self {
        Self { id: "anyone".to_owned(), tenant: TenantId::default(), roles: Roles::all(), limit: None }
    }

    /// True for whoever calls a service that asks for no keys.
    pub fn is_anyone(&self) -> bool {
        *self == Self::anyone()
    }

    /// True if it may do what a role is needed for.
    pub fn may(&self, needed: Role) -> bool {
        self.roles.allow(needed)
    }
}

/// A name that no tenant can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a tenant's name: 1 to 128 letters, digits, '-', '_', '.' and ':'")]
pub struct TenantError(String);

/// Reads the name of a tenant.
///
/// # Errors
/// [`TenantError`] for one that is empty, too long, or has other characters than letters, digits, `-`, `_`, `.` and `:`.
pub fn tenant(name: &str) -> Result<TenantId, TenantError> {
    let allowed = |character: char| character.is_alphanumeric() || "-_.:".contains(character);
    let is_name = !name.is_empty() && name.chars().count() <= MAX_TENANT_CHARS && name.chars().all(allowed);
    if is_name { Ok(TenantId::new(name)) } else { Err(TenantError(name.chars().take(MAX_TENANT_CHARS).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_allows_itself_and_admin_allows_all() {
        for given in Role::ALL {
            let roles: Roles = [*given].into_iter().collect();
            for needed in Role::ALL {
                assert_eq!(roles.allow(*needed), given == needed || *given == Role::Admin, "{given} for {needed}");
            }
        }
        assert!(!Roles::default().allow(Role::Read));
    }

    #[test]
    fn a_tenant_has_a_name_of_letters() {
        for name in ["default", "банк-1", "a:b_c.d", &"x".repeat(128)] {
            assert_eq!(tenant(name).unwrap().as_str(), name);
        }
        for name in ["", " ", "a b", "a/b", "a\n", &"x".repeat(129)] {
            assert!(tenant(name).unwrap_err().to_string().contains("1 to 128"), "{name:?}");
        }
    }
}
