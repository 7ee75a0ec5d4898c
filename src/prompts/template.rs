//! The body of a prompt: a template with the blocks `system` and `user`.

use std::collections::BTreeSet;

use minijinja::{AutoEscape, Captured, Environment, Error, ErrorKind, UndefinedBehavior, Value};

use super::data::{BlocksError, DataTexts};
use super::problems::{Problems, did_you_mean};

/// The template's name in its environment.
const BODY: &str = "body";

/// The blocks of a body, in the order of their messages.
const BLOCKS: [&str; 2] = ["system", "user"];

/// Instructions of the template engine that one rendering may take: a few for each entry of a list.
const FUEL: u64 = 2_000_000;

/// A compiled body.
#[derive(Debug)]
pub(super) struct Template {
    environment: Environment<'static>,
    body_line: usize,
}

/// What a template printed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Printed {
    pub(super) system: String,
    pub(super) user: String,
}

/// Why a template can't be rendered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TemplateFault {
    /// Line in the file, from 1, if known.
    pub(super) line: Option<usize>,
    pub(super) problem: String,
}

impl Template {
    /// Compiles a body that begins at a line of its file; `fields` are those of the input. `None` with problems reported if it can't be.
    pub(super) fn compile(
        body: &str,
        body_line: usize,
        fields: &BTreeSet<&str>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        // It would print the whole context into a message.
        environment.remove_global("debug");
        let mut template = Self { environment, body_line };
        if let Err(error) = template.environment.add_template_owned(BODY, body.to_owned()) {
            let fault = template.fault(&error);
            problems.report_line(fault.line, fault.problem);
            return None;
        }
        template.check_variables(fields, problems);
        Some(template)
    }

    /// Names of variables that the input has not, also in branches that no example takes.
    fn check_variables(&self, fields: &BTreeSet<&str>, problems: &mut Problems) {
        let Ok(body) = self.environment.get_template(BODY) else { return };
        let globals: BTreeSet<&str> = self.environment.globals().map(|(name, _)| name).collect();
        let mut unknown: Vec<String> = body.undeclared_variables(false).into_iter().collect();
        unknown.retain(|name| !fields.contains(name.as_str()) && !globals.contains(name.as_str()));
        unknown.sort();
        for name in unknown {
            let hint = did_you_mean(&name, fields.iter().copied());
            problems.report_line(None, format!("the body uses {name:?}, which input.properties has not{hint}"));
        }
    }

    /// Renders both blocks; each has at most `most` characters.
    pub(super) fn render(&self, context: Value, texts: &DataTexts, most: usize) -> Result<Printed, TemplateFault> {
        let body = self.environment.get_template(BODY).map_err(|error| self.fault(&error))?;
        let mut captured = body.render_captured(context).map_err(|error| self.fault(&error))?;
        let mut printed = BLOCKS.map(|name| (name, String::new()));
        for (name, block) in &mut printed {
            let rendered = self.block(&mut captured, name)?;
            let rendered = texts.put_blocks(rendered.trim(), most);
            let rendered = rendered.map_err(|error| self.blocks_fault(error, name, most))?;
            if rendered.is_empty() {
                return Err(self.whole(format!("the block {name:?} must not be empty")));
            }
            *block = rendered;
        }
        let [(_, system), (_, user)] = printed;
        Ok(Printed { system, user })
    }

    /// Fails if the body prints anything outside of its blocks, which no message would have.
    pub(super) fn check_outside(&self, context: Value) -> Result<(), TemplateFault> {
        let signs = |text: &str| text.chars().filter(|character| !character.is_whitespace()).count();
        let body = self.environment.get_template(BODY).map_err(|error| self.fault(&error))?;
        let mut captured = body.render_captured(context).map_err(|error| self.fault(&error))?;
        let all = signs(captured.output());
        let mut inside = 0;
        for name in BLOCKS {
            let block = self.block(&mut captured, name)?;
            inside += signs(&block);
        }
        if all != inside {
            let blocks = BLOCKS.map(|name| format!("{name:?}")).join(" and ");
            return Err(self.whole(format!("the body must have no text outside of the blocks {blocks}, once each")));
        }
        Ok(())
    }

    fn block(&self, captured: &mut Captured<'_>, name: &str) -> Result<String, TemplateFault> {
        captured.with_state_mut(|state| state.render_block(name)).map_err(|error| match error.kind() {
            ErrorKind::UnknownBlock => self.whole(format!("the body must have the block {name:?}")),
            _ => self.fault(&error),
        })
    }

    fn whole(&self, problem: String) -> TemplateFault {
        TemplateFault { line: Some(self.body_line), problem }
    }

    fn fault(&self, error: &Error) -> TemplateFault {
        let line = error.line().map(|line| (line + self.body_line).saturating_sub(1));
        let problem = match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        };
        TemplateFault { line, problem }
    }

    fn blocks_fault(&self, error: BlocksError, block: &str, most: usize) -> TemplateFault {
        self.whole(match error {
            BlocksError::TextChanged => format!(
                "the block {block:?} changes a text that people wrote; such a text can only be printed as it is, or be x-trusted"
            ),
            BlocksError::TooLong => {
                format!("the block {block:?} has more than {most} characters, the most allowed (prompts.max_message_chars)")
            }
        })
    }
}
