//! Which topics' cases a change of the taxonomy may have tagged otherwise.

use std::collections::BTreeSet;

use super::{OwnershipRule, PhraseRule, RuleTarget, Taxonomy, Topic};
use crate::tags::TopicId;

/// Topics by how a change of the taxonomy touches the cases that have them. A topic may stand in several lists. What a *new* topic
/// would have been given to, no list can say: only tagging anew does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AffectedTopics {
    /// Topics that only the new taxonomy can give, in its order.
    pub added: Vec<TopicId>,
    /// Topics that the new taxonomy can't give any more, in the order of the old one: they are gone, or became groups.
    pub removed: Vec<TopicId>,
    /// Topics whose names changed; tags stay as they are.
    pub renamed: Vec<TopicId>,
    /// Topics that are decided otherwise: by other examples, another sentiment or other phrase rules.
    pub changed: Vec<TopicId>,
    /// Topics whose owning team is decided by other rules.
    pub reowned: Vec<TopicId>,
}

impl AffectedTopics {
    /// What a change from `old` to `new` touches.
    pub fn between(old: &Taxonomy, new: &Taxonomy) -> Self {
        let mut affected = Self::default();
        let can_give = |taxonomy: &Taxonomy, id: &TopicId| taxonomy.topic(id).is_some() && !taxonomy.is_group(id);
        for topic in new.taggable_topics() {
            let Some(before) = old.topic(&topic.id).filter(|before| can_give(old, &before.id)) else {
                affected.added.push(topic.id.clone());
                continue;
            };
            if before.names != topic.names {
                affected.renamed.push(topic.id.clone());
            }
            let is_decided_otherwise = (&before.examples, before.sentiment) != (&topic.examples, topic.sentiment)
                || phrase_rules(old, topic) != phrase_rules(new, topic);
            if is_decided_otherwise {
                affected.changed.push(topic.id.clone());
            }
            if ownership(old, before) != ownership(new, topic) {
                affected.reowned.push(topic.id.clone());
            }
        }
        affected.removed =
            old.taggable_topics().map(|topic| topic.id.clone()).filter(|id| !can_give(new, id)).collect();
        affected
    }

    /// The topics whose cases are worth tagging anew: all but those added or only renamed, each once, by id.
    pub fn worth_retagging(&self) -> Vec<TopicId> {
        let lists = self.removed.iter().chain(&self.changed).chain(&self.reowned);
        let once: BTreeSet<&str> = lists.map(TopicId::as_str).collect();
        once.into_iter().map(TopicId::new).collect()
    }
}

fn phrase_rules<'t>(taxonomy: &'t Taxonomy, topic: &Topic) -> Vec<&'t PhraseRule> {
    let of_topic = |rule: &&PhraseRule| matches!(&rule.target, RuleTarget::Topic(id) if *id == topic.id);
    taxonomy.phrase_rules().iter().filter(of_topic).collect()
}

/// The rules that can decide for a topic: its own, and those of its group where none of its own decides always; without any, the
/// triage team.
fn ownership<'t>(taxonomy: &'t Taxonomy, topic: &Topic) -> (Vec<&'t OwnershipRule>, Option<&'t str>) {
    let of = |id: &TopicId| -> Vec<&'t OwnershipRule> {
        taxonomy.ownership_rules().iter().filter(|rule| rule.topic == *id).collect()
    };
    let mut rules = of(&topic.id);
    let decides_always =
        |rule: &&OwnershipRule| rule.product.is_none() && rule.channel.is_none() && rule.partner.is_none();
    if let Some(group) = topic.parent.as_ref().filter(|_| !rules.iter().any(decides_always)) {
        rules.extend(of(group));
    }
    let triage = rules.is_empty().then(|| taxonomy.triage_team().as_str());
    (rules, triage)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("sample.toml");

    fn ids(topics: &[TopicId]) -> Vec<&str> {
        topics.iter().map(TopicId::as_str).collect()
    }

    #[test]
    fn each_kind_of_change_names_its_topics() {
        let old = Taxonomy::parse(SAMPLE, "sample.toml").unwrap();
        let topic = old.topic(&TopicId::new("transfers")).unwrap();
        let (name, example) = (topic.names.get("ru").unwrap(), &topic.examples[0].text);
        let check = |from: &str, to: &str| {
            let changed = SAMPLE.replacen(from, to, 1);
            assert_ne!(changed, SAMPLE, "{from}");
            AffectedTopics::between(&old, &Taxonomy::parse(&changed, "changed.toml").unwrap())
        };
        let renamed = check(&format!("ru = \"{name}\""), "ru = \"Иное имя\"");
        assert_eq!(renamed, AffectedTopics { renamed: vec![topic.id.clone()], ..AffectedTopics::default() });
        assert_eq!(renamed.worth_retagging(), []);

        // Of the topics of the group, the one without a rule of its own follows the group's.
        let reowned =
            check("topic = \"money\"\nteam = \"contact_centre\"", "topic = \"money\"\nteam = \"partnerships\"");
        assert_eq!(reowned, AffectedTopics { reowned: vec![topic.id.clone()], ..AffectedTopics::default() });

        let changed = check(example, "Совсем другой пример");
        assert_eq!(changed, AffectedTopics { changed: vec![topic.id.clone()], ..AffectedTopics::default() });
        assert_eq!(changed.worth_retagging(), std::slice::from_ref(&topic.id));
    }

    #[test]
    fn a_topic_under_another_id_is_removed_and_added() {
        let old = Taxonomy::parse(SAMPLE, "sample.toml").unwrap();
        let topic = old.taggable_topics().last().unwrap();
        let id = topic.id.as_str();
        let source = SAMPLE.replace(&format!("\"{id}\""), "\"another_id\"");
        let affected = AffectedTopics::between(&old, &Taxonomy::parse(&source, "changed.toml").unwrap());
        assert_eq!((ids(&affected.added), ids(&affected.removed)), (vec!["another_id"], vec![id]));
        assert!(affected.worth_retagging().contains(&topic.id));
    }

    #[test]
    fn nothing_is_affected_by_what_says_the_same() {
        let old = Taxonomy::parse(SAMPLE, "sample.toml").unwrap();
        let same = Taxonomy::parse(&format!("# a comment\n{SAMPLE}"), "same.toml").unwrap();
        assert_eq!(AffectedTopics::between(&old, &same), AffectedTopics::default());
    }
}
