//! Feedback on its way in.

use std::collections::{BTreeMap, HashMap};

use tonic::Status;

use super::{Faults, enums, time};
use crate::config::LimitsConfig;
use crate::feedback::{Body, Feedback, Score, ScoreMetric, Turn};
use crate::server::wire::v1;

/// Checks feedback and makes it the domain's; `path` leads to it in the request.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn feedback(
    given: Option<v1::Feedback>,
    path: &str,
    limits: &LimitsConfig,
) -> Result<Feedback, Status> {
    let Some(given) = given else { return Err(Faults::one(path, "must be given")) };
    let mut faults = Faults::default();
    let at = |field: &str| format!("{path}.{field}");
    if !given.id.is_empty() {
        check_id(&given.id, &at("id"), limits, &mut faults);
    }
    let mut name = |text: String, field: &str| {
        let given = (!text.is_empty()).then_some(text)?;
        check_id(&given, &at(field), limits, &mut faults);
        Some(given)
    };
    let channel = name(given.channel, "channel");
    let touchpoint = name(given.touchpoint, "touchpoint");
    let customer_id = name(given.customer_id, "customer_id");
    let product = name(given.product, "product");
    let partner = name(given.partner, "partner");
    let feedback = Feedback {
        id: given.id,
        kind: enums::optional::<v1::FeedbackKind>(given.kind, &at("kind"), &mut faults),
        body: body(given.text, given.turns, path, limits, &mut faults),
        channel,
        touchpoint,
        score: given.score.and_then(|given| score(given, &at("score"), &mut faults)),
        customer_id,
        product,
        partner,
        occurred_at: time::timestamp(given.occurred_at, &at("occurred_at"), &mut faults),
        attributes: attributes(given.attributes, &at("attributes"), limits, &mut faults),
    };
    faults.or(feedback)
}

/// The id of feedback as it is echoed beside a result: as given, cut where an id has to end.
pub(in crate::server) fn echoed_id(given: Option<&v1::Feedback>, limits: &LimitsConfig) -> String {
    given.map(|feedback| feedback.id.chars().take(limits.max_id_chars).collect()).unwrap_or_default()
}

/// Checks an id or a name: not empty, not too long, nothing invisible.
pub(in crate::server) fn check_id(text: &str, path: &str, limits: &LimitsConfig, faults: &mut Faults) {
    let most = limits.max_id_chars;
    if text.is_empty() || is_longer(text, most) || text.chars().any(char::is_control) {
        faults.add(
            path,
            format!("must be 1 to {most} characters (limits.max_id_chars), none of them a control character"),
        );
    }
}

/// Checks a text on its own.
pub(super) fn check_text(text: &str, path: &str, limits: &LimitsConfig, faults: &mut Faults) {
    if text.trim().is_empty() {
        faults.add(path, "must not be empty");
    } else if is_longer(text, limits.max_text_chars) {
        faults.add(path, too_long(limits));
    }
}

fn body(text: String, turns: Vec<v1::Turn>, path: &str, limits: &LimitsConfig, faults: &mut Faults) -> Body {
    if turns.is_empty() {
        check_text(&text, &format!("{path}.text"), limits, faults);
        return Body::Text(text);
    }
    let turns_path = format!("{path}.turns");
    if !text.is_empty() {
        faults.add(format!("{path}.text"), "must be empty when turns are given");
    }
    if turns.len() > limits.max_turns {
        let problem = format!("must be at most {} turns (limits.max_turns), not {}", limits.max_turns, turns.len());
        faults.add(turns_path, problem);
        return Body::Turns(Vec::new());
    }
    let chars: usize = turns.iter().map(|turn| turn.text.chars().count()).sum();
    if chars > limits.max_text_chars {
        faults.add(turns_path.as_str(), too_long(limits));
    } else if turns.iter().all(|turn| turn.text.trim().is_empty()) {
        faults.add(turns_path.as_str(), "must not all be empty");
    }
    let turns = turns.into_iter().enumerate().filter_map(|(index, turn)| {
        let speaker = enums::required::<v1::Speaker>(turn.speaker, &format!("{turns_path}[{index}].speaker"), faults)?;
        Some(Turn { speaker, text: turn.text, offset_ms: turn.offset_ms })
    });
    Body::Turns(turns.collect())
}

