//! A row's columns to feedback, with the field named when a value does not fit.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::feedback::{Body, Feedback, Score, ScoreMetric, Speaker, Turn, UnknownName};

use super::RowProblem;
use super::columns::FieldNames;

/// Feedback of one row; `fallback_id` is its id if the row has none.
pub(super) fn to_feedback(
    columns: &Map<String, Value>,
    names: &FieldNames,
    fallback_id: impl FnOnce() -> String,
) -> Result<Feedback, RowProblem> {
    let body = body(columns, names)?;
    let id = id_like(columns, names.id.as_deref())?.unwrap_or_else(fallback_id);
    let mut feedback = Feedback::new(id, body);
    if let Some((name, text)) = string(columns, names.kind.as_deref())? {
        feedback.kind = Some(text.trim().parse().map_err(|error: UnknownName| bad_value(name, error))?);
    }
    feedback.channel = owned(columns, names.channel.as_deref())?;
    feedback.touchpoint = owned(columns, names.touchpoint.as_deref())?;
    feedback.product = owned(columns, names.product.as_deref())?;
    feedback.partner = owned(columns, names.partner.as_deref())?;
    feedback.customer_id = id_like(columns, names.customer_id.as_deref())?;
    if let Some((name, text)) = string(columns, names.occurred_at.as_deref())? {
        feedback.occurred_at = Some(timestamp(text.trim()).ok_or_else(|| {
            let wanted = "a time as in 2024-05-31T18:20:00+03:00, or a date as in 2024-05-31";
            bad_value(name, format!("{text:?} is not {wanted}"))
        })?);
    }
    feedback.score = score(columns, names)?;
    Ok(feedback)
}

fn bad_value(field: impl Into<String>, problem: impl ToString) -> RowProblem {
    RowProblem::BadValue { field: field.into(), problem: problem.to_string() }
}

fn wrong_type(field: impl Into<String>, wanted: &'static str, found: &Value) -> RowProblem {
    RowProblem::WrongType { field: field.into(), wanted, found: type_name(found) }
}

/// The JSON type of a value, in words.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn present<'a>(columns: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    columns.get(name).filter(|value| !value.is_null())
}

/// A string that is there and not blank, with the name of its column.
fn string<'a>(
    columns: &'a Map<String, Value>,
    name: Option<&'a str>,
) -> Result<Option<(&'a str, &'a str)>, RowProblem> {
    let Some((name, value)) = name.and_then(|name| Some((name, present(columns, name)?))) else { return Ok(None) };
    match value {
        Value::String(text) if text.trim().is_empty() => Ok(None),
        Value::String(text) => Ok(Some((name, text))),
        other => Err(wrong_type(name, "a string", other)),
    }
}

fn owned(columns: &Map<String, Value>, name: Option<&str>) -> Result<Option<String>, RowProblem> {
    Ok(string(columns, name)?.map(|(_, text)| text.trim().to_owned()))
}

/// Ids are often numbers in exports.
fn id_like(columns: &Map<String, Value>, name: Option<&str>) -> Result<Option<String>, RowProblem> {
    match name.and_then(|name| present(columns, name)) {
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        _ => owned(columns, name),
    }
}

fn body(columns: &Map<String, Value>, names: &FieldNames) -> Result<Body, RowProblem> {
    let texts: Vec<(&String, &Value)> =
        names.text.iter().filter_map(|name| Some((name, present(columns, name)?))).collect();
    let turns = if names.turns { present(columns, "turns") } else { None };
    match (texts.as_slice(), turns) {
        ([], Some(turns)) => self::turns(turns).map(Body::Turns),
        ([(name, _)], Some(_)) => Err(RowProblem::TextAndTurns { text: (*name).clone() }),
        ([(_, Value::String(text))], None) if !text.trim().is_empty() => Ok(Body::Text(text.clone())),
        ([(name, Value::String(_))], None) => Err(RowProblem::EmptyText { column: (*name).clone() }),
        ([(name, other)], None) => Err(wrong_type(name.as_str(), "a string", other)),
        ([], None) => Err(no_text(columns, names)),
        (several, _) => {
            Err(RowProblem::SeveralTexts { found: several.iter().map(|(name, _)| (*name).clone()).collect() })
        }
    }
}

