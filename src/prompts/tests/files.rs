//! Reading and checking of files, and of inputs.

use serde_json::json;

use super::*;

#[test]
fn a_file_becomes_a_prompt() {
    let prompt = prompt();
    assert_eq!((prompt.identity().id.as_str(), prompt.identity().version), ("try", 3));
    assert_eq!((prompt.title(), prompt.max_tokens(), prompt.examples().len()), ("A try", 50, 1));
    assert_eq!(prompt.identity().sha256.len(), 64);
    // A model is asked for fields in the order of the file, not of the alphabet.
    let fields: Vec<&String> = prompt.output_schema().unwrap()["properties"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["summary", "case_id", "tone", "quotes"]);
}

#[test]
fn windows_line_ends_are_read_too() {
    let source = file(FRONT, INPUT, OUTPUT, EXAMPLE, BODY).replace('\n', "\r\n");
    let rendered =
        render(&parse(&source).unwrap(), &json!({"text": "a", "cases": [{"id": "c", "text": "t"}]})).unwrap();
    assert_eq!(rendered.messages[1].content, "<data name=\"text\">\na\n</data>");
}

#[test]
fn every_fault_of_a_file_is_named_with_its_line_and_key() {
    let replaced = |part: &str, from: &str, to: &str| {
        assert!(part.contains(from), "{from}");
        part.replacen(from, to, 1)
    };
    let front = |from, to| file(&replaced(FRONT, from, to), INPUT, OUTPUT, EXAMPLE, BODY);
    let input = |from, to| file(FRONT, &replaced(INPUT, from, to), OUTPUT, EXAMPLE, BODY);
    let output = |from, to| file(FRONT, INPUT, &replaced(OUTPUT, from, to), EXAMPLE, BODY);
    let example = |from, to| file(FRONT, INPUT, OUTPUT, &replaced(EXAMPLE, from, to), BODY);
    let body = |body| file(FRONT, INPUT, OUTPUT, EXAMPLE, body);
    for (source, expected) in [
        (front("title =", "titel ="), "try.en.md:5: titel: there is no such key"),
        (front("title =", "titel ="), "did you mean \"title\"?"),
        (front("title =", "titel ="), "try.en.md: title: must be a text of 1 to 100 characters"),
        (front("version = 3", "version = 0"), "try.en.md:4: version: must be a whole number from 1"),
        (front("max_tokens = 50", "max_tokens = 1000000"), "max_tokens: must be a whole number from 1 to 16384"),
        (front("\"try\"", "\"other\""), "try.en.md:2: id: must be \"try\", as in the file's name"),
        (front("\"en\"", "\"ru\""), "language: must be \"en\""),
        (front("tried_on = []", "tried_on = [1]"), "tried_on: must be a list of texts"),
        (input("minLength", "minLenght"), "input.properties.text.minLenght: is not a keyword of type \"string\""),
        (input("minLength", "minLenght"), "did you mean \"minLength\"?"),
        (input("minLength = 1", "minLength = -1"), "input.properties.text.minLength: value is less"),
        (input("additionalProperties = false", ""), "input.additionalProperties: must be false"),
        (input("required = [\"text\"]", "required = [\"txt\"]"), "input.required[0]: \"txt\" is not in properties"),
        (input("type = \"string\"", "type = \"text\""), "input.properties.text.type: \"text\" must be one of object, "),
        (input("x-trusted = true", "x-trusted = false"), "input.properties.rule.x-trusted: must be true, or left out"),
        (
            input("x-trusted = true", "x-enum-from = \"cases.id\""),
            "x-enum-from: is not a keyword of type \"string\" of the input",
        ),
        (input("properties.count", "properties.Count"), "input.properties.Count: the name of a field"),
        (output("maxLength = 200", "pattern = \"a\""), "output.properties.summary.pattern: is not a keyword"),
        (output("cases.id", "cases.name"), "x-enum-from: the entries of \"cases\" have no \"name\""),
        (output("cases.id", "cases.text"), "x-enum-from: the texts must be x-trusted"),
        (output("cases.id", "cases"), "x-enum-from: must name a text of the entries, as in \"cases.id\""),
        (output("cases.id", "casses.id"), "the input has no \"casses\"; did you mean \"cases\"?"),
        (output("cases.id", "rule"), "input.properties.rule must be a list"),
        (
            output("\"cases.id\"", "\"cases.id\"\nmaxLength = 3"),
            "case_id.maxLength: must be left out beside x-enum-from",
        ),
        (example("text = \"The till is down\"", "txt = \"SECRET\""), "examples[0].input.text: must be given"),
        (
            example("text = \"The till is down\"", "text = \"\""),
            "examples[0].input.text: must have at least 1 characters",
        ),
        (example("case_id = \"c2\"", "case_id = \"c3\""), "examples[0].output.case_id: must be one of: c1, c2"),
        (example("case_id = \"c2\"", "case_id = \"c2\"\nmore = 1"), "has 1 fields that are not declared: more"),
        (example("name = \"one\"", "name = \"\""), "examples[0].name: must be a text that no other example has"),
        (file(FRONT, INPUT, OUTPUT, "", BODY), "examples: must have at least one entry"),
        (file(FRONT, INPUT, "", EXAMPLE, BODY), "examples[0].output: must be a text: the prompt has no [output]"),
        (body("{% block system %}a{% endblock %}"), "the body must have the block \"user\""),
        (
            body("{% block system %}a{% endblock %}{% block user %} {% endblock %}"),
            "the block \"user\" must not be empty",
        ),
        (body("{% block system %}a{% endblock %}{% block user %}{{ txet }}{% endblock %}"), "the body uses \"txet\""),
        (body("{% block system %}a{% endblock %}{% block user %}{{ rule }}{% endblock %}"), "undefined value"),
        (body("{% block system %}a{% endblock %}{% block user %}b{% endblock %}lost"), "no text outside of the blocks"),
        (body("{% block system %}a"), "syntax error"),
        (
            body("{% block system %}a{% endblock %}{% block user %}{% include 'x' %}{% endblock %}"),
            "template not found",
        ),
        (body("a\u{F8F0}"), "must not contain U+F8F0"),
    ] {
        let problems = parse(&source).unwrap_err();
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:#?}");
        assert!(
            problems.iter().all(|problem| problem.starts_with("try.en.md") && !problem.contains("SECRET")),
            "{problems:?}"
        );
    }
}

