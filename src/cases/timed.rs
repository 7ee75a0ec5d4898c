//! A case store whose calls are timed and traced.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Amendment, Case, CaseFilter, CasePage, CaseStore, CaseStoreError, Erasure, NewCase, RetagOutcome, Retagging,
    SimilarCases, SimilarQuery, TenantId, UpsertOutcome, VectoredCase,
};
use crate::telemetry::Stage;

/// Does what `inner` does; reads and writes count as stages of the walk. Probes don't: they have numbers of their own.
pub struct TimedStore {
    inner: Arc<dyn CaseStore>,
}

impl TimedStore {
    /// Times the calls of a store.
    pub fn new(inner: Arc<dyn CaseStore>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl CaseStore for TimedStore {
    async fn upsert(&self, tenant: &TenantId, cases: Vec<NewCase>) -> Result<Vec<UpsertOutcome>, CaseStoreError> {
        Stage::CasesWrite.watch(self.inner.upsert(tenant, cases)).await
    }

    async fn amend(&self, tenant: &TenantId, id: &str, amendment: Amendment) -> Result<VectoredCase, CaseStoreError> {
        Stage::CasesWrite.watch(self.inner.amend(tenant, id, amendment)).await
    }

    async fn retag(&self, tenant: &TenantId, cases: Vec<Retagging>) -> Result<Vec<RetagOutcome>, CaseStoreError> {
        Stage::CasesWrite.watch(self.inner.retag(tenant, cases)).await
    }

    async fn page(
        &self,
        tenant: &TenantId,
        filter: &CaseFilter,
        from: Option<&str>,
        limit: usize,
    ) -> Result<CasePage, CaseStoreError> {
        Stage::CasesRead.watch(self.inner.page(tenant, filter, from, limit)).await
    }

    async fn get(&self, tenant: &TenantId, id: &str) -> Result<Case, CaseStoreError> {
        Stage::CasesRead.watch(self.inner.get(tenant, id)).await
    }

    async fn get_many(&self, tenant: &TenantId, ids: &[String]) -> Result<Vec<Case>, CaseStoreError> {
        Stage::CasesRead.watch(self.inner.get_many(tenant, ids)).await
    }

    async fn find_similar(&self, tenant: &TenantId, query: SimilarQuery) -> Result<SimilarCases, CaseStoreError> {
        Stage::CasesRead.watch(self.inner.find_similar(tenant, query)).await
    }

    async fn count(&self, tenant: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError> {
        Stage::CasesRead.watch(self.inner.count(tenant, filter)).await
    }

    async fn delete(&self, tenant: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError> {
        Stage::CasesWrite.watch(self.inner.delete(tenant, filter)).await
    }

    async fn erase(&self, tenant: &TenantId, customer_id: &str) -> Result<Erasure, CaseStoreError> {
        Stage::CasesWrite.watch(self.inner.erase(tenant, customer_id)).await
    }

    async fn tenants(&self) -> Result<Vec<TenantId>, CaseStoreError> {
        Stage::CasesRead.watch(self.inner.tenants()).await
    }

    async fn probe(&self) -> Result<u64, CaseStoreError> {
        self.inner.probe().await
    }

    async fn close(&self) -> Result<(), CaseStoreError> {
        self.inner.close().await
    }
}
