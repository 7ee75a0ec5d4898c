//! Checks between the entries of a taxonomy file: what one entry says about another must be true.

use std::collections::HashMap;

use super::entries::{OwnershipRule, PhraseRule, RuleTarget, Topic};
use super::ownership::Conditions;
use super::phrases::normalise;
use super::problems::{Problems, did_you_mean};
use super::source::{Entry, Source};
use crate::tags::TopicId;

/// Positions of entries by id.
type Ids<'s> = HashMap<&'s str, usize>;

/// Checks a whole file; what is wrong goes into `problems`.
pub(super) fn check(source: &Source<'_>, problems: &mut Problems) {
    let mut checker = Checker { source, problems };
    let teams = checker.unique_ids(&source.teams, |team| team.id.as_str());
    let topics = checker.unique_ids(&source.topics, |topic| topic.id.as_str());
    let signals = checker.unique_ids(&source.signals, |signal| signal.id.as_str());
    checker.unique_ids(&source.ownership, |rule| &rule.id);
    checker.unique_ids(&source.rules, |(rule, _)| &rule.id);

    checker.teams(&teams);
    let tree = TopicTree::new(&source.topics, &topics);
    checker.topic_tree(&tree, &topics);
    checker.topic_examples(&tree);
    checker.signals();
    checker.ownership(&tree, &topics, &teams);
    checker.rules(&tree, &topics, &signals);
}

struct Checker<'s, 't, 'p> {
    source: &'s Source<'t>,
    problems: &'p mut Problems,
}

/// Which topic stands in which.
struct TopicTree {
    /// Position of each topic's parent, where it has one that exists.
    parent: Vec<Option<usize>>,
    has_children: Vec<bool>,
    /// True if a topic names a parent that does not exist: then a topic that looks childless may be meant as that parent.
    broken: bool,
}

