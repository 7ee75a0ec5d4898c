//! How long cases are kept: by kind, in days since they were stored.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::{CaseFilter, CasePage, CaseStore, CaseStoreError, TenantId};
use crate::feedback::FeedbackKind;

/// Cases that are listed at a time.
const PAGE: usize = 500;

/// How far the clock may go otherwise than time does between two looks at it.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(10);

/// Notices that the clock was set: nothing should be deleted by a clock that has just leapt a year ahead.
#[derive(Debug, Default)]
pub struct ClockWatch {
    last: Option<(Instant, Timestamp)>,
}

impl ClockWatch {
    /// True if the clock, which shows `now`, went as time did since the last look, ten minutes more or less. A first look is taken on
    /// trust, and so is what the clock shows from the next look on.
    pub fn is_steady(&mut self, at: Instant, now: Timestamp) -> bool {
        let Some((last_at, last)) = self.last.replace((at, now)) else { return true };
        let passed = SignedDuration::try_from(at.saturating_duration_since(last_at)).unwrap_or(SignedDuration::MAX);
        let leapt = now.duration_since(last).checked_sub(passed).unwrap_or(SignedDuration::MAX);
        leapt.abs() <= CLOCK_TOLERANCE
    }
}

/// How long cases of each kind are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retention {
    /// Days by kind; `None` is a kind that is not known. What is not listed is kept for ever.
    pub days: Vec<(Option<FeedbackKind>, u32)>,
}

/// Cases of a kind whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The kind; `None` is not known.
    pub kind: Option<FeedbackKind>,
    /// Days that they are kept.
    pub days: u32,
    /// How many they are.
    pub cases: u64,
    /// Ids of those that a person corrected: what they taught is to be forgotten.
    pub corrected_ids: Vec<String>,
}

impl Retention {
    /// The cases of one kind that were stored before its time.
    fn filter(kind: Option<FeedbackKind>, days: u32, now: Timestamp) -> CaseFilter {
        let stored_until = now.checked_sub(SignedDuration::from_hours(i64::from(days) * 24)).unwrap_or(Timestamp::MIN);
        CaseFilter {
            kinds: kind.into_iter().collect(),
            kind_unknown: kind.is_none(),
            stored_until: Some(stored_until),
            ..CaseFilter::default()
        }
    }

    /// Counts the cases whose time is over.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn count(
        &self,
        store: &dyn CaseStore,
        tenant: &TenantId,
        now: Timestamp,
    ) -> Result<Vec<Expired>, CaseStoreError> {
        let mut expired = Vec::new();
        for (kind, days) in &self.days {
            let cases = store.count(tenant, &Self::filter(*kind, *days, now)).await?;
            expired.push(Expired { kind: *kind, days: *days, cases, corrected_ids: Vec::new() });
        }
        Ok(expired)
    }

    /// Deletes the cases whose time is over.
    ///
    /// # Errors
    /// Those of the store; what was deleted before stays deleted.
    pub async fn apply(
        &self,
        store: &dyn CaseStore,
        tenant: &TenantId,
        now: Timestamp,
    ) -> Result<Vec<Expired>, CaseStoreError> {
        let mut expired = Vec::new();
        for (kind, days) in &self.days {
            let filter = Self::filter(*kind, *days, now);
            let corrected_ids = corrected(store, tenant, &filter).await?;
            let cases = store.delete(tenant, &filter).await?;
            expired.push(Expired { kind: *kind, days: *days, cases, corrected_ids });
        }
        Ok(expired)
    }
}

/// Ids of the corrected cases that a filter matches.
async fn corrected(
    store: &dyn CaseStore,
    tenant: &TenantId,
    filter: &CaseFilter,
) -> Result<Vec<String>, CaseStoreError> {
    let filter = CaseFilter { corrected: Some(true), ..filter.clone() };
    let (mut ids, mut from) = (Vec::new(), None);
    loop {
        let page: CasePage = store.page(tenant, &filter, from.as_deref(), PAGE).await?;
        ids.extend(page.cases.into_iter().map(|stored| stored.case.id));
        from = page.next;
        if from.is_none() {
            return Ok(ids);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_leaps_is_noticed_once_and_then_believed() {
        let (start, noon) = (Instant::now(), Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000));
        let (hour, hour_of_clock) = (Duration::from_secs(3_600), SignedDuration::from_hours(1));
        let mut clock = ClockWatch::default();
        assert!(clock.is_steady(start, noon));
        assert!(clock.is_steady(start + hour, noon + hour_of_clock + SignedDuration::from_mins(5)));
        let year = SignedDuration::from_hours(24 * 365);
        assert!(!clock.is_steady(start + hour * 2, noon + hour_of_clock * 2 + year));
        assert!(clock.is_steady(start + hour * 3, noon + hour_of_clock * 3 + year));
        assert!(!clock.is_steady(start + hour * 4, noon), "set back");
        assert!(!clock.is_steady(start + hour * 5, noon), "it stands still");
    }
}
