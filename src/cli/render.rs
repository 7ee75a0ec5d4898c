//! Prints the tags of one text for people.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use otklik::feedback::{Body, CharSpan};
use otklik::tags::{Evidence, ReviewReason, Sentiment, SentimentLabel, SignalId, TagSource, Tags, TeamId, TopicId};

use super::marked_text::{Mark, one_line, pad, superscripts, width, wrap, wrap_plain};

/// The language that names of topics, signals and teams are shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum NameLanguage {
    /// Russian.
    Ru,
    /// English.
    En,
}

/// Names of what the taxonomy defines; an id that it does not know is shown as it is.
pub trait Names: Send + Sync {
    /// Name of a topic.
    fn topic(&self, id: &TopicId, language: NameLanguage) -> String;
    /// Name of a signal.
    fn signal(&self, id: &SignalId, language: NameLanguage) -> String;
    /// Name of a team.
    fn team(&self, id: &TeamId, language: NameLanguage) -> String;
}

/// How the print looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Columns of the terminal.
    pub width: usize,
    /// True to underline and colour with ANSI codes; false to mark evidence with a line of `^` below it.
    pub colour: bool,
    /// Language of names.
    pub language: NameLanguage,
}

/// Columns that labels take on the left.
const LABEL_WIDTH: usize = 11;

/// The text with its evidence underlined and numbered, then each tag with the numbers of its evidence.
pub fn render(body: &Body, tags: &Tags, names: &dyn Names, look: &Look) -> String {
    let footnotes = Footnotes::of(tags);
    let mut page = Page { look: *look, text: String::new() };
    match body {
        Body::Text(text) => page.marked(text, &footnotes.marks(None), ""),
        Body::Turns(turns) => {
            let label_width = turns.iter().map(|turn| turn.speaker.as_str().len()).max().unwrap_or_default() + 2;
            for (index, turn) in turns.iter().enumerate() {
                let index = index as u32;
                page.marked(&turn.text, &footnotes.marks(Some(index)), &pad(turn.speaker.as_str(), label_width));
                page.turn_notes(tags, index, label_width, names);
            }
        }
    }
    page.text.push('\n');
    page.topics(tags, names, &footnotes);
    page.sentiment(tags);
    page.signals(tags, names, &footnotes);
    page.team(tags, names);
    page.review(tags);
    page.block("language", &[tags.language.to_string()]);
    page.provenance(tags);
    page.text
}

/// Every stretch of evidence once, numbered in the order of the text.
struct Footnotes {
    spans: Vec<(Option<u32>, CharSpan)>,
}

impl Footnotes {
    fn of(tags: &Tags) -> Self {
        let of_topics = tags.topics.iter().flat_map(|topic| &topic.evidence);
        let of_signals = tags.signals.iter().flat_map(|signal| &signal.evidence);
        let mut spans: Vec<_> = of_topics
            .chain(of_signals)
            .filter(|evidence| !evidence.span.is_empty())
            .map(|evidence| (evidence.turn, evidence.span))
            .collect();
        spans.sort();
        spans.dedup();
        Self { spans }
    }

    fn marks(&self, turn: Option<u32>) -> Vec<Mark> {
        self.spans
            .iter()
            .enumerate()
            .filter(|(_, (of_turn, _))| *of_turn == turn)
            .map(|(index, &(_, span))| Mark { span, number: index + 1 })
            .collect()
    }

    fn numbers(&self, evidence: &[Evidence]) -> String {
        let mut numbers: Vec<usize> = evidence
            .iter()
            .filter_map(|evidence| self.spans.iter().position(|span| *span == (evidence.turn, evidence.span)))
            .map(|index| index + 1)
            .collect();
        numbers.sort_unstable();
        superscripts(numbers)
    }
}

struct Page {
    look: Look,
    text: String,
}

/// A field of an aligned row, with its style.
type Field = (String, Style);

