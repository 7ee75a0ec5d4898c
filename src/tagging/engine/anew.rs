//! Stored cases tagged anew: from what the encoder made of their texts before, or by reading them again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};

use super::{FRAME_TOKENS, TaggingEngine, Walk, refusal};
use crate::cases::{Case, VectoredCase};
use crate::feedback::{Body, Feedback, FeedbackKind};
use crate::inference::{Encoding, Place};
use crate::tagging::document::Document;
use crate::tagging::patience::patiently;
use crate::tagging::reading::Reading;
use crate::tagging::{Lane, Party, Retagger, Tagged, Tagger, TaggingError, Urgency, kept};
use crate::tags::{Provenance, Tags};

/// Cases of one piece of work: some milliseconds, after which others may go first.
const CHUNK: usize = 32;

#[async_trait]
impl Retagger for TaggingEngine {
    fn provenance(&self) -> Provenance {
        self.walk.provenance_for(self.party)
    }

    async fn by_kept(&self, cases: Arc<Vec<VectoredCase>>) -> Result<Vec<Option<Tags>>, TaggingError> {
        let party = self.party;
        let starts = (0..cases.len()).step_by(CHUNK);
        let chunks = starts.map(|start| {
            let (cases, walk) = (Arc::clone(&cases), Arc::clone(&self.walk));
            async move {
                patiently(|| {
                    let (cases, walk) = (Arc::clone(&cases), Arc::clone(&walk));
                    let work = move || -> Vec<Option<Tags>> {
                        cases.iter().skip(start).take(CHUNK).map(|stored| walk.by_kept(stored, party)).collect()
                    };
                    async {
                        self.pool
                            .run(Place { lane: Lane::Bulk, party }, CHUNK * FRAME_TOKENS, None, work)
                            .await
                            .map_err(refusal)
                    }
                })
                .await
            }
        });
        let chunks: Vec<Vec<Option<Tags>>> =
            futures_util::stream::iter(chunks).buffered(self.pool.threads()).try_collect().await?;
        Ok(chunks.into_iter().flatten().collect())
    }

    async fn anew(&self, case: &Case) -> Result<Tagged, TaggingError> {
        // A conversation is kept with its turns on lines of their own.
        let kind = if case.tags.turns.is_empty() { case.kind } else { Some(FeedbackKind::Transcript) };
        let feedback = Feedback { kind, ..of_case(case, case.masked_text.clone()) };
        let urgency = Urgency { party: self.party, ..Urgency::BULK };
        patiently(|| self.tag(feedback.clone(), urgency)).await
    }
}

impl TaggingEngine {
    /// How long models and heads alone take to judge these cases on all threads, from what is kept of their texts; for benchmarks. What
    /// is around them, unpacking, rules and routes, is not in it. `None` if a case has nothing kept that they can judge.
    pub fn time_heads(&self, cases: &[VectoredCase]) -> Option<Duration> {
        let kept = cases.iter().map(|stored| self.walk.unpacked(stored)).collect::<Option<Vec<_>>>()?;
        let of_thread = kept.len().div_ceil(self.pool.threads()).max(1);
        let began = Instant::now();
        std::thread::scope(|scope| {
            for kept in kept.chunks(of_thread) {
                let judge = &self.walk.judge;
                scope.spawn(move || {
                    for (document, encodings) in kept {
                        std::hint::black_box(Reading::new(judge, document, encodings));
                    }
                });
            }
        });
        Some(began.elapsed())
    }
}

impl Walk {
    /// What the encoder made of a case's text; `None` if it is not kept, or was made by another.
    fn unpacked(&self, stored: &VectoredCase) -> Option<(Document, Vec<Encoding>)> {
        let VectoredCase { case, vector } = stored;
        let reading = case.reading.as_ref()?;
        if !reading.encoder_sha256.eq_ignore_ascii_case(&self.provenance.encoder_sha256) {
            return None;
        }
        kept::unpack(&reading.packed, &case.masked_text, vector, self.vector_length())
    }

    /// Tags of a case from what is kept of its text; `None` if that is not enough.
    fn by_kept(&self, stored: &VectoredCase, party: Party) -> Option<Tags> {
        let (document, encodings) = self.unpacked(stored)?;
        Some(self.tags(&of_case(&stored.case, String::new()), party, &document, &encodings))
    }
}

/// What is known of a case beside its text, which a text of a case is routed by.
fn of_case(case: &Case, text: String) -> Feedback {
    Feedback {
        product: case.product.clone(),
        channel: case.channel.clone(),
        partner: case.partner.clone(),
        ..Feedback::new(case.id.clone(), Body::Text(text))
    }
}
