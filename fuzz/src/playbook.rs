//! Playbook files, and the drafts of those that have no problem.

use std::sync::LazyLock;

use otklik::assist::playbook::{DraftContext, Playbook, ReplyLanguage, render};
use otklik::taxonomy::Taxonomy;

static TAXONOMY: LazyLock<Taxonomy> = LazyLock::new(|| {
    Taxonomy::parse(include_str!("../../src/taxonomy/sample.toml"), "sample.toml").expect("a taxonomy without problems")
});

/// Reads the bytes as a playbook of the sample taxonomy. True if there was one.
pub fn run(bytes: &[u8]) -> bool {
    let Ok(source) = std::str::from_utf8(bytes) else { return false };
    let playbook = match Playbook::parse(source, "fuzzed.toml", &TAXONOMY) {
        Ok(playbook) => playbook,
        Err(error) => {
            let lines = source.matches('\n').count() + 1;
            assert!(!error.problems().is_empty(), "what is refused has a problem");
            assert!(error.problems().iter().all(|problem| (1..=lines).contains(&problem.line)), "{error}");
            return false;
        }
    };
    let commented = format!("{source}\n# a comment\n");
    let again = Playbook::parse(&commented, "fuzzed.toml", &TAXONOMY).expect("comments change nothing");
    assert_eq!(again.version(), playbook.version(), "comments do not count");
    for draft in playbook.drafts() {
        for language in ReplyLanguage::ALL {
            if let Ok(text) = render(draft, *language, &DraftContext::default()) {
                assert!(
                    !text.trim().is_empty() && text.chars().count() <= 20_000,
                    "a draft has words, and not too many"
                );
            }
        }
    }
    true
}
