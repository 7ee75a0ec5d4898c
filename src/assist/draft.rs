//! Drafts of replies: from a template of the playbook, and from a writer, both with their promises checked.

use std::sync::Arc;
use std::time::Instant;

use super::Assistant;
use super::gestures::{DRAFT_FIT, OfferedGesture};
use super::masked::masked;
use super::playbook::{
    Avoidance, DraftContext, DraftGesture, DraftTemplate, Playbook, ReplyLanguage, limit_in_words, render,
};
use super::promises::{Circumstances, PromiseCheck, summary};
use super::reading::Reading;
use super::sameness::say_the_same;
use super::suggest::{allowed, blocking, ids, said_by_customer};
use super::suggestion::{AvoidedWords, Draft, DraftSource, SimilarAdvice, SlotError};
use super::writer::{BriefCase, BriefGesture, DraftBrief, Writer, WriterError};
use crate::cases::OutcomeStatus;
use crate::feedback::{Body, CharSpan, Feedback, FeedbackKind};
use crate::tags::{Language, Tags};
use crate::taxonomy::Taxonomy;
use crate::text::prepare;

/// The longest quote of the customer, in characters.
const QUOTE_CHARS: usize = 160;

/// Most gestures that a draft is told of.
const BRIEF_GESTURES: usize = 5;

/// Most similar cases that a writer is told of.
const BRIEF_CASES: usize = 5;

/// How much of a similar case a writer is told, in characters.
const SIMILAR_CHARS: usize = 300;

/// How much of what was done in a similar case a writer is told, in characters.
const RESOLUTION_CHARS: usize = 200;

/// The longest draft that a writer may make, in characters.
const WRITTEN_CHARS: usize = 10_000;

/// The fewest words of a writer's draft: fewer are no reply to anybody.
const WRITTEN_WORDS: usize = 4;

/// What a draft is made from.
#[derive(Debug, Clone)]
pub(super) struct Material {
    pub(super) tags: Option<Arc<Tags>>,
    pub(super) language: ReplyLanguage,
    pub(super) script: Option<String>,
    pub(super) offers: Vec<OfferedGesture>,
    pub(super) circumstances: Arc<Circumstances>,
    pub(super) avoid: Vec<Avoidance>,
    pub(super) similar: SimilarAdvice,
}

/// The draft of the most particular template that applies.
pub(super) fn from_template(
    playbook: &Playbook,
    taxonomy: &Taxonomy,
    feedback: &Feedback,
    material: &Material,
) -> Result<Draft, SlotError> {
    let language = material.language;
    let template =
        template_for(playbook, feedback, material).ok_or(SlotError::NotInPlaybook("template that applies"))?;
    let quote = quote(feedback, material.tags.as_deref());
    let fitting = allowed(&material.offers).filter(|offer| offer.fit >= DRAFT_FIT && !offer.gesture.topics.is_empty());
    let gestures: Vec<DraftGesture> =
        fitting.take(BRIEF_GESTURES).map(|offer| draft_gesture(offer, language)).collect();
    let context = DraftContext {
        topic: topic_names(taxonomy, material).into_iter().next(),
        quote: quote.clone(),
        script: material.script.clone(),
        gesture: gestures.first().cloned(),
        gestures,
        signals: ids(material.tags.as_deref()).1.iter().map(|signal| signal.to_string()).collect(),
        kind: feedback.kind.map(|kind| kind.to_string()),
    };
    let text = render(template, language, &context)?;
    Ok(checked(playbook, material, text, (DraftSource::Template, &template.id), quote))
}

/// A writer's draft, begun from the template's. One that says the same as the template's is none: it is shown once.
pub(super) async fn written(
    assistant: &Assistant,
    writer: &dyn Writer,
    feedback: &Feedback,
    material: &Material,
    template: Draft,
    due: Instant,
) -> Result<Draft, SlotError> {
    let (playbook, taxonomy) = (Arc::clone(&assistant.playbook), Arc::clone(&assistant.taxonomy));
    let (said, told, begun) = (feedback.clone(), material.clone(), template.text.clone());
    let brief = blocking(move || brief(&playbook, &taxonomy, &said, &told, begun)).await?;
    let text = writer.draft(brief, due).await?;
    let (playbook, material) = (Arc::clone(&assistant.playbook), material.clone());
    // A model may write anything in quotation marks: nothing of it counts as the customer's.
    blocking(move || {
        let text = usable(&text, material.language)?;
        if say_the_same(&text, &masked(&template.text)) {
            return Err(WriterError::Unusable("the draft says the same as the template's".to_owned()).into());
        }
        Ok(checked(&playbook, &material, text, (DraftSource::Model, &template.template_id), None))
    })
    .await?
}

