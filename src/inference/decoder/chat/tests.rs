//! Templates of the kinds that models bring, and chats that try to break out of them.

use candle_core::quantized::gguf_file::Value;
use proptest::prelude::*;

use super::*;
use crate::inference::decoder::vocabulary::tests::{MERGES, byte_pairs_metadata, sentence_pieces_metadata};

const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// Refuses what the system says, trims messages, and wants the roles to alternate.
const STRICT: &str = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception('Conversation roles must alternate') }}
    {%- endif -%}
    {{ '<start_of_turn>' + (message['role'] if message['role'] == 'user' else 'model') + '\n' + message['content'] | trim + '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif -%}";

fn chat(template: Option<&str>, metadata: Metadata) -> Result<ChatTemplate, MetadataError> {
    let mut metadata = metadata;
    if let Some(template) = template {
        metadata.insert(TEMPLATE.to_owned(), Value::String(template.to_owned()));
    }
    let vocabulary = Arc::new(Vocabulary::read(&metadata).unwrap());
    ChatTemplate::read(&metadata, vocabulary)
}

fn chatml() -> ChatTemplate {
    chat(Some(CHATML), byte_pairs_metadata(&MERGES)).unwrap()
}

fn strict() -> ChatTemplate {
    chat(Some(STRICT), sentence_pieces_metadata(&[("a", -1.0), ("▁", -2.0)])).unwrap()
}

fn message(role: ChatRole, content: &str) -> ChatMessage {
    ChatMessage::new(role, content)
}

/// The text of a chat; `true` marks what may hold control tokens.
fn written(segments: &[Segment]) -> Vec<(bool, &str)> {
    let one = |segment| match segment {
        &Segment::Template(ref text) => (true, text.as_str()),
        &Segment::Content(ref text) => (false, text.as_str()),
    };
    segments.iter().map(one).collect()
}

use ChatRole::{Assistant, System, User};

#[test]
fn a_chat_is_written_as_its_template_says() {
    let segments = chatml().segments(&[message(System, "Ты помощник."), message(User, " касса\n")]).unwrap();
    let expected = [
        (true, "<|im_start|>system\n"),
        (false, "Ты помощник."),
        (true, "<|im_end|>\n<|im_start|>user\n "),
        (false, "касса"),
        (true, "\n<|im_end|>\n<|im_start|>assistant\n"),
    ];
    assert_eq!(written(&segments), expected);
    assert_eq!(chatml().form(), ChatForm::Template);
}

#[test]
fn a_template_without_a_place_for_the_system_gets_its_words_before_the_users() {
    let messages = [message(System, "Правила"), message(User, " а "), message(Assistant, "б"), message(User, "в")];
    let segments = strict().segments(&messages).unwrap();
    let expected = [
        (true, "<bos><start_of_turn>user\n"),
        (false, "Правила\n\n а"),
        (true, "<end_of_turn>\n<start_of_turn>model\n"),
        (false, "б"),
        (true, "<end_of_turn>\n<start_of_turn>user\n"),
        (false, "в"),
        (true, "<end_of_turn>\n<start_of_turn>model\n"),
    ];
    assert_eq!(written(&segments), expected);
    let silent = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}";
    let silent = chat(Some(silent), byte_pairs_metadata(&MERGES)).unwrap();
    let segments = silent.segments(&[message(System, "Правила"), message(User, "а")]).unwrap();
    assert_eq!(written(&segments), [(false, "Правила\n\nа")]);
    let segments = strict().segments(&[message(System, "Правила")]).unwrap();
    assert_eq!(written(&segments)[1], (false, "Правила"));
}

#[test]
fn python_methods_and_tests_work_on_what_stands_for_messages() {
    let template = "{% for m in messages %}{% if m.content.startswith('<tool') %}tool{% elif m.content %}\
        [{{ m.content.strip() }}|{{ m.content.split('</think>')[-1].lstrip('\\n') }}]{% else %}empty{% endif %}{% endfor %}";
    let chat = chat(Some(template), byte_pairs_metadata(&MERGES)).unwrap();
    let segments =
        chat.segments(&[message(User, "\nда"), message(User, ""), message(User, "<tool_response>")]).unwrap();
    let text: String = written(&segments).into_iter().map(|(_, text)| text).collect();
    assert_eq!(text, "[да|да]empty[<tool_response>|<tool_response>]");
}

#[test]
fn a_model_that_was_not_taught_to_chat_gets_plain_text() {
    let chat = chat(None, sentence_pieces_metadata(&[("a", -1.0), ("▁", -2.0)])).unwrap();
    assert_eq!(chat.form(), ChatForm::Plain);
    let segments = chat.segments(&[message(System, "Правила"), message(User, "a<eos>"), message(User, " ")]).unwrap();
    assert_eq!(written(&segments), [(false, "Правила"), (true, "\n\n"), (false, "a<eos>"), (true, "\n\n")]);
    let ids = chat.tokens(&[message(User, "a<eos>")]).unwrap();
    assert_eq!(ids[0], 1);
    assert!(!ids.iter().any(|id| chat.vocabulary.is_end(*id)), "{ids:?}");
}

#[test]
fn a_text_begins_once() {
    let ids = strict().tokens(&[message(User, "a")]).unwrap();
    assert_eq!(ids.iter().filter(|id| **id == 1).count(), 1);
    assert_eq!(ids[0], 1);
}

#[test]
fn chats_that_begin_alike_have_the_same_first_tokens() {
    let chat = chatml();
    let tokens = |text: &str| chat.tokens(&[message(System, "Be the ok."), message(User, text)]).unwrap();
    let rules = chat.vocabulary.encode("<|im_start|>system\nBe the ok.<|im_end|>\n<|im_start|>user\n", true);
    for text in ["касса", "the", "<|im_end|>", "1"] {
        assert!(tokens(text).starts_with(&rules), "{text}");
    }
}

#[test]
fn what_can_not_be_written_is_refused() {
    let error = |messages: &[ChatMessage]| strict().segments(messages).unwrap_err().to_string();
    assert!(error(&[]).contains("from 1 to 4096"));
    let alternate = error(&[message(User, "а"), message(User, "б")]);
    assert!(alternate.starts_with("messages: ") && alternate.contains("roles must alternate"), "{alternate}");
    let last = "{{ messages[-1].content }}";
    let last = chat(Some(last), byte_pairs_metadata(&MERGES)).unwrap();
    let error = last.segments(&[message(Assistant, "а"), message(User, "б")]).unwrap_err().to_string();
    assert!(error.contains("leaves out message 0"), "{error}");
    for (template, part) in [
        ("{% for m in %}", "can't be used"),
        ("{{ raise_exception('никогда') }}", "никогда"),
        ("nothing", "leaves out message 0"),
        ("\u{f0001}", "U+F0000"),
    ] {
        let error = chat(Some(template), byte_pairs_metadata(&MERGES)).err().unwrap().to_string();
        assert!(error.starts_with(TEMPLATE) && error.contains(part), "{error}");
    }
}

#[test]
fn the_date_is_given_to_templates_that_can_not_do_without() {
    let needs =
        "{{ strftime_now('%Y') }} {{ messages[0].content }}{% if messages[1] %}{{ messages[1].content }}{% endif %}";
    let segments = chat(Some(needs), byte_pairs_metadata(&MERGES)).unwrap().segments(&[message(User, "а")]).unwrap();
    assert!(written(&segments)[0].1.trim().parse::<u16>().unwrap() > 2_000);
    let can =
        "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% else %}2024{% endif %}{{ messages[0].content }}";
    let segments = chat(Some(can), byte_pairs_metadata(&MERGES)).unwrap().segments(&[message(User, "а")]).unwrap();
    assert_eq!(written(&segments)[0].1, "2024");
}

proptest! {
    #[test]
    fn nothing_that_is_said_becomes_a_control_token(
        said in prop::collection::vec("(a|б|\\s|<\\|im_end\\|>|<\\|im_start\\|>|<eos>|<end_of_turn>|<start_of_turn>|\u{f0000}|\u{f0001}){0,6}", 1..4),
    ) {
        for (chat, names) in [(chatml(), ["<|im_start|>", "<|im_end|>"]), (strict(), ["<start_of_turn>", "<end_of_turn>"])] {
            let roles = [User, Assistant].into_iter().cycle();
            let messages: Vec<_> = roles.zip(&said).map(|(role, text)| message(role, text)).collect();
            let ids = chat.tokens(&messages).unwrap();
            for (name, extra) in names.iter().zip([1, 0]) {
                let control = chat.vocabulary.encode(name, true)[0];
                prop_assert_eq!(ids.iter().filter(|id| **id == control).count(), messages.len() + extra);
            }
            // Every message is there, word for word.
            let mut decoder = chat.vocabulary.decoder();
            let text: String = ids.iter().map(|id| decoder.push(*id)).collect();
            prop_assert!(said.iter().all(|said| text.contains(said.trim())), "{text}");
        }
    }
}
