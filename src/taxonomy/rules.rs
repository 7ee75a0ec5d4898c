//! Phrase rules against texts: which rules fire, and on which words.
//!
//! Phrases are indexed by their first word, so a text pays for the phrases that begin with one of its words and not for all there
//! are. A phrase never reaches over the end of a sentence.

use std::collections::{BTreeSet, HashMap};

use super::entries::{PhraseRule, RuleTarget, Within};
use super::patterns::{GatedRegex, Patterns};
use super::phrases::{Phrase, WordPattern};
use crate::feedback::{CharSpan, Speaker};
use crate::tags::Confidence;

/// A text as rules see it: a plain text, or one turn of a conversation.
#[derive(Debug, Clone, Copy)]
pub struct RuleText<'a> {
    /// Its words, in order.
    pub words: &'a [RuleWord<'a>],
    /// The whole in lower case with `е` for `ё`, of the same length in characters as the text that spans count in.
    pub lower: &'a str,
    /// Its sentences, in order; none is the same as one sentence.
    pub sentences: &'a [CharSpan],
    /// Who speaks; plain texts are a customer's.
    pub speaker: Speaker,
}

/// A word as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct RuleWord<'a> {
    /// Where it stands, in characters of the text.
    pub span: CharSpan,
    /// In lower case, with `е` for `ё`.
    pub lower: &'a str,
    /// Its Snowball stem: Russian for Cyrillic letters, English for Latin ones.
    pub stem: &'a str,
}

/// A phrase rule that fired.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleHit {
    /// The rule.
    pub rule_id: String,
    /// What it gives.
    pub target: RuleTarget,
    /// How sure it is.
    pub confidence: Confidence,
    /// The words it rests on: index of the text and place in it, in order, none overlapping another; never empty.
    pub spans: Vec<(usize, CharSpan)>,
}

/// One sentence of one text.
type SentenceKey = (usize, usize);

/// The places where one phrase occurs, in order.
type Occurrences = Vec<(SentenceKey, CharSpan)>;

#[derive(Debug, Clone)]
struct CompiledRule {
    rule: PhraseRule,
    speakers: Vec<Speaker>,
    /// Phrases of which one must occur where the rule fires; empty for a regular expression alone.
    triggers: Vec<usize>,
    any_of: Vec<usize>,
    all_of: Vec<usize>,
    none_of: Vec<usize>,
    regex: Option<GatedRegex>,
}

/// All phrase rules of a taxonomy, indexed.
#[derive(Debug, Clone, Default)]
pub(super) struct RuleSet {
    rules: Vec<CompiledRule>,
    phrases: Vec<Phrase>,
    /// Phrases by the stem, the exact form or the beginning of their first word.
    by_stem: HashMap<String, Vec<usize>>,
    by_exact: HashMap<String, Vec<usize>>,
    by_prefix: HashMap<String, Vec<usize>>,
    /// The lengths in bytes that beginnings have.
    prefix_lengths: BTreeSet<usize>,
    /// For each phrase, the rules that may fire when it occurs.
    rules_of_phrase: Vec<Vec<usize>>,
    /// Rules of a regular expression alone.
    regex_only: Vec<usize>,
}

impl RuleSet {
    /// Indexes rules; `speakers_of` says who can carry a target.
    pub fn new(rules: Vec<(PhraseRule, Patterns)>, speakers_of: impl Fn(&RuleTarget) -> Vec<Speaker>) -> Self {
        let mut set = Self::default();
        let mut known: HashMap<Phrase, usize> = HashMap::new();
        for (position, (rule, patterns)) in rules.into_iter().enumerate() {
            let mut intern = |phrases: Vec<Phrase>| -> Vec<usize> {
                phrases.into_iter().map(|phrase| set.intern(phrase, &mut known)).collect()
            };
            let (any_of, all_of, none_of) =
                (intern(patterns.any_of), intern(patterns.all_of), intern(patterns.none_of));
            let triggers = if any_of.is_empty() { all_of.iter().take(1).copied().collect() } else { any_of.clone() };
            for trigger in &triggers {
                if let Some(rules) = set.rules_of_phrase.get_mut(*trigger) {
                    rules.push(position);
                }
            }
            if triggers.is_empty() {
                set.regex_only.push(position);
            }
            let speakers = rule.speaker.map_or_else(|| speakers_of(&rule.target), |speaker| vec![speaker]);
            set.rules.push(CompiledRule { rule, speakers, triggers, any_of, all_of, none_of, regex: patterns.regex });
        }
        set
    }