/// All that a writer is told.
fn brief(
    playbook: &Playbook,
    taxonomy: &Taxonomy,
    feedback: &Feedback,
    material: &Material,
    template: String,
) -> DraftBrief {
    let language = material.language;
    let name = |signal: &crate::tags::SignalId| {
        let signal = taxonomy.signal(signal)?;
        Some(signal.names.in_language(language.as_str()).to_owned())
    };
    let similar = material.similar.cases.iter().map(|found| {
        let outcome = found.case.outcome.as_ref();
        BriefCase {
            masked_text: excerpt(&found.case.masked_text, SIMILAR_CHARS),
            status: outcome.map_or(OutcomeStatus::Open, |outcome| outcome.status),
            resolution: outcome
                .and_then(|outcome| outcome.resolution.as_deref())
                .map(|resolution| excerpt(&masked(resolution), RESOLUTION_CHARS)),
        }
    });
    let masked_text = match material.tags.as_deref() {
        Some(tags) => tags.masked_text.clone(),
        None => prepare(&said_by_customer(feedback)).clean().to_owned(),
    };
    DraftBrief {
        masked_text,
        is_public: feedback.kind == Some(FeedbackKind::Review),
        language,
        topics: topic_names(taxonomy, material),
        signals: ids(material.tags.as_deref()).1.into_iter().filter_map(name).collect(),
        script: material.script.clone(),
        gestures: brief_gestures(playbook, &material.offers, language),
        avoid: material.avoid.iter().map(|avoidance| avoidance.text.get(language).to_owned()).collect(),
        similar: similar.take(BRIEF_CASES).collect(),
        template,
    }
}

/// The gestures that a writer is told of: those that need no asking.
pub(super) fn brief_gestures(
    playbook: &Playbook,
    offers: &[OfferedGesture],
    language: ReplyLanguage,
) -> Vec<BriefGesture> {
    let gesture = |offer: &OfferedGesture| BriefGesture {
        id: offer.gesture.id.clone(),
        name: offer.gesture.name.get(language).to_owned(),
        description: offer.gesture.description.get(language).to_owned(),
        condition: offer.gesture.condition.get(language).to_owned(),
        limit: limit_in_words(&offer.gesture, playbook.currency(), language),
    };
    allowed(offers).take(BRIEF_GESTURES).map(gesture).collect()
}

/// The beginning of a text, cut after a word.
fn excerpt(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let cut: String = text.chars().take(most).collect();
    let end = cut.rfind(char::is_whitespace).unwrap_or(cut.len());
    format!("{}…", cut.get(..end).unwrap_or(&cut).trim_end())
}

/// A writer's draft without personal data, if it is a reply in the language that was asked for.
fn usable(text: &str, language: ReplyLanguage) -> Result<String, SlotError> {
    let unusable = |problem: String| Err(WriterError::Unusable(problem).into());
    let chars = text.trim().chars().count();
    if chars == 0 || chars > WRITTEN_CHARS {
        return unusable(format!("the draft has {chars} characters; allowed: 1 to {WRITTEN_CHARS}"));
    }
    let text = masked(text.trim());
    let prepared = prepare(&text);
    let words = prepared.words().len();
    if words < WRITTEN_WORDS {
        return unusable(format!("the draft has {words} words; at least {WRITTEN_WORDS} are needed for a reply"));
    }
    let is_asked_for = match prepared.language() {
        Language::Russian => language == ReplyLanguage::Russian,
        Language::English => language == ReplyLanguage::English,
        Language::Mixed => true,
        Language::Other | Language::Unknown => false,
    };
    if !is_asked_for {
        return unusable(format!(
            "the draft is in {:?}, and {:?} was asked for",
            prepared.language().as_str(),
            language.as_str()
        ));
    }
    Ok(text)
}

