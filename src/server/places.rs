//! Places for calls in work: so many in all, of which one tenant may have a share, so that others find some left.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::callers::Caller;
use crate::cases::TenantId;

/// The places of a service.
pub(super) struct Places {
    limit: usize,
    /// Most of one tenant.
    tenant_limit: usize,
    free: Arc<Semaphore>,
    /// Calls in work of tenants that have any.
    taken: Mutex<HashMap<TenantId, usize>>,
}

/// A place, free again when dropped.
pub(super) struct Permit {
    _place: OwnedSemaphorePermit,
    /// Whose count it is in.
    counted: Option<(Arc<Places>, TenantId)>,
}

/// All places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoPlace {
    /// By whom, if not by all together.
    pub whose: &'static str,
    /// How many there are.
    pub limit: usize,
    /// The key of the configuration that says so.
    pub key: &'static str,
}

impl Places {
    pub(super) fn new(limit: usize, max_share: f32) -> Self {
        let tenant_limit = ((limit as f64 * f64::from(max_share)) as usize).clamp(1, limit.max(1));
        Self { limit, tenant_limit, free: Arc::new(Semaphore::new(limit)), taken: Mutex::default() }
    }

    /// A place for a caller. Where nobody is asked who he is, there is one tenant, which may have them all.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub(super) fn take(self: &Arc<Self>, caller: &Caller) -> Result<Permit, NoPlace> {
        let counted = (!caller.is_anyone()).then(|| caller.tenant.clone());
        let mut taken = self.lock();
        if let Some(tenant) = &counted
            && taken.get(tenant).is_some_and(|count| *count >= self.tenant_limit)
        {
            return Err(NoPlace { whose: " of this tenant", limit: self.tenant_limit, key: "callers.max_share" });
        }
        let full = |_| NoPlace { whose: "", limit: self.limit, key: "server.max_concurrent_requests" };
        let place = Arc::clone(&self.free).try_acquire_owned().map_err(full)?;
        if let Some(tenant) = &counted {
            *taken.entry(tenant.clone()).or_default() += 1;
        }
        drop(taken);
        Ok(Permit { _place: place, counted: counted.map(|tenant| (Arc::clone(self), tenant)) })
    }

    /// Resolves when all are free.
    pub(super) async fn idle(&self) {
        let all = u32::try_from(self.limit).unwrap_or(u32::MAX);
        // Nobody closes the semaphore.
        let _ = self.free.acquire_many(all).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some((places, tenant)) = self.counted.take() else { return };
        let mut taken = places.lock();
        if let Some(count) = taken.get_mut(&tenant) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_leaves_places_for_others() {
        let places = Arc::new(Places::new(4, 0.5));
        let of = |tenant: &str| Caller { tenant: TenantId::new(tenant), ..Caller::anyone() };
        let refused = |tenant| places.take(&of(tenant)).map(|_| ()).unwrap_err();
        let first = places.take(&of("bank")).unwrap();
        let _second = places.take(&of("bank")).unwrap();
        assert_eq!(refused("bank"), NoPlace { whose: " of this tenant", limit: 2, key: "callers.max_share" });
        let others = [places.take(&of("shop")).unwrap(), places.take(&of("desk")).unwrap()];
        assert_eq!(refused("post").key, "server.max_concurrent_requests");
        drop(first);
        let again = places.take(&of("bank")).unwrap();
        drop((others, again));
        assert_eq!(places.lock().len(), 1);
    }

    #[test]
    fn where_nobody_is_asked_one_has_all() {
        let places = Arc::new(Places::new(4, 0.5));
        let permits: Vec<Permit> = (0..4).map(|_| places.take(&Caller::anyone()).unwrap()).collect();
        assert_eq!(places.take(&Caller::anyone()).map(|_| ()).unwrap_err().limit, 4);
        drop(permits);
        assert!(places.take(&Caller::anyone()).is_ok());
    }
}
