//! The taxonomy file as written: every entry read by itself, with its places kept for the checks between entries.

use toml::de::DeTable;

use super::entries::{Example, Localized, OwnershipRule, PhraseRule, RuleTarget, Signal, Team, Topic, Within};
use super::fields::{Fields, Located};
use super::patterns::{GatedRegex, Patterns, compile_regex};
use super::phrases::Phrase;
use super::problems::{Place, Problems, did_you_mean};
use crate::feedback::Speaker;
use crate::tags::{Confidence, SignalId, TeamId, TopicId};

/// The only version of the file format so far.
const SCHEMA: f64 = 1.0;

/// What a file may hold at most; beyond it a file is refused, whoever wrote it.
pub(super) mod limits {
    pub const TOPICS: usize = 2_000;
    pub const EXAMPLES_PER_ENTRY: usize = 200;
    pub const SIGNALS: usize = 500;
    pub const TEAMS: usize = 2_000;
    pub const OWNERSHIP_RULES: usize = 5_000;
    pub const PHRASE_RULES: usize = 10_000;
    pub const PHRASES_PER_LIST: usize = 500;
    pub const LANGUAGES: usize = 32;
    pub const ID_CHARS: usize = 64;
    pub const NAME_CHARS: usize = 200;
    pub const DESCRIPTION_CHARS: usize = 2_000;
    pub const EXAMPLE_CHARS: usize = 2_000;
    pub const PHRASE_CHARS: usize = 300;
    pub const REGEXES: usize = 200;
    pub const REGEX_CHARS: usize = 2_000;
}

/// How sure a phrase rule is when it does not say.
const DEFAULT_RULE_CONFIDENCE: f32 = 0.95;

/// An entry, and the table it was read from. Where a field was missing or wrong, it holds an empty value; then a problem has been
/// reported, and the entry goes no further than the checks.
#[derive(Debug)]
pub(super) struct Entry<'t, T> {
    pub value: T,
    pub fields: Fields<'t>,
    pub examples: Vec<Place>,
}

/// A whole file.
#[derive(Debug)]
pub(super) struct Source<'t> {
    pub name: String,
    pub languages: Vec<String>,
    pub triage_team: Located<TeamId>,
    pub teams: Vec<Entry<'t, Team>>,
    pub topics: Vec<Entry<'t, Topic>>,
    pub signals: Vec<Entry<'t, Signal>>,
    pub ownership: Vec<Entry<'t, OwnershipRule>>,
    pub rules: Vec<Entry<'t, (PhraseRule, Patterns)>>,
}

impl<'t> Source<'t> {
    /// Reads the file; what is wrong goes into `problems`.
    pub fn read(table: &'t DeTable<'t>, problems: &mut Problems) -> Self {
        let known = ["schema", "name", "languages", "triage_team", "teams", "topics", "signals", "ownership", "rules"];
        let root = Fields::open(table, Place { offset: 0, key: String::new() }, &known, problems);

        root.require("schema", "allowed: 1", problems);
        if let Some(schema) = root.number("schema", problems)
            && schema.value != SCHEMA
        {
            problems.report(&schema.place, format!("{} is not known to this version; allowed: 1", schema.value));
        }
        root.require("name", "a short name of the taxonomy", problems);
        let name = root.words("name", limits::NAME_CHARS, problems).map(|name| name.value).unwrap_or_default();
        let languages = read_languages(&root, problems);
        root.require("triage_team", "the team that takes what no topic decided", problems);
        let triage_team = Located {
            value: TeamId::new(root.string("triage_team", problems).map(|team| team.value).unwrap_or_default()),
            place: root.place("triage_team"),
        };

        let mut reader =
            EntryReader { languages: languages.iter().map(String::as_str).collect(), problems, regexes: 0 };
        let teams = reader.all(&root, "teams", &Team::KEYS, limits::TEAMS, EntryReader::team);
        let topics = reader.all(&root, "topics", &Topic::KEYS, limits::TOPICS, EntryReader::topic);
        let signals = reader.all(&root, "signals", &Signal::KEYS, limits::SIGNALS, EntryReader::signal);
        let ownership =
            reader.all(&root, "ownership", &OwnershipRule::KEYS, limits::OWNERSHIP_RULES, EntryReader::ownership_rule);
        let rules = reader.all(&root, "rules", &PhraseRule::KEYS, limits::PHRASE_RULES, EntryReader::phrase_rule);
        for key in ["teams", "topics"] {
            root.require(key, "a taxonomy has at least one of them", problems);
        }
        Self { name, languages, triage_team, teams, topics, signals, ownership, rules }
    }
}

