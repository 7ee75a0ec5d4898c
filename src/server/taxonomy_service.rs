//! `otklik.v1.TaxonomyService`.

use std::sync::Arc;
use std::time::Instant;

use tonic::{Request, Response, Status};

use super::call::{Call, Touched};
use super::convert::{self, Compared};
use super::status;
use super::wire::v1;
use crate::cases::{CaseFilter, CaseStore, CaseStoreError, TenantId};
use crate::config::Config;
use crate::requests::AnsweredRequests;
use crate::retag::Sample;
use crate::retag::archive::{self, ArchiveRequest, Resources};
use crate::serving::{PublishError, PublishRequest, Published, Publisher};
use crate::tagging::Tagger;
use crate::taxonomy::versions::SourcedTaxonomy;
use crate::taxonomy::{AffectedTopics, Taxonomy, diff};

/// Taxonomies: read, checked, compared, published and put back.
pub(super) struct TaxonomyService {
    pub(super) config: Arc<Config>,
    pub(super) publisher: Arc<Publisher>,
    /// Where cases are counted that another taxonomy would touch.
    pub(super) cases: Arc<dyn CaseStore>,
    /// Calls that were answered.
    pub(super) requests: Arc<AnsweredRequests>,
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
        let due = call.due();
        let compared = self.compare(message, call.tenant(), due).await;
        call.close(compared)
    }

    async fn publish_taxonomy(
        &self,
        request: Request<v1::PublishTaxonomyRequest>,
    ) -> Result<Response<v1::PublishTaxonomyResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let asked = message.clone();
        let publish = async {
            let wanted = convert::publication(message, &self.config.limits, call.due());
            let done = self.publish(wanted, call.tenant(), call.due()).await?;
            let Done { publication, changed, affected, retag_offer } = done;
            Ok(v1::PublishTaxonomyResponse { publication, changed, affected, retag_offer })
        };
        let response = call.once(&self.requests, "PublishTaxonomy", &asked, publish).await;
        let now = response.as_ref().ok().and_then(|response| response.publication.as_ref());
        let touched = Touched::subject(now.map_or(String::new(), |now| now.version.clone()));
        let response = call.changed("TaxonomyService/PublishTaxonomy", touched, response).await;
        call.close(response)
    }

    async fn rollback_taxonomy(
        &self,
        request: Request<v1::RollbackTaxonomyRequest>,
    ) -> Result<Response<v1::RollbackTaxonomyResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let asked = message.clone();
        let roll_back = async {
            let wanted = convert::rollback(message, &self.config.limits, call.due());
            let done = self.publish(wanted, call.tenant(), call.due()).await?;
            let Done { publication, changed, affected, retag_offer } = done;
            Ok(v1::RollbackTaxonomyResponse { publication, changed, affected, retag_offer })
        };
        let response = call.once(&self.requests, "RollbackTaxonomy", &asked, roll_back).await;
        let now = response.as_ref().ok().and_then(|response| response.publication.as_ref());
        let touched = Touched::subject(now.map_or(String::new(), |now| now.version.clone()));
        let response = call.changed("TaxonomyService/RollbackTaxonomy", touched, response).await;
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

    async fn compare(
        &self,
        message: v1::DiffTaxonomyRequest,
        tenant: &TenantId,
        due: Instant,
    ) -> Result<v1::DiffTaxonomyResponse, Status> {
        let limits = &self.config.limits;
        let looked_at = message.effect.map(|effect| convert::previewed(effect, limits)).transpose()?;
        let (old, new) =
            (convert::compared(message.old, "old", limits)?, convert::compared(message.new, "new", limits)?);
        let (old, new) = (self.find(old, "old").await?, self.find(new, "new").await?);
        let wanted = looked_at.is_some().then(|| Arc::new(new.taxonomy.clone()));
        let compared = tokio::task::spawn_blocking(move || v1::DiffTaxonomyResponse {
            diff: Some(diff(&old.taxonomy, &new.taxonomy).into()),
            affected: Some(AffectedTopics::between(&old.taxonomy, &new.taxonomy).into()),
            effect: None,
        });
        let compared = compared.await.map_err(|error| status::internal(&error.to_string()))?;
        let (Some((request, sample)), Some(taxonomy)) = (looked_at, wanted) else { return Ok(compared) };
        let effect = tokio::time::timeout_at(due.into(), self.effect(taxonomy, tenant, &request, sample, due)).await;
        let effect = effect.map_err(|_| status::deadline_exceeded())??;
        Ok(v1::DiffTaxonomyResponse { effect: Some(effect), ..compared })
    }

    /// What stored cases would be tagged as under a taxonomy. Nothing is written.
    async fn effect(
        &self,
        taxonomy: Arc<Taxonomy>,
        tenant: &TenantId,
        request: &ArchiveRequest,
        sample: Option<Sample>,
        due: Instant,
    ) -> Result<v1::PreviewRetagResponse, Status> {
        let generation = self.publisher.beside(taxonomy, due).await.map_err(status::of_publishing)?;
        let resources = Resources {
            cases: Arc::clone(&self.cases),
            retagger: generation.tagger.retagger(tenant.into()).ok_or_else(status::no_retagger)?,
            tenant: tenant.clone(),
            kept_reading_bytes: self.config.cases.kept_reading_bytes,
        };
        let most = self.config.retag.max_preview_cases as u64;
        let preview = archive::preview(&resources, request, sample, most).await;
        preview.map(Into::into).map_err(status::of_archive)
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

    async fn publish(
        &self,
        wanted: Result<PublishRequest, Status>,
        tenant: &TenantId,
        due: Instant,
    ) -> Result<Done, Status> {
        let published = self.publisher.publish(wanted?).await.map_err(status::of_publishing)?;
        let Published { publication, before, now, changed } = published;
        let between = tokio::task::spawn_blocking(move || AffectedTopics::between(&before, &now)).await;
        let affected = between.map_err(|error| status::internal(&error.to_string()))?;
        let retag_offer = Some(self.retag_offer(&affected, tenant, due).await);
        let publication = Some(convert::publication_message(publication, true));
        Ok(Done { publication, changed, affected: Some(affected.into()), retag_offer })
    }

    /// The publication stands whatever comes of counting.
    async fn retag_offer(&self, affected: &AffectedTopics, tenant: &TenantId, due: Instant) -> v1::RetagOffer {
        let counted = tokio::time::timeout_at(due.into(), self.count(affected, tenant)).await;
        let counted = counted.map_err(|_| status::deadline_exceeded());
        match counted.and_then(|counted| counted.map_err(status::of_cases)) {
            Ok([stored_case_count, affected_case_count, older_case_count]) => {
                v1::RetagOffer { stored_case_count, affected_case_count, older_case_count, error: None }
            }
            Err(error) => v1::RetagOffer { error: Some(status::to_message(&error)), ..Default::default() },
        }
    }

    /// All cases, those with affected topics, and those that something else tagged than what serves now.
    async fn count(&self, affected: &AffectedTopics, tenant: &TenantId) -> Result<[u64; 3], CaseStoreError> {
        let count = |filter| async move { self.cases.count(tenant, &filter).await };
        let topics = affected.worth_retagging();
        let of_topics = match topics.is_empty() {
            true => 0,
            false => count(CaseFilter { topics, ..CaseFilter::default() }).await?,
        };
        let version = self.publisher.serving().provenance().version();
        let older = count(CaseFilter { not_made_by: Some(version), ..CaseFilter::default() }).await?;
        Ok([count(CaseFilter::default()).await?, of_topics, older])
    }
}
