//! The playbook file as written: every entry read and checked, each problem told with its place.

use std::collections::HashMap;

use toml::de::DeTable;

use super::drafts;
use super::entries::{Avoidance, DraftTemplate, Gesture, Intent, IntentExample, Occasion, ReplyLanguage, Wording};
use super::phrases::PhraseSet;
use crate::feedback::FeedbackKind;
use crate::tags::{SignalId, TeamId, TopicId};
use crate::taxonomy::Taxonomy;
use crate::taxonomy::fields::{Fields, Located};
use crate::taxonomy::phrases::Phrase;
use crate::taxonomy::problems::{Place, Problems, did_you_mean};

/// The only version of the file format so far.
const SCHEMA: f64 = 1.0;

/// What a file may hold at most; beyond it a file is refused, whoever wrote it.
pub(super) mod limits {
    pub const GESTURES: usize = 500;
    pub const INTENTS: usize = 1_000;
    pub const AVOIDANCES: usize = 500;
    pub const DRAFTS: usize = 500;
    pub const EXAMPLES: usize = 200;
    pub const PHRASES: usize = 200;
    pub const IDS: usize = 200;
    pub const ID_CHARS: usize = 64;
    pub const NAME_CHARS: usize = 200;
    pub const TEXT_CHARS: usize = 4_000;
    pub const EXAMPLE_CHARS: usize = 1_000;
    pub const PHRASE_CHARS: usize = 300;
    pub const AMOUNT: f64 = 1e12;
    pub const DAYS: f64 = 3_650.0;
}

/// Languages of every text.
const LANGUAGES: [&str; 2] = ["ru", "en"];

/// The least number of examples of an intent in Russian, so that the distance to the others can be calibrated.
const LEAST_EXAMPLES: usize = 2;

/// A whole file. Where something was missing or wrong it holds an empty value; then a problem has been reported.
pub(super) struct Source {
    pub name: String,
    pub edition: String,
    pub currency: String,
    pub gestures: Vec<(Gesture, PhraseSet)>,
    pub intents: Vec<Intent>,
    pub avoid: Vec<(Avoidance, PhraseSet)>,
    pub drafts: Vec<DraftTemplate>,
}

/// Reads the file; what is wrong goes into `problems`.
pub(super) fn read(table: &DeTable<'_>, taxonomy: &Taxonomy, problems: &mut Problems) -> Source {
    let known = ["schema", "playbook", "gestures", "intents", "avoid", "drafts"];
    let root = Fields::open(table, Place { offset: 0, key: String::new() }, &known, problems);
    root.require("schema", "allowed: 1", problems);
    if let Some(schema) = root.number("schema", problems)
        && schema.value != SCHEMA
    {
        problems.report(&schema.place, format!("{} is not known to this version; allowed: 1", schema.value));
    }
    let (name, edition, currency) = header(&root, problems);
    let mut reader = Reader { taxonomy, problems };
    let gestures = reader.each(&root, "gestures", &GESTURE_KEYS, limits::GESTURES, Reader::gesture);
    let intents = reader.each(&root, "intents", &INTENT_KEYS, limits::INTENTS, Reader::intent);
    let avoid = reader.each(&root, "avoid", &AVOIDANCE_KEYS, limits::AVOIDANCES, Reader::avoidance);
    let drafts = reader.each(&root, "drafts", &DRAFT_KEYS, limits::DRAFTS, Reader::draft);
    reader.examples_once(&intents);
    for key in ["gestures", "intents", "drafts"] {
        root.require(key, "a playbook has at least one of them", problems);
    }
    if !drafts.is_empty() && !drafts.iter().any(|(draft, _)| draft.when.is_always()) {
        problems.report(
            &root.place("drafts"),
            "has no template without topics, signals and kinds; one must fit where no other does",
        );
    }
    Source {
        name,
        edition,
        currency,
        gestures: gestures.into_iter().map(|(entry, _)| entry).collect(),
        intents: intents.into_iter().map(|((intent, _), _)| intent).collect(),
        avoid: avoid.into_iter().map(|(entry, _)| entry).collect(),
        drafts: drafts.into_iter().map(|(entry, _)| entry).collect(),
    }
}