fn no_text(columns: &Map<String, Value>, names: &FieldNames) -> RowProblem {
    // A text that is null is an empty text, not a missing column.
    if let Some(name) = names.text.iter().find(|name| columns.contains_key(name.as_str())) {
        return RowProblem::EmptyText { column: name.clone() };
    }
    let mut wanted = names.text.clone();
    if names.turns {
        wanted.push("turns".to_owned());
    }
    RowProblem::NoText { wanted, found: columns.keys().cloned().collect() }
}

fn turns(value: &Value) -> Result<Vec<Turn>, RowProblem> {
    let Value::Array(items) = value else { return Err(wrong_type("turns", "an array of turns", value)) };
    let turns: Vec<Turn> =
        items.iter().enumerate().map(|(index, item)| turn(index, item)).collect::<Result<_, RowProblem>>()?;
    if turns.iter().all(|turn| turn.text.trim().is_empty()) {
        return Err(RowProblem::EmptyText { column: "turns".to_owned() });
    }
    Ok(turns)
}

fn turn(index: usize, item: &Value) -> Result<Turn, RowProblem> {
    let path = |field: &str| format!("turns[{index}].{field}");
    let Value::Object(fields) = item else { return Err(wrong_type(format!("turns[{index}]"), "an object", item)) };
    let text_of = |field: &str| match fields.get(field) {
        Some(Value::String(text)) => Ok(text.as_str()),
        other => Err(wrong_type(path(field), "a string", other.unwrap_or(&Value::Null))),
    };
    let speaker: Speaker =
        text_of("speaker")?.trim().to_lowercase().parse().map_err(|error| bad_value(path("speaker"), error))?;
    let text = text_of("text")?.to_owned();
    let offset_ms = match fields.get("offset_ms") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let wanted = "a whole number of milliseconds, 0 or more";
            Some(value.as_u64().ok_or_else(|| bad_value(path("offset_ms"), format!("{value} is not {wanted}")))?)
        }
    };
    Ok(Turn { speaker, text, offset_ms })
}

