use super::*;

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(file: Option<&str>, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("otklik.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
    }
    Config::load(file.map(|_| path.as_path()), environment(variables), &environment(flags))
}

/// The problems, with the folder of the file cut off.
fn problems(file: Option<&str>, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Vec<String> {
    let error = load(file, variables, flags).expect_err("the configuration is at fault");
    let shown = error.problems.iter().map(ToString::to_string);
    shown
        .map(|line| match (line.find("otklik.toml"), line.find('(')) {
            (Some(at), Some(open)) if open < at => format!("{}({}", &line[..open], &line[at..]),
            (Some(at), _) => line[at..].to_owned(),
            (None, _) => line,
        })
        .collect()
}

#[test]
fn each_default_is_allowed_and_reads_back_as_itself() {
    for key in Config::keys() {
        let mut config = Config::default();
        assert!(config.set(key.name, &key.default), "{} = {:?} is not {}", key.name, key.default, key.allowed);
        assert_eq!(config, Config::default(), "{}", key.name);
        assert!(key.meaning.ends_with('.') && !key.meaning.contains("  "), "{}: {:?}", key.name, key.meaning);
    }
}

#[test]
fn words_allowed_are_those_of_the_type() {
    for (name, words) in [
        ("log.format", LogFormat::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>()),
        ("compute.kernel", Kernel::ALL.iter().map(|word| word.as_str()).collect()),
        ("cases.quantisation", Quantisation::ALL.iter().map(|word| word.as_str()).collect()),
        ("tagging.consult", Consult::ALL.iter().map(|word| word.as_str()).collect()),
        ("cases.texts", KeptTexts::ALL.iter().map(|word| word.as_str()).collect()),
        ("server.plain_text", Reach::ALL.iter().map(|word| word.as_str()).collect()),
        ("telemetry.plain_text", Reach::ALL.iter().map(|word| word.as_str()).collect()),
        ("callers.without_keys", Reach::ALL.iter().map(|word| word.as_str()).collect()),
        ("log.level", LogLevel::ALL.iter().map(|word| word.as_str()).collect()),
    ] {
        let key = Config::keys().into_iter().find(|key| key.name == name).unwrap();
        assert!(matches!(key.allowed, OneOf(allowed) if allowed == words), "{name}");
    }
}

#[test]
fn no_two_keys_share_an_environment_variable() {
    let mut variables: Vec<_> = Config::keys().iter().map(Key::environment_variable).collect();
    let count = variables.len();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), count);
    assert!(variables.contains(&"OTKLIK_SERVER_MAX_MESSAGE_BYTES".to_owned()));
}

#[test]
fn flags_override_the_environment_which_overrides_the_file_which_overrides_defaults() {
    let file = "[server]\nlisten = '0.0.0.0:1'\nmax_message_bytes = 2_000\nstream_in_flight = 3\n[tagging]\ntopic_threshold = 0.25\n";
    let variables =
        [("OTKLIK_SERVER_LISTEN", "0.0.0.0:2"), ("OTKLIK_SERVER_MAX_MESSAGE_BYTES", "3000"), ("PATH", "/bin")];
    let Loaded { config, settings } = load(Some(file), &variables, &[("server.listen", "[::1]:3")]).unwrap();
    assert_eq!(config.server.listen, "[::1]:3".parse().unwrap());
    assert_eq!(config.server.max_message_bytes, 3_000);
    assert_eq!(config.server.stream_in_flight, 3);
    assert_eq!(config.server.batch_in_flight, Config::default().server.batch_in_flight);
    assert_eq!(config.tagging.topic_threshold, 0.25);

    let setting = |key: &str| settings.iter().find(|setting| setting.key == key).unwrap();
    assert_eq!(setting("server.listen").origin, Origin::Flag);
    assert_eq!(
        setting("server.max_message_bytes").origin.to_string(),
        "environment variable OTKLIK_SERVER_MAX_MESSAGE_BYTES"
    );
    assert!(matches!(&setting("server.stream_in_flight").origin, Origin::File { line: 4, .. }));
    assert_eq!(setting("server.stream_in_flight").value, "3");
    assert_eq!(setting("models.dir").origin, Origin::Default);
    assert_eq!(settings.len(), Config::keys().len());
}