pub(super) fn score(given: v1::Score, path: &str, faults: &mut Faults) -> Option<Score> {
    let metric = enums::required::<v1::ScoreMetric>(given.metric, &format!("{path}.metric"), faults)?;
    let scale_path = format!("{path}.scale_max");
    let scale_max = match (metric, given.scale_max) {
        (ScoreMetric::Nps | ScoreMetric::Enps, 0.0) => 10.0,
        (ScoreMetric::Nps | ScoreMetric::Enps, given) if given != 10.0 => {
            faults.add(scale_path, format!("must be 10, or not given, for {metric}"));
            return None;
        }
        (ScoreMetric::Stars, 0.0) => 5.0,
        (_, given) if given.is_finite() && given > 0.0 => given,
        _ => {
            faults.add(scale_path, "must be above 0");
            return None;
        }
    };
    if !(0.0..=scale_max).contains(&given.value) {
        faults.add(format!("{path}.value"), format!("must be from 0 to {scale_max}"));
        return None;
    }
    Some(Score { metric, value: given.value, scale_max })
}

fn attributes(
    given: HashMap<String, String>,
    path: &str,
    limits: &LimitsConfig,
    faults: &mut Faults,
) -> BTreeMap<String, String> {
    if given.len() > limits.max_attributes {
        let problem = format!("must be at most {} (limits.max_attributes), not {}", limits.max_attributes, given.len());
        faults.add(path, problem);
        return BTreeMap::new();
    }
    let attributes: BTreeMap<_, _> = given.into_iter().collect();
    for (key, value) in &attributes {
        let most = limits.max_attribute_chars;
        if key.is_empty() || is_longer(key, limits.max_id_chars) || key.chars().any(char::is_control) {
            check_id(key, &format!("{path} (a key)"), limits, faults);
        } else if is_longer(value, most) {
            let problem = format!("must be at most {most} characters (limits.max_attribute_chars)");
            faults.add(format!("{path}[{key:?}]"), problem);
        }
    }
    attributes
}

fn too_long(limits: &LimitsConfig) -> String {
    format!("must be at most {} characters (limits.max_text_chars)", limits.max_text_chars)
}

