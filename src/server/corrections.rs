//! What `CaseService` does with what persons say: corrections in, cases for review out.

use jiff::Timestamp;
use tonic::Status;

use super::case_service::TenantCases;
use super::convert;
use super::status::{self, Faults};
use super::wire::v1;
use crate::cases::review::ranked;
use crate::cases::{Amendment, CaseFilter, CaseStoreError, Correction, VectoredCase};
use crate::tagging::corrections::CorrectedCase;

/// Cases of one part of a scan.
const PAGE: usize = 500;

impl TenantCases<'_> {
    pub(super) async fn correct(&self, message: v1::CorrectTagsRequest) -> Result<v1::Case, Status> {
        let (id, correction) = convert::correction(message, &self.config.limits, Timestamp::now())?;
        self.check_known(&correction)?;
        let stored = self
            .cases
            .amend(self.account.tenant(), &id, Amendment::Correction(correction))
            .await
            .map_err(status::of_cases)?;
        let case = v1::Case::from(stored.case.clone());
        // It is kept by now. Whoever hears of a failure here may call again.
        self.learn(vec![stored]).await?;
        Ok(case)
    }

    /// Refuses topics and teams that the taxonomy does not have.
    fn check_known(&self, correction: &Correction) -> Result<(), Status> {
        let mut faults = Faults::default();
        for (index, topic) in correction.topics.iter().flatten().enumerate() {
            if !self.tagger.knows_topic(topic) {
                let problem =
                    format!("must be a topic of the taxonomy that texts can be given, not {:?}", topic.as_str());
                faults.add(format!("topics.topic_ids[{index}]"), problem);
            }
        }
        if let Some(team) = correction.team.as_ref().filter(|team| !self.tagger.knows_team(team)) {
            faults.add("team_id", format!("must be a team of the taxonomy, not {:?}", team.as_str()));
        }
        faults.or(())
    }

    async fn learn(&self, stored: Vec<VectoredCase>) -> Result<(), Status> {
        let cases: Vec<CorrectedCase> = stored.into_iter().filter_map(CorrectedCase::of).collect();
        if cases.is_empty() {
            return Ok(());
        }
        self.tagger.learn(self.account.party(), cases).await.map_err(|error| status::of_tagging(error, ""))
    }

    /// Learns the corrections of cases whose texts were replaced.
    pub(super) async fn learn_again(&self, replaced: Vec<String>) {
        if replaced.is_empty() {
            return;
        }
        let filter = CaseFilter { ids: replaced, corrected: Some(true), ..CaseFilter::default() };
        let learnt = match self.scan(&filter, self.config.limits.max_batch_items).await {
            Ok(stored) => self.learn(stored).await,
            Err(error) => Err(status::of_cases(error)),
        };
        if let Err(error) = learnt {
            // What was learnt of the text before stays in force until the next start.
            tracing::warn!(%error, "corrections of replaced cases were not learnt anew");
        }
    }

    /// Ids of the corrected cases that a deletion is about.
    pub(super) async fn corrected_ids(&self, filter: &CaseFilter) -> Result<Vec<String>, Status> {
        let filter = CaseFilter { corrected: Some(true), ..filter.clone() };
        let stored = self.scan(&filter, usize::MAX).await.map_err(status::of_cases)?;
        Ok(stored.into_iter().map(|stored| stored.case.id).collect())
    }

    pub(super) async fn list_review(&self, message: v1::ListForReviewRequest) -> Result<Vec<v1::ReviewCase>, Status> {
        let convert::ReviewBounds { filter, limit, order } = convert::review(message, &self.config.limits)?;
        let filter = CaseFilter { corrected: Some(false), ..filter };
        let stored = self.scan(&filter, self.config.cases.review_scan).await.map_err(status::of_cases)?;
        let listed = tokio::task::spawn_blocking(move || ranked(stored, order, limit)).await;
        let listed = listed.map_err(|_| status::internal("cases could not be ranked"))?;
        Ok(listed.into_iter().map(v1::ReviewCase::from).collect())
    }

    /// At most `most` of the cases that a filter matches.
    async fn scan(&self, filter: &CaseFilter, most: usize) -> Result<Vec<VectoredCase>, CaseStoreError> {
        let mut found = Vec::new();
        let mut from: Option<String> = None;
        while found.len() < most {
            let limit = PAGE.min(most - found.len());
            let page = self.cases.page(self.account.tenant(), filter, from.as_deref(), limit).await?;
            found.extend(page.cases);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        Ok(found)
    }
}