impl TopicTree {
    fn new(topics: &[Entry<'_, Topic>], ids: &Ids<'_>) -> Self {
        let parent: Vec<Option<usize>> = topics
            .iter()
            .map(|topic| topic.value.parent.as_ref().and_then(|parent| ids.get(parent.as_str()).copied()))
            .collect();
        let broken = topics.iter().zip(&parent).any(|(topic, found)| topic.value.parent.is_some() && found.is_none());
        let mut has_children = vec![false; topics.len()];
        for position in parent.iter().flatten() {
            if let Some(mark) = has_children.get_mut(*position) {
                *mark = true;
            }
        }
        Self { parent, has_children, broken }
    }

    fn parent_of(&self, position: usize) -> Option<usize> {
        self.parent.get(position).copied().flatten()
    }

    fn is_group(&self, position: usize) -> bool {
        self.has_children.get(position).copied().unwrap_or(false)
    }
}

impl<'s, 't> Checker<'s, 't, '_> {
    fn unique_ids<T>(&mut self, entries: &'s [Entry<'t, T>], id_of: impl Fn(&'s T) -> &'s str) -> Ids<'s> {
        let mut ids = Ids::new();
        for (position, entry) in entries.iter().enumerate() {
            let id = id_of(&entry.value);
            if id.is_empty() {
                continue;
            }
            if let Some(first) = ids.get(id).and_then(|first| entries.get(*first)) {
                let first = first.fields.place("id");
                let line = self.problems.line_of(first.offset);
                self.problems.report_lazily(&entry.fields.place("id"), || {
                    format!("{id:?} is taken already: {} at line {line}", first.key)
                });
            } else {
                ids.insert(id, position);
            }
        }
        ids
    }

    /// Reports a reference to an entry that does not exist.
    fn refer<T>(&mut self, entry: &Entry<'_, T>, key: &str, kind: &str, id: &str, ids: &Ids<'_>) {
        if !id.is_empty() && !ids.contains_key(id) {
            self.problems.report_lazily(&entry.fields.place(key), || {
                format!("no {kind} {id:?}{}", did_you_mean(id, sorted(ids)))
            });
        }
    }

    fn teams(&mut self, teams: &Ids<'_>) {
        let triage = &self.source.triage_team;
        let id = triage.value.as_str();
        if !id.is_empty() && !teams.contains_key(id) {
            let meant = did_you_mean(id, sorted(teams));
            self.problems.report(&triage.place, format!("no team {id:?}{meant}"));
        }
        let mut next = Vec::with_capacity(self.source.teams.len());
        for team in &self.source.teams {
            let to = team.value.escalates_to.as_ref().map(|to| to.as_str());
            self.refer(team, "escalates_to", "team", to.unwrap_or_default(), teams);
            next.push(to.and_then(|to| teams.get(to).copied()));
        }
        for cycle in cycles(&next) {
            let members: Vec<_> = cycle.iter().filter_map(|position| self.source.teams.get(*position)).collect();
            if let Some(first) = members.first() {
                let chain = chain(members.iter().map(|team| team.value.id.as_str()));
                self.problems
                    .report(&first.fields.place("escalates_to"), format!("escalation goes in a circle: {chain}"));
            }
        }
    }

    fn topic_tree(&mut self, tree: &TopicTree, topics: &Ids<'_>) {
        let cycles = cycles(&tree.parent);
        for cycle in &cycles {
            let members: Vec<_> = cycle.iter().filter_map(|position| self.source.topics.get(*position)).collect();
            if let Some(first) = members.first() {
                let chain = chain(members.iter().map(|topic| topic.value.id.as_str()));
                self.problems.report(&first.fields.place("parent"), format!("parents go in a circle: {chain}"));
            }
        }
        for (position, topic) in self.source.topics.iter().enumerate() {
            let parent = topic.value.parent.as_ref().map(TopicId::as_str).unwrap_or_default();
            self.refer(topic, "parent", "topic", parent, topics);
            let above = tree.parent_of(position);
            let above_that = above.and_then(|parent| tree.parent_of(parent));
            let in_cycle = |position: usize| cycles.iter().any(|cycle| cycle.contains(&position));
            if let Some(top) = above_that.and_then(|top| self.source.topics.get(top))
                && !above.is_some_and(in_cycle)
            {
                let message = format!(
                    "more than two levels: {:?} stands in {parent:?}, which itself stands in {:?}",
                    topic.value.id.as_str(),
                    top.value.id.as_str()
                );
                self.problems.report(&topic.fields.place("parent"), message);
            }
        }
    }

    fn topic_examples(&mut self, tree: &TopicTree) {
        let mut seen: HashMap<String, (usize, usize)> = HashMap::new();
        let first_language = self.source.languages.first().map(String::as_str);
        for (position, topic) in self.source.topics.iter().enumerate() {
            if tree.is_group(position) {
                if topic.fields.has("examples") {
                    let message =
                        "a topic with topics below it has no examples of its own; give them to the topics below";
                    self.problems.report(&topic.fields.place("examples"), message);
                }
                continue;
            }
            let may_be_group = tree.broken && topic.value.parent.is_none() && !topic.fields.has("examples");
            if let Some(language) = first_language
                && !may_be_group
                && !topic.fields.has_within("examples", language)
            {
                let mut place = topic.fields.place("examples");
                place.key = format!("{}.{language}", place.key);
                self.problems
                    .report(&place, "is missing; a topic without topics below it needs examples in the first language");
            }
            for (index, example) in topic.value.examples.iter().enumerate() {
                let Some((first_topic, first_example)) = seen.insert(same_words(&example.text), (position, index))
                else {
                    continue;
                };
                let first = self.source.topics.get(first_topic).and_then(|topic| topic.examples.get(first_example));
                if let (Some(place), Some(first)) = (topic.examples.get(index), first) {
                    let line = self.problems.line_of(first.offset);
                    self.problems.report_lazily(place, || {
                        format!("the same example stands in {} at line {line}; an example is given once", first.key)
                    });
                }
            }
        }
    }

    fn signals(&mut self) {
        for signal in &self.source.signals {
            let has_rule = self.source.rules.iter().any(|entry| {
                let (rule, _) = &entry.value;
                matches!(&rule.target, RuleTarget::Signal(id) if *id == signal.value.id)
            });
            if !has_rule && !signal.fields.has("examples") && !signal.value.id.as_str().is_empty() {
                self.problems
                    .report(&signal.fields.place("examples"), "is missing; a signal needs examples or a phrase rule");
            }
            let mut seen: HashMap<String, usize> = HashMap::new();
            for (index, example) in signal.value.examples.iter().enumerate() {
                let first = seen.insert(same_words(&example.text), index).and_then(|first| signal.examples.get(first));
                if let (Some(place), Some(first)) = (signal.examples.get(index), first) {
                    self.problems.report_lazily(place, || format!("the same example stands in {}", first.key));
                }
            }
        }
    }

    fn ownership(&mut self, tree: &TopicTree, topics: &Ids<'_>, teams: &Ids<'_>) {
        let mut by_topic: HashMap<&TopicId, Vec<(&Entry<'t, OwnershipRule>, Conditions)>> = HashMap::new();
        for rule in &self.source.ownership {
            self.refer(rule, "topic", "topic", rule.value.topic.as_str(), topics);
            self.refer(rule, "team", "team", rule.value.team.as_str(), teams);
            let conditions = Conditions::of(&rule.value);
            let same_topic = by_topic.entry(&rule.value.topic).or_default();
            let rival = same_topic
                .iter()
                .find(|(_, earlier)| earlier.points() == conditions.points() && earlier.can_meet(&conditions));
            if let Some((rival, _)) = rival
                && !rule.value.topic.as_str().is_empty()
            {
                let line = self.problems.line_of(rival.fields.own_place().offset);
                self.problems.report_lazily(rule.fields.own_place(), || {
                    format!(
                        "{:?} is as specific as {:?} at line {line} and can match the same feedback of topic {:?}; add a condition to one of them",
                        rule.value.id,
                        rival.value.id,
                        rule.value.topic.as_str()
                    )
                });
            }
            same_topic.push((rule, conditions));
        }
        let always = |topic: &TopicId| {
            by_topic.get(topic).is_some_and(|rules| rules.iter().any(|(_, conditions)| conditions.points() == 0))
        };
        for (position, topic) in self.source.topics.iter().enumerate() {
            let parent = tree.parent_of(position).and_then(|parent| self.source.topics.get(parent));
            let owned = always(&topic.value.id) || parent.is_some_and(|parent| always(&parent.value.id));
            let id = topic.value.id.as_str();
            let parent_unknown = topic.value.parent.is_some() && parent.is_none();
            if !owned && !parent_unknown && !tree.is_group(position) && !id.is_empty() {
                self.problems.report_lazily(&topic.fields.place("id"), || {
                    format!(
                        "no team owns {id:?}; add an [[ownership]] rule without conditions for it or for its parent"
                    )
                });
            }
        }
    }

    fn rules(&mut self, tree: &TopicTree, topics: &Ids<'_>, signals: &Ids<'_>) {
        for entry in &self.source.rules {
            let (PhraseRule { target, speaker, .. }, _) = &entry.value;
            match target {
                RuleTarget::Topic(id) => {
                    self.refer(entry, "topic", "topic", id.as_str(), topics);
                    if topics.get(id.as_str()).is_some_and(|position| tree.is_group(*position)) {
                        let message = format!("{:?} has topics below it; a rule gives one of those", id.as_str());
                        self.problems.report(&entry.fields.place("topic"), message);
                    }
                }
                RuleTarget::Signal(id) => {
                    self.refer(entry, "signal", "signal", id.as_str(), signals);
                    let signal = signals.get(id.as_str()).and_then(|position| self.source.signals.get(*position));
                    if let (Some(signal), Some(speaker)) = (signal, speaker)
                        && !signal.value.speakers.contains(speaker)
                    {
                        let speaker = speaker.as_str();
                        let allowed: Vec<&str> = signal.value.speakers.iter().map(|speaker| speaker.as_str()).collect();
                        let message = format!(
                            "{speaker:?} can't carry the signal {:?}; allowed: {}",
                            id.as_str(),
                            allowed.join(", ")
                        );
                        self.problems.report(&entry.fields.place("speaker"), message);
                    }
                }
            }
        }
    }
}

