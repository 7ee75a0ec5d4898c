//! Re-tagging of the archive: requests in, jobs and previews out.

use std::collections::BTreeSet;

use tonic::Status;

use super::cases::filter;
use super::{Faults, enums, time};
use crate::cases::TagPart;
use crate::config::LimitsConfig;
use crate::retag::archive::{ArchiveCounts, ArchivePlan, ArchivePreview, ArchiveRequest, Job, MAX_PRIORITY};
use crate::retag::{Move, Preview, Sample};
use crate::server::wire::v1::{self, preview_retag_request};

/// Jobs that are listed unless told otherwise, and at most.
const DEFAULT_JOBS: usize = 100;
const MAX_JOBS: usize = 1_000;

/// Checks what is to be previewed.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn previewed(
    message: v1::PreviewRetagRequest,
    limits: &LimitsConfig,
) -> Result<(ArchiveRequest, Option<Sample>), Status> {
    let mut faults = Faults::default();
    let request = scope(message.scope.unwrap_or_default(), limits, &mut faults);
    let sample = match message.sample {
        None => None,
        Some(preview_retag_request::Sample::Share(share)) => {
            if !(share > 0.0 && share <= 1.0) {
                faults.add("share", "must be above 0 and at most 1");
            }
            Some(Sample::Share(share))
        }
        Some(preview_retag_request::Sample::Cases(cases)) => {
            if cases == 0 {
                faults.add("cases", "must be at least 1");
            }
            Some(Sample::Rows(cases as usize))
        }
    };
    faults.or((request, sample))
}

/// Checks what a job is asked to do, and how the call names itself, if it does.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn retag_job(
    message: v1::StartRetagRequest,
    limits: &LimitsConfig,
) -> Result<(ArchiveRequest, Option<String>), Status> {
    let mut faults = Faults::default();
    let request = scope(message.scope.unwrap_or_default(), limits, &mut faults);
    let priority = u8::try_from(message.priority).ok().filter(|priority| *priority <= MAX_PRIORITY);
    if priority.is_none() {
        faults.add("priority", format!("must be from 0 to {MAX_PRIORITY}"));
    }
    if message.cases_per_second == Some(0) {
        faults.add("cases_per_second", "must be at least 1, or absent for as fast as it goes");
    }
    let request =
        ArchiveRequest { priority: priority.unwrap_or(0), cases_per_second: message.cases_per_second, ..request };
    let request_id = (!message.request_id.is_empty()).then_some(message.request_id);
    faults.or((request, request_id))
}

/// Checks how many jobs are listed.
///
/// # Errors
/// INVALID_ARGUMENT for too many.
pub(in crate::server) fn job_limit(limit: u32) -> Result<usize, Status> {
    match limit as usize {
        0 => Ok(DEFAULT_JOBS),
        limit if limit <= MAX_JOBS => Ok(limit),
        _ => Err(Faults::one("limit", format!("must be from 1 to {MAX_JOBS}, or 0 for {DEFAULT_JOBS}"))),
    }
}

fn scope(given: v1::RetagScope, limits: &LimitsConfig, faults: &mut Faults) -> ArchiveRequest {
    let filter = filter(given.filter.unwrap_or_default(), "scope.filter", limits, faults);
    let mut parts = BTreeSet::new();
    // Numbers past the length of the list can only be doubles or faults; each is told, and the list of those is bounded.
    for (index, part) in given.parts.into_iter().enumerate() {
        let path = format!("scope.parts[{index}]");
        if let Some(part) = enums::required::<v1::TagPart>(part, &path, faults)
            && !parts.insert(part)
        {
            faults.add(path, format!("must stand once, and {part} stands before"));
        }
    }
    let parts = if parts.is_empty() { TagPart::ALL.to_vec() } else { parts.into_iter().collect() };
    ArchiveRequest { filter, parts, only_older: given.only_older, priority: 0, cases_per_second: None }
}

impl From<ArchivePlan> for v1::RetagPlan {
    fn from(plan: ArchivePlan) -> Self {
        Self {
            case_count: plan.cases,
            reused_count: plan.reused,
            encoded_count: plan.encoded,
            reuse_seconds_per_case: plan.reuse_seconds_a_case,
            encode_seconds_per_case: plan.encode_seconds_a_case,
            store_seconds_per_case: plan.store_seconds_a_case,
            measured_count: plan.measured,
            estimated_seconds: plan.estimated_seconds,
        }
    }
}