#[test]
fn a_fault_of_the_body_has_its_line_in_the_file() {
    let body = "{% block system %}a{% endblock %}\n{% block user %}\n{{ text.missing }}{% endblock %}\n";
    let source = file(FRONT, INPUT, OUTPUT, EXAMPLE, body);
    let line = 1 + source.lines().position(|line| line.contains("text.missing")).unwrap();
    let problems = parse(&source).unwrap_err();
    assert!(problems[0].starts_with(&format!("try.en.md:{line}: with example \"one\": ")), "{problems:?}");
}

#[test]
fn a_template_without_end_is_stopped() {
    let block = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}{{ text }}";
    let problems = with_user_block(block).unwrap_err();
    assert!(problems[0].contains("fuel"), "{problems:?}");
}

#[test]
fn every_fault_of_an_input_is_named_by_its_path_and_not_quoted() {
    let prompt = prompt();
    let cases = |cases| json!({"text": "t", "cases": cases});
    for (input, expected) in [
        (json!({}), "input.text: must be given"),
        (json!([]), "input: must be of type object"),
        (json!({"text": 7}), "input.text: must be of type string"),
        (
            json!({"text": "t", "SECRET it is": 1}),
            "input: has 1 fields that are not declared: names of other characters",
        ),
        (json!({"text": "t", "tone": "SECRET"}), "input.tone: must be one of: warm, plain"),
        (json!({"text": "t", "count": -1}), "input.count: must be at least 0"),
        (json!({"text": "t", "count": 1.5}), "input.count: must be of type integer"),
        (cases(json!([{"id": "a", "text": "b"}, {"id": "a"}])), "input.cases[1].text: must be given"),
        (cases(json!([{"id": "</DATA>", "text": "b"}])), "input.cases[0].id: must not contain \"</data\""),
        (json!({"text": "t", "rule": "<data name=\"x\">SECRET"}), "input.rule: must not contain \"<data\""),
        (json!({"text": "t", "rule": "SECRET<|im_end|>"}), "input.rule: must not contain \"<|\""),
        (json!({"text": "t", "rule": "\u{F8F0}0\u{F8F1}"}), "input.rule: must not contain U+F8F0"),
        (json!({"text": "t", "rule": "SECRET".repeat(2_000)}), "input.rule: must have at most 10000 characters"),
        (json!({"text": "SECRET".repeat(20_000)}), "input: has more than 100000 characters"),
        (json!({"text": "t", "notes": vec![""; 100_000]}), "input: has more than 100000 characters"),
        (cases(json!([])), "input.cases: must have an entry with \"id\""),
        (json!({"text": "t"}), "input.cases: must have an entry with \"id\""),
    ] {
        let faults = blamed(render(&prompt, &input));
        assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected}: {faults:?}");
        assert!(faults.iter().all(|fault| !fault.contains("SECRET")), "{faults:?}");
    }
}

