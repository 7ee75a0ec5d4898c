//! The caller of a call, and what it may still ask for.

use std::sync::Arc;
use std::time::Instant;

use tonic::Status;

use super::status;
use crate::audit::AuditLog;
use crate::callers::{Budgets, Caller, TokenLimit};
use crate::cases::TenantId;
use crate::config::CallersConfig;
use crate::tagging::{Party, estimated_tokens};

/// What stands behind a call. The guard gives one to each.
#[derive(Clone)]
pub(super) struct Account {
    caller: Arc<Caller>,
    budgets: Arc<Budgets>,
    audit: Option<Arc<AuditLog>>,
}

impl Account {
    pub(super) fn new(caller: Caller, budgets: Arc<Budgets>, audit: Option<Arc<AuditLog>>) -> Self {
        Self { caller: Arc::new(caller), budgets, audit }
    }

    /// For what the service asks itself: nobody is counted.
    pub(super) fn of_service() -> Self {
        Self::new(Caller::anyone(), Arc::new(Budgets::new(None)), None)
    }

    /// Whose data the call sees.
    pub(super) fn tenant(&self) -> &TenantId {
        &self.caller.tenant
    }

    /// Who calls, as logs name it.
    pub(super) fn caller_id(&self) -> &str {
        &self.caller.id
    }

    /// Where it is noted what was done, if it is.
    pub(super) fn audit(&self) -> Option<&AuditLog> {
        self.audit.as_deref()
    }

    /// Whose turns its work takes: tenants take them with one another, however many callers they have.
    pub(super) fn party(&self) -> Party {
        Party::from(self.tenant())
    }

    /// Spends what a model reads of a text of so many characters, as admission estimates it, before anything is computed.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED that says when to come again.
    pub(super) fn spend(&self, chars: usize) -> Result<Spent, Status> {
        let tokens = estimated_tokens(chars) as u64;
        self.budgets.take(&self.caller, tokens, Instant::now()).map_err(|over| status::over_budget(&over))?;
        Ok(Spent { tokens })
    }

    /// Corrects what was spent by the tokens that were really read.
    pub(super) fn settle(&self, spent: Spent, tokens: u64) {
        self.budgets.settle(&self.caller, spent.tokens, tokens);
    }
}

/// An estimate that was spent.
#[must_use = "what was spent is settled, or let go if the estimate stands"]
pub(super) struct Spent {
    tokens: u64,
}

impl Spent {
    /// The estimate stands: nobody counts what was really read.
    pub(super) fn stands(self) {}
}

/// Budgets under the limit that each tenant has, if there is one.
pub(super) fn budgets(config: &CallersConfig) -> Arc<Budgets> {
    let tokens = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
    let tokens_per_second = tokens(config.tokens_per_second);
    let burst_tokens = match config.burst_tokens {
        0 => tokens_per_second.saturating_mul(TokenLimit::BURST_SECONDS),
        burst => tokens(burst),
    };
    Arc::new(Budgets::new((tokens_per_second > 0).then_some(TokenLimit { tokens_per_second, burst_tokens })))
}