/// A time with its offset; without one it is taken to be in UTC, and a date alone to be its midnight.
fn timestamp(text: &str) -> Option<Timestamp> {
    let in_utc = || {
        let civil: DateTime = text.parse().ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    text.parse().ok().or_else(in_utc)
}

fn score(columns: &Map<String, Value>, names: &FieldNames) -> Result<Option<Score>, RowProblem> {
    let Some((name, value)) = names.score.as_deref().and_then(|name| Some((name, present(columns, name)?))) else {
        return Ok(None);
    };
    let score = match value {
        Value::Object(fields) => {
            let metric = match fields.get("metric") {
                Some(Value::String(metric)) => {
                    metric.parse().map_err(|error: UnknownName| bad_value(format!("{name}.metric"), error))?
                }
                other => return Err(wrong_type(format!("{name}.metric"), "a string", other.unwrap_or(&Value::Null))),
            };
            let number = |field: &str| match fields.get(field) {
                None | Some(Value::Null) => Ok(None),
                Some(value) => match value.as_f64() {
                    Some(number) => Ok(Some(number)),
                    None => Err(wrong_type(format!("{name}.{field}"), "a number", value)),
                },
            };
            let value =
                number("value")?.ok_or_else(|| wrong_type(format!("{name}.value"), "a number", &Value::Null))?;
            Score { metric, value, scale_max: number("scale_max")?.unwrap_or(usual_scale(metric)) }
        }
        bare => {
            let Some(metric) = names.score_metric else { return Ok(None) };
            let number = match bare {
                Value::Number(number) => number.as_f64(),
                Value::String(text) if text.trim().is_empty() => return Ok(None),
                Value::String(text) => text.trim().replace(',', ".").parse().ok(),
                other => return Err(wrong_type(name, "a number or an object", other)),
            };
            let value = number.ok_or_else(|| bad_value(name, format!("{bare} is not a number")))?;
            Score { metric, value, scale_max: names.score_scale.unwrap_or(usual_scale(metric)) }
        }
    };
    if !(0.0..=score.scale_max).contains(&score.value) {
        let problem = format!("{} is not on the scale of {} from 0 to {}", score.value, score.metric, score.scale_max);
        return Err(bad_value(name, problem));
    }
    Ok(Some(score))
}

fn usual_scale(metric: ScoreMetric) -> f64 {
    match metric {
        ScoreMetric::Nps | ScoreMetric::Enps => 10.0,
        ScoreMetric::Ces => 7.0,
        ScoreMetric::Csat | ScoreMetric::Stars => 5.0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::columns::{ColumnChoice, ColumnMap};
    use super::*;
    use crate::feedback::FeedbackKind;

    fn convert(row: Value, map: &ColumnMap) -> Result<Feedback, String> {
        let Value::Object(columns) = row else { panic!("a row is an object") };
        to_feedback(&columns, &FieldNames::for_objects(map), || "7".to_owned()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn every_field_finds_its_place() {
        let feedback = convert(
            json!({"id": 42, "отзыв": "Спасибо", "kind": "review", "channel": "app_store", "touchpoint": "popup",
                   "product": "card", "partner": "Курьер+", "customer_id": "c-1", "occurred_at": "2024-05-31 18:20:00",
                   "score": {"metric": "stars", "value": 4}, "anything": [1]}),
            &ColumnMap::default(),
        )
        .unwrap();
        assert_eq!(feedback.id, "42");
        assert_eq!(feedback.body, Body::Text("Спасибо".to_owned()));
        assert_eq!(feedback.kind, Some(FeedbackKind::Review));
        assert_eq!(feedback.channel.as_deref(), Some("app_store"));
        assert_eq!(feedback.touchpoint.as_deref(), Some("popup"));
        assert_eq!(feedback.product.as_deref(), Some("card"));
        assert_eq!(feedback.partner.as_deref(), Some("Курьер+"));
        assert_eq!(feedback.customer_id.as_deref(), Some("c-1"));
        assert_eq!(feedback.occurred_at.unwrap().to_string(), "2024-05-31T18:20:00Z");
        assert_eq!(feedback.score, Some(Score { metric: ScoreMetric::Stars, value: 4.0, scale_max: 5.0 }));
        assert_eq!(convert(json!({"text": "a", "id": ""}), &ColumnMap::default()).unwrap().id, "7");
    }

    #[test]
    fn turns_are_read() {
        let row = json!({"turns": [{"speaker": "Operator", "text": "Да?"}, {"speaker": "customer", "text": "Нет", "offset_ms": 900}]});
        let Body::Turns(turns) = convert(row, &ColumnMap::default()).unwrap().body else { panic!("turns") };
        assert_eq!(turns[0], Turn { speaker: Speaker::Operator, text: "Да?".to_owned(), offset_ms: None });
        assert_eq!(turns[1], Turn { speaker: Speaker::Customer, text: "Нет".to_owned(), offset_ms: Some(900) });
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let usual = ColumnMap::default();
        let nps = ColumnMap { score_metric: Some(ScoreMetric::Nps), ..ColumnMap::default() };
        let named = ColumnMap { text: ColumnChoice::Named("body".to_owned()), ..ColumnMap::default() };
        let cases = [
            (json!({"text": 5}), &usual, "field \"text\": a string is wanted, found a number"),
            (json!({"text": ["a"]}), &usual, "field \"text\": a string is wanted, found an array"),
            (json!({"text": " \n"}), &usual, "column \"text\" is empty; a text is wanted"),
            (json!({"text": null}), &usual, "column \"text\" is empty; a text is wanted"),
            (
                json!({"body": "a"}),
                &usual,
                "no text: looked for text, comment, review, message, текст, комментарий, отзыв, turns; the row has body",
            ),
            (json!({"text": "a"}), &named, "no text: looked for body; the row has text"),
            (
                json!({"text": "a", "review": "b"}),
                &usual,
                "text, review could each be the text; name one with the text column",
            ),
            (
                json!({"text": "a", "turns": []}),
                &usual,
                "both a text (\"text\") and \"turns\"; one of them is wanted (naming the text column leaves the turns aside)",
            ),
            (json!({"turns": {}}), &usual, "field \"turns\": an array of turns is wanted, found an object"),
            (json!({"turns": []}), &usual, "column \"turns\" is empty; a text is wanted"),
            (json!({"turns": ["a"]}), &usual, "field \"turns[0]\": an object is wanted, found a string"),
            (json!({"turns": [{"text": "a"}]}), &usual, "field \"turns[0].speaker\": a string is wanted, found null"),
            (
                json!({"turns": [{"speaker": "bot", "text": "a"}]}),
                &usual,
                "field \"turns[0].speaker\": \"bot\" is not known; allowed: customer, operator, system",
            ),
            (
                json!({"turns": [{"speaker": "system", "text": "a", "offset_ms": -1}]}),
                &usual,
                "field \"turns[0].offset_ms\": -1 is not a whole number of milliseconds, 0 or more",
            ),
            (
                json!({"text": "a", "kind": "rant"}),
                &usual,
                "field \"kind\": \"rant\" is not known; allowed: complaint, comment, review, transcript, exit_interview, employee, question",
            ),
            (json!({"text": "a", "channel": 1}), &usual, "field \"channel\": a string is wanted, found a number"),
            (
                json!({"text": "a", "occurred_at": "31.05"}),
                &usual,
                "field \"occurred_at\": \"31.05\" is not a time as in 2024-05-31T18:20:00+03:00, or a date as in 2024-05-31",
            ),
            (
                json!({"text": "a", "score": {"metric": "nps", "value": 11}}),
                &usual,
                "field \"score\": 11 is not on the scale of nps from 0 to 10",
            ),
            (
                json!({"text": "a", "score": {"value": 1}}),
                &usual,
                "field \"score.metric\": a string is wanted, found null",
            ),
            (json!({"text": "a", "score": "ten"}), &nps, "field \"score\": \"ten\" is not a number"),
            (
                json!({"text": "a", "score": "NaN"}),
                &nps,
                "field \"score\": NaN is not on the scale of nps from 0 to 10",
            ),
        ];
        for (row, map, message) in cases {
            assert_eq!(convert(row.clone(), map), Err(message.to_owned()), "{row}");
        }
    }

    #[test]
    fn bare_scores_count_only_with_a_metric() {
        let row = || json!({"text": "a", "score": "9,5"});
        assert_eq!(convert(row(), &ColumnMap::default()).unwrap().score, None);
        let map = ColumnMap { score_metric: Some(ScoreMetric::Nps), ..ColumnMap::default() };
        let score = Score { metric: ScoreMetric::Nps, value: 9.5, scale_max: 10.0 };
        assert_eq!(convert(row(), &map).unwrap().score, Some(score));
    }

    #[test]
    fn dates_and_times_are_read() {
        for (text, expected) in [
            ("2024-05-31", "2024-05-31T00:00:00Z"),
            ("2024-05-31T18:20:00+03:00", "2024-05-31T15:20:00Z"),
            ("2024-05-31T18:20", "2024-05-31T18:20:00Z"),
        ] {
            assert_eq!(timestamp(text).map(|time| time.to_string()).as_deref(), Some(expected));
        }
        assert_eq!(timestamp("yesterday"), None);
    }
}
