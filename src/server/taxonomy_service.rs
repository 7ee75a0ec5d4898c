//! `otklik.v1.TaxonomyService`.

use std::sync::Arc;
use std::time::Instant;

use tonic::{Request, Response, Status};

use super::call::Call;
use super::convert::{self, Compared};
use super::status;
use super::wire::v1;
use crate::cases::{CaseFilter, CaseStore, CaseStoreError, TenantId};
use crate::config::Config;
use crate::serving::{PublishError, PublishRequest, Published, Publisher};
use crate::taxonomy::versions::SourcedTaxonomy;
use crate::taxonomy::{AffectedTopics, diff};

/// Taxonomies: read, checked, compared, published and put back.
pub(super) struct TaxonomyService {
    pub(super) config: Arc<Config>,
    pub(super) publisher: Arc<Publisher>,
    /// Where cases are counted that another taxonomy would touch.
    pub(super) cases: Arc<dyn CaseStore>,
    pub(super) tenant: TenantId,
}

#[tonic::async_trait]
impl v1::taxonomy_service_server::TaxonomyService for TaxonomyService {
    async fn get_taxonomy(
        &self,
        request: Request<v1::GetTaxonomyRequest>,
    ) -> Result<Response<v1::GetTaxonomyResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        call.close(self.get(message).await)
    }

    async fn list_taxonomy_versions(
        &self,
        request: Request<v1::ListTaxonomyVersionsRequest>,
    ) -> Result<Response<v1::ListTaxonomyVersionsResponse>, Status> {
        let (call, _) = Call::open(request, |message| &message.request_id, &self.config)?;
        let listed = self.publisher.publications().await.map_err(status::of_publishing);
        call.close(listed.map(convert::publications))
    }

    async fn validate_taxonomy(
        &self,
        request: Request<v1::ValidateTaxonomyRequest>,
    ) -> Result<Response<v1::ValidateTaxonomyResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        call.close(self.validate(message.source).await)
    }

    async fn diff_taxonomy(
        &self,
        request: Request<v1::DiffTaxonomyRequest>,
    ) -> Result<Response<v1::DiffTaxonomyResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        call.close(self.compare(message).await)
    }

    async fn publish_taxonomy(
        &self,
        request: Request<v1::PublishTaxonomyRequest>,
    ) -> Result<Response<v1::PublishTaxonomyResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let wanted = convert::publication(message, &self.config.limits, call.due());
        let response = self.publish(wanted, call.due()).await.map(|done| {
            let Done { publication, changed, affected, retag_offer } = done;
            v1::PublishTaxonomyResponse { publication, changed, affected, retag_offer }
        });
        call.close(response)
    }

    async fn rollback_taxonomy(
        &self,
        request: Request<v1::RollbackTaxonomyRequest>,
    ) -> Result<Response<v1::RollbackTaxonomyResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let wanted = convert::rollback(message, &self.config.limits, call.due());
        let response = self.publish(wanted, call.due()).await.map(|done| {
            let Done { publication, changed, affected, retag_offer } = done;
            v1::RollbackTaxonomyResponse { publication, changed, affected, retag_offer }
        });
        call.close(response)
    }
}

/// What both ways of publishing answer.
struct Done {
    publication: Option<v1::TaxonomyPublication>,
    changed: bool,
    affected: Option<v1::AffectedTopics>,
    retag_offer: Option<v1::RetagOffer>,
}

impl TaxonomyService {
    async fn get(&self, message: v1::GetTaxonomyRequest) -> Result<v1::GetTaxonomyResponse, Status> {
        let version = convert::wanted_version(message.version, "version", &self.config.limits)?;
        let kept = self.publisher.kept(version).await.map_err(status::of_publishing)?;
        Ok(convert::taxonomy(kept, message.include_source))
    }

    async fn validate(&self, source: String) -> Result<v1::ValidateTaxonomyResponse, Status> {
        convert::check_source(&source, "source")?;
        match self.publisher.check(source).await {
            Ok(sourced) => Ok(v1::ValidateTaxonomyResponse {
                valid: true,
                version: sourced.taxonomy.version().as_str().to_owned(),
                problems: Vec::new(),
            }),
            Err(PublishError::Invalid(error)) => Ok(v1::ValidateTaxonomyResponse {
                valid: false,
                version: String::new(),
                problems: error.problems().iter().map(Into::into).collect(),
            }),
            Err(error) => Err(status::of_publishing(error)),
        }
    }

    async fn compare(&self, message: v1::DiffTaxonomyRequest) -> Result<v1::DiffTaxonomyResponse, Status> {
        let limits = &self.config.limits;
        let (old, new) =
            (convert::compared(message.old, "old", limits)?, convert::compared(message.new, "new", limits)?);
        let (old, new) = (self.find(old, "old").await?, self.find(new, "new").await?);
        let compared = tokio::task::spawn_blocking(move || v1::DiffTaxonomyResponse {
            diff: Some(diff(&old.taxonomy, &new.taxonomy).into()),
            affected: Some(AffectedTopics::between(&old.taxonomy, &new.taxonomy).into()),
        });
        compared.await.map_err(|error| status::internal(&error.to_string()))
    }

    async fn find(&self, wanted: Compared, path: &str) -> Result<SourcedTaxonomy, Status> {
        let found = match wanted {
            Compared::Current => self.publisher.kept(None).await.map(|kept| kept.sourced),
            Compared::Version(version) => self.publisher.kept(Some(version)).await.map(|kept| kept.sourced),
            Compared::Source(source) => self.publisher.check(source).await,
        };
        found.map_err(|error| match error {
            PublishError::Invalid(problems) => status::of_taxonomy(&problems, &format!("{path}.source")),
            other => status::of_publishing(other),
        })
    }

    async fn publish(&self, wanted: Result<PublishRequest, Status>, due: Instant) -> Result<Done, Status> {
        let published = self.publisher.publish(wanted?).await.map_err(status::of_publishing)?;
        let Published { publication, before, now, changed } = published;
        let between = tokio::task::spawn_blocking(move || AffectedTopics::between(&before, &now)).await;
        let affected = between.map_err(|error| status::internal(&error.to_string()))?;
        let retag_offer = Some(self.retag_offer(&affected, due).await);
        let publication = Some(convert::publication_message(publication, true));
        Ok(Done { publication, changed, affected: Some(affected.into()), retag_offer })
    }

    /// The publication stands whatever comes of counting.
    async fn retag_offer(&self, affected: &AffectedTopics, due: Instant) -> v1::RetagOffer {
        let counted = tokio::time::timeout_at(due.into(), self.count(affected)).await;
        let counted = counted.map_err(|_| status::deadline_exceeded());
        match counted.and_then(|counted| counted.map_err(status::of_cases)) {
            Ok((stored_case_count, affected_case_count)) => {
                v1::RetagOffer { stored_case_count, affected_case_count, error: None }
            }
            Err(error) => v1::RetagOffer { error: Some(status::to_message(&error)), ..Default::default() },
        }
    }

    async fn count(&self, affected: &AffectedTopics) -> Result<(u64, u64), CaseStoreError> {
        let stored = self.cases.count(&self.tenant, &CaseFilter::default()).await?;
        let topics = affected.worth_retagging();
        if topics.is_empty() {
            return Ok((stored, 0));
        }
        let filter = CaseFilter { topics, ..CaseFilter::default() };
        Ok((stored, self.cases.count(&self.tenant, &filter).await?))
    }
}
