//! From what a call shows to who makes it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::api_key::ApiKey;
use super::caller::Caller;
use super::jwt::{self, JwtKeys, JwtKeysError, JwtOptions};
use super::key_file::{KeyFile, KeyFileError};
use super::reloaded::{ReloadError, Reloaded};

/// Longest key or token that is looked at, in bytes.
const MAX_CREDENTIAL_BYTES: usize = 8_192;

/// Why it can't be known who calls.
#[derive(Debug, thiserror::Error)]
pub enum CallersError {
    /// The file of API keys is of no use.
    #[error(transparent)]
    Keys(#[from] ReloadError<KeyFileError>),
    /// The file of the keys of tokens is of no use.
    #[error(transparent)]
    Tokens(#[from] ReloadError<JwtKeysError>),
}

/// A call that is not let in. What is displayed is for the caller, who learns nothing from it but the way in; the reason is for the log.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It shows nothing.
    #[error("this service asks for a key: send it as metadata, `authorization: Bearer KEY` or `x-api-key: KEY`")]
    Missing,
    /// It shows something that opens nothing.
    #[error("the key or token is not valid")]
    Invalid {
        /// What is wrong with it; never the key itself.
        reason: String,
    },
}

impl Refusal {
    fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    /// What is wrong, for the log.
    pub fn reason(&self) -> &str {
        match self {
            Self::Missing => "no key was shown",
            Self::Invalid { reason } => reason,
        }
    }
}

/// Who is trusted, by what.
pub struct Callers {
    keys: KeySource,
    tokens: Option<(Arc<Reloaded<JwtKeys, JwtKeysError>>, JwtOptions)>,
}

impl Callers {
    /// Callers by the API keys of a file, which need not be there yet, and by tokens, if they are trusted. Blocks.
    ///
    /// # Errors
    /// [`CallersError`] for a file that is not valid.
    pub fn open(keys_file: PathBuf, tokens: Option<(PathBuf, JwtOptions)>) -> Result<Self, CallersError> {
        let keys = KeySource { file: keys_file, opened: OnceLock::new(), told: Mutex::default() };
        keys.open()?;
        let tokens = match tokens {
            Some((file, options)) => {
                let parse = |contents: &[Vec<u8>]| JwtKeys::parse(contents.first().map_or(&[], Vec::as_slice));
                Some((Arc::new(Reloaded::open("keys of tokens", vec![file], parse)?), options))
            }
            None => None,
        };
        Ok(Self { keys, tokens })
    }

    /// True if callers are asked who they are. Without a file of keys and without trusted tokens nobody is.
    pub fn are_asked(&self) -> bool {
        self.tokens.is_some() || self.keys.opened.get().is_some()
    }

    /// Who shows this key or token.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn authenticate(&self, shown: Option<&str>) -> Result<Caller, Refusal> {
        if !self.are_asked() {
            return Ok(Caller::anyone());
        }
        let shown = shown.ok_or(Refusal::Missing)?;
        if shown.len() > MAX_CREDENTIAL_BYTES {
            return Err(Refusal::invalid("it is too long for a key or token"));
        }
        if ApiKey::is_meant_by(shown) {
            return self.by_key(shown);
        }
        match &self.tokens {
            Some((keys, options)) => {
                jwt::caller(shown, &keys.current(), options).map_err(|error| Refusal::invalid(error.to_string()))
            }
            None => Err(Refusal::invalid("it is no API key, and tokens are not configured (callers.jwt_keys_file)")),
        }
    }

    fn by_key(&self, shown: &str) -> Result<Caller, Refusal> {
        let key: ApiKey = shown.parse().map_err(|_| Refusal::invalid("it does not have the form of an API key"))?;
        let keys = self.keys.opened.get().map(|keys| keys.current());
        let record = keys.as_ref().and_then(|keys| keys.find(key.id()));
        let record = record.ok_or_else(|| Refusal::invalid(format!("there is no key {}", key.id())))?;
        if !record.hashed.is_of(&key) {
            return Err(Refusal::invalid(format!("its secret is not that of key {}", key.id())));
        }
        if record.revoked_at.is_some() {
            return Err(Refusal::invalid(format!("key {} was revoked", key.id())));
        }
        Ok(record.caller())
    }

    /// Looks at the files again and again, for ever.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let callers = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || callers.look()).await {
                tracing::error!(%error, "keys could not be read again");
            }
        }
    }

    /// Looks at the files, and puts in force what they say if they changed. Blocks.
    pub fn look(&self) {
        self.keys.look();
        if let Some((keys, _)) = &self.tokens {
            keys.look();
        }
    }
}

