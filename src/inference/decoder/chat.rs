//! Writes a chat the way a model was taught to read it.
//!
//! Enters: messages. Leaves: segments, and their tokens, up to where the answer begins. What a message says never becomes a control token,
//! and never steers the template. Never here: what messages are about.
//!
//! The template of the file is rendered with a character of private use in place of each message, and cut there. White space at the ends
//! of a message stays, so that a template can trim it; an empty message stays empty.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use minijinja::{Environment, Error, ErrorKind, context};
use serde::{Deserialize, Serialize};

use super::vocabulary::{Metadata, MetadataError, Segment, Vocabulary, metadata};
use crate::feedback::named_enum;
use crate::inference::{ChatMessage, ChatRole, LanguageModelError};

/// Key of the template.
const TEMPLATE: &str = "tokenizer.chat_template";

/// Messages of one chat.
pub const MAX_MESSAGES: usize = 4_096;

/// The first of the characters that stand for messages: Supplementary Private Use Area-A of Unicode.
const FIRST_PLACE: u32 = 0xf_0000;

/// Between messages that have to share a place.
const BLANK_LINE: &str = "\n\n";

named_enum! {
    /// Where the way to write a chat comes from.
    ChatForm {
        /// The file has a template.
        Template = "template",
        /// The file has none, as files of models that were not taught to chat: messages follow each other, a blank line between.
        Plain = "plain",
    }
}

/// The way in which a model reads a chat.
pub struct ChatTemplate {
    vocabulary: Arc<Vocabulary>,
    written: Written,
}

enum Written {
    Plain,
    Template(Box<Template>),
}

struct Template {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
    /// Whether what the system says has a place of its own.
    has_system: bool,
}

impl ChatTemplate {
    /// Reads the template of a GGUF file. A file without one is for plain chats; the log says so.
    ///
    /// # Errors
    /// What in the template can't be read or rendered.
    pub fn read(metadata: &Metadata, vocabulary: Arc<Vocabulary>) -> Result<Self, MetadataError> {
        let Some(source) = metadata::text(metadata, TEMPLATE)? else {
            tracing::info!(form = %ChatForm::Plain, "the model has no chat template, so messages are written one after another");
            return Ok(Self { vocabulary, written: Written::Plain });
        };
        if source.chars().any(|letter| place(letter).is_some()) {
            return Err(MetadataError::new(TEMPLATE, "must have no characters from U+F0000 to U+F0FFF"));
        }
        let name = |id: Option<u32>| metadata::token_name(metadata, id);
        let mut template = Template {
            environment: environment(source),
            source: source.to_owned(),
            bos: name(vocabulary.bos())?,
            eos: name(vocabulary.eos())?,
            has_system: true,
        };
        let user = ChatMessage::new(ChatRole::User, "user");
        let system = ChatMessage::new(ChatRole::System, "system");
        let wrong = |problem: String| MetadataError::new(TEMPLATE, format!("can't be used: {problem}"));
        template.segments(std::slice::from_ref(&user)).map_err(wrong)?;
        // Some templates refuse what the system says, and some leave it out.
        template.has_system = template.segments(&[system, user]).is_ok();
        Ok(Self { vocabulary, written: Written::Template(Box::new(template)) })
    }

    /// Where the way to write a chat comes from.
    pub fn form(&self) -> ChatForm {
        match &self.written {
            Written::Plain => ChatForm::Plain,
            Written::Template(_) => ChatForm::Template,
        }
    }

    /// A chat as it is written, up to where the answer begins.
    ///
    /// # Errors
    /// [`LanguageModelError::Invalid`] if the messages are none or too many, or come in an order that the model's template refuses.
    pub fn segments(&self, messages: &[ChatMessage]) -> Result<Vec<Segment>, LanguageModelError> {
        let invalid = |problem: String| LanguageModelError::Invalid { field: "messages".to_owned(), problem };
        if messages.is_empty() || messages.len() > MAX_MESSAGES {
            return Err(invalid(format!("has {} messages; must have from 1 to {MAX_MESSAGES}", messages.len())));
        }
        match &self.written {
            Written::Plain => Ok(plain(messages)),
            Written::Template(template) if template.has_system => template.segments(messages).map_err(invalid),
            Written::Template(template) => template.segments(&without_system(messages)).map_err(invalid),
        }
    }