fn checked(
    playbook: &Playbook,
    material: &Material,
    text: String,
    (source, template_id): (DraftSource, &str),
    quote: Option<String>,
) -> Draft {
    let quoted: Vec<&str> = quote.as_deref().into_iter().collect();
    let promises = PromiseCheck::new(playbook, &material.circumstances).check_beside(&text, &quoted);
    let verdict = summary(&promises);
    let avoided = avoided(playbook, &material.avoid, &Reading::new(&text));
    let template_id = template_id.to_owned();
    Draft { text, language: material.language, source, template_id, promises, verdict, avoided }
}

/// Where a text does what is to be avoided here.
pub(super) fn avoided(playbook: &Playbook, avoid: &[Avoidance], reading: &Reading) -> Vec<AvoidedWords> {
    let mut found = Vec::new();
    for (avoidance, patterns) in playbook.avoided_by().filter(|(one, _)| avoid.iter().any(|here| here.id == one.id)) {
        for sentence in reading.sentences() {
            let words = reading.rule_words(sentence);
            for range in patterns.find(&words) {
                if let (Some(first), Some(last)) = (words.get(range.start), words.get(range.end.saturating_sub(1))) {
                    let span = reading.original(CharSpan::new(first.span.start, last.span.end));
                    found.push(AvoidedWords { avoidance_id: avoidance.id.clone(), span });
                }
            }
        }
    }
    found.sort_by_key(|words| words.span);
    found
}

/// The most particular template that applies; of equals the first of the playbook.
fn template_for<'p>(playbook: &'p Playbook, feedback: &Feedback, material: &Material) -> Option<&'p DraftTemplate> {
    let (topics, signals) = ids(material.tags.as_deref());
    let applying = playbook.drafts().iter().filter(|draft| draft.when.applies(&topics, &signals, feedback.kind));
    applying.rev().max_by_key(|draft| draft.when.particularity())
}

fn draft_gesture(offer: &OfferedGesture, language: ReplyLanguage) -> DraftGesture {
    DraftGesture {
        id: offer.gesture.id.clone(),
        name: offer.gesture.name.get(language).to_owned(),
        description: offer.gesture.description.get(language).to_owned(),
    }
}

fn topic_names(taxonomy: &Taxonomy, material: &Material) -> Vec<String> {
    let topics = material.tags.iter().flat_map(|tags| &tags.topics);
    let names = topics.filter_map(|tag| taxonomy.topic(&tag.topic_id));
    names.map(|topic| topic.names.in_language(material.language.as_str()).to_owned()).collect()
}

/// The customer's own words that tell the surest topic best, masked: the sentence, or the part of it between commas if that is too long
/// to quote. `None` if no topic has evidence or no such part is fit.
fn quote(feedback: &Feedback, tags: Option<&Tags>) -> Option<String> {
    let evidence = tags?.topics.first()?.evidence.first()?;
    let text = match (&feedback.body, evidence.turn) {
        (Body::Text(text), None) => text,
        (Body::Turns(turns), Some(turn)) => &turns.get(turn as usize)?.text,
        _ => return None,
    };
    let prepared = prepare(text);
    let sentences = prepared.sentences().iter().map(|span| prepared.to_original(*span));
    let sentence = sentences.into_iter().find(|span| span.contains(evidence.span)).unwrap_or(evidence.span);
    let before = CharSpan::new(sentence.start, evidence.span.start.max(sentence.start)).slice(text);
    let start = before.rfind([',', ';', ':']).map_or(0, |at| before.get(..=at).map_or(0, |kept| kept.chars().count()));
    let part = CharSpan::new(sentence.start + start as u32, sentence.end);
    let until =
        part.slice(text).find([',', ';']).map(|at| part.slice(text).get(..at).map_or(0, |kept| kept.chars().count()));
    let clause = until.map(|until| CharSpan::new(part.start, part.start + until as u32));
    let clause = clause.filter(|clause| clause.end >= evidence.span.end);
    let candidates = [Some(sentence), Some(part), clause, Some(evidence.span)];
    candidates.into_iter().flatten().find_map(|span| {
        let masked = prepare(span.slice(text)).clean().to_owned();
        let quote = masked.trim().trim_end_matches(['.', '!', ',', ';', ':']).to_owned();
        let words = quote.split_whitespace().count();
        (words >= 2 && quote.chars().count() <= QUOTE_CHARS && !quote.contains('\n')).then_some(quote)
    })
}
