use std::sync::LazyLock;

use proptest::prelude::*;

use super::table::{FEE, TABLE};
use super::*;
use crate::feedback::CharSpan;
use crate::tags::sample::nothing_found;
use crate::tags::{Confidence, Evidence, SignalId, SignalTag, TagSource, Tags};
use crate::taxonomy::Taxonomy;

static TAXONOMY: LazyLock<Taxonomy> = LazyLock::new(|| Taxonomy::default_taxonomy().unwrap());
static PLAYBOOK: LazyLock<Playbook> = LazyLock::new(|| Playbook::default_playbook(&TAXONOMY).unwrap());

fn tags(text: &str, signals: &str) -> Tags {
    let signal = |id: &str| SignalTag {
        signal_id: SignalId::new(id),
        confidence: Confidence::ONE,
        source: TagSource::Rule,
        rule_id: None,
        detail: None,
        evidence: vec![Evidence { turn: None, span: CharSpan::new(0, 1), weight: Confidence::ONE }],
    };
    Tags { signals: signals.split_whitespace().map(signal).collect(), ..nothing_found(text) }
}

fn review(signals: &str, appeal: &str, reply: &str, is_past_known: bool) -> ReplyReview {
    let feedback = Feedback::from_text("f", appeal);
    let situation = Situation::of(&feedback, &tags(appeal, signals), &TAXONOMY, appeal);
    let grounds = Grounds {
        playbook: &PLAYBOOK,
        situation: &situation,
        circumstances: &Circumstances::default(),
        is_past_known,
        avoid: PLAYBOOK.avoidances(),
    };
    judge(&grounds, reply, None)
}

fn standing(review: &ReplyReview, point: RubricPoint) -> &Standing {
    &review.points.iter().find(|known| known.point == point).unwrap().standing
}

/// A standing in one sign: 0 to 2, `-` for one that does not apply, `?` for one that was not evaluated.
fn sign(standing: &Standing) -> char {
    match standing {
        Standing::Scored { score, .. } => char::from(b'0' + score.points()),
        Standing::DoesNotApply => '-',
        Standing::NotEvaluated(_) => '?',
    }
}