impl Team {
    const KEYS: [&'static str; 4] = ["id", "name", "description", "escalates_to"];
}
impl Topic {
    const KEYS: [&'static str; 6] = ["id", "parent", "name", "description", "sentiment", "examples"];
}
impl Signal {
    const KEYS: [&'static str; 6] = ["id", "name", "description", "speakers", "min_confidence", "examples"];
}
impl OwnershipRule {
    const KEYS: [&'static str; 6] = ["id", "topic", "product", "channel", "partner", "team"];
}
impl PhraseRule {
    const KEYS: [&'static str; 10] =
        ["id", "topic", "signal", "speaker", "within", "any_of", "all_of", "not", "regex", "confidence"];
}

fn read_languages(root: &Fields<'_>, problems: &mut Problems) -> Vec<String> {
    root.require("languages", "a list of codes such as [\"ru\", \"en\"]", problems);
    let mut languages: Vec<String> = Vec::new();
    let listed = root.list_of_words("languages", limits::ID_CHARS, problems);
    if listed.len() > limits::LANGUAGES {
        let count = listed.len();
        problems
            .report(&root.place("languages"), format!("{count} languages; at most {} are allowed", limits::LANGUAGES));
        return languages;
    }
    for Located { value: code, place } in listed {
        if !(2..=3).contains(&code.len()) || !code.bytes().all(|byte| byte.is_ascii_lowercase()) {
            problems.report(&place, format!("{code:?} is not a language code of 2 or 3 lower-case letters"));
        } else if languages.contains(&code) {
            problems.report(&place, format!("{code:?} is listed twice"));
        } else {
            languages.push(code);
        }
    }
    languages
}

/// Reads single entries; each field that is wrong is reported and left empty.
struct EntryReader<'p> {
    languages: Vec<&'p str>,
    problems: &'p mut Problems,
    regexes: usize,
}

impl EntryReader<'_> {
    fn all<'t, T>(
        &mut self,
        root: &Fields<'t>,
        key: &str,
        known: &[&str],
        limit: usize,
        read: impl Fn(&mut Self, Fields<'t>) -> Entry<'t, T>,
    ) -> Vec<Entry<'t, T>> {
        let tables = root.tables(key, known, limit, self.problems);
        tables.into_iter().map(|fields| read(self, fields)).collect()
    }

    fn team<'t>(&mut self, fields: Fields<'t>) -> Entry<'t, Team> {
        let value = Team {
            id: TeamId::new(self.id(&fields)),
            names: self.names(&fields),
            descriptions: self.descriptions(&fields),
            escalates_to: self.optional(&fields, "escalates_to").map(TeamId::new),
        };
        Entry { value, fields, examples: Vec::new() }
    }

