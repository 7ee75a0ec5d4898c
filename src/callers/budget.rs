//! How much each may ask for: token buckets, counted in the tokens that a model reads.
//!
//! A bucket fills with so many tokens a second up to its burst, and what is asked for is taken from it. One request may be larger than the
//! burst: it is taken from a full bucket and leaves it in debt, so that no text is too long to be ever asked about. What is not known before
//! is estimated and settled after.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::caller::{Caller, TokenLimit};
use crate::cases::TenantId;

/// Most buckets that are remembered. Of more, the fullest are forgotten, which were rested the longest.
const MAX_BUCKETS: usize = 10_000;

/// A request that does not fit what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{whose} may ask for {} model tokens a second, {} at once", limit.tokens_per_second, limit.burst_tokens)]
pub struct OverBudget {
    /// Whose limit it is.
    pub whose: &'static str,
    /// The limit.
    pub limit: TokenLimit,
    /// When there will be enough.
    pub retry_after: Duration,
}

/// Whose bucket it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holder {
    Tenant(TenantId),
    Caller(String),
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    limit: TokenLimit,
    /// Below zero is debt.
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(limit: TokenLimit, now: Instant) -> Self {
        Self { limit, tokens: f64::from(limit.burst_tokens), at: now }
    }

    /// The bucket as it is now, under the limit of now.
    fn filled(mut self, limit: TokenLimit, now: Instant) -> Self {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(limit.tokens_per_second);
        self.tokens = (self.tokens + gained).min(f64::from(limit.burst_tokens));
        self.limit = limit;
        self.at = self.at.max(now);
        self
    }

    /// How long until there is enough for a request; zero if there is.
    fn wait(&self, tokens: f64) -> Duration {
        let missing = tokens.min(f64::from(self.limit.burst_tokens)) - self.tokens;
        let rate = f64::from(self.limit.tokens_per_second.max(1));
        Duration::try_from_secs_f64((missing / rate).max(0.0)).unwrap_or(Duration::MAX)
    }
}

/// The buckets of tenants and callers.
#[derive(Debug)]
pub struct Budgets {
    /// The limit of each tenant, if there is one.
    of_tenant: Option<TokenLimit>,
    buckets: Mutex<HashMap<Holder, Bucket>>,
}

impl Budgets {
    /// No tenant has asked for anything yet.
    pub fn new(of_tenant: Option<TokenLimit>) -> Self {
        Self { of_tenant, buckets: Mutex::default() }
    }

