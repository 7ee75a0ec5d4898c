//! Between the wire and the domain: requests are checked on their way in, answers are only rewritten on their way out.
//!
//! Each check adds to one list of faults, so that a caller hears of all of them at once, each under the path of its field.

mod assist;
mod cases;
mod corrections;
mod enums;
mod feedback;
mod live;
mod notes;
mod outcomes;
mod prompts;
mod retag;
mod tags;
mod taxonomy;
mod time;

pub(super) use assist::{
    avoid_advice, gesture_advice, reply, reply_review, similar_advice, suggestion_bounds, suggestion_use,
};
pub(super) use cases::{SimilarBounds, Wanted, deletion, similar_search, stored_case};
pub(super) use corrections::{ReviewBounds, correction, review};
pub(super) use feedback::{check_id, echoed_id, feedback};
pub(super) use live::{live_start, live_turn, turn_refused};
pub(super) use notes::note;
pub(super) use outcomes::{links, outcome, recorded_outcome, similar_case};
pub(super) use prompts::{WantedPrompt, listed_language, prompt_input, sampling, wanted_prompt};
pub(super) use retag::{job_limit, previewed, retag_job};
pub(super) use taxonomy::{
    Compared, check_source, compared, publication, publication_message, publications, rollback, taxonomy,
    wanted_version,
};
use tonic::Status;

use super::status::Faults;
use super::wire::v1::LanguageModelUse;
use crate::config::LimitsConfig;
use crate::tagging::Consult;

/// Whether a language model is asked; `None` if the request does not say.
///
/// # Errors
/// INVALID_ARGUMENT for an unknown number.
pub(super) fn language_model_use(number: i32, path: &str) -> Result<Option<Consult>, Status> {
    let mut faults = Faults::default();
    let consult = enums::optional::<LanguageModelUse>(number, path, &mut faults);
    faults.or(consult)
}

/// Checks the number of items of a batch.
///
/// # Errors
/// INVALID_ARGUMENT for none and for too many.
pub(super) fn check_item_count(count: usize, limits: &LimitsConfig) -> Result<(), Status> {
    let most = limits.max_batch_items;
    if (1..=most).contains(&count) {
        return Ok(());
    }
    Err(Faults::one("items", format!("must be 1 to {most} items (limits.max_batch_items), not {count}")))
}