impl Page {
    fn styled(&self, text: &str, style: Style) -> String {
        if self.look.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn marked(&mut self, text: &str, marks: &[Mark], label: &str) {
        let underline = Style::new().underline();
        let (on, off) = (underline.render().to_string(), underline.render_reset().to_string());
        let indent = " ".repeat(width(label));
        let mut label = self.styled(label, Style::new().bold());
        for line in wrap(text, marks, self.look.width.saturating_sub(indent.len())) {
            let shown = if self.look.colour { line.to_text(&on, &off) } else { line.to_text("", "") };
            self.line(&label, &shown);
            label.clone_from(&indent);
            if let (false, Some(below)) = (self.look.colour, line.underline()) {
                self.line(&indent, &below);
            }
        }
    }

    fn line(&mut self, label: &str, text: &str) {
        self.text.push_str(format!("{label}{text}").trim_end());
        self.text.push('\n');
    }

    fn turn_notes(&mut self, tags: &Tags, index: u32, indent: usize, names: &dyn Names) {
        let Some(turn) = tags.turns.iter().find(|turn| turn.turn == index) else { return };
        let sentiment = turn.sentiment.map(|sentiment| in_words(&sentiment));
        let signals = turn.signals.iter().map(|signal| one_line(&names.signal(signal, self.look.language)));
        let notes: Vec<String> = sentiment.into_iter().chain(signals).collect();
        if !notes.is_empty() {
            let notes = self.styled(&format!("→ {}", notes.join(" · ")), Style::new().dimmed());
            self.line(&" ".repeat(indent), &notes);
        }
    }

    /// Lines behind a label, wrapped.
    fn block(&mut self, label: &str, lines: &[String]) {
        let mut label = self.styled(&pad(label, LABEL_WIDTH), Style::new().bold());
        let max_width = self.look.width.saturating_sub(LABEL_WIDTH);
        for line in lines.iter().flat_map(|line| wrap_plain(line, max_width)) {
            self.line(&label, &line);
            label = " ".repeat(LABEL_WIDTH);
        }
    }

    /// Rows of aligned fields behind a label.
    fn grid(&mut self, label: &str, rows: &[Vec<Field>]) {
        let mut label = self.styled(&pad(label, LABEL_WIDTH), Style::new().bold());
        let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
        let field_width = |row: &Vec<Field>, column: usize| row.get(column).map_or(0, |(text, _)| width(text));
        let widths: Vec<usize> = (0..columns)
            .map(|column| rows.iter().map(|row| field_width(row, column)).max().unwrap_or_default())
            .collect();
        for row in rows {
            // A column that is empty in every row takes no room.
            let fields = row.iter().zip(&widths).filter(|(_, columns)| **columns > 0);
            let fields: Vec<String> =
                fields.map(|((text, style), columns)| self.styled(&pad(text, *columns), *style)).collect();
            self.line(&label, &fields.join("  "));
            label = " ".repeat(LABEL_WIDTH);
        }
    }

    fn topics(&mut self, tags: &Tags, names: &dyn Names, footnotes: &Footnotes) {
        if tags.topics.is_empty() {
            return self.block("topics", &["none was sure enough".to_owned()]);
        }
        let row = |topic: &otklik::tags::TopicTag| {
            vec![
                plain(one_line(&names.topic(&topic.topic_id, self.look.language))),
                plain(format!("{:.2}", topic.confidence.get())),
                (in_words(&topic.sentiment), colour_of(topic.sentiment.label)),
                plain(source(topic.source, topic.rule_id.as_deref())),
                plain(footnotes.numbers(&topic.evidence)),
            ]
        };
        let rows: Vec<_> = tags.topics.iter().map(row).collect();
        self.grid("topics", &rows);
    }

    fn sentiment(&mut self, tags: &Tags) {
        match tags.sentiment {
            None => self.block("sentiment", &["not evaluated: no words of the customer".to_owned()]),
            Some(sentiment) => {
                let confidence = format!("{:.2}", sentiment.confidence.get());
                self.grid("sentiment", &[vec![(in_words(&sentiment), colour_of(sentiment.label)), plain(confidence)]]);
            }
        }
        if let Some(trend) = tags.sentiment_trend {
            let line = format!("{:+.2} at first, {:+.2} at last: {:+.2}", trend.first, trend.last, trend.change);
            self.block("trend", &[line]);
        }
    }

    fn signals(&mut self, tags: &Tags, names: &dyn Names, footnotes: &Footnotes) {
        if tags.signals.is_empty() {
            return self.block("signals", &["none".to_owned()]);
        }
        let row = |signal: &otklik::tags::SignalTag| {
            vec![
                plain(one_line(&names.signal(&signal.signal_id, self.look.language))),
                plain(format!("{:.2}", signal.confidence.get())),
                plain(signal.detail.as_deref().map(one_line).unwrap_or_default()),
                plain(source(signal.source, signal.rule_id.as_deref())),
                plain(footnotes.numbers(&signal.evidence)),
            ]
        };
        let rows: Vec<_> = tags.signals.iter().map(row).collect();
        self.grid("signals", &rows);
    }

    fn team(&mut self, tags: &Tags, names: &dyn Names) {
        let team = &tags.team;
        let name = |id: &TeamId| one_line(&names.team(id, self.look.language));
        let by_rule = team.rule_id.as_ref().map(|rule| format!(" (rule {rule})")).unwrap_or_default();
        let mut lines = vec![
            format!("{}  {:.2}", name(&team.team_id), team.confidence.get()),
            format!("why: {}{by_rule}", one_line(&team.reason)),
        ];
        lines.extend(team.escalates_to.as_ref().map(|id| format!("escalates to: {}", name(id))));
        lines.extend(team.alternatives.iter().map(|other| {
            format!("or: {}  {:.2}, {}", name(&other.team_id), other.confidence.get(), one_line(&other.reason))
        }));
        self.block("team", &lines);
    }

    fn review(&mut self, tags: &Tags) {
        if !tags.review.needed {
            return self.block("review", &["not needed".to_owned()]);
        }
        let reasons: Vec<&str> = tags.review.reasons.iter().map(|reason| explain(*reason)).collect();
        self.block("review", &[format!("needed: {}", reasons.join("; "))]);
    }

    fn provenance(&mut self, tags: &Tags) {
        let made = &tags.provenance;
        let mut line = format!(
            "otklik {}, taxonomy {}, encoder {} {}, prototypes {}",
            made.otklik_version,
            short_hash(made.taxonomy_version.as_str()),
            made.encoder_id,
            short_hash(&made.encoder_sha256),
            short_hash(&made.prototypes_version),
        );
        if !made.heads.is_empty() {
            let heads: Vec<String> =
                made.heads.iter().map(|head| format!("{} {}", head.name, short_hash(&head.sha256))).collect();
            let _ = write!(line, ", heads {}", heads.join(", "));
        }
        self.block("made by", &[line]);
    }
}

fn plain(text: String) -> Field {
    (text, Style::new())
}

fn in_words(sentiment: &Sentiment) -> String {
    format!("{} {:+.2}", sentiment.label, sentiment.score)
}

fn colour_of(label: SentimentLabel) -> Style {
    match label {
        SentimentLabel::Negative => Style::new().fg_color(Some(AnsiColor::Red.into())),
        SentimentLabel::Neutral => Style::new(),
        SentimentLabel::Positive => Style::new().fg_color(Some(AnsiColor::Green.into())),
    }
}

fn source(source: TagSource, rule_id: Option<&str>) -> String {
    match rule_id {
        Some(rule_id) => format!("{source} {}", one_line(rule_id)),
        None => source.to_string(),
    }
}

/// The first eight digits of a hash.
fn short_hash(hash: &str) -> &str {
    let digits = hash.strip_prefix("sha256:").unwrap_or(hash);
    digits.get(..8).unwrap_or(digits)
}

fn explain(reason: ReviewReason) -> &'static str {
    match reason {
        ReviewReason::NoTopic => "no topic was sure enough",
        ReviewReason::NoWords => "no words to judge by",
        ReviewReason::TeamUnclear => "two teams are about equally probable",
        ReviewReason::Language => "the models were not made for this language",
        ReviewReason::Truncated => "the text was longer than what was read",
        ReviewReason::Instructions => "a part speaks to a machine and was left out",
        ReviewReason::LanguageModelFailed => "the language model gave no answer",
    }
}