    /// Takes tokens for a caller from the bucket of its tenant and from its own, from both or from none.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn take(&self, caller: &Caller, tokens: u64, now: Instant) -> Result<(), OverBudget> {
        let wanted = tokens as f64;
        let mut buckets = self.lock();
        let mut taken = Vec::new();
        for (holder, whose, limit) in self.limits(caller) {
            let bucket = buckets.get(&holder).copied().unwrap_or_else(|| Bucket::full(limit, now));
            let bucket = bucket.filled(limit, now);
            let retry_after = bucket.wait(wanted);
            if !retry_after.is_zero() {
                return Err(OverBudget { whose, limit, retry_after });
            }
            taken.push((holder, Bucket { tokens: bucket.tokens - wanted, ..bucket }));
        }
        buckets.extend(taken);
        forget_rested(&mut buckets, now);
        Ok(())
    }

    /// Corrects what was taken by what it turned out to be: more is taken, into debt if need be; less is given back.
    pub fn settle(&self, caller: &Caller, taken: u64, used: u64) {
        let mut buckets = self.lock();
        for (holder, ..) in self.limits(caller) {
            if let Some(bucket) = buckets.get_mut(&holder) {
                bucket.tokens = (bucket.tokens + taken as f64 - used as f64).min(f64::from(bucket.limit.burst_tokens));
            }
        }
    }

    fn limits(&self, caller: &Caller) -> impl Iterator<Item = (Holder, &'static str, TokenLimit)> {
        let tenant = self.of_tenant.map(|limit| (Holder::Tenant(caller.tenant.clone()), "this tenant", limit));
        let own = caller.limit.map(|limit| (Holder::Caller(caller.id.clone()), "this caller", limit));
        tenant.into_iter().chain(own)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Holder, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets those that are full again, if there are too many, and if that is not enough, the fullest.
fn forget_rested(buckets: &mut HashMap<Holder, Bucket>, now: Instant) {
    if buckets.len() <= MAX_BUCKETS {
        return;
    }
    buckets.retain(|_, bucket| bucket.filled(bucket.limit, now).tokens < f64::from(bucket.limit.burst_tokens));
    while buckets.len() > MAX_BUCKETS {
        let fullest = buckets.iter().max_by(|a, b| a.1.tokens.total_cmp(&b.1.tokens)).map(|(holder, _)| holder.clone());
        let Some(fullest) = fullest else { return };
        buckets.remove(&fullest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(tokens_per_second: u32, burst_tokens: u32) -> TokenLimit {
        TokenLimit { tokens_per_second, burst_tokens }
    }

    fn caller(tenant: &str, own: Option<TokenLimit>) -> Caller {
        Caller { id: format!("of {tenant}"), tenant: TenantId::new(tenant), limit: own, ..Caller::anyone() }
    }

    #[test]
    fn what_is_spent_comes_back_with_time_and_no_tenant_pays_for_another() {
        let budgets = Budgets::new(Some(limit(10, 100)));
        let (bank, shop, now) = (caller("bank", None), caller("shop", None), Instant::now());
        budgets.take(&bank, 60, now).unwrap();
        budgets.take(&bank, 40, now).unwrap();
        let refused = budgets.take(&bank, 20, now).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_secs(2));
        assert_eq!(refused.to_string(), "this tenant may ask for 10 model tokens a second, 100 at once");
        budgets.take(&shop, 100, now).unwrap();
        assert!(budgets.take(&bank, 20, now + Duration::from_millis(1_900)).is_err());
        budgets.take(&bank, 20, now + refused.retry_after).unwrap();
        let rested = now + Duration::from_secs(3_600);
        budgets.take(&bank, 100, rested).unwrap();
        assert!(budgets.take(&bank, 1, rested).is_err(), "a rest fills the bucket and not more");
    }

    #[test]
    fn a_caller_has_a_limit_of_its_own_and_nothing_is_taken_when_one_refuses() {
        let budgets = Budgets::new(Some(limit(10, 100)));
        let (bounded, free, now) = (caller("bank", Some(limit(1, 10))), caller("bank", None), Instant::now());
        budgets.take(&bounded, 10, now).unwrap();
        let refused = budgets.take(&bounded, 5, now).unwrap_err();
        assert_eq!((refused.whose, refused.retry_after), ("this caller", Duration::from_secs(5)));
        budgets.take(&free, 90, now).unwrap();
        assert!(budgets.take(&free, 1, now).is_err());
    }

    #[test]
    fn a_text_longer_than_the_burst_leaves_a_debt() {
        let budgets = Budgets::new(Some(limit(10, 100)));
        let (bank, now) = (caller("bank", None), Instant::now());
        budgets.take(&bank, 300, now).unwrap();
        assert_eq!(budgets.take(&bank, 10, now).unwrap_err().retry_after, Duration::from_secs(21));
        budgets.settle(&bank, 300, 100);
        assert_eq!(budgets.take(&bank, 10, now).unwrap_err().retry_after, Duration::from_secs(1));
        budgets.settle(&bank, 0, 50);
        assert_eq!(budgets.take(&bank, 10, now).unwrap_err().retry_after, Duration::from_secs(6));
    }

    #[test]
    fn nothing_is_counted_without_limits_and_rested_buckets_are_forgotten() {
        let (bank, now) = (caller("bank", None), Instant::now());
        let free = Budgets::new(None);
        free.take(&bank, u64::MAX, now).unwrap();
        assert!(free.lock().is_empty());
        let budgets = Budgets::new(Some(limit(1, 10)));
        for number in 0..MAX_BUCKETS + 5 {
            budgets.take(&caller(&number.to_string(), None), 1, now).unwrap();
        }
        assert_eq!(budgets.lock().len(), MAX_BUCKETS);
        budgets.take(&bank, 1, now + Duration::from_secs(60)).unwrap();
        assert_eq!(budgets.lock().len(), 1);
    }

    proptest! {
        #[test]
        fn over_any_time_no_more_is_given_than_the_burst_and_what_came_in(
            requests in prop::collection::vec((0u64..2_000, 1u64..60), 1..60),
        ) {
            let budgets = Budgets::new(Some(limit(100, 500)));
            let (bank, start) = (caller("bank", None), Instant::now());
            let (mut millis, mut given) = (0, 0);
            for (pause, tokens) in requests {
                millis += pause;
                if budgets.take(&bank, tokens, start + Duration::from_millis(millis)).is_ok() {
                    given += tokens;
                }
                prop_assert!(given <= 500 + millis / 10 + 1);
            }
        }
    }
}