#[test]
fn replies_stand_as_a_person_judged_them() {
    let mut wrong = Vec::new();
    for (signals, appeal, reply, expected) in TABLE {
        let review = review(signals, appeal, reply, true);
        for expectation in expected.split_whitespace() {
            let (point, wanted) = expectation.split_once('=').unwrap();
            let found = standing(&review, point.parse().unwrap());
            if sign(found).to_string() != wanted {
                wrong.push(format!("{reply}\n    {expectation}, found {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), TABLE.len(), wrong.join("\n"));
}

#[test]
fn the_table_has_every_score_that_rules_can_give() {
    for point in RubricPoint::ALL {
        let signs = |wanted: &str| {
            let row = |row: &&(&str, &str, &str, &str)| {
                row.3.split_whitespace().any(|one| one == format!("{point}={wanted}"))
            };
            TABLE.iter().filter(row).count()
        };
        assert!(signs("2") >= 2, "{point} met");
        assert!(signs("0") >= 1, "{point} missed");
    }
}

#[test]
fn drafts_of_the_playbook_miss_no_point_of_courtesy() {
    // Templates are read with their conditions left out, as any of the branches may be rendered.
    let marks = regex::Regex::new(r"\{[%{][^}]*[%}]\}").unwrap();
    for point in [RubricPoint::StaysInChannel, RubricPoint::Politeness, RubricPoint::Readability] {
        for draft in PLAYBOOK.drafts() {
            for text in [draft.text.get(ReplyLanguage::Russian), draft.text.get(ReplyLanguage::English)] {
                let plain = marks.replace_all(text, "");
                let review = review("complaint", FEE, &plain, true);
                assert_ne!(standing(&review, point).score(), Some(PointScore::Missed), "{}: {plain}", draft.id);
            }
        }
    }
}

#[test]
fn places_are_those_of_the_reply_as_given() {
    let reply = "Здравствуйте!\n\nИзвините,  что   сняли комиссию.  Звоните в банк.";
    let review = review("complaint", FEE, reply, true);
    let words = |point: RubricPoint| match standing(&review, point) {
        Standing::Scored { spans, .. } => spans.iter().map(|span| span.slice(reply)).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(words(RubricPoint::Apology), ["Извините"]);
    assert_eq!(words(RubricPoint::StaysInChannel), ["Звоните"]);
    assert_eq!(words(RubricPoint::Acknowledgement), ["сняли", "комиссию"]);
}

#[test]
fn what_is_not_known_is_not_missed() {
    let unknown = review("complaint", FEE, "Вернём комиссию 300 рублей.", false);
    assert_eq!(standing(&unknown, RubricPoint::Promises), &Standing::NotEvaluated(Remark::PastGesturesUnknown));
    let far = review("complaint", FEE, "Вернём 50 000 рублей.", false);
    assert_eq!(standing(&far, RubricPoint::Promises).score(), Some(PointScore::Missed));
    let foreign = "Ми отримали ваше звернення та повернемо комісію найближчим часом, вибачте за незручності будь ласка";
    let foreign = review("complaint", FEE, foreign, true);
    let evaluated: Vec<_> =
        foreign.points.iter().filter(|point| point.standing.score().is_some()).map(|point| point.point).collect();
    assert_eq!(evaluated, [RubricPoint::Readability]);
}

#[test]
fn the_share_counts_scored_points_only() {
    let scored = |score| PointReview {
        point: RubricPoint::Cause,
        standing: Standing::Scored { score, spans: vec![], remark: None },
        source: AdviceSource::Rules,
        change: None,
    };
    let other =
        |standing| PointReview { point: RubricPoint::Apology, standing, source: AdviceSource::Rules, change: None };
    let review = |points| ReplyReview {
        language: ReplyLanguage::English,
        points,
        promises: vec![],
        verdict: crate::assist::promises::PromiseVerdict::Allowed,
        avoided: vec![],
        model_error: None,
    };
    let unscored = vec![other(Standing::DoesNotApply), other(Standing::NotEvaluated(Remark::CannotTell))];
    assert_eq!(review(unscored.clone()).share(), None);
    let mut points = unscored;
    points.extend([PointScore::Met, PointScore::Partial, PointScore::Missed, PointScore::Missed].map(scored));
    assert_eq!(review(points).share(), Some(0.375));
}

/// Replies made to send a careless scanner back over what it has read. Quadratic work on them takes minutes, which is seen.
#[test]
fn hostile_replies_come_through() {
    for seed in [
        "а, ",
        "но, вернем ",
        "\n",
        "а\n",
        "вернем ",
        "извините, ",
        "комиссия ",
        "«вы сами виноваты",
        "из-за неудобств ",
        "расстроены. ",
    ] {
        let reply: String = seed.chars().cycle().take(40_000).collect();
        assert_eq!(review("complaint", FEE, &reply, true).points.len(), RubricPoint::ALL.len(), "{seed}");
    }
}

proptest! {
    #[test]
    fn any_reply_is_judged_on_every_point_within_its_text(reply in "[а-яa-zА-Я0-9 .,!?«»\n—'-]{0,300}") {
        let review = review("complaint", FEE, &reply, true);
        let points: Vec<RubricPoint> = review.points.iter().map(|point| point.point).collect();
        prop_assert_eq!(points, RubricPoint::ALL.to_vec());
        let chars = reply.chars().count() as u32;
        for point in &review.points {
            if let Standing::Scored { spans, score, remark } = &point.standing {
                prop_assert!(spans.len() <= MOST_SPANS && spans.iter().all(|span| span.end <= chars));
                prop_assert_eq!(remark.is_none(), *score == PointScore::Met);
            }
        }
    }
}
