use super::*;

fn labels(rows: &Rows, label: &str) -> usize {
    rows.rows.iter().filter(|row| row.labels == [label]).count()
}

#[test]
fn the_examples_that_are_no_complaints_are_those_of_the_default_taxonomy() {
    let taxonomy = Taxonomy::default_taxonomy().unwrap();
    let examples = Examples::read().unwrap();
    let known =
        |text: &String| taxonomy.taggable_topics().flat_map(|topic| &topic.examples).any(|one| one.text == *text);
    for text in examples.topics.neutral.iter().chain(&examples.topics.positive) {
        assert!(known(text), "no topic has the example {text:?} any more");
    }
}

#[test]
fn no_text_is_learnt_on_both_sides() {
    let taxonomy = Taxonomy::default_taxonomy().unwrap();
    let Examples { abuse, complaint, .. } = Examples::read().unwrap();
    for Sides { yes, no } in [abuse, complaint] {
        assert!(yes.iter().all(|text| !no.contains(text)));
    }
    for name in NAMES {
        let rows = rows_of(name, &taxonomy, &[]).unwrap();
        let distinct: std::collections::HashSet<&str> = rows.rows.iter().map(|row| row.text.as_str()).collect();
        assert_eq!(distinct.len(), rows.rows.len(), "{name}");
        assert_eq!((rows.weights.len(), rows.own), (rows.rows.len(), rows.rows.len()), "{name}");
    }
    let abuse = rows_of(ABUSE, &taxonomy, &[]).unwrap();
    assert!(labels(&abuse, YES) > 90 && labels(&abuse, NO) > 900);
    assert!(rows_of("mood", &taxonomy, &[]).is_err());
}

#[test]
fn posts_are_learnt_aside_each_once_and_plain_ones_no_more_than_others() {
    let taxonomy = Taxonomy::default_taxonomy().unwrap();
    let own = rows_of(SENTIMENT, &taxonomy, &[]).unwrap();
    let post = |number: u64, text: &str, label: &str| LabelledRow {
        number,
        text: text.to_owned(),
        labels: vec![label.to_owned()],
    };
    let posts = vec![
        post(1, "Связь опять легла http://a.b/1", "negative"),
        post(2, "RT связь опять легла", "negative"),
        post(3, "@user Связь опять легла! http://a.b/2", "negative"),
        post(4, "Новый тариф, подключайтесь", "neutral"),
        post(5, "Скидки на телефоны", "neutral"),
        post(6, "Банк открыл отделение", "neutral"),
    ];
    let rows = rows_of(SENTIMENT, &taxonomy, &[posts]).unwrap();
    assert_eq!((rows.rows.len() - own.rows.len(), rows.own), (4, own.own));
    let aside: Vec<usize> = (own.rows.len()..rows.rows.len()).collect();
    assert_eq!(rows.aside, aside);
    assert_eq!(aside.iter().filter(|row| rows.rows[**row].labels == ["neutral"]).count(), 2);
}
