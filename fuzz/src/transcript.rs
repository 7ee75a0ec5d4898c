//! Conversations pasted as one text, and what is made of each text before a model reads it.

use otklik::feedback::CharSpan;
use otklik::text::{parse_transcript, prepare};

/// Reads the bytes as a text that may be a conversation. True if it is one.
pub fn run(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let turns = parse_transcript(&text);
    let spread = text.replace('\n', "\n\n  ");
    assert_eq!(parse_transcript(&spread), turns, "blank lines and indents change nothing");
    match turns {
        Some(turns) => {
            assert!(turns.len() >= 2 && turns.iter().all(|turn| !turn.text.is_empty()), "turns have words");
            let said: usize = turns.iter().map(|turn| turn.text.len()).sum();
            assert!(said <= text.len(), "nothing is said that was not written");
            turns.iter().for_each(|turn| prepared(&turn.text));
            true
        }
        None => {
            prepared(&text);
            false
        }
    }
}

fn prepared(original: &str) {
    let prepared = prepare(original);
    let (length, of_original) = (count(prepared.clean()), count(original));
    let sentences = prepared.sentences();
    assert!(sentences.is_sorted_by(|one, next| one.end <= next.start), "sentences follow one another");
    for sentence in sentences {
        assert!(!sentence.is_empty() && sentence.end <= length, "a sentence stands in the text");
        let text = prepared.sentence_text(*sentence);
        assert!(!text.is_empty() && text.trim() == text, "a sentence has no white space around it: {text:?}");
        let place = prepared.to_original(*sentence);
        assert!(place.start <= place.end && place.end <= of_original, "a sentence leads back to the original");
    }
    assert!(prepared.words().iter().all(|word| word.span.end <= length), "words stand in the text");
    assert!(prepared.to_original(CharSpan::new(0, length)).end <= of_original, "the text leads back to the original");
    prepared.unmask(prepared.clean());
}

fn count(text: &str) -> u32 {
    text.chars().count() as u32
}