#[cfg(test)]
pub mod tests {
    use otklik::feedback::{Speaker, Turn};
    use serde_json::{Value, json};

    use super::*;

    /// Shows ids in capitals, with the language in front.
    pub struct Ids;

    fn named(id: &str, language: NameLanguage) -> String {
        format!("{language:?} {}", id.to_uppercase())
    }

    impl Names for Ids {
        fn topic(&self, id: &TopicId, language: NameLanguage) -> String {
            named(id.as_str(), language)
        }
        fn signal(&self, id: &SignalId, language: NameLanguage) -> String {
            named(id.as_str(), language)
        }
        fn team(&self, id: &TeamId, language: NameLanguage) -> String {
            named(id.as_str(), language)
        }
    }

    /// Tags in which nothing was found, but for `fields`.
    pub fn tags(fields: Value) -> Tags {
        let mut all = json!({
            "id": "1", "language": "ru", "topics": [], "sentiment": null, "signals": [],
            "team": {"team_id": "care", "confidence": 0.5, "reason": "nothing decided"},
            "review": {"needed": false}, "masked_text": "", "tokens": 9,
            "provenance": {"otklik_version": "0.1.0", "taxonomy_version": "sha256:0123456789abcdef", "encoder_id": "e5",
                           "encoder_sha256": "fedcba9876543210", "prototypes_version": "sha256:aaaabbbbccccdddd"}
        });
        if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
            all.extend(fields);
        }
        serde_json::from_value(all).unwrap()
    }

    fn evidence(start: u32, end: u32) -> Value {
        json!([{"span": {"start": start, "end": end}, "weight": 1.0}])
    }

    fn full() -> (Body, Tags) {
        let sad = json!({"label": "negative", "score": -0.81, "confidence": 0.94});
        let tags = tags(json!({
            "topics": [
                {"topic_id": "registers", "confidence": 0.93, "sentiment": sad, "source": "prototype", "evidence": evidence(0, 29)},
                {"topic_id": "partner", "confidence": 0.7, "sentiment": {"label": "neutral", "score": 0.0, "confidence": 0.5},
                 "source": "rule", "rule_id": "ping-pong", "evidence": evidence(31, 67)}
            ],
            "sentiment": sad,
            "signals": [
                {"signal_id": "handoff_loop", "confidence": 0.97, "source": "rule", "rule_id": "r1", "evidence": evidence(31, 67)},
                {"signal_id": "outage", "confidence": 0.61, "source": "prototype", "detail": "третий\nдень", "evidence": evidence(0, 29)}
            ],
            "team": {"team_id": "partnerships", "confidence": 0.9, "reason": "topic partner", "rule_id": "own-3",
                     "escalates_to": "legal",
                     "alternatives": [{"team_id": "devices", "confidence": 0.4, "reason": "topic registers"}]},
            "review": {"needed": true, "reasons": ["team_unclear", "truncated"]}
        }));
        let text = "Третий день не работает касса, банк шлёт к партнёру, партнёр в банк";
        (Body::Text(text.to_owned()), tags)
    }

    fn look(width: usize, colour: bool) -> Look {
        Look { width, colour, language: NameLanguage::En }
    }

    const FULL: &str = "\
Третий день не работает касса¹, банк шлёт к партнёру, партнёр в банк²
^^^^^^^^^^^^^^^^^^^^^^^^^^^^^   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