    fn intern(&mut self, phrase: Phrase, known: &mut HashMap<Phrase, usize>) -> usize {
        if let Some(id) = known.get(&phrase) {
            return *id;
        }
        let id = self.phrases.len();
        let (index, key) = match phrase.first() {
            WordPattern::Stem(stem) => (&mut self.by_stem, stem),
            WordPattern::Exact(lower) => (&mut self.by_exact, lower),
            WordPattern::Prefix(prefix) => {
                self.prefix_lengths.insert(prefix.len());
                (&mut self.by_prefix, prefix)
            }
        };
        index.entry(key.clone()).or_default().push(id);
        known.insert(phrase.clone(), id);
        self.phrases.push(phrase);
        self.rules_of_phrase.push(Vec::new());
        id
    }

    /// The rules that fire, in the order of the taxonomy.
    pub fn match_rules(&self, texts: &[RuleText<'_>]) -> Vec<RuleHit> {
        if self.rules.is_empty() {
            return Vec::new();
        }
        let texts: Vec<SplitText<'_>> = texts.iter().map(SplitText::new).collect();
        let mut found: HashMap<usize, Occurrences> = HashMap::new();
        for (index, text) in texts.iter().enumerate() {
            self.find_phrases(index, text, &mut found);
        }
        let mut candidates: BTreeSet<usize> = self.regex_only.iter().copied().collect();
        for phrase in found.keys() {
            candidates.extend(self.rules_of_phrase.get(*phrase).into_iter().flatten());
        }
        candidates
            .iter()
            .filter_map(|position| self.rules.get(*position))
            .filter_map(|rule| rule.fire(&texts, &found))
            .collect()
    }

    fn find_phrases(&self, text_index: usize, text: &SplitText<'_>, found: &mut HashMap<usize, Occurrences>) {
        for (sentence_index, sentence) in text.sentences.iter().enumerate() {
            for (at, word) in sentence.words.iter().enumerate() {
                let rest = sentence.words.get(at..).unwrap_or_default();
                let by_stem = self.by_stem.get(word.stem);
                let by_exact = self.by_exact.get(word.lower);
                let beginnings =
                    self.prefix_lengths.range(..=word.lower.len()).filter_map(|length| word.lower.get(..*length));
                let by_prefix = beginnings.filter_map(|beginning| self.by_prefix.get(beginning));
                for id in by_stem.into_iter().chain(by_exact).chain(by_prefix).flatten() {
                    let Some(taken) = self.phrases.get(*id).and_then(|phrase| phrase.words_matched(rest)) else {
                        continue;
                    };
                    let end = rest.get(..taken).and_then(<[_]>::last).map_or(word.span.end, |last| last.span.end);
                    let place = ((text_index, sentence_index), CharSpan::new(word.span.start, end));
                    found.entry(*id).or_default().push(place);
                }
            }
        }
    }
}

impl CompiledRule {
    fn fire(&self, texts: &[SplitText<'_>], found: &HashMap<usize, Occurrences>) -> Option<RuleHit> {
        let mut spans = match self.rule.within {
            Within::Text => self.evidence(texts, found, None)?,
            Within::Sentence => {
                let mut spans = Vec::new();
                for key in self.sentences_to_look_at(texts, found) {
                    spans.extend(self.evidence(texts, found, Some(key)).into_iter().flatten());
                }
                spans
            }
        };
        if spans.is_empty() {
            return None;
        }
        merge_overlapping(&mut spans);
        let PhraseRule { id, target, confidence, .. } = &self.rule;
        Some(RuleHit { rule_id: id.clone(), target: target.clone(), confidence: *confidence, spans })
    }

    /// The sentences that can meet the rule.
    fn sentences_to_look_at(
        &self,
        texts: &[SplitText<'_>],
        found: &HashMap<usize, Occurrences>,
    ) -> BTreeSet<SentenceKey> {
        if self.triggers.is_empty() {
            let all = texts.iter().enumerate();
            return all
                .flat_map(|(text, split)| (0..split.sentences.len()).map(move |sentence| (text, sentence)))
                .collect();
        }
        self.triggers.iter().filter_map(|phrase| found.get(phrase)).flatten().map(|(key, _)| *key).collect()
    }

    /// The words that the rule rests on, in one sentence or in all that its speakers said; `None` if it does not hold there.
    fn evidence(
        &self,
        texts: &[SplitText<'_>],
        found: &HashMap<usize, Occurrences>,
        only: Option<SentenceKey>,
    ) -> Option<Vec<(usize, CharSpan)>> {
        let speaks = |text: usize| texts.get(text).is_some_and(|split| self.speakers.contains(&split.text.speaker));
        let places_of = |phrase: &usize| -> Vec<(usize, CharSpan)> {
            let mut places = found.get(phrase).map(Vec::as_slice).unwrap_or_default();
            if let Some(only) = only {
                let from = places.partition_point(|(key, _)| *key < only);
                let until = places.partition_point(|(key, _)| *key <= only);
                places = places.get(from..until).unwrap_or_default();
            }
            places.iter().filter(|(key, _)| speaks(key.0)).map(|(key, span)| (key.0, *span)).collect()
        };
        if self.none_of.iter().any(|phrase| !places_of(phrase).is_empty()) {
            return None;
        }
        let mut spans: Vec<(usize, CharSpan)> = self.any_of.iter().flat_map(places_of).collect();
        if spans.is_empty() && !self.any_of.is_empty() {
            return None;
        }
        for phrase in &self.all_of {
            let places = places_of(phrase);
            if places.is_empty() {
                return None;
            }
            spans.extend(places);
        }
        if let Some(regex) = &self.regex {
            let ranges: Vec<(usize, CharSpan)> = match only {
                None => texts.iter().enumerate().map(|(text, split)| (text, split.whole())).collect(),
                Some((text, sentence)) => vec![(text, texts.get(text)?.sentences.get(sentence)?.span)],
            };
            let mut holds = false;
            for (text, range) in ranges.into_iter().filter(|(text, _)| speaks(*text)) {
                for span in texts.get(text)?.find(regex, range) {
                    holds = true;
                    // What takes in all of it (`^.{0,90}$`) is a condition on the text; the phrases are what the rule rests on.
                    let condition_only = span.is_empty() || (span == range && !self.triggers.is_empty());
                    if !condition_only {
                        spans.push((text, span));
                    }
                }
            }
            if !holds {
                return None;
            }
        }
        Some(spans)
    }
}

struct Sentence<'t> {
    span: CharSpan,
    words: &'t [RuleWord<'t>],
}

/// A text with its words shared out among its sentences.
struct SplitText<'t> {
    text: &'t RuleText<'t>,
    sentences: Vec<Sentence<'t>>,
    /// Byte offset of each character of the lower-case text, and of its end.
    byte_offsets: Vec<usize>,
}

impl<'t> SplitText<'t> {
    fn new(text: &'t RuleText<'t>) -> Self {
        let mut byte_offsets: Vec<usize> = text.lower.char_indices().map(|(byte, _)| byte).collect();
        byte_offsets.push(text.lower.len());
        let mut split = Self { text, sentences: Vec::with_capacity(text.sentences.len().max(1)), byte_offsets };
        let mut from = 0;
        for (index, span) in text.sentences.iter().enumerate() {
            // A word between two sentences goes with the one before it, so that none is lost.
            let until = match text.sentences.get(index + 1) {
                Some(next) => {
                    from + text
                        .words
                        .get(from..)
                        .unwrap_or_default()
                        .partition_point(|word| word.span.start < next.start)
                }
                None => text.words.len(),
            };
            split.sentences.push(Sentence { span: *span, words: text.words.get(from..until).unwrap_or_default() });
            from = until;
        }
        if split.sentences.is_empty() {
            split.sentences.push(Sentence { span: split.whole(), words: text.words });
        }
        split
    }

