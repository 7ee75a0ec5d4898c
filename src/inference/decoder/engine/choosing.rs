//! How probable each of some answers is, without saying any.
//!
//! Answers that begin alike are one until they part. Each is weighed by the tokens that tell it from the others: what follows behind the
//! last of those is settled, and a long answer is no less probable for it. So only the tokens that several answers share are read, all of
//! them in one pass, each seeing its own beginning alone.

use std::collections::HashMap;

use super::{READ, Wanted, Worker, log_probabilities};
use crate::inference::decoder::cache::Cache;
use crate::inference::{ChatMessage, LanguageModelError};

/// States whose scores are made together: enough to read the weights seldom, few enough to hold the scores of a large vocabulary.
const SCORED: usize = 16;

/// Answers as a tree of their tokens.
struct ChoiceTree {
    /// The tokens to be read, those above before those below.
    tokens: Vec<u32>,
    /// For each, the indices of the tokens above it and last its own.
    branches: Vec<Vec<usize>>,
    /// Behind the prompt, and then behind each of the tokens: which answers go on there, and with which token; `None` is the end.
    forks: Vec<Vec<(usize, Option<u32>)>>,
}

impl ChoiceTree {
    fn new(choices: &[Vec<u32>]) -> Self {
        let mut sharing: HashMap<&[u32], usize> = HashMap::new();
        for choice in choices {
            for length in 0..=choice.len() {
                *sharing.entry(choice.get(..length).unwrap_or_default()).or_default() += 1;
            }
        }
        let mut tree = Self { tokens: Vec::new(), branches: Vec::new(), forks: vec![Vec::new()] };
        let mut known: HashMap<&[u32], usize> = HashMap::new();
        for (index, choice) in choices.iter().enumerate() {
            let mut branch = Vec::new();
            for length in 0..=choice.len() {
                let beginning = choice.get(..length).unwrap_or_default();
                if sharing.get(beginning).is_none_or(|sharing| *sharing < 2) {
                    break;
                }
                let fork = match beginning.last() {
                    None => 0,
                    Some(token) => {
                        let node = *known.entry(beginning).or_insert_with(|| {
                            let node = tree.tokens.len();
                            tree.tokens.push(*token);
                            tree.branches.push(branch.iter().copied().chain([node]).collect());
                            tree.forks.push(Vec::new());
                            node
                        });
                        branch.push(node);
                        node + 1
                    }
                };
                if let Some(fork) = tree.forks.get_mut(fork) {
                    fork.push((index, choice.get(length).copied()));
                }
            }
        }
        tree
    }

    /// The tokens in parts of at most so many, each with all that stands above its tokens.
    fn parts(&self, most: usize) -> Vec<Vec<usize>> {
        let mut parts: Vec<Vec<usize>> = Vec::new();
        for branch in &self.branches {
            let missing = |part: &Vec<usize>| branch.iter().filter(|node| !part.contains(node)).count();
            match parts.last_mut().filter(|part| part.len() + missing(part) <= most) {
                Some(part) => {
                    let missing: Vec<usize> = branch.iter().copied().filter(|node| !part.contains(node)).collect();
                    part.extend(missing);
                }
                None => parts.push(branch.clone()),
            }
        }
        parts
    }
}

impl Worker {
    pub(super) fn choose(
        &mut self,
        messages: &[ChatMessage],
        choices: &[String],
        wanted: &Wanted<'_>,
    ) -> Result<Vec<f32>, LanguageModelError> {
        let of_choices: Vec<Vec<u32>> = choices.iter().map(|choice| self.vocabulary.encode_rest(choice)).collect();
        let longest = of_choices.iter().map(Vec::len).max().unwrap_or(0);
        if let Some(empty) = of_choices.iter().position(Vec::is_empty).or((longest == 0).then_some(0)) {
            let field = if choices.is_empty() { "choices".to_owned() } else { format!("choices[{empty}]") };
            return Err(LanguageModelError::Invalid { field, problem: "must say something".to_owned() });
        }
        let prompt = self.prompt(messages, longest)?;
        let mut cache = self.cache_for(&prompt)?;
        let weighed = self.weigh(&prompt, &of_choices, &mut cache, wanted);
        self.caches.push(cache);
        weighed
    }

