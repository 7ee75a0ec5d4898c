//! What a job will have to do, and how long that takes here: counted in the store, measured on some of its cases.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::job::ArchiveRequest;
use super::work::{ArchiveError, Resources, Work};
use crate::cases::{CaseFilter, Retagging, VectoredCase};

/// Texts that the encoder reads to foretell how long it takes.
const READ_TEXTS: usize = 4;

/// What a job will have to do.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ArchivePlan {
    /// Cases that the request is about.
    pub cases: u64,
    /// Of those, the cases that can be tagged from what is kept of them, without the encoder.
    pub reused: u64,
    /// Of those, the cases whose texts the encoder has to read.
    pub encoded: u64,
    /// Seconds that tagging a case from what is kept took, of those measured; 0 if none was.
    pub reuse_seconds_a_case: f64,
    /// Seconds that reading a text with the encoder and tagging it took, of those measured; 0 if none was.
    pub encode_seconds_a_case: f64,
    /// Seconds that reading a case from the store and writing it took, of those measured; 0 if none was.
    pub store_seconds_a_case: f64,
    /// Cases that were measured.
    pub measured: u64,
    /// How long the job takes by that, in seconds, if nothing else is to be done here.
    pub estimated_seconds: f64,
}

/// Counts what a request is about and measures how long some `measure` of its cases take. Writes those of them that it measured back as
/// they were read, if they are still so: that is how long writing takes.
///
/// # Errors
/// [`ArchiveError`]; see its variants.
pub async fn plan(
    resources: &Resources,
    request: &ArchiveRequest,
    measure: usize,
) -> Result<ArchivePlan, ArchiveError> {
    let Resources { cases, retagger, tenant, .. } = resources;
    let work = Work::new(resources, request, "");
    let selection = request.selection(&work.version);
    let with_reading = CaseFilter { read_by: Some(retagger.provenance().encoder_sha256), ..selection.clone() };
    let total = cases.count(tenant, &selection).await?;
    let kept = cases.count(tenant, &with_reading).await?.min(total);

    let began = Instant::now();
    let page = work.page(None, measure.max(1)).await?;
    let read = each(began.elapsed(), page.cases.len());
    let (with, without): (Vec<VectoredCase>, Vec<VectoredCase>) =
        page.cases.into_iter().partition(|stored| stored.case.reading.is_some());
    let with = Arc::new(with);
    let began = Instant::now();
    let tags = retagger.by_kept(Arc::clone(&with)).await?;
    let reuse = each(began.elapsed(), with.len());
    let usable = tags.iter().filter(|tags| tags.is_some()).count();
    let unusable = with.iter().zip(&tags).filter(|(_, tags)| tags.is_none()).map(|(stored, _)| stored);
    let to_read: Vec<&VectoredCase> = without.iter().chain(unusable).take(READ_TEXTS).collect();
    let began = Instant::now();
    for stored in &to_read {
        // What can't be tagged takes its time too.
        if let Err(error) = retagger.anew(&stored.case).await {
            tracing::debug!(case = stored.case.id, %error, "a measured case can't be tagged");
        }
    }
    let encode = each(began.elapsed(), to_read.len());
    let measured = with.len() + without.len();
    let unchanged: Vec<Retagging> = with
        .iter()
        .chain(&without)
        .map(|stored| Retagging { seen: stored.case.state(), case: stored.case.clone() })
        .collect();
    let began = Instant::now();
    cases.retag(tenant, unchanged).await?;
    let store = read + each(began.elapsed(), measured);

    // What is kept may be of less than the heads look at now, which only unpacking it tells.
    let reused = if with.is_empty() { kept } else { (kept as f64 * usable as f64 / with.len() as f64).round() as u64 };
    let encoded = total - reused.min(total);
    let busy = total as f64 * store + reused as f64 * reuse + encoded as f64 * encode;
    let slowed = request.cases_per_second.map_or(0.0, |most| total as f64 / f64::from(most.max(1)));
    Ok(ArchivePlan {
        cases: total,
        reused,
        encoded,
        reuse_seconds_a_case: reuse,
        encode_seconds_a_case: encode,
        store_seconds_a_case: store,
        measured: measured as u64,
        estimated_seconds: busy.max(slowed),
    })
}

/// Seconds for each of so many.
fn each(took: Duration, of: usize) -> f64 {
    if of == 0 { 0.0 } else { took.as_secs_f64() / of as f64 }
}