    fn whole(&self) -> CharSpan {
        CharSpan::new(0, u32::try_from(self.byte_offsets.len() - 1).unwrap_or(u32::MAX))
    }

    fn byte_of(&self, character: u32) -> usize {
        self.byte_offsets.get(character as usize).copied().unwrap_or(self.text.lower.len())
    }

    /// The matches of a regular expression in one range, which stands for it as a text of its own.
    fn find<'r>(&'r self, regex: &'r GatedRegex, range: CharSpan) -> impl Iterator<Item = CharSpan> + 'r {
        let from = self.byte_of(range.start);
        let slice = self.text.lower.get(from..self.byte_of(range.end)).unwrap_or_default();
        let character_of = move |byte: usize| {
            let before = self.byte_offsets.partition_point(|offset| *offset < byte + from);
            u32::try_from(before).unwrap_or(u32::MAX)
        };
        regex.find_iter(slice).map(move |found| CharSpan::new(character_of(found.start()), character_of(found.end())))
    }
}

fn merge_overlapping(spans: &mut Vec<(usize, CharSpan)>) {
    spans.sort();
    let mut merged: Vec<(usize, CharSpan)> = Vec::with_capacity(spans.len());
    for (text, span) in spans.drain(..) {
        match merged.last_mut() {
            Some((last_text, last)) if *last_text == text && last.overlaps(span) => last.end = last.end.max(span.end),
            _ => merged.push((text, span)),
        }
    }
    *spans = merged;
}