const GESTURE_KEYS: [&str; 11] =
    ["id", "name", "description", "condition", "topics", "teams", "signals", "limit", "cost", "above", "phrases"];
const INTENT_KEYS: [&str; 4] = ["id", "name", "examples", "script"];
const AVOIDANCE_KEYS: [&str; 5] = ["id", "when", "text", "why", "patterns"];
const DRAFT_KEYS: [&str; 5] = ["id", "topics", "signals", "kinds", "text"];

fn header(root: &Fields<'_>, problems: &mut Problems) -> (String, String, String) {
    root.require("playbook", "a table with name, version and currency", problems);
    let Some(head) = root.table("playbook", &["name", "version", "currency"], problems) else {
        return Default::default();
    };
    let mut word = |key: &str, what: &str| {
        head.require(key, what, problems);
        head.words(key, limits::NAME_CHARS, problems)
    };
    let name = word("name", "a short name of the playbook");
    let edition = word("version", "the company's own name of this edition");
    let currency = word("currency", "a code of three letters such as RUB");
    if let Some(Located { value: code, place }) = &currency
        && !(code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()))
    {
        problems.report(place, format!("{code:?} is not a currency code; allowed: three capital letters, as in RUB"));
    }
    let text = |found: Option<Located<String>>| found.map(|found| found.value).unwrap_or_default();
    (text(name), text(edition), text(currency))
}

pub(super) struct Reader<'t, 'p> {
    pub(super) taxonomy: &'t Taxonomy,
    pub(super) problems: &'p mut Problems,
}

/// An id that an entry has.
trait HasId {
    fn id(&self) -> &str;
}

macro_rules! has_id {
    ($($kind:ty => $($path:tt).+;)+) => { $(impl HasId for $kind { fn id(&self) -> &str { &self.$($path).+ } })+ };
}
has_id! {
    (Gesture, PhraseSet) => 0.id;
    (Intent, Vec<Place>) => 0.id;
    (Avoidance, PhraseSet) => 0.id;
    DraftTemplate => id;
}