/// Ids in alphabetical order, so that a message does not depend on how they are stored.
fn sorted<'s>(ids: &Ids<'s>) -> Vec<&'s str> {
    let mut sorted: Vec<&str> = ids.keys().copied().collect();
    sorted.sort_unstable();
    sorted
}

/// Two examples are the same if they differ in nothing but case, `ё` and white space.
fn same_words(example: &str) -> String {
    normalise(example).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The circles in a graph where each node points to at most one other; each begins with its earliest member.
fn cycles(next: &[Option<usize>]) -> Vec<Vec<usize>> {
    let mut walk_of: Vec<Option<usize>> = vec![None; next.len()];
    let mut cycles = Vec::new();
    for start in 0..next.len() {
        let mut path = Vec::new();
        let mut at = Some(start);
        while let Some(node) = at
            && let Some(walk) = walk_of.get_mut(node)
        {
            if walk.is_some() {
                if *walk == Some(start) {
                    let mut cycle: Vec<usize> = path.iter().copied().skip_while(|member| *member != node).collect();
                    let earliest = cycle.iter().enumerate().min_by_key(|(_, member)| **member).map_or(0, |(at, _)| at);
                    cycle.rotate_left(earliest);
                    cycles.push(cycle);
                }
                break;
            }
            *walk = Some(start);
            path.push(node);
            at = next.get(node).copied().flatten();
        }
    }
    cycles
}

/// `a -> b -> a`
fn chain<'i>(ids: impl Iterator<Item = &'i str>) -> String {
    let mut ids: Vec<&str> = ids.collect();
    ids.extend(ids.first().copied());
    ids.join(" -> ")
}