    /// Tokens of a chat, up to where the answer begins. Chats that begin alike have the same first tokens.
    ///
    /// # Errors
    /// As [`segments`](Self::segments).
    pub fn tokens(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, LanguageModelError> {
        let mut ids = self.vocabulary.encode_segments(&self.segments(messages)?);
        if let Some(bos) = self.vocabulary.bos().filter(|_| self.vocabulary.adds_bos())
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        Ok(ids)
    }
}

impl Template {
    /// Renders the messages; the error is what the template says, or which message it leaves out.
    fn segments(&self, messages: &[ChatMessage]) -> Result<Vec<Segment>, String> {
        let parts: Vec<Parts> =
            (FIRST_PLACE..).zip(messages).map(|(place, message)| Parts::new(place, message)).collect();
        let listed: Vec<_> = parts.iter().map(|part| context! { role => part.role, content => part.content }).collect();
        // Some models think aloud before they answer unless they are told not to; an answer that has a form has no room for that.
        let context = context! {
            messages => listed,
            bos_token => self.bos,
            eos_token => self.eos,
            add_generation_prompt => true,
            enable_thinking => false,
        };
        let template = self.environment.template_from_str(&self.source).map_err(|error| error.to_string())?;
        let rendered = template.render(context).map_err(|error| error.to_string())?;
        let mut segments = Vec::new();
        let mut own = String::new();
        let mut seen = vec![false; parts.len()];
        for letter in rendered.chars() {
            let index = place(letter);
            let Some((part, seen)) = index.and_then(|index| Some((parts.get(index)?, seen.get_mut(index)?))) else {
                own.push(letter);
                continue;
            };
            *seen = true;
            if !own.is_empty() {
                segments.push(Segment::Template(std::mem::take(&mut own)));
            }
            segments.push(Segment::Content(part.core.to_owned()));
        }
        if !own.is_empty() {
            segments.push(Segment::Template(own));
        }
        match parts.iter().zip(&seen).position(|(part, seen)| !part.core.is_empty() && !seen) {
            Some(left_out) => Err(format!("the model's chat template leaves out message {left_out}")),
            None => Ok(segments),
        }
    }
}

/// A message as the template sees it.
struct Parts<'a> {
    role: &'static str,
    /// The white space around the message, with a character in place of the rest.
    content: String,
    /// The rest.
    core: &'a str,
}

impl<'a> Parts<'a> {
    fn new(place: u32, message: &'a ChatMessage) -> Self {
        let core = message.content.trim();
        let (before, behind) = match message.content.split_once(core) {
            Some(around) if !core.is_empty() => around,
            _ => (message.content.as_str(), ""),
        };
        let stand_in = char::from_u32(place).filter(|_| !core.is_empty()).map(String::from).unwrap_or_default();
        Self { role: message.role.as_str(), content: format!("{before}{stand_in}{behind}"), core }
    }
}

/// Which message a character stands for.
fn place(letter: char) -> Option<usize> {
    let index = u32::from(letter).checked_sub(FIRST_PLACE)? as usize;
    (index < MAX_MESSAGES).then_some(index)
}

fn plain(messages: &[ChatMessage]) -> Vec<Segment> {
    let written = |message: &ChatMessage| {
        [Segment::Content(message.content.trim().to_owned()), Segment::Template(BLANK_LINE.to_owned())]
    };
    messages.iter().filter(|message| !message.content.trim().is_empty()).flat_map(written).collect()
}

/// What the system says goes before what the user says next; if nothing follows, the user says it.
fn without_system(messages: &[ChatMessage]) -> Vec<ChatMessage> {
    let mut folded = Vec::new();
    let mut said = String::new();
    for message in messages {
        match message.role {
            ChatRole::System => said = joined(&said, &message.content).into_owned(),
            ChatRole::User => {
                folded.push(ChatMessage::new(ChatRole::User, joined(&said, &message.content)));
                said.clear();
            }
            ChatRole::Assistant => folded.push(message.clone()),
        }
    }
    if !said.is_empty() {
        folded.push(ChatMessage::new(ChatRole::User, said));
    }
    folded
}

fn joined<'a>(before: &str, text: &'a str) -> Cow<'a, str> {
    if before.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format!("{before}{BLANK_LINE}{text}")) }
}

/// What templates are written for: the settings and functions of the `transformers` library.
fn environment(source: &str) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |problem: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, problem))
    });
    // A template that can do without the date is rendered without it, so that the same messages stay the same tokens.
    if source.contains("strftime_now") && !source.contains("strftime_now is defined") {
        environment.add_function("strftime_now", |format: String| {
            let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
            let written = jiff::fmt::strtime::format(&format, &now);
            written.map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
        });
    }
    environment
}
