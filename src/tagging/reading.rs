//! What the encoder and the judge made of a document: a judgement of each voice and of each of its sentences.

use super::document::{Document, Sentence, Voice};
use super::judge::{Judge, Judgement};
use super::sentiment::Polarity;
use super::topics::MAX_EVIDENCE;
use crate::feedback::{CharSpan, Speaker};
use crate::inference::Encoding;
use crate::tags::{Confidence, Evidence};
use crate::taxonomy::{RuleHit, RuleTarget, RuleText, RuleWord};

/// One voice, judged.
pub(super) struct Spoken<'a> {
    voice: &'a Voice,
    whole: Judgement,
    /// For each sentence of the voice; those that the encoder did not read have none.
    sentences: Vec<Option<Judgement>>,
}

impl Spoken<'_> {
    pub fn whole(&self) -> &Judgement {
        &self.whole
    }

    /// Sentences that were read, with their index.
    pub fn indexed(&self) -> impl Iterator<Item = (usize, &Sentence, &Judgement)> {
        self.voice
            .sentences
            .iter()
            .zip(&self.sentences)
            .enumerate()
            .filter_map(|(index, (sentence, judgement))| Some((index, sentence, judgement.as_ref()?)))
    }

    pub fn judged(&self) -> impl Iterator<Item = (&Sentence, &Judgement)> {
        self.indexed().map(|(_, sentence, judgement)| (sentence, judgement))
    }

    /// The judgement of one sentence; of the whole where the sentence was not read.
    pub fn judgement(&self, index: usize) -> &Judgement {
        self.sentences.get(index).and_then(Option::as_ref).unwrap_or(&self.whole)
    }
}

/// A document, judged.
pub(super) struct Reading<'a> {
    pub document: &'a Document,
    spoken: Vec<Spoken<'a>>,
}

impl<'a> Reading<'a> {
    /// `encodings` are those of the document's voices, in order.
    pub fn new(judge: &Judge, document: &'a Document, encodings: &[Encoding]) -> Self {
        let spoken = |(voice, encoding): (&'a Voice, &Encoding)| {
            let words = judge.words(&voice.text);
            let sentence = |(vector, sentence): (&Option<Vec<f32>>, &Sentence)| {
                let (vector, text) = (vector.as_deref()?, document.sentence_text(sentence));
                // Most short texts are one sentence.
                let same = text == voice.text;
                Some(if same { judge.judge(vector, &words) } else { judge.judge(vector, &judge.words(text)) })
            };
            let sentences = encoding.span_vectors.iter().zip(&voice.sentences).map(sentence).collect();
            Spoken { voice, whole: judge.judge(&encoding.vector, &words), sentences }
        };
        let spoken = document.voices.iter().zip(encodings).map(spoken).collect();
        Self { document, spoken }
    }