/// True if `text` has more than `most` characters. Reads no more of it than it must.
fn is_longer(text: &str, most: usize) -> bool {
    text.len() > most && text.chars().nth(most).is_some()
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;

    fn limits() -> LimitsConfig {
        LimitsConfig {
            max_text_chars: 10,
            max_turns: 2,
            max_attributes: 1,
            max_attribute_chars: 4,
            max_id_chars: 8,
            ..LimitsConfig::default()
        }
    }

    fn text(text: &str) -> v1::Feedback {
        v1::Feedback { text: text.into(), ..Default::default() }
    }

    fn turns(turns: &[(v1::Speaker, &str)]) -> v1::Feedback {
        let turns = turns.iter().map(|(speaker, text)| v1::Turn {
            speaker: (*speaker).into(),
            text: (*text).to_owned(),
            offset_ms: None,
        });
        v1::Feedback { turns: turns.collect(), ..Default::default() }
    }

    fn scored(metric: v1::ScoreMetric, value: f64, scale_max: f64) -> v1::Feedback {
        v1::Feedback { score: Some(v1::Score { metric: metric.into(), value, scale_max }), ..text("ок") }
    }

    fn attributed(pairs: &[(&str, &str)]) -> v1::Feedback {
        let attributes = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        v1::Feedback { attributes, ..text("ок") }
    }

    #[test]
    fn what_is_sound_arrives_whole() {
        let given = v1::Feedback {
            id: "ид-1".into(),
            kind: v1::FeedbackKind::Review.into(),
            text: "десять !!!".into(),
            channel: "chat".into(),
            customer_id: "c1".into(),
            partner: "p".into(),
            occurred_at: Some(prost_types::Timestamp { seconds: 5, nanos: 0 }),
            attributes: [("k".to_owned(), "v".to_owned())].into(),
            ..scored(v1::ScoreMetric::Nps, 10.0, 0.0)
        };
        let feedback = feedback(Some(given), "feedback", &limits()).unwrap();
        assert_eq!(feedback.id, "ид-1");
        assert_eq!(feedback.kind, Some(crate::feedback::FeedbackKind::Review));
        assert_eq!(feedback.body, Body::Text("десять !!!".into()));
        assert_eq!((feedback.channel.as_deref(), feedback.touchpoint), (Some("chat"), None));
        assert_eq!((feedback.customer_id.as_deref(), feedback.partner.as_deref()), (Some("c1"), Some("p")));
        assert_eq!(feedback.score, Some(Score { metric: ScoreMetric::Nps, value: 10.0, scale_max: 10.0 }));
        assert_eq!(feedback.occurred_at, jiff::Timestamp::from_second(5).ok());
        assert_eq!(feedback.attributes.get("k").map(String::as_str), Some("v"));
    }

    #[test]
    fn each_fault_is_told_under_its_field() {
        use v1::{ScoreMetric as Metric, Speaker};
        let id = |id: &str| v1::Feedback { id: id.into(), ..text("ок") };
        for (given, field, part) in [
            (text(""), "f.text", "must not be empty"),
            (text(" \n\t"), "f.text", "must not be empty"),
            (text("одиннадцать"), "f.text", "at most 10 characters (limits.max_text_chars)"),
            (id("девятьсим"), "f.id", "1 to 8 characters (limits.max_id_chars)"),
            (id("a\nb"), "f.id", "none of them a control character"),
            (v1::Feedback { channel: "девятьсим".into(), ..text("ок") }, "f.channel", "1 to 8 characters"),
            (v1::Feedback { kind: 77, ..text("ок") }, "f.kind", "a value of FeedbackKind, not 77"),
            (turns(&[(Speaker::Customer, " "), (Speaker::Operator, "")]), "f.turns", "must not all be empty"),
            (turns(&[(Speaker::Unspecified, "ок")]), "f.turns[0].speaker", "must be given"),
            (turns(&[(Speaker::Customer, "пять!"), (Speaker::Customer, "шесть!")]), "f.turns", "at most 10 characters"),
            (turns(&[(Speaker::Customer, "а"); 3]), "f.turns", "at most 2 turns (limits.max_turns), not 3"),
            (
                v1::Feedback { text: "x".into(), ..turns(&[(Speaker::Customer, "ок")]) },
                "f.text",
                "must be empty when turns",
            ),
            (scored(Metric::Unspecified, 1.0, 5.0), "f.score.metric", "must be given"),
            (scored(Metric::Nps, 11.0, 0.0), "f.score.value", "from 0 to 10"),
            (scored(Metric::Nps, 1.0, 5.0), "f.score.scale_max", "must be 10"),
            (scored(Metric::Csat, 1.0, 0.0), "f.score.scale_max", "must be above 0"),
            (scored(Metric::Csat, 1.0, f64::INFINITY), "f.score.scale_max", "must be above 0"),
            (scored(Metric::Stars, f64::NAN, 0.0), "f.score.value", "from 0 to 5"),
            (
                v1::Feedback { occurred_at: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }), ..text("ок") },
                "f.occurred_at",
                "must be a time",
            ),
            (attributed(&[("a", "1"), ("b", "2")]), "f.attributes", "at most 1 (limits.max_attributes), not 2"),
            (attributed(&[("", "1")]), "f.attributes (a key)", "1 to 8 characters"),
            (attributed(&[("цвет", "пять!")]), "f.attributes[\"цвет\"]", "at most 4 characters"),
        ] {
            let shown = format!("{given:?}");
            let status = feedback(Some(given), "f", &limits()).expect_err(&shown);
            assert_eq!(status.code(), Code::InvalidArgument);
            let violations = status.get_details_bad_request().unwrap().field_violations;
            assert_eq!(violations.len(), 1, "{shown}: {violations:?}");
            assert_eq!(violations[0].field, field, "{shown}");
            assert!(violations[0].description.contains(part), "{shown}: {:?}", violations[0].description);
        }
        assert_eq!(feedback(None, "f", &limits()).unwrap_err().message(), "f: must be given");
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let given = v1::Feedback { id: "девятьсим".into(), kind: 9, ..text("") };
        let status = feedback(Some(given), "items[3].feedback", &limits()).unwrap_err();
        let violations = status.get_details_bad_request().unwrap().field_violations;
        let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["items[3].feedback.id", "items[3].feedback.kind", "items[3].feedback.text"]);
    }

    #[test]
    fn lengths_count_characters() {
        for (text, most, longer) in
            [("ёжик", 4, false), ("ёжик!", 4, true), ("🦔🦔", 2, false), ("", 0, false), ("a", 0, true)]
        {
            assert_eq!(is_longer(text, most), longer, "{text:?} {most}");
        }
    }
}
