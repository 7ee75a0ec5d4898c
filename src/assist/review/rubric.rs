//! The rubric of a good reply, and how a reply stands against each of its points.

use serde::{Deserialize, Serialize};

use super::remarks::Remark;
use crate::assist::playbook::ReplyLanguage;
use crate::assist::promises::{Promise, PromiseVerdict};
use crate::assist::suggestion::AvoidedWords;
use crate::assist::writer::{AdviceSource, WriterError};
use crate::feedback::{CharSpan, named_enum};

named_enum! {
    /// What a good reply has.
    RubricPoint {
        /// It names the customer's own problem.
        Acknowledgement = "acknowledgement",
        /// It apologises if something happened, and only then.
        Apology = "apology",
        /// It says the cause as far as that is known.
        Cause = "cause",
        /// It offers a solution, or choices to pick from.
        Solution = "solution",
        /// It says what comes next, who does it and by when.
        NextStep = "next_step",
        /// It settles the matter in this channel and sends nobody elsewhere.
        StaysInChannel = "stays_in_channel",
        /// It asks for details if the customer gave none.
        AsksForDetails = "asks_for_details",
        /// It is easy to read: short sentences and paragraphs, words of its own.
        Readability = "readability",
        /// It is polite: never rude, denying or servile.
        Politeness = "politeness",
        /// It says no plainly, if it is a no.
        PlainNo = "plain_no",
        /// It promises nothing beyond the playbook.
        Promises = "promises",
    }
}

named_enum! {
    /// How well a reply meets a point.
    PointScore {
        /// It does not.
        Missed = "missed",
        /// In part.
        Partial = "partial",
        /// It does.
        Met = "met",
    }
}

impl PointScore {
    /// As a number, 0 to 2.
    pub fn points(self) -> u8 {
        match self {
            Self::Missed => 0,
            Self::Partial => 1,
            Self::Met => 2,
        }
    }
}

/// How a reply stands against one point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The point was evaluated.
    Scored {
        /// How well it is met.
        score: PointScore,
        /// The words of the reply that earned or lost it, in characters of the reply as given; empty if it is lost by what is missing.
        spans: Vec<CharSpan>,
        /// What to do better; none if the point is met.
        remark: Option<Remark>,
    },
    /// The point does not apply to this feedback and this reply.
    DoesNotApply,
    /// Rules could not tell; this is no "no".
    NotEvaluated(Remark),
}

impl Standing {
    pub(super) fn met(spans: Vec<CharSpan>) -> Self {
        Self::Scored { score: PointScore::Met, spans, remark: None }
    }

    pub(super) fn partial(spans: Vec<CharSpan>, remark: Remark) -> Self {
        Self::Scored { score: PointScore::Partial, spans, remark: Some(remark) }
    }

    pub(super) fn missed(spans: Vec<CharSpan>, remark: Remark) -> Self {
        Self::Scored { score: PointScore::Missed, spans, remark: Some(remark) }
    }

    /// The score; `None` if the point was not evaluated or does not apply.
    pub fn score(&self) -> Option<PointScore> {
        match self {
            Self::Scored { score, .. } => Some(*score),
            Self::DoesNotApply | Self::NotEvaluated(_) => None,
        }
    }
}

/// One point of a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointReview {
    /// The point.
    pub point: RubricPoint,
    /// How the reply stands against it.
    pub standing: Standing,
    /// Who says so.
    pub source: AdviceSource,
    /// What a model says to do better, masked; rules say it by a remark.
    pub change: Option<String>,
}

/// A reply judged by the rubric.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyReview {
    /// The language of the remarks.
    pub language: ReplyLanguage,
    /// Every point, in the order of [`RubricPoint::ALL`].
    pub points: Vec<PointReview>,
    /// What the reply promises, each with a verdict.
    pub promises: Vec<Promise>,
    /// The gravest of the verdicts.
    pub verdict: PromiseVerdict,
    /// Where the reply does what the playbook says to avoid.
    pub avoided: Vec<AvoidedWords>,
    /// Why a model's part is missing; `None` if nobody was asked or all went well.
    pub model_error: Option<WriterError>,
}

impl ReplyReview {
    /// The share of points earned among those that were scored, 0 to 1; `None` if none was.
    pub fn share(&self) -> Option<f32> {
        let scores: Vec<f32> = self
            .points
            .iter()
            .filter_map(|point| point.standing.score())
            .map(|score| f32::from(score.points()))
            .collect();
        (!scores.is_empty()).then(|| scores.iter().sum::<f32>() / (2.0 * scores.len() as f32))
    }
}
