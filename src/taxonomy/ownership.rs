//! Which team owns a topic: the most specific ownership rule wins.
//!
//! A rule for the topic itself goes before one for the group above it. Among those, each condition on a named product, channel
//! or partner counts two points and each `*` one; the most points win. Two rules of one topic with as many points that can match
//! the same feedback are refused when the taxonomy is read, so that exactly one team owns each topic.

use std::collections::HashMap;

use super::entries::OwnershipRule;
use crate::tags::{TeamId, TopicId};

/// The value of a condition that any given value meets.
const ANY: &str = "*";

/// What ownership rules look at beside the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnershipContext<'a> {
    /// The product, if known.
    pub product: Option<&'a str>,
    /// The channel, if known.
    pub channel: Option<&'a str>,
    /// The partner, if known.
    pub partner: Option<&'a str>,
}

/// The team that owns a topic in a context, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The team.
    pub team: TeamId,
    /// The ownership rule that decided; `None` when none did and the triage team takes it.
    pub rule_id: Option<String>,
    /// What the rule matched, in words: `topic cards, channel branch`.
    pub reason: String,
    /// Where the case goes when the team does not solve it.
    pub escalates_to: Option<TeamId>,
}

/// The conditions of one rule, ready to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conditions {
    /// Product, channel, partner: in lower case.
    wanted: [Option<String>; 3],
}

impl Conditions {
    pub fn of(rule: &OwnershipRule) -> Self {
        Self { wanted: [&rule.product, &rule.channel, &rule.partner].map(|value| value.as_deref().map(fold)) }
    }

    /// How specific the conditions are: 0 for none, up to 6.
    pub fn points(&self) -> u32 {
        self.wanted.iter().flatten().map(|value| if value == ANY { 1 } else { 2 }).sum()
    }

    /// True if some feedback meets both.
    pub fn can_meet(&self, other: &Conditions) -> bool {
        self.wanted.iter().zip(&other.wanted).all(|pair| match pair {
            (Some(one), Some(two)) => one == two || one == ANY || two == ANY,
            _ => true,
        })
    }

    fn met_by(&self, given: &[Option<String>; 3]) -> bool {
        self.wanted.iter().zip(given).all(|pair| match pair {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(given)) => wanted == ANY || wanted == given,
        })
    }
}

/// Values are compared without regard to case and to white space around them; an empty value is no value.
fn fold(value: &str) -> String {
    value.trim().to_lowercase()
}

#[derive(Debug, Clone)]
struct Candidate {
    rule: OwnershipRule,
    conditions: Conditions,
}

/// The ownership rules by topic, the most specific first.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnershipTable {
    by_topic: HashMap<TopicId, Vec<Candidate>>,
}

impl OwnershipTable {
    pub fn new(rules: &[OwnershipRule]) -> Self {
        let mut by_topic: HashMap<TopicId, Vec<Candidate>> = HashMap::new();
        for rule in rules {
            let candidate = Candidate { rule: rule.clone(), conditions: Conditions::of(rule) };
            by_topic.entry(rule.topic.clone()).or_default().push(candidate);
        }
        for candidates in by_topic.values_mut() {
            candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.conditions.points()));
        }
        Self { by_topic }
    }

    /// The rule that decides for a topic, standing in the group `parent`, in a context.
    pub fn decide(
        &self,
        topic: &TopicId,
        parent: Option<&TopicId>,
        context: &OwnershipContext<'_>,
    ) -> Option<&OwnershipRule> {
        let given = [context.product, context.channel, context.partner]
            .map(|value| value.map(fold).filter(|value| !value.is_empty()));
        let own_first = std::iter::once(topic).chain(parent);
        own_first
            .filter_map(|topic| self.by_topic.get(topic))
            .flatten()
            .find(|candidate| candidate.conditions.met_by(&given))
            .map(|candidate| &candidate.rule)
    }
}

/// What a rule matched, in words.
pub(super) fn reason(rule: &OwnershipRule, context: &OwnershipContext<'_>) -> String {
    let mut words = format!("topic {}", rule.topic);
    let conditions = [
        ("product", &rule.product, context.product),
        ("channel", &rule.channel, context.channel),
        ("partner", &rule.partner, context.partner),
    ];
    for (name, wanted, given) in conditions {
        if let Some(wanted) = wanted {
            let shown = if wanted == ANY { given.map_or(ANY, str::trim) } else { wanted };
            words.push_str(&format!(", {name} {shown}"));
        }
    }
    words
}