#[test]
fn an_optional_path_is_set_and_unset() {
    let file = Some("[taxonomy]\npath = 'mine.toml'\n");
    assert_eq!(load(file, &[], &[]).unwrap().config.taxonomy.path, Some(PathBuf::from("mine.toml")));
    assert_eq!(load(file, &[("OTKLIK_TAXONOMY_PATH", "")], &[]).unwrap().config.taxonomy.path, None);
}

#[test]
fn every_problem_is_told_at_once_with_key_origin_and_what_is_allowed() {
    let file = "[server]\nlisten = 'here'\nlisen = '1'\n\n[limits]\nmax_turns = 'many'\nmax_batch_items = 0\n[log]\nlevel = true\n";
    let variables = [("OTKLIK_LIMITS_MAX_TURN", "5"), ("OTKLIK_TAGGING_TOPIC_THRESHOLD", "NaN")];
    let flags = [("log.format", "xml"), ("log.colour", "red"), ("cases.dir", "")];
    let told = problems(Some(file), &variables, &flags);
    let expected = [
        "server.lisen (otklik.toml:3): there is no such key; did you mean server.listen?",
        "limits.max_turns = \"many\" (otklik.toml:6): must be a whole number from 1 to 100000",
        "log.level = \"true\" (otklik.toml:9): must be one of: error, warn, info, debug, trace",
        "limits.max_turn (environment variable OTKLIK_LIMITS_MAX_TURN): there is no such key; did you mean limits.max_turns?",
        "log.colour (flag): there is no such key",
        "server.listen = \"here\" (otklik.toml:2): must be an IP address and a port, as in 127.0.0.1:50051",
        "limits.max_batch_items = \"0\" (otklik.toml:7): must be a whole number from 1 to 100000",
        "tagging.topic_threshold = \"NaN\" (environment variable OTKLIK_TAGGING_TOPIC_THRESHOLD): must be a number from 0 to 1",
        "log.format = \"xml\" (flag): must be one of: human, json",
        "cases.dir = \"\" (flag): must be a path",
    ];
    for line in expected {
        assert!(told.iter().any(|shown| shown.starts_with(line)), "missing {line:?} in {told:#?}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn values_of_the_wrong_kind_are_refused_in_a_file() {
    for (file, expected) in [
        ("server.listen = 5\n", "server.listen = \"5\" (otklik.toml:1): must be an IP address"),
        ("limits.max_turns = [5]\n", "limits.max_turns = \"a list\" (otklik.toml:1): must be a whole number"),
        ("limits.max_turns = 5.5\n", "limits.max_turns = \"5.5\" (otklik.toml:1): must be a whole number"),
        ("limits.max_turns = -1\n", "limits.max_turns = \"-1\" (otklik.toml:1): must be a whole number"),
        ("[log.level]\nx = 1\n", "log.level = \"a table\" (otklik.toml:1): must be one of"),
        ("listen = '127.0.0.1:1'\n", "listen (otklik.toml:1): there is no such key; did you mean server.listen?"),
        ("[server\n", "otklik.toml:1: "),
    ] {
        let told = problems(Some(file), &[], &[]);
        assert!(told.len() == 1 && told[0].starts_with(expected), "{file:?}: {told:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("no/such.toml")), [], &[]).unwrap_err().to_string();
    assert!(error.contains("no/such.toml: can't be read: "), "{error}");
}

#[test]
fn variables_of_others_are_left_alone() {
    let variables = [
        ("OTKLIK_CONFIG", "otklik.toml"),
        ("OTKLIK_SERVICE_HOST", "10.0.0.1"),
        ("OTKLIK_PORT_50051_TCP", "tcp://10.0.0.1:50051"),
        ("OTKLIK_SERVER_SERVICE_PORT", "50051"),
        ("OTKLIK_SERVER_PORT", "tcp://10.0.0.1:50051"),
        ("OTKLIK_SERVER_PORT_50051_TCP_ADDR", "10.0.0.1"),
    ];
    assert_eq!(load(None, &variables, &[]).unwrap().config, Config::default());
}

#[test]
fn a_default_deadline_over_the_greatest_is_a_contradiction_named_at_what_was_written() {
    assert_eq!(
        problems(None, &[("OTKLIK_SERVER_MAX_DEADLINE_MS", "5000")], &[]),
        [
            "server.max_deadline_ms = \"5000\" (environment variable OTKLIK_SERVER_MAX_DEADLINE_MS): must be at least server.default_deadline_ms, 10000"
        ]
    );
    assert_eq!(
        problems(None, &[], &[("server.default_deadline_ms", "300001")]),
        ["server.default_deadline_ms = \"300001\" (flag): must be at most server.max_deadline_ms, 300000"]
    );
}

#[test]
fn an_optional_name_is_a_name_or_not_set() {
    let with = |value: &str| Config::load(None, [], &[("models.language_model".to_owned(), value.to_owned())]);
    assert_eq!(with("").unwrap().config.models.language_model, None);
    let named = with("qwen2.5-coder-1.5b-instruct").unwrap().config.models.language_model;
    assert_eq!(named.as_deref(), Some("qwen2.5-coder-1.5b-instruct"));
    let refused = with("http://model").unwrap_err().to_string();
    assert!(refused.contains("models.language_model") && refused.contains("or empty for not set"), "{refused}");
}

#[test]
fn an_endpoint_has_a_model_and_takes_the_place_of_another() {
    let with = |pairs: &[(&str, &str)]| load(None, &[], pairs);
    let url = ("endpoint.url", "http://127.0.0.1:8000/v1");
    let named = with(&[url, ("endpoint.model", "Qwen/Qwen2.5-7B-Instruct:q4")]).unwrap().config;
    assert_eq!(named.endpoint.model.as_deref(), Some("Qwen/Qwen2.5-7B-Instruct:q4"));
    let both = [url, ("endpoint.model", "m"), ("models.language_model", "l")];
    assert_eq!(
        problems(None, &[], &both),
        ["models.language_model = \"l\" (flag): must be empty when endpoint.url is set: one language model serves"]
    );
    assert_eq!(
        problems(None, &[], &[url]),
        ["endpoint.model = \"\" (default): must be set when endpoint.url is: the name of the model there"]
    );
    let refused = with(&[("endpoint.model", "two words")]).unwrap_err().to_string();
    assert!(refused.contains("'@' and '+'"), "{refused}");
}

#[test]
fn a_language_model_is_asked_in_bulk_only_if_one_is_configured() {
    let always = ("tagging.consult", "always");
    assert_eq!(
        problems(None, &[], &[always]),
        ["tagging.consult = \"always\" (flag): must be \"never\" unless models.language_model is set"]
    );
    let loaded = load(None, &[], &[always, ("models.language_model", "some-model")]).unwrap();
    assert_eq!(loaded.config.tagging.consult, Consult::Always);
}

#[test]
fn certificates_and_tokens_are_configured_whole_or_not_at_all() {
    for (pairs, expected) in [
        (&[("tls.certificate", "c.pem")][..], "tls.key = \"\" (default): must be set when tls.certificate is"),
        (&[("tls.key", "k.pem")], "tls.certificate = \"\" (default): must be set when tls.key is"),
        (&[("tls.client_ca", "ca.pem")], "tls.certificate = \"\" (default): must be set when tls.client_ca is"),
        (
            &[("callers.jwt_keys_file", "keys.json"), ("callers.jwt_audience", "otklik")],
            "callers.jwt_issuer = \"\" (default): must be set when callers.jwt_keys_file is",
        ),
        (&[("callers.jwt_issuer", "https://id")], "callers.jwt_issuer = \"https://id\" (flag): must be empty unless"),
        (&[("callers.jwt_issuer", "a b")], "callers.jwt_issuer = \"a b\" (flag): must be at most 200 visible ASCII"),
    ] {
        let told = problems(None, &[], pairs);
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    }
    let tls = [("tls.certificate", "c.pem"), ("tls.key", "k.pem"), ("tls.client_ca", "ca.pem")];
    assert!(load(None, &[], &tls).unwrap().config.tls.client_ca.is_some());
}
