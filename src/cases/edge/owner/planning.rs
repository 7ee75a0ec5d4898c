//! What the commands of a group do, before anything of it is written.

use std::collections::HashMap;

use qdrant_edge::external::uuid::Uuid;

use super::{Command, Outcome};
use crate::cases::edge::change::{Change, StoredCase};
use crate::cases::edge::engine::{Engine, EngineFault};
use crate::cases::plan::{self, UpsertPlan};
use crate::cases::point::point_id;
use crate::cases::{Amendment, Case, NewCase, RetagOutcome, Retagging, TenantId, UpsertOutcome, VectoredCase};

/// What each command of a group does, given what those before it do. The cases of upserts are taken out of the commands.
pub(super) fn plan(engine: &Engine, group: &mut [Command]) -> Result<Vec<(Option<Change>, Outcome)>, EngineFault> {
    // What stands at a point, where the group knows better than the engine; `None` is nothing.
    let mut known: HashMap<Uuid, Option<Case>> = HashMap::new();
    let mut planned = Vec::with_capacity(group.len());
    for command in group {
        planned.push(match command {
            Command::Upsert { cases, .. } => {
                let (stored, outcomes) = plan_upsert(engine, std::mem::take(cases), &mut known)?;
                ((!stored.is_empty()).then_some(Change::Upsert(stored)), Outcome::Upserted(outcomes))
            }
            Command::Delete { filter, .. } => {
                let mut points = engine.matching(filter)?;
                points.retain(|point| !matches!(known.insert(*point, None), Some(None)));
                let count = points.len() as u64;
                ((count > 0).then_some(Change::Delete(points)), Outcome::Deleted(count))
            }
            Command::Amend { tenant, id, amendment, .. } => {
                let (change, amended) = plan_amendment(engine, tenant, id, amendment)?;
                (change, Outcome::Amended(amended.map(Box::new)))
            }
            Command::Retag { tenant, cases, .. } => {
                let (stored, outcomes) = plan_retagging(engine, tenant, std::mem::take(cases))?;
                ((!stored.is_empty()).then_some(Change::Upsert(stored)), Outcome::Retagged(outcomes))
            }
            Command::Close { .. } | Command::Copy { .. } => continue,
        });
    }
    Ok(planned)
}

/// The cases of an upsert as they are to be stored, those left out that the same call stored already; and what it does to each.
fn plan_upsert(
    engine: &Engine,
    cases: Vec<StoredCase>,
    known: &mut HashMap<Uuid, Option<Case>>,
) -> Result<(Vec<StoredCase>, Vec<UpsertOutcome>), EngineFault> {
    let points: Vec<Uuid> = cases.iter().map(|stored| point_id(&stored.tenant, &stored.case.id)).collect();
    let asked: Vec<Uuid> = points.iter().copied().filter(|point| !known.contains_key(point)).collect();
    let mut stored_already = engine.cases(&asked)?;
    let (mut planned, mut outcomes) = (Vec::with_capacity(cases.len()), Vec::with_capacity(cases.len()));
    for (point, stored) in points.into_iter().zip(cases) {
        let earlier = match known.get(&point) {
            Some(case) => case.clone(),
            None => stored_already.remove(&point),
        };
        match plan::upsert(earlier.as_ref(), stored).map_err(unstorable)? {
            UpsertPlan::Done(outcome) => outcomes.push(outcome),
            UpsertPlan::Write(stored, outcome) => {
                known.insert(point, Some(stored.case.clone()));
                outcomes.push(outcome);
                planned.push(*stored);
            }
        }
    }
    Ok((planned, outcomes))
}

/// The case with what is said of it, to be stored in the place of the one without.
fn plan_amendment(
    engine: &Engine,
    tenant: &TenantId,
    id: &str,
    amendment: &Amendment,
) -> Result<(Option<Change>, Option<VectoredCase>), EngineFault> {
    let Some(VectoredCase { case, vector }) = engine.vectored(point_id(tenant, id))? else { return Ok((None, None)) };
    let new = NewCase { case: case.amended(amendment.clone()), vector, request_id: None };
    let stored = StoredCase::new(tenant, new).map_err(unstorable)?;
    let amended = VectoredCase { case: stored.case.clone(), vector: stored.vector.clone() };
    Ok((Some(Change::Upsert(vec![stored])), Some(amended)))
}

/// The cases whose new tags still fit them, to be stored in the place of those with the old ones.
fn plan_retagging(
    engine: &Engine,
    tenant: &TenantId,
    cases: Vec<Retagging>,
) -> Result<(Vec<StoredCase>, Vec<RetagOutcome>), EngineFault> {
    let points: Vec<Uuid> = cases.iter().map(|new| point_id(tenant, &new.case.id)).collect();
    let mut stored = engine.vectored_cases(&points)?;
    let (mut planned, mut outcomes) = (Vec::with_capacity(cases.len()), Vec::with_capacity(cases.len()));
    for (point, new) in points.into_iter().zip(cases) {
        let (write, outcome) = plan::retag(tenant, stored.remove(&point), new).map_err(unstorable)?;
        planned.extend(write);
        outcomes.push(outcome);
    }
    Ok((planned, outcomes))
}

fn unstorable(problem: String) -> EngineFault {
    EngineFault::new("store a case", problem)
}