impl Reader<'_, '_> {
    /// The entries of a list with the places of their ids, which are unique.
    fn each<T: HasId>(
        &mut self,
        root: &Fields<'_>,
        key: &str,
        known: &[&str],
        limit: usize,
        read: fn(&mut Self, &Fields<'_>) -> T,
    ) -> Vec<(T, Place)> {
        let mut entries: Vec<(T, Place)> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        for fields in root.tables(key, known, limit, self.problems) {
            let (entry, place) = (read(self, &fields), fields.place("id"));
            let id = entry.id();
            if let Some(first) = seen.get(id).and_then(|first| entries.get(*first)).filter(|_| !id.is_empty()) {
                let (first, line) = (&first.1.key, self.problems.line_of(first.1.offset));
                self.problems.report(&place, format!("{id:?} is taken already: {first} at line {line}"));
            }
            seen.entry(id.to_owned()).or_insert(entries.len());
            entries.push((entry, place));
        }
        entries
    }

    fn gesture(&mut self, fields: &Fields<'_>) -> (Gesture, PhraseSet) {
        let limit = self.limit(fields);
        let cost = self.positive(fields, "cost", limits::AMOUNT).unwrap_or_default();
        if let (Some(most), true) = (limit.amount, fields.has("cost"))
            && cost > most
        {
            self.problems
                .report(&fields.place("cost"), format!("{cost} contradicts limit.amount, {most}: it costs more"));
        }
        fields.require("cost", "what it costs on average; 0 is allowed", self.problems);
        let above = self.above(fields, &limit);
        let (phrases, set) = self.phrases(fields, "phrases");
        fields.require("phrases", "the phrases by which a text promises it", self.problems);
        let gesture = Gesture {
            id: self.id(fields),
            name: self.wording(fields, "name", limits::NAME_CHARS),
            description: self.wording(fields, "description", limits::TEXT_CHARS),
            condition: self.wording(fields, "condition", limits::TEXT_CHARS),
            topics: self.topics(fields),
            teams: self.teams(fields),
            signals: self.signals(fields),
            limit,
            cost,
            above,
            phrases,
        };
        (gesture, set)
    }

    fn intent(&mut self, fields: &Fields<'_>) -> (Intent, Vec<Place>) {
        let (mut examples, mut places) = (Vec::new(), Vec::new());
        fields.require("examples", "a table by language such as { ru = [...], en = [...] }", self.problems);
        if let Some(table) = fields.table("examples", &LANGUAGES, self.problems) {
            for language in ReplyLanguage::ALL {
                for text in table.list_of_words(language.as_str(), limits::EXAMPLE_CHARS, self.problems) {
                    examples.push(IntentExample { language: *language, text: text.value });
                    places.push(text.place);
                }
            }
            if !(LEAST_EXAMPLES..=limits::EXAMPLES).contains(&examples.len()) {
                let message = format!(
                    "{} examples; allowed: {LEAST_EXAMPLES} to {} of both languages together",
                    examples.len(),
                    limits::EXAMPLES
                );
                self.problems.report(table.own_place(), message);
            }
        }
        let intent = Intent {
            id: self.id(fields),
            name: self.wording(fields, "name", limits::NAME_CHARS),
            examples,
            script: self.wording(fields, "script", limits::TEXT_CHARS),
        };
        (intent, places)
    }

    /// An example belongs to one intent only.
    fn examples_once(&mut self, intents: &[((Intent, Vec<Place>), Place)]) {
        let mut seen: HashMap<String, &Place> = HashMap::new();
        for ((intent, places), _) in intents {
            for (example, place) in intent.examples.iter().zip(places) {
                let words = example.text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
                if let Some(first) = seen.get(&words) {
                    let line = self.problems.line_of(first.offset);
                    let message = format!("the same example stands in {} at line {line}", first.key);
                    self.problems.report(place, message);
                } else {
                    seen.insert(words, place);
                }
            }
        }
    }

    fn avoidance(&mut self, fields: &Fields<'_>) -> (Avoidance, PhraseSet) {
        let (patterns, set) = self.phrases(fields, "patterns");
        let when = match fields.table("when", &["topics", "signals", "kinds"], self.problems) {
            Some(table) => self.occasion(&table),
            None => Occasion::default(),
        };
        let avoidance = Avoidance {
            id: self.id(fields),
            when,
            text: self.wording(fields, "text", limits::TEXT_CHARS),
            why: self.wording(fields, "why", limits::TEXT_CHARS),
            patterns,
        };
        (avoidance, set)
    }

    fn draft(&mut self, fields: &Fields<'_>) -> DraftTemplate {
        let text = self.wording(fields, "text", limits::TEXT_CHARS);
        for language in ReplyLanguage::ALL {
            let written = text.get(*language);
            let failed = drafts::trials().iter().find_map(|context| drafts::render_text(written, context).err());
            if let Some(problem) = failed.filter(|_| !written.is_empty()) {
                self.problems.report(&fields.place("text"), format!("{language}: {problem}"));
            }
        }
        DraftTemplate { id: self.id(fields), when: self.occasion(fields), text }
    }

    fn occasion(&mut self, fields: &Fields<'_>) -> Occasion {
        let mut kinds: Vec<FeedbackKind> = Vec::new();
        for name in self.ids(fields, "kinds") {
            match name.value.parse() {
                Ok(kind) => kinds.push(kind),
                Err(unknown) => self.problems.report(&name.place, unknown.to_string()),
            }
        }
        Occasion { topics: self.topics(fields), signals: self.signals(fields), kinds }
    }

    fn topics(&mut self, fields: &Fields<'_>) -> Vec<TopicId> {
        let known = self.taxonomy.topics().iter().map(|topic| topic.id.as_str()).collect();
        self.refer(fields, "topics", "topic", known).into_iter().map(TopicId::new).collect()
    }

    fn signals(&mut self, fields: &Fields<'_>) -> Vec<SignalId> {
        let known = self.taxonomy.signals().iter().map(|signal| signal.id.as_str()).collect();
        self.refer(fields, "signals", "signal", known).into_iter().map(SignalId::new).collect()
    }

    fn teams(&mut self, fields: &Fields<'_>) -> Vec<TeamId> {
        let known = self.taxonomy.teams().iter().map(|team| team.id.as_str()).collect();
        self.refer(fields, "teams", "team", known).into_iter().map(TeamId::new).collect()
    }

    /// Ids of entries of the taxonomy, each once.
    fn refer(&mut self, fields: &Fields<'_>, key: &str, kind: &str, known: Vec<&str>) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        for Located { value: id, place } in self.ids(fields, key) {
            if !known.contains(&id.as_str()) {
                let meant = did_you_mean(&id, known.iter().copied());
                self.problems.report(&place, format!("the taxonomy has no {kind} {id:?}{meant}"));
            } else if ids.contains(&id) {
                self.problems.report(&place, format!("{id:?} is listed twice"));
            } else {
                ids.push(id);
            }
        }
        ids
    }

