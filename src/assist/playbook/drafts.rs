//! Drafts from the playbook's templates.

use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::entries::{DraftTemplate, ReplyLanguage};

/// The longest draft that a template may make, in characters.
const MAX_DRAFT_CHARS: usize = 20_000;

/// Steps of the template engine that one draft may take.
const FUEL: u64 = 200_000;

/// What a template may name. Every key is always there; `none` stands for what is not known, so that a template can ask.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct DraftContext {
    /// Name of the surest topic.
    pub topic: Option<String>,
    /// The customer's own sentence that tells it best, personal data masked.
    pub quote: Option<String>,
    /// What the script says, if it covers the matter.
    pub script: Option<String>,
    /// The gesture to offer first: one that the operator may make without asking.
    pub gesture: Option<DraftGesture>,
    /// All gestures that the operator may make without asking, best first.
    pub gestures: Vec<DraftGesture>,
    /// Ids of the signals.
    pub signals: Vec<String>,
    /// Kind of the feedback, as in `complaint`.
    pub kind: Option<String>,
}

/// A gesture as a template sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct DraftGesture {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What is done.
    pub description: String,
}

/// A template could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the template {id:?} ({language}) can't be rendered: {problem}")]
pub struct DraftError {
    /// The template.
    pub id: String,
    /// Its language.
    pub language: ReplyLanguage,
    /// What is wrong.
    pub problem: String,
}

/// Renders a template. Undefined variables are errors; runs of blank lines become one.
///
/// # Errors
/// [`DraftError`] for a variable that does not exist, a broken template, or a draft that gets too long.
pub fn render(template: &DraftTemplate, language: ReplyLanguage, context: &DraftContext) -> Result<String, DraftError> {
    render_text(template.text.get(language), context).map_err(|problem| DraftError {
        id: template.id.clone(),
        language,
        problem,
    })
}

/// Renders the text of a template; the error says in one line what is wrong.
pub(super) fn render_text(text: &str, context: &DraftContext) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    let rendered = environment.render_str(text, context).map_err(|error| {
        let line = error.line().map_or_else(String::new, |line| format!(", in line {line} of the template"));
        let detail = error.detail().map_or_else(String::new, |detail| format!(": {detail}"));
        format!("{}{detail}{line}", error.kind())
    })?;
    let draft = tidied(&rendered);
    let chars = draft.chars().count();
    if chars > MAX_DRAFT_CHARS {
        return Err(format!("the draft has {chars} characters; at most {MAX_DRAFT_CHARS} are allowed"));
    }
    if draft.is_empty() {
        return Err("the draft is empty".to_owned());
    }
    Ok(draft)
}

/// Lines without white space at their ends, at most one blank line in a row, none at the ends.
fn tidied(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut blank = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            blank = !tidy.is_empty();
            continue;
        }
        if !tidy.is_empty() {
            tidy.push_str(if blank { "\n\n" } else { "\n" });
        }
        blank = false;
        tidy.push_str(line);
    }
    tidy
}

/// Two contexts that every template is tried with when a playbook is read: all is known, and nothing is.
pub(super) fn trials() -> [DraftContext; 2] {
    let gesture = DraftGesture { id: "id".into(), name: "name".into(), description: "description".into() };
    let full = DraftContext {
        topic: Some("topic".into()),
        quote: Some("quote".into()),
        script: Some("script".into()),
        gesture: Some(gesture.clone()),
        gestures: vec![gesture],
        signals: vec!["vague".into()],
        kind: Some("complaint".into()),
    };
    [full, DraftContext::default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_can_be_asked_for_and_what_does_not_exist_is_an_error() {
        let [full, empty] = trials();
        let text = "{% if topic %}About {{ topic }}.{% else %}Hello.{% endif %}\n\n\n\n{{ gestures|length }}  \n";
        assert_eq!(render_text(text, &full).unwrap(), "About topic.\n\n1");
        assert_eq!(render_text(text, &empty).unwrap(), "Hello.\n\n0");
        assert!(render_text("{{ customer }}", &full).unwrap_err().contains("undefined"), "strict");
        assert!(render_text("{% if %}", &full).unwrap_err().contains("line 1"));
        assert_eq!(render_text("{% if script %}{{ script }}{% endif %}", &empty).unwrap_err(), "the draft is empty");
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(render_text(endless, &full).is_err(), "a template that does not end is stopped");
    }
}