/// The file of API keys, which may be made while the service runs. From then on keys are asked for, for good: a file that goes away
/// leaves those in force that it had.
struct KeySource {
    file: PathBuf,
    opened: OnceLock<Reloaded<KeyFile, KeyFileError>>,
    /// What was told last of a file that came and is not valid.
    told: Mutex<Option<String>>,
}

impl KeySource {
    /// Opens the file if it is there.
    fn open(&self) -> Result<(), ReloadError<KeyFileError>> {
        let is_there = self.file.try_exists();
        if !is_there.map_err(|problem| ReloadError::Read { file: self.file.clone(), problem })? {
            return Ok(());
        }
        let parse = |contents: &[Vec<u8>]| KeyFile::parse(contents.first().map_or(&[], Vec::as_slice));
        let keys = Reloaded::open("API keys", vec![self.file.clone()], parse)?;
        self.opened.get_or_init(|| keys);
        Ok(())
    }

    fn look(&self) {
        if let Some(keys) = self.opened.get() {
            keys.look();
            return;
        }
        let problem = self.open().err().map(|problem| problem.to_string());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = problem.as_ref().filter(|problem| told.as_ref() != Some(*problem)) {
            tracing::error!(
                problem,
                "the file of API keys that came is not valid; callers are still not asked for keys"
            );
        } else if self.opened.get().is_some() {
            tracing::info!("there are API keys now; from now on callers are asked for them");
        }
        *told = problem;
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::{NewKey, Role};
    use super::*;

    fn wanted(tenant: &str) -> NewKey {
        let roles = [Role::Tag].into_iter().collect();
        NewKey { name: None, tenant: tenant.into(), roles, tokens_per_second: None, burst_tokens: None }
    }

    #[test]
    fn without_keys_anyone_is_let_in_and_from_the_first_key_on_nobody_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.toml");
        let callers = Callers::open(file.clone(), None).unwrap();
        assert!(!callers.are_asked());
        assert_eq!(callers.authenticate(None).unwrap(), Caller::anyone());

        let (key, _) = KeyFile::add(&file, wanted("bank"), Timestamp::now()).unwrap();
        callers.look();
        assert!(callers.are_asked());
        let caller = callers.authenticate(Some(&key.reveal())).unwrap();
        assert_eq!((caller.tenant.as_str(), caller.id.as_str()), ("bank", key.id()));
        assert!(matches!(callers.authenticate(None), Err(Refusal::Missing)));

        KeyFile::revoke(&file, key.id(), Timestamp::now()).unwrap();
        callers.look();
        std::fs::remove_file(&file).unwrap();
        callers.look();
        let refused = callers.authenticate(Some(&key.reveal())).unwrap_err();
        assert!(refused.reason().contains("revoked"), "{refused:?}");
    }

    #[test]
    fn what_opens_nothing_is_refused_alike_and_without_its_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.toml");
        let (key, _) = KeyFile::add(&file, wanted("bank"), Timestamp::now()).unwrap();
        let (other, _) = KeyFile::add(&file, wanted("shop"), Timestamp::now()).unwrap();
        let callers = Callers::open(file, None).unwrap();
        let (good, other) = (key.reveal(), other.reveal());
        let secret = good.split_at(good.len() - 40).1;
        let mixed = format!("{}{}", good.split_at(17).0, other.split_at(17).1);
        let stranger = ApiKey::generate().unwrap().reveal();
        let long = "x".repeat(MAX_CREDENTIAL_BYTES + 1);
        for shown in ["", "otk_", secret, &mixed, &stranger, "a.b.c", &long, &good.replace('_', "-")] {
            let refused = callers.authenticate(Some(shown)).unwrap_err();
            assert_eq!(refused.to_string(), "the key or token is not valid", "{shown}");
            assert!(!refused.reason().contains(secret), "{refused:?}");
        }
        assert!(callers.authenticate(Some(&good)).is_ok());
    }

    #[test]
    fn a_file_that_is_not_valid_keeps_the_service_from_starting_and_changes_nothing_later() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.toml");
        std::fs::write(&file, "keys = 5").unwrap();
        assert!(Callers::open(file.clone(), None).is_err());
        std::fs::remove_file(&file).unwrap();
        let (key, _) = KeyFile::add(&file, wanted("bank"), Timestamp::now()).unwrap();
        let callers = Callers::open(file.clone(), None).unwrap();
        std::fs::write(&file, "keys = 5").unwrap();
        callers.look();
        assert!(callers.authenticate(Some(&key.reveal())).is_ok());
    }
}