    fn ids(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Located<String>> {
        let ids = fields.list_of_words(key, limits::ID_CHARS, self.problems);
        if ids.len() > limits::IDS {
            self.problems.report(&fields.place(key), format!("{} ids; at most {} are allowed", ids.len(), limits::IDS));
            return Vec::new();
        }
        ids
    }

    fn id(&mut self, fields: &Fields<'_>) -> String {
        fields.require("id", "lower-case latin letters, digits and `_`", self.problems);
        let Some(id) = fields.words("id", limits::ID_CHARS, self.problems) else { return String::new() };
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !id.value.bytes().all(allowed) {
            self.problems.report(
                &id.place,
                format!("{:?} is not an id; allowed: lower-case latin letters, digits and `_`", id.value),
            );
        }
        id.value
    }

    /// A text in both languages.
    fn wording(&mut self, fields: &Fields<'_>, key: &str, max_chars: usize) -> Wording {
        fields.require(key, "a table { ru = \"...\", en = \"...\" }", self.problems);
        let Some(table) = fields.table(key, &LANGUAGES, self.problems) else { return Wording::default() };
        let mut text = |language: &str| {
            table.require(language, "every text is given in both languages", self.problems);
            table.words(language, max_chars, self.problems).map(|text| text.value).unwrap_or_default()
        };
        Wording { ru: text("ru"), en: text("en") }
    }

    fn phrases(&mut self, fields: &Fields<'_>, key: &str) -> (Vec<String>, PhraseSet) {
        let written = fields.list_of_words(key, limits::PHRASE_CHARS, self.problems);
        if written.len() > limits::PHRASES {
            let message = format!("{} phrases; at most {} are allowed", written.len(), limits::PHRASES);
            self.problems.report(&fields.place(key), message);
            return (Vec::new(), PhraseSet::default());
        }
        let mut parsed = Vec::with_capacity(written.len());
        for phrase in &written {
            match Phrase::parse(&phrase.value) {
                Ok(phrase) => parsed.push(phrase),
                Err(problem) => self.problems.report(&phrase.place, format!("phrase {:?} {problem}", phrase.value)),
            }
        }
        (written.into_iter().map(|phrase| phrase.value).collect(), PhraseSet::new(parsed))
    }
}