    fn topic<'t>(&mut self, fields: Fields<'t>) -> Entry<'t, Topic> {
        let (examples, places) = self.examples(&fields);
        let value = Topic {
            id: TopicId::new(self.id(&fields)),
            parent: self.optional(&fields, "parent").map(TopicId::new),
            names: self.names(&fields),
            descriptions: self.descriptions(&fields),
            sentiment: self.named(&fields, "sentiment"),
            examples,
        };
        Entry { value, fields, examples: places }
    }

    fn signal<'t>(&mut self, fields: Fields<'t>) -> Entry<'t, Signal> {
        let (examples, places) = self.examples(&fields);
        let value = Signal {
            id: SignalId::new(self.id(&fields)),
            names: self.names(&fields),
            descriptions: self.descriptions(&fields),
            speakers: self.speakers(&fields),
            min_confidence: self.confidence(&fields, "min_confidence"),
            examples,
        };
        Entry { value, fields, examples: places }
    }

    fn ownership_rule<'t>(&mut self, fields: Fields<'t>) -> Entry<'t, OwnershipRule> {
        let value = OwnershipRule {
            id: self.id(&fields),
            topic: TopicId::new(self.required(&fields, "topic", "the topic that is owned")),
            product: self.condition(&fields, "product"),
            channel: self.condition(&fields, "channel"),
            partner: self.condition(&fields, "partner"),
            team: TeamId::new(self.required(&fields, "team", "the team that owns the topic")),
        };
        Entry { value, fields, examples: Vec::new() }
    }

    fn phrase_rule<'t>(&mut self, fields: Fields<'t>) -> Entry<'t, (PhraseRule, Patterns)> {
        let topic = self.optional(&fields, "topic");
        let signal = self.optional(&fields, "signal");
        if fields.has("topic") == fields.has("signal") {
            let found = if fields.has("topic") { "both" } else { "neither" };
            self.problems.report(
                fields.own_place(),
                format!("gives exactly one of `topic` and `signal`; this one gives {found}"),
            );
        }
        let target = match (topic, signal) {
            (Some(topic), _) => RuleTarget::Topic(TopicId::new(topic)),
            (None, signal) => RuleTarget::Signal(SignalId::new(signal.unwrap_or_default())),
        };
        let (any_of, any_patterns) = self.phrases(&fields, "any_of");
        let (all_of, all_patterns) = self.phrases(&fields, "all_of");
        let (none_of, none_patterns) = self.phrases(&fields, "not");
        let (regex, regex_pattern) = self.regex(&fields);
        let rule = PhraseRule {
            id: self.id(&fields),
            target,
            speaker: self.named(&fields, "speaker"),
            within: self.named(&fields, "within").unwrap_or(Within::Sentence),
            any_of,
            all_of,
            none_of,
            regex,
            confidence: self
                .confidence(&fields, "confidence")
                .unwrap_or_else(|| Confidence::new(DEFAULT_RULE_CONFIDENCE)),
        };
        if !["any_of", "all_of", "regex"].iter().any(|key| fields.has(key)) {
            self.problems.report(fields.own_place(), "needs at least one of `any_of`, `all_of` and `regex`");
        }
        let alone = !fields.has("any_of") && !fields.has("all_of");
        if alone && regex_pattern.as_ref().is_some_and(|regex| regex.is_match("")) {
            let message =
                "matches the empty text, so it would match everywhere; a rule without phrases needs more than that";
            self.problems.report(&fields.place("regex"), message);
        }
        let patterns =
            Patterns { any_of: any_patterns, all_of: all_patterns, none_of: none_patterns, regex: regex_pattern };
        Entry { value: (rule, patterns), fields, examples: Vec::new() }
    }

    fn id(&mut self, fields: &Fields<'_>) -> String {
        const ALLOWED: &str = "a lower-case Latin letter, then lower-case Latin letters, digits and `_`";
        fields.require("id", ALLOWED, self.problems);
        let Some(id) = fields.string("id", self.problems) else { return String::new() };
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !id.value.starts_with(|first: char| first.is_ascii_lowercase()) || !id.value.bytes().all(allowed) {
            self.problems.report(&id.place, format!("{:?} is not an id; allowed: {ALLOWED}", id.value));
        } else if id.value.len() > limits::ID_CHARS {
            let chars = id.value.len();
            self.problems
                .report(&id.place, format!("has {chars} characters; at most {} are allowed", limits::ID_CHARS));
        }
        id.value
    }

    fn required(&mut self, fields: &Fields<'_>, key: &str, what: &str) -> String {
        fields.require(key, what, self.problems);
        self.optional(fields, key).unwrap_or_default()
    }

    fn optional(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        fields.words(key, limits::NAME_CHARS, self.problems).map(|text| text.value)
    }

    fn condition(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        self.optional(fields, key).map(|text| text.trim().to_owned())
    }

    fn confidence(&mut self, fields: &Fields<'_>, key: &str) -> Option<Confidence> {
        let number = fields.number(key, self.problems)?;
        if !(0.0..=1.0).contains(&number.value) {
            self.problems.report(&number.place, format!("{} is out of range; allowed: 0 to 1", number.value));
            return None;
        }
        Some(Confidence::new(number.value as f32))
    }

    fn named<N: std::str::FromStr<Err = crate::feedback::UnknownName>>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
    ) -> Option<N> {
        let name = fields.string(key, self.problems)?;
        self.parse_name(&name)
    }

    fn parse_name<N: std::str::FromStr<Err = crate::feedback::UnknownName>>(
        &mut self,
        name: &Located<String>,
    ) -> Option<N> {
        match name.value.parse() {
            Ok(known) => Some(known),
            Err(unknown) => {
                let meant = did_you_mean(&name.value, unknown.allowed.iter().copied());
                self.problems.report(&name.place, format!("{unknown}{meant}"));
                None
            }
        }
    }

    fn speakers(&mut self, fields: &Fields<'_>) -> Vec<Speaker> {
        if !fields.has("speakers") {
            return vec![Speaker::Customer];
        }
        let listed = fields.list_of_words("speakers", limits::NAME_CHARS, self.problems);
        let mut speakers: Vec<Speaker> = listed.iter().filter_map(|name| self.parse_name(name)).collect();
        speakers.sort();
        speakers.dedup();
        speakers
    }

    fn names(&mut self, fields: &Fields<'_>) -> Localized {
        if !fields.has("name") {
            let first = self.languages.first().unwrap_or(&"en");
            fields.require("name", &format!("a table by language such as {{ {first} = \"...\" }}"), self.problems);
        }
        self.localized(fields, "name", limits::NAME_CHARS)
    }

    fn descriptions(&mut self, fields: &Fields<'_>) -> Localized {
        self.localized(fields, "description", limits::DESCRIPTION_CHARS)
    }

    fn localized(&mut self, fields: &Fields<'_>, key: &str, max_chars: usize) -> Localized {
        let Some(table) = fields.by_language(key, &self.languages, self.problems) else {
            return Localized::default();
        };
        if let Some(first) = self.languages.first() {
            table.require(first, "the taxonomy's first language is the fallback of all others", self.problems);
        }
        let mut texts = Vec::new();
        for language in &self.languages {
            if let Some(text) = table.words(language, max_chars, self.problems) {
                texts.push(((*language).to_owned(), text.value));
            }
        }
        Localized::new(texts)
    }

    fn examples(&mut self, fields: &Fields<'_>) -> (Vec<Example>, Vec<Place>) {
        let mut examples = Vec::new();
        let mut places = Vec::new();
        let Some(table) = fields.by_language("examples", &self.languages, self.problems) else {
            return (examples, places);
        };
        for language in &self.languages {
            let texts = table.list_of_words(language, limits::EXAMPLE_CHARS, self.problems);
            for text in texts {
                examples.push(Example { language: (*language).to_owned(), text: text.value });
                places.push(text.place);
            }
        }
        if examples.len() > limits::EXAMPLES_PER_ENTRY {
            let message = format!("{} examples; at most {} are allowed", examples.len(), limits::EXAMPLES_PER_ENTRY);
            self.problems.report(table.own_place(), message);
        }
        (examples, places)
    }

    fn phrases(&mut self, fields: &Fields<'_>, key: &str) -> (Vec<String>, Vec<Phrase>) {
        let phrases = fields.list_of_words(key, limits::PHRASE_CHARS, self.problems);
        if phrases.len() > limits::PHRASES_PER_LIST {
            let count = phrases.len();
            let message = format!("{count} phrases; at most {} are allowed", limits::PHRASES_PER_LIST);
            self.problems.report(&fields.place(key), message);
            return (Vec::new(), Vec::new());
        }
        let mut parsed = Vec::with_capacity(phrases.len());
        for phrase in &phrases {
            match Phrase::parse(&phrase.value) {
                Ok(phrase) => parsed.push(phrase),
                Err(problem) => self.problems.report(&phrase.place, format!("phrase {:?} {problem}", phrase.value)),
            }
        }
        (phrases.into_iter().map(|phrase| phrase.value).collect(), parsed)
    }

    fn regex(&mut self, fields: &Fields<'_>) -> (Option<String>, Option<GatedRegex>) {
        let Some(written) = fields.words("regex", limits::REGEX_CHARS, self.problems) else { return (None, None) };
        self.regexes += 1;
        if self.regexes > limits::REGEXES {
            let message = format!("is one regular expression too many; at most {} are allowed", limits::REGEXES);
            self.problems.report(&written.place, message);
            return (None, None);
        }
        match compile_regex(&written.value) {
            Ok(regex) => (Some(written.value), Some(regex)),
            Err(problem) => {
                self.problems.report(&written.place, problem);
                (None, None)
            }
        }
    }
}
