//! Rows that a head learns, put together from several places.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::text::prepare;
use crate::training::LabelledRow;

/// Letters and digits that two posts must begin with to be the same, but for links and names.
const SAME_LETTERS: usize = 60;

/// Rows with what else there is to know of each.
#[derive(Default)]
pub(super) struct Rows {
    pub rows: Vec<LabelledRow>,
    /// Weight of an error on each row.
    pub weights: Vec<f32>,
    /// Rows that are never held out, rising.
    pub aside: Vec<usize>,
    /// Rows that were written for the project.
    pub own: usize,
    texts: HashSet<String>,
}

impl Rows {
    /// Adds an example; a text that is here already is left out.
    pub fn add(&mut self, text: &str, label: &str, weight: f32) {
        if self.insert(prepare(text).clean(), label, weight) {
            self.own += 1;
        }
    }

    /// Adds an example that is learnt and never held out.
    pub fn add_aside(&mut self, text: &str, label: &str, weight: f32) {
        self.aside.push(self.rows.len());
        if self.insert(prepare(text).clean(), label, weight) {
            self.own += 1;
        } else {
            self.aside.pop();
        }
    }

    /// Adds the posts of one table, of almost the same ones the first, and at most as many of the most frequent kind, `plain`, as
    /// of the others together: most of those are news and advertising.
    pub fn add_posts(&mut self, posts: &[LabelledRow], plain: &str) {
        let mut seen = HashSet::new();
        let distinct: Vec<&LabelledRow> = posts.iter().filter(|post| seen.insert(gist(&post.text))).collect();
        let (mut plain, others): (Vec<&LabelledRow>, Vec<&LabelledRow>) =
            distinct.into_iter().partition(|post| post.labels.iter().any(|label| label == plain));
        // In an order that has nothing to do with the table's.
        plain.sort_by_cached_key(|post| Sha256::digest(&post.text));
        plain.truncate(others.len());
        for post in others.into_iter().chain(plain) {
            let Some(label) = post.labels.first() else { continue };
            self.aside.push(self.rows.len());
            if !self.insert(&post.text, label, 1.0) {
                self.aside.pop();
            }
        }
    }

    fn insert(&mut self, text: &str, label: &str, weight: f32) -> bool {
        if !self.texts.insert(text.to_owned()) {
            return false;
        }
        let number = self.rows.len() as u64 + 1;
        self.rows.push(LabelledRow { number, text: text.to_owned(), labels: vec![label.to_owned()] });
        self.weights.push(weight);
        true
    }
}

/// What a post says, without links, names of people and signs.
fn gist(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| !word.starts_with("http") && !word.starts_with(['@', '[']));
    let letters = words.flat_map(str::chars).filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase);
    letters.take(SAME_LETTERS).collect()
}
