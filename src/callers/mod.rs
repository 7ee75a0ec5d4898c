//! Who may ask, for whom, and how much.
//!
//! Enters: the key or token that a call shows, a file of API keys, a file of the keys that tokens are signed with. Leaves: the [`Caller`]
//! behind the call, with its tenant, its roles and its limit, or a [`Refusal`] that tells a stranger nothing. Never here: transport, what
//! an RPC is, secrets in clear: a key is shown once, when it is made.
//!
//! An API key ([`ApiKey`]) is kept as a salted hash; a token ([`jwt`]) is trusted by its signature. Both files are looked at again and
//! again while the service runs, so that a key is added or revoked without a restart. A file that is not valid is refused and told, and
//! what was in force before stays.

mod api_key;
mod authenticate;
mod budget;
mod caller;
pub mod jwt;
mod key_file;
mod reloaded;

pub use api_key::{ApiKey, HashedKey, KeyFormatError};
pub use authenticate::{Callers, CallersError, Refusal};
pub use budget::{Budgets, OverBudget};
pub use caller::{Caller, Role, Roles, TenantError, TokenLimit, tenant};
pub use key_file::{KeyFile, KeyFileError, KeyRecord, NewKey};
pub use reloaded::{Reload, ReloadError, Reloaded};
