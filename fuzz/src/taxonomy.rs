//! Taxonomy files, and the rules and owners of those that have no problem.

use otklik::feedback::Speaker;
use otklik::taxonomy::{OwnershipContext, RuleText, RuleWord, Taxonomy, diff};
use otklik::text::prepare;

/// Reads the bytes as a taxonomy. True if there was one.
pub fn run(bytes: &[u8]) -> bool {
    let Ok(source) = std::str::from_utf8(bytes) else { return false };
    let taxonomy = match Taxonomy::parse(source, "fuzzed.toml") {
        Ok(taxonomy) => taxonomy,
        Err(error) => {
            let lines = source.matches('\n').count() + 1;
            assert!(!error.problems().is_empty(), "what is refused has a problem");
            assert!(error.problems().iter().all(|problem| (1..=lines).contains(&problem.line)), "{error}");
            return false;
        }
    };
    let commented = format!("{source}\n# a comment\n");
    let again = Taxonomy::parse(&commented, "fuzzed.toml").expect("comments change nothing");
    assert_eq!(again.version(), taxonomy.version(), "comments do not count");
    assert!(diff(&taxonomy, &again).is_empty(), "the same version differs in nothing");
    for topic in taxonomy.topics() {
        for partner in [None, Some("partner")] {
            let owner = taxonomy.owner(&topic.id, &OwnershipContext { partner, ..OwnershipContext::default() });
            assert!(taxonomy.team(&owner.team).is_some(), "an owner is one of the teams");
        }
    }
    rules(&taxonomy);
    true
}

fn rules(taxonomy: &Taxonomy) {
    for text in super::TEXTS {
        let prepared = prepare(text);
        let lower = prepared.clean().to_lowercase().replace('ё', "е");
        let length = lower.chars().count() as u32;
        if length as usize != prepared.clean().chars().count() {
            continue;
        }
        let words: Vec<RuleWord<'_>> = prepared
            .words()
            .iter()
            .map(|word| RuleWord { span: word.span, lower: &word.lower, stem: &word.stem })
            .collect();
        let sentences = prepared.sentences();
        for speaker in Speaker::ALL {
            let hits = taxonomy.match_rules(&[RuleText { words: &words, lower: &lower, sentences, speaker: *speaker }]);
            for hit in hits {
                assert!(taxonomy.phrase_rules().iter().any(|rule| rule.id == hit.rule_id), "a rule of the file fired");
                let are_inside = hit.spans.iter().all(|(text, span)| *text == 0 && span.end <= length);
                assert!(!hit.spans.is_empty() && are_inside, "a hit rests on words of the text");
            }
        }
    }
}
