//! Erasing what a customer said, wherever the store still has it.

use std::collections::BTreeSet;

use super::Inner;
use super::mapping::{MOST_POINTS, server_filter};
use super::points::{Parts, Points};
use crate::cases::{CaseFilter, CaseStoreError, Erasure, TenantId, point};

impl Inner {
    pub(super) async fn erase(&self, tenant: TenantId, customer_id: String) -> Result<Erasure, CaseStoreError> {
        let filter = CaseFilter { customer_id: Some(customer_id.clone()), ..CaseFilter::default() };
        let filter = server_filter(&tenant, &filter);
        let _alone = self.in_time(self.writes.write()).await?;
        let collections = self.schema.all().await?;
        // What can fail without a trace goes first.
        let snapshots = self.schema.snapshots(&collections).await?;
        let collections: Vec<Points> =
            collections.into_iter().map(|collection| Points::new(self.calls.clone(), collection)).collect();
        let mut case_ids = BTreeSet::new();
        for points in &collections {
            let mut from = None;
            loop {
                let (read, next) = points.page(&filter, from, MOST_POINTS, Parts::Brief).await?;
                case_ids.extend(read.iter().map(|read| point::brief(&read.fields).1));
                match next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
        }
        let mut erasure = Erasure::new(&tenant, &customer_id, case_ids.into_iter().collect(), snapshots);
        let case_ids = std::mem::take(&mut erasure.case_ids);
        erasure.case_ids = self.receipts.begin(&tenant, &erasure.customer_id_sha256, case_ids).await?;
        for points in &collections {
            points.delete(filter.clone()).await?;
        }
        self.receipts.keep(&erasure).await?;
        Ok(erasure)
    }
}