topics     En REGISTERS  0.93  negative -0.81  prototype       ¹
           En PARTNER    0.70  neutral +0.00   rule ping-pong  ²
sentiment  negative -0.81  0.94
signals    En HANDOFF_LOOP  0.97               rule r1    ²
           En OUTAGE        0.61  третий день  prototype  ¹
team       En PARTNERSHIPS  0.90
           why: topic partner (rule own-3)
           escalates to: En LEGAL
           or: En DEVICES  0.40, topic registers
review     needed: two teams are about equally probable; the text was longer than what was read
language   ru
made by    otklik 0.1.0, taxonomy 01234567, encoder e5 fedcba98, prototypes aaaabbbb
";

    #[test]
    fn a_text_with_everything() {
        let (body, tags) = full();
        assert_eq!(render(&body, &tags, &Ids, &look(100, false)), FULL);
    }

    #[test]
    fn a_narrow_page_is_wrapped() {
        let (body, tags) = full();
        let expected = "\
Третий день не работает касса¹, банк
^^^^^^^^^^^^^^^^^^^^^^^^^^^^^   ^^^^
шлёт к партнёру, партнёр в банк²
^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

";
        let page = render(&body, &tags, &Ids, &look(40, false));
        assert!(page.starts_with(expected), "{page}");
        let review = "\
review     needed: two teams are about
           equally probable; the text
           was longer than what was read
";
        assert!(page.contains(review), "{page}");
    }

    #[test]
    fn a_terminal_gets_underlines_and_the_same_words() {
        let (body, tags) = full();
        let page = render(&body, &tags, &Ids, &look(100, true));
        assert!(page.starts_with("\u{1b}[4mТретий день не работает касса\u{1b}[0m¹, \u{1b}[4mбанк"), "{page:?}");
        assert!(page.contains("\u{1b}[31mnegative -0.81\u{1b}[0m"), "{page:?}");
        let bare = anstream::adapter::strip_str(&page).to_string();
        let spaces = |text: &str| {
            let lines = text.lines().filter(|line| !line.starts_with('^'));
            lines.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(spaces(&bare), spaces(FULL));
    }

    #[test]
    fn what_was_not_found_or_not_evaluated_is_said() {
        let tags = tags(json!({"language": "unknown", "review": {"needed": true, "reasons": ["no_words"]}}));
        let expected = "\
...

topics     none was sure enough
sentiment  not evaluated: no words of the customer
signals    none
team       Ru CARE  0.50
           why: nothing decided
review     needed: no words to judge by
language   unknown
made by    otklik 0.1.0, taxonomy 01234567, encoder e5 fedcba98, prototypes aaaabbbb
";
        let look = Look { language: NameLanguage::Ru, ..look(100, false) };
        assert_eq!(render(&Body::Text("...".to_owned()), &tags, &Ids, &look), expected);
    }

    #[test]
    fn a_conversation_shows_its_turns() {
        let turn = |speaker, text: &str| Turn { speaker, text: text.to_owned(), offset_ms: None };
        let body = Body::Turns(vec![
            turn(Speaker::System, "Вы первый в очереди"),
            turn(Speaker::Customer, "Касса не работает, когда почините?"),
            turn(Speaker::Operator, "Позвоните в поддержку партнёра"),
        ]);
        let in_turn = |turn: u32, start: u32, end: u32| json!([{"turn": turn, "span": {"start": start, "end": end}, "weight": 1.0}]);
        let sad = json!({"label": "negative", "score": -0.5, "confidence": 0.8});
        let tags = tags(json!({
            "topics": [{"topic_id": "registers", "confidence": 0.9, "sentiment": sad, "source": "head", "evidence": in_turn(1, 0, 17)}],
            "sentiment": sad,
            "signals": [{"signal_id": "deflection", "confidence": 0.8, "source": "prototype", "evidence": in_turn(2, 0, 30)}],
            "turns": [
                {"turn": 0, "speaker": "system"},
                {"turn": 1, "speaker": "customer", "sentiment": sad, "topics": ["registers"]},
                {"turn": 2, "speaker": "operator", "signals": ["deflection"]}
            ],
            "sentiment_trend": {"first": -0.5, "last": 0.25, "change": 0.75}
        }));
        let expected = "\
system    Вы первый в очереди
customer  Касса не работает¹, когда почините?
          ^^^^^^^^^^^^^^^^^
          → negative -0.50
operator  Позвоните в поддержку партнёра²
          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          → En DEFLECTION

topics     En REGISTERS  0.90  negative -0.50  head  ¹
sentiment  negative -0.50  0.80
trend      -0.50 at first, +0.25 at last: +0.75
signals    En DEFLECTION  0.80  prototype  ²
team       En CARE  0.50
           why: nothing decided
review     not needed
language   ru
made by    otklik 0.1.0, taxonomy 01234567, encoder e5 fedcba98, prototypes aaaabbbb
";
        assert_eq!(render(&body, &tags, &Ids, &look(100, false)), expected);
    }
}
