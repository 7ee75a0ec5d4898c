//! What a job would change, with nothing written.

use super::job::ArchiveRequest;
use super::work::{ArchiveError, Made, Resources, Work};
use crate::retag::earlier::MainTags;
use crate::retag::preview::Gathered;
use crate::retag::{Preview, Sample};

/// Cases that are tagged together.
const PAGE: usize = 500;

/// What a job would change.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ArchivePreview {
    /// From which tags to which, of the cases that were looked at and would be tagged anew.
    pub preview: Preview,
    /// Cases that the request is about.
    pub cases: u64,
    /// Cases that were looked at.
    pub looked_at: u64,
    /// Of those, the cases that would be left as they are.
    pub skipped: u64,
    /// Of those, the cases whose texts the encoder read.
    pub encoded: u64,
}

/// Tags a sample of the cases that a request is about, or all of them, at most `most`, and compares. The sample is the first cases of the
/// store's order, which is by chance. Writes nothing.
///
/// # Errors
/// [`ArchiveError::TooMany`] for more than `most` cases; [`ArchiveError`] of reading and tagging.
pub async fn preview(
    resources: &Resources,
    request: &ArchiveRequest,
    sample: Option<Sample>,
    most: u64,
) -> Result<ArchivePreview, ArchiveError> {
    let work = Work::new(resources, request, "");
    let cases = resources.cases.count(&resources.tenant, &request.selection(&work.version)).await?;
    let wanted = match sample {
        None => cases,
        Some(Sample::Share(share)) => ((cases as f64 * share).ceil() as u64).min(cases),
        Some(Sample::Rows(rows)) => cases.min(rows as u64),
    };
    if wanted > most {
        return Err(ArchiveError::TooMany { cases: wanted, limit: most });
    }
    let (mut gathered, mut found) = (Gathered::default(), ArchivePreview { cases, ..ArchivePreview::default() });
    let mut from: Option<String> = None;
    while found.looked_at < wanted {
        let limit = usize::try_from(wanted - found.looked_at).unwrap_or(PAGE).min(PAGE);
        let read = work.page(from.as_deref(), limit).await?;
        if read.cases.is_empty() {
            break;
        }
        found.looked_at += read.cases.len() as u64;
        let page = work.make(read.cases).await?;
        found.skipped += page.counts.skipped;
        for _ in 0..page.counts.failed {
            gathered.count_failed();
        }
        for Made { before, after } in &page.made {
            found.encoded += after.retagged.as_ref().map_or(0, |mark| u64::from(mark.encoded));
            gathered.add(Some(&MainTags::of_case(before)), &MainTags::of_case(after), &after.masked_text);
        }
        from = read.next;
        if from.is_none() {
            break;
        }
    }
    Ok(ArchivePreview { preview: gathered.finish(), ..found })
}