    pub fn spoken_by(&self, speaker: Speaker) -> Option<&Spoken<'a>> {
        self.spoken.iter().find(|spoken| spoken.voice.speaker == speaker)
    }

    pub fn spoken(&self) -> impl Iterator<Item = (Speaker, &Spoken<'a>)> {
        self.spoken.iter().map(|spoken| (spoken.voice.speaker, spoken))
    }

    /// True if the words that a rule rests on are this speaker's.
    pub fn is_said_by(&self, hit: &RuleHit, speaker: Speaker) -> bool {
        hit.spans.iter().any(|(text, _)| self.document.texts.get(*text).is_some_and(|text| text.speaker == speaker))
    }

    /// Evidence of rules, in the original, surest rule first, each place once.
    pub fn rule_evidence(&self, hits: &[&RuleHit]) -> Vec<Evidence> {
        let mut sorted: Vec<&&RuleHit> = hits.iter().collect();
        sorted.sort_by(|one, other| other.confidence.get().total_cmp(&one.confidence.get()));
        let mut evidence: Vec<Evidence> = Vec::new();
        for hit in sorted {
            for (text, span) in &hit.spans {
                let Some(found) = self.evidence(*text, *span, hit.confidence) else { continue };
                if !evidence.iter().any(|known| known.turn == found.turn && known.span.overlaps(found.span)) {
                    evidence.push(found);
                }
            }
        }
        evidence.truncate(2 * MAX_EVIDENCE);
        evidence
    }

    /// Evidence of a sentence, in the original.
    pub fn sentence_evidence(&self, spoken: &Spoken<'_>, sentence: usize, weight: f32) -> Evidence {
        let fallback = Evidence { turn: None, span: CharSpan::new(0, 0), weight: Confidence::new(weight) };
        spoken
            .voice
            .sentences
            .get(sentence)
            .and_then(|sentence| self.evidence(sentence.text, sentence.span, Confidence::new(weight)))
            .unwrap_or(fallback)
    }

    fn evidence(&self, text: usize, span: CharSpan, weight: Confidence) -> Option<Evidence> {
        let text = self.document.texts.get(text)?;
        Some(Evidence { turn: text.turn, span: text.prepared.to_original(span), weight })
    }

    /// Polarities of the sentences that rules' words stand in, all of one weight.
    pub fn polarities_under(&self, hits: &[&RuleHit]) -> Vec<(Polarity, f32)> {
        let places = || hits.iter().flat_map(|hit| &hit.spans);
        let under =
            |sentence: &Sentence| places().any(|(text, span)| *text == sentence.text && span.overlaps(sentence.span));
        self.spoken
            .iter()
            .flat_map(Spoken::judged)
            .filter(|(sentence, _)| under(sentence))
            .map(|(_, judgement)| (judgement.polarity, 1.0))
            .collect()
    }

    /// Polarities of the sentences at a place of a plain text's original, all of one weight.
    pub fn polarities_at(&self, place: CharSpan) -> Vec<(Polarity, f32)> {
        let at = |sentence: &Sentence| {
            let text = self.document.texts.get(sentence.text);
            text.is_some_and(|text| text.prepared.to_original(sentence.span).overlaps(place))
        };
        let judged = self.spoken.iter().flat_map(Spoken::judged).filter(|(sentence, _)| at(sentence));
        judged.map(|(_, judgement)| (judgement.polarity, 1.0)).collect()
    }

    /// The clean sentence at a place of the document, or all of the text if no sentence is there.
    pub fn sentence_at(&self, text: usize, span: CharSpan) -> &str {
        let Some(text) = self.document.texts.get(text) else { return "" };
        let sentence = text.prepared.sentences().iter().find(|sentence| sentence.overlaps(span));
        sentence.map_or(text.prepared.clean(), |sentence| text.prepared.sentence_text(*sentence))
    }
}

/// Runs the taxonomy's phrase rules over a document.
pub(super) fn rule_hits(judge: &Judge, document: &Document) -> Vec<RuleHit> {
    let words: Vec<Vec<RuleWord<'_>>> = document
        .texts
        .iter()
        .map(|text| {
            let words = text.prepared.words().iter();
            words.map(|word| RuleWord { span: word.span, lower: &word.lower, stem: &word.stem }).collect()
        })
        .collect();
    let texts: Vec<RuleText<'_>> = document
        .texts
        .iter()
        .zip(&words)
        .map(|(text, words)| RuleText {
            words,
            lower: &text.lower,
            sentences: text.prepared.sentences(),
            speaker: text.speaker,
        })
        .collect();
    let mut hits = judge.taxonomy.match_rules(&texts);
    if document.has_instructions {
        // What speaks to a machine tells no topic. Signals are told: a threat stays one.
        let is_said = |place: &(usize, CharSpan)| {
            let text = document.texts.get(place.0);
            !text.is_some_and(|text| text.instructions.iter().any(|sentence| sentence.overlaps(place.1)))
        };
        hits.iter_mut()
            .filter(|hit| matches!(hit.target, RuleTarget::Topic(_)))
            .for_each(|hit| hit.spans.retain(is_said));
        hits.retain(|hit| !hit.spans.is_empty());
    }
    hits
}