    /// Probability of each of these answers among them all.
    fn weigh(
        &self,
        prompt: &[u32],
        choices: &[Vec<u32>],
        cache: &mut Cache,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<f32>, LanguageModelError> {
        let rest = prompt.get(cache.tokens().len()..).unwrap_or_default();
        let state = self.read(cache, rest, 1, wanted)?;
        let tree = ChoiceTree::new(choices);
        let mut weights = vec![0.0; choices.len()];
        self.add_forks(&tree, &[0], &state, &mut weights)?;
        let hidden = self.model.shape().hidden;
        let most = READ.min(self.context.saturating_sub(prompt.len()));
        let mut is_read = vec![false; tree.tokens.len()];
        for part in tree.parts(most) {
            let tokens: Vec<u32> = part.iter().filter_map(|node| tree.tokens.get(*node).copied()).collect();
            let place = |node: &usize| part.iter().position(|of_part| of_part == node);
            let of_node =
                |node: &usize| tree.branches.get(*node).map(|branch| branch.iter().filter_map(place).collect());
            let branches: Vec<Vec<usize>> = part.iter().filter_map(of_node).collect();
            let states = self.model.read_branches(&tokens, &branches, cache, &|| wanted.goes_on())?;
            let Some(states) = states else {
                wanted.check()?;
                return Err(LanguageModelError::DeadlineExceeded);
            };
            // What stands above tokens of several parts is read with each of them, and counts once.
            let (mut forks, mut of_forks) = (Vec::new(), Vec::new());
            for (node, state) in part.iter().zip(states.chunks_exact(hidden.max(1))) {
                if let Some(is_read) = is_read.get_mut(*node).filter(|is_read| !**is_read) {
                    *is_read = true;
                    forks.push(node + 1);
                    of_forks.extend_from_slice(state);
                }
            }
            for (forks, states) in forks.chunks(SCORED).zip(of_forks.chunks((SCORED * hidden).max(1))) {
                self.add_forks(&tree, forks, states, &mut weights)?;
            }
        }
        Ok(log_probabilities(weights).into_iter().map(f32::exp).collect())
    }

    /// Adds to the weight of each answer how probable its next token is at these forks, whose states are given.
    fn add_forks(
        &self,
        tree: &ChoiceTree,
        forks: &[usize],
        states: &[f32],
        weights: &mut [f32],
    ) -> Result<(), LanguageModelError> {
        let scores = self.model.scores(states)?;
        let of_fork = scores.chunks_exact(self.model.vocabulary().max(1));
        for (fork, scores) in forks.iter().zip(of_fork) {
            let Some(steps) = tree.forks.get(*fork).filter(|steps| steps.len() > 1) else { continue };
            let scores = log_probabilities(scores.get(..self.vocabulary.len()).unwrap_or(scores).to_vec());
            let of = |token: u32| scores.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
            for (choice, token) in steps {
                let weight = match token {
                    Some(token) => of(*token),
                    None => self.vocabulary.ends().iter().map(|end| of(*end)).fold(f32::NEG_INFINITY, f32::max),
                };
                if let Some(sum) = weights.get_mut(*choice) {
                    *sum += weight;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_answers_share_is_read_and_only_where_they_part_they_are_weighed() {
        let choices = [vec![1, 2, 3], vec![1, 2], vec![1, 4, 5, 6], vec![7, 8]];
        let tree = ChoiceTree::new(&choices);
        assert_eq!(tree.tokens, [1, 2]);
        assert_eq!(tree.branches, [vec![0], vec![0, 1]]);
        assert_eq!(tree.forks[0], [(0, Some(1)), (1, Some(1)), (2, Some(1)), (3, Some(7))]);
        assert_eq!(tree.forks[1], [(0, Some(2)), (1, Some(2)), (2, Some(4))]);
        assert_eq!(tree.forks[2], [(0, Some(3)), (1, None)]);
        let alone = ChoiceTree::new(&choices[3..]);
        assert!(alone.tokens.is_empty() && alone.forks[0].is_empty());
    }

    #[test]
    fn parts_hold_what_stands_above_their_tokens() {
        let choices = [vec![1, 2, 3, 4], vec![1, 2, 3, 5], vec![1, 6, 7], vec![1, 6, 8], vec![9, 9], vec![9, 8]];
        let tree = ChoiceTree::new(&choices);
        assert_eq!(tree.tokens, [1, 2, 3, 6, 9]);
        assert_eq!(tree.parts(5), [vec![0, 1, 2, 3, 4]]);
        assert_eq!(tree.parts(3), [vec![0, 1, 2], vec![0, 3, 4]]);
    }
}