impl From<ArchiveCounts> for v1::RetagCounts {
    fn from(counts: ArchiveCounts) -> Self {
        let ArchiveCounts { read, changed, unchanged, abstained, skipped, failed, reused, encoded } = counts;
        Self { read, changed, unchanged, abstained, skipped, failed, reused, encoded }
    }
}

impl From<Job> for v1::RetagJob {
    fn from(job: Job) -> Self {
        let ArchiveRequest { parts, only_older, priority, cases_per_second, .. } = job.request;
        Self {
            id: job.id,
            state: v1::RetagJobState::from(job.state).into(),
            parts: parts.into_iter().map(|part| v1::TagPart::from(part).into()).collect(),
            only_older,
            priority: priority.into(),
            cases_per_second,
            plan: Some(job.plan.into()),
            counts: Some(job.counts.into()),
            reason: job.reason.unwrap_or_default(),
            made_by: job.made_by.map(Into::into),
            created_at: Some(time::to_wire(job.created_at)),
            started_at: job.started_at.map(time::to_wire),
            ended_at: job.ended_at.map(time::to_wire),
        }
    }
}

impl From<Move> for v1::RetagMove {
    fn from(one: Move) -> Self {
        let Move { from, to, rows, examples } = one;
        Self { from: from.unwrap_or_default(), to: to.unwrap_or_default(), cases: rows, examples }
    }
}

impl From<ArchivePreview> for v1::PreviewRetagResponse {
    fn from(found: ArchivePreview) -> Self {
        let ArchivePreview { preview, cases, looked_at, skipped, encoded } = found;
        let Preview { counts, topics, teams, load_before, load_after, confidence_before, confidence_after, .. } =
            preview;
        let all_teams: BTreeSet<&String> = load_before.keys().chain(load_after.keys()).collect();
        let of = |team: &String| v1::TeamLoad {
            team_id: team.clone(),
            before: load_before.get(team).copied().unwrap_or_default(),
            after: load_after.get(team).copied().unwrap_or_default(),
        };
        Self {
            case_count: cases,
            looked_at_count: looked_at,
            changed_count: counts.changed,
            unchanged_count: counts.unchanged,
            abstained_count: counts.abstained,
            skipped_count: skipped,
            failed_count: counts.failed,
            encoded_count: encoded,
            load: all_teams.into_iter().map(of).collect(),
            topics: topics.into_iter().map(Into::into).collect(),
            teams: teams.into_iter().map(Into::into).collect(),
            confidence_before,
            confidence_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    fn fields_of(status: &Status) -> Vec<String> {
        let details = status.get_details_bad_request().unwrap();
        details.field_violations.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn a_request_is_checked_field_by_field() {
        let limits = LimitsConfig { max_filter_values: 2, ..LimitsConfig::default() };
        let scope = v1::RetagScope {
            filter: Some(v1::CaseFilter { kinds: vec![0], ..Default::default() }),
            parts: vec![1, 9, 1, 0],
            only_older: true,
        };
        let message = v1::StartRetagRequest {
            scope: Some(scope.clone()),
            priority: 10,
            cases_per_second: Some(0),
            request_id: String::new(),
        };
        let expected = ["scope.filter.kinds[0]", "scope.parts[1]", "scope.parts[2]", "scope.parts[3]"];
        let expected_of_job = [&expected[..], &["priority", "cases_per_second"]].concat();
        assert_eq!(fields_of(&retag_job(message, &limits).unwrap_err()), expected_of_job);
        for (sample, field) in [
            (preview_retag_request::Sample::Share(0.0), "share"),
            (preview_retag_request::Sample::Share(f64::NAN), "share"),
            (preview_retag_request::Sample::Share(1.5), "share"),
            (preview_retag_request::Sample::Cases(0), "cases"),
        ] {
            let message = v1::PreviewRetagRequest { sample: Some(sample), ..Default::default() };
            assert_eq!(fields_of(&previewed(message, &limits).unwrap_err()), [field]);
        }
        assert!(job_limit(1_001).is_err());
        assert_eq!((job_limit(0).unwrap(), job_limit(7).unwrap()), (100, 7));
    }

    #[test]
    fn no_parts_are_all_of_them() {
        let (request, request_id) = retag_job(v1::StartRetagRequest::default(), &LimitsConfig::default()).unwrap();
        assert_eq!((request.parts.as_slice(), request_id), (TagPart::ALL, None));
    }
}