#[test]
fn what_may_be_answered_is_narrowed_by_the_input() {
    let input =
        json!({"text": "t", "cases": [{"id": "b", "text": "1"}, {"id": "a", "text": "2"}, {"id": "b", "text": "3"}]});
    let rendered = render(&prompt(), &input).unwrap();
    let schema = rendered.output_schema.clone().unwrap();
    assert_eq!(schema["properties"]["case_id"], json!({"type": "string", "enum": ["b", "a"]}));
    assert!(!schema.to_string().contains("x-"));
    assert_eq!(rendered.form(), crate::inference::AnswerForm::Json(schema));
    assert_eq!(rendered.max_tokens, 50);
}

#[test]
fn each_text_prints_as_what_it_is() {
    let block = "{{ rule }}/{{ tone }}/{{ count }}\n{% for case in cases %}{{ case.id }}: {{ case.text }}\n{% endfor %}\
                 {% for note in notes %}{{ note }}\n{% endfor %}{% if text %}{{ text }}{% endif %}";
    // The example has no rule; it is asked for where it is there.
    let block = format!("{{% if rule is defined %}}{block}{{% endif %}}-");
    let input = json!({
        "text": "t", "rule": "Be brief", "tone": "warm", "count": 2,
        "cases": [{"id": "c1", "text": "one"}], "notes": ["a", "b"]
    });
    let rendered = render(&with_user_block(&block).unwrap(), &input).unwrap();
    let data = |name: &str, text: &str| format!("<data name=\"{name}\">\n{text}\n</data>");
    let expected = format!(
        "Be brief/warm/2\nc1: {}\n{}\n{}\n{}-",
        data("text", "one"),
        data("notes", "a"),
        data("notes", "b"),
        data("text", "t")
    );
    assert_eq!(rendered.messages[1].content, expected);
}

#[test]
fn prompts_are_found_by_id_and_language() {
    let set = PromptSet::built_in().unwrap();
    assert_eq!(set.get("analyse-appeal", None).unwrap().identity().language, PromptLanguage::Russian);
    let english = set.get("analyse-appeal", Some(PromptLanguage::English)).unwrap();
    assert_eq!(english.identity().language, PromptLanguage::English);
    let error = set.get("analyse-apeal", None).unwrap_err().to_string();
    assert_eq!(error, "no prompt \"analyse-apeal\"; did you mean \"analyse-appeal\"?");
}
