//! Decoders small enough to be written down twice: each family beside a plain forward pass in 32 bits.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use candle_core::quantized::GgmlDType;

mod tensors;
mod tiny;

use tiny::{HIDDEN, cosine, tokens, write};

use super::cache::Cache;
use super::model::Model;
use super::shape::Architecture;
use super::tensors::Tensors;
use super::{ChatTemplate, LocalModel, LocalModelOptions, Vocabulary};
use crate::inference::kernels::GroupedKernel;
use crate::inference::{
    AnswerForm, ChatMessage, ChatRole, FinishReason, Generation, InferenceError, LanguageModel, LanguageModelError,
    LanguageModelKernel, Sampling,
};

#[test]
fn every_family_gives_what_a_plain_forward_pass_gives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for (at, architecture) in Architecture::ALL.iter().copied().enumerate() {
        for kind in [GgmlDType::Q4_0, GgmlDType::Q8_0] {
            let tiny = write(architecture, &path, kind, at % 2 == 0);
            let model = Model::load(&mut Tensors::open(&path).unwrap(), GroupedKernel::best()).unwrap();
            let tokens = tokens(21);
            let mut cache = Cache::new(model.shape(), 64);
            let states = model.read(&tokens, tokens.len(), &mut cache, &|| true).unwrap();
            for (given, expected) in model.scores(&states).chunks(tiny.vocabulary).zip(tiny.scores(&tokens)) {
                let cosine = cosine(given, &expected);
                assert!(cosine > 0.997, "{architecture} in {kind:?}: {cosine}");
            }
        }
    }
}

#[test]
fn tokens_read_at_once_or_one_by_one_or_again_have_the_same_scores() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for architecture in [Architecture::Gemma3, Architecture::Qwen2] {
        write(architecture, &path, GgmlDType::Q4_0, true);
        for kernel in GroupedKernel::available() {
            let model = Model::load(&mut Tensors::open(&path).unwrap(), kernel).unwrap();
            let tokens = tokens(70);
            let mut cache = Cache::new(model.shape(), 128);
            let read =
                |cache: &mut Cache, tokens: &[u32]| model.scores(&model.read(tokens, 1, cache, &|| true).unwrap());
            let together = read(&mut cache, &tokens);
            assert_eq!(cache.tokens().len(), 70);
            cache.truncate(0);
            for tokens in tokens[..69].chunks(1) {
                read(&mut cache, tokens);
            }
            assert_eq!(read(&mut cache, &tokens[69..]), together, "one by one, {}", kernel.name());
            cache.truncate(40);
            read(&mut cache, &tokens[40..43]);
            assert_eq!(read(&mut cache, &tokens[43..]), together, "in parts, {}", kernel.name());
            assert_eq!(cache.common(&[&tokens[..50], &[250][..]].concat()), 50);
            assert!(model.read(&tokens, 1, &mut cache, &|| false).is_none());
            assert_eq!(cache.tokens().len(), 70);
        }
    }
}

fn options(path: PathBuf) -> LocalModelOptions {
    LocalModelOptions {
        id: "tiny".to_owned(),
        sha256: "00".to_owned(),
        path,
        kernel: LanguageModelKernel::Cpu,
        threads: 2,
        context: 200,
        queue_limit: 2,
        remembered: 2,
        memory_limit: None,
    }
}

fn local(folder: &Path) -> LocalModel {
    let path = folder.join("model.gguf");
    write(Architecture::Qwen2, &path, GgmlDType::Q4_0, true);
    LocalModel::load(options(path)).unwrap()
}

fn messages(user: &str) -> Vec<ChatMessage> {
    vec![ChatMessage::new(ChatRole::System, "say it in a few words"), ChatMessage::new(ChatRole::User, user)]
}

fn generation(user: &str) -> Generation {
    Generation {
        messages: messages(user),
        form: AnswerForm::Free,
        sampling: Sampling { temperature: 1.0, seed: 5, ..Sampling::default() },
        max_tokens: 24,
        stops: Vec::new(),
        deadline: None,
    }
}

#[tokio::test]
async fn the_same_seed_says_the_same_whatever_was_read_before() {
    let folder = tempfile::tempdir().unwrap();
    let model = local(folder.path());
    let first = model.answer(generation("the first"), None).await.unwrap();
    assert_eq!(first.usage.cached_tokens, 0);
    let other = model.answer(generation("the other"), None).await.unwrap();
    assert!(other.usage.cached_tokens > 10, "{:?}", other.usage);
    assert_ne!(other.text, first.text);
    let again = model.answer(generation("the first"), None).await.unwrap();
    assert_eq!((&again.text, again.finish), (&first.text, first.finish));
    // What the other call read took nothing from the first.
    assert_eq!(again.usage.cached_tokens, again.usage.prompt_tokens - 1);
    let repeated = model.answer(generation("the first"), None).await.unwrap();
    assert_eq!((repeated.text, repeated.usage.cached_tokens), (again.text, again.usage.prompt_tokens - 1));
    let seed = |seed| Generation { sampling: Sampling { seed, ..generation("").sampling }, ..generation("the first") };
    assert_ne!(model.answer(seed(6), None).await.unwrap().text, first.text);
}

#[tokio::test]
async fn the_beginning_of_a_prompt_outlives_the_texts_that_were_asked_about_with_it() {
    let folder = tempfile::tempdir().unwrap();
    drop(local(folder.path()));
    for kernel in [LanguageModelKernel::Cpu, LanguageModelKernel::F32] {
        let with = |remembered| {
            let path = folder.path().join("model.gguf");
            LocalModel::load(LocalModelOptions { kernel, remembered, ..options(path) }).unwrap()
        };
        let asked = |of: &str, about: &str| Generation {
            messages: vec![ChatMessage::new(ChatRole::System, of), ChatMessage::new(ChatRole::User, about)],
            max_tokens: 4,
            ..generation("")
        };
        let (draft, tag) =
            ("write to the customer in a few words, and say sorry", "name the topic of what follows, nothing else");
        let model = with(2);
        for (of, about) in
            [(draft, "cards"), (tag, "the app"), (draft, "the other"), (draft, "the first"), (draft, "it")]
        {
            model.answer(asked(of, about), None).await.unwrap();
        }
        let known = model.answer(asked(tag, "cards"), None).await.unwrap();
        assert!(known.usage.cached_tokens >= model.tokens(tag).len(), "{kernel:?} {:?}", known.usage);
        // What was taken over from another sequence is what would have been read.
        let alone = with(1).answer(asked(tag, "cards"), None).await.unwrap();
        assert_eq!((alone.usage.cached_tokens, alone.text), (0, known.text));
    }
}

#[tokio::test]
async fn an_answer_comes_in_pieces_and_ends_when_nobody_listens() {
    let folder = tempfile::tempdir().unwrap();
    let model = local(folder.path());
    let heard = Arc::new(std::sync::Mutex::new(String::new()));
    let listener = {
        let heard = Arc::clone(&heard);
        Box::new(move |piece: &str| {
            heard.lock().unwrap().push_str(piece);
            ControlFlow::Continue(())
        })
    };
    let answer = model.answer(generation("tell"), Some(listener)).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), answer.text);
    assert!(answer.usage.answer_tokens <= 24 && !answer.text.is_empty());

    let pieces = Arc::new(AtomicUsize::new(0));
    let listener = {
        let pieces = Arc::clone(&pieces);
        Box::new(move |_: &str| {
            pieces.fetch_add(1, Ordering::Relaxed);
            ControlFlow::Break(())
        })
    };
    let cut = model.answer(generation("tell"), Some(listener)).await.unwrap();
    assert_eq!((cut.finish, pieces.load(Ordering::Relaxed)), (FinishReason::Cancelled, 1));
    assert!(answer.text.starts_with(&cut.text));
}

#[tokio::test]
async fn an_answer_in_a_form_keeps_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let model = local(folder.path());
    let schema = serde_json::json!({
        "type": "object",
        "properties": { "topic": { "enum": ["cards", "the app"] }, "urgent": { "type": "boolean" } },
        "required": ["topic", "urgent"],
        "additionalProperties": false,
    });
    for seed in 0..20 {
        let sampling = Sampling { temperature: 1.0, seed, ..Sampling::default() };
        let form = AnswerForm::Json(schema.clone());
        let asked = Generation { form, sampling, max_tokens: 80, ..generation("which") };
        let answer = model.answer(asked, None).await.unwrap();
        assert_eq!(answer.finish, FinishReason::Stop);
        let value: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        assert!(["cards", "the app"].contains(&value["topic"].as_str().unwrap()) && value["urgent"].is_boolean());
        let form = AnswerForm::Choice(vec!["yes".to_owned(), "no, never".to_owned()]);
        let chosen = model.answer(Generation { form, sampling, ..generation("which") }, None).await.unwrap();
        assert!(["yes", "no, never"].contains(&chosen.text.as_str()), "{}", chosen.text);
    }
}

#[tokio::test]
async fn choices_are_weighed_alike_alone_and_behind_a_remembered_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let model = local(folder.path());
    let choices: Vec<String> = ["cards", "the app", "the"].map(str::to_owned).to_vec();
    let first = model.choose(messages("which"), choices.clone(), None).await.unwrap();
    assert_eq!(first.len(), 3);
    assert!((first.iter().sum::<f32>() - 1.0).abs() < 1e-4 && first.iter().all(|share| *share > 0.0), "{first:?}");
    let again = model.choose(messages("which"), choices, None).await.unwrap();
    assert_eq!(again, first);
    let none = model.choose(messages("which"), vec!["a".to_owned(), String::new()], None).await;
    assert!(matches!(none, Err(LanguageModelError::Invalid { field, .. }) if field == "choices[1]"));
}

/// Probability of each answer by reading every one from its first token on, alone.
fn chosen_plainly(path: &Path, architecture: Architecture, asked: &[ChatMessage], choices: &[String]) -> Vec<f32> {
    write(architecture, path, GgmlDType::Q4_0, true);
    let mut tensors = Tensors::open(path).unwrap();
    let vocabulary = Arc::new(Vocabulary::read(tensors.metadata()).unwrap());
    let chat = ChatTemplate::read(tensors.metadata(), Arc::clone(&vocabulary)).unwrap();
    let model = Model::load(&mut tensors, GroupedKernel::best()).unwrap();
    let prompt = chat.tokens(asked).unwrap();
    let choices: Vec<Vec<u32>> = choices.iter().map(|choice| vocabulary.encode_rest(choice)).collect();
    let weight = |choice: &Vec<u32>| {
        let mut weight = 0.0;
        for length in 0..=choice.len() {
            if choices.iter().filter(|other| other.starts_with(&choice[..length])).count() < 2 {
                break;
            }
            let mut cache = Cache::new(model.shape(), 200);
            let read = [&prompt[..], &choice[..length]].concat();
            let scores = model.scores(&model.read(&read, 1, &mut cache, &|| true).unwrap());
            let scores = &scores[..vocabulary.len()];
            let total = scores.iter().map(|score| f64::from(*score).exp()).sum::<f64>().ln();
            let next = match choice.get(length) {
                Some(token) => scores[*token as usize],
                None => vocabulary.ends().iter().map(|end| scores[*end as usize]).fold(f32::MIN, f32::max),
            };
            weight += f64::from(next) - total;
        }
        weight.exp()
    };
    let weights: Vec<f64> = choices.iter().map(weight).collect();
    weights.iter().map(|weight| (weight / weights.iter().sum::<f64>()) as f32).collect()
}

#[tokio::test]
async fn choices_read_in_one_pass_are_weighed_as_each_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let choices: Vec<String> =
        ["the app", "the", "the application", "cards", "card", "the app is slow", "xyz"].map(str::to_owned).to_vec();
    // The window of Gemma 3 here is shorter than some of these answers.
    for architecture in [Architecture::Gemma3, Architecture::Qwen2, Architecture::Llama] {
        let expected = chosen_plainly(&path, architecture, &messages("which"), &choices);
        let model = LocalModel::load(options(path.clone())).unwrap();
        let given = model.choose(messages("which"), choices.clone(), None).await.unwrap();
        for (given, expected) in given.iter().zip(&expected) {
            assert!((given - expected).abs() < 0.01 + 0.05 * expected, "{architecture}: {given} for {expected}");
        }
        let alone = model.choose(messages("which"), choices[..1].to_vec(), None).await.unwrap();
        assert_eq!(alone, [1.0]);
    }
}

#[test]
fn a_tree_of_tokens_is_read_as_each_of_its_branches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let (prompt, tree) = (tokens(19), [3u32, 40, 41, 90, 7, 8, 9, 10, 11, 12]);
    let branches: Vec<Vec<usize>> = vec![
        vec![0],
        vec![0, 1],
        vec![0, 1, 2],
        vec![3],
        vec![0, 4],
        vec![3, 5],
        vec![3, 5, 6],
        vec![3, 5, 6, 7],
        vec![3, 5, 6, 7, 8],
        vec![3, 5, 6, 7, 8, 9],
    ];
    for architecture in Architecture::ALL.iter().copied() {
        write(architecture, &path, GgmlDType::Q4_0, true);
        let model = Model::load(&mut Tensors::open(&path).unwrap(), GroupedKernel::best()).unwrap();
        let mut cache = Cache::new(model.shape(), 64);
        model.read(&prompt, 1, &mut cache, &|| true).unwrap();
        let states = model.read_branches(&tree, &branches, &mut cache, &|| true).unwrap();
        assert_eq!(cache.tokens(), prompt);
        for (branch, state) in branches.iter().zip(states.chunks(HIDDEN)) {
            let of_branch: Vec<u32> = branch.iter().map(|index| tree[*index]).collect();
            let mut plain = Cache::new(model.shape(), 64);
            let read = [&prompt[..], &of_branch].concat();
            let expected = model.read(&read, 1, &mut plain, &|| true).unwrap();
            let cosine = cosine(state, &expected);
            assert!(cosine > 0.9995, "{architecture}, {branch:?}: {cosine}");
        }
        // What is read next takes the place of the tree.
        let next = model.read(&tree[..3], 1, &mut cache, &|| true).unwrap();
        assert!(cosine(&next, &states[2 * HIDDEN..3 * HIDDEN]) > 0.9995, "{architecture}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let model = local(folder.path());
    let long = model.answer(generation(&"the ".repeat(300)), None).await;
    assert!(matches!(long, Err(LanguageModelError::TooLong { context: 200, answer_tokens: 24, .. })), "{long:?}");
    let late = Generation { deadline: Some(Instant::now()), ..generation("late") };
    assert_eq!(model.answer(late, None).await, Err(LanguageModelError::DeadlineExceeded));
    let none = Generation { max_tokens: 0, ..generation("none") };
    assert!(
        matches!(model.answer(none, None).await, Err(LanguageModelError::Invalid { field, .. }) if field == "max_tokens")
    );
    let bad = Generation { form: AnswerForm::Regex("(".to_owned()), ..generation("bad") };
    assert!(matches!(model.answer(bad, None).await, Err(LanguageModelError::Invalid { .. })));
    // It answers on.
    assert!(model.answer(generation("fine"), None).await.is_ok());
}

#[tokio::test]
async fn calls_that_do_not_fit_in_the_queue_are_refused_and_those_that_left_are_not_computed() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(local(folder.path()));
    let gate = Arc::new(std::sync::Barrier::new(2));
    let listener = {
        let gate = Arc::clone(&gate);
        let mut waited = false;
        Box::new(move |_: &str| {
            if !waited {
                waited = true;
                gate.wait();
            }
            ControlFlow::Continue(())
        })
    };
    let start = |asked: Generation, listener| {
        let model = Arc::clone(&model);
        tokio::spawn(async move { model.answer(asked, listener).await })
    };
    let busy = start(generation("busy"), Some(listener as crate::inference::Listener));
    // The thread has taken the first call when two others fit behind it.
    let mut waiting = Vec::new();
    while waiting.len() < 2 {
        let call = start(generation("waiting"), None);
        tokio::time::sleep(Duration::from_millis(5)).await;
        if !call.is_finished() {
            waiting.push(call);
        }
    }
    let full = model.answer(generation("full"), None).await;
    assert!(matches!(full, Err(LanguageModelError::Overloaded { limit: 2, .. })), "{full:?}");
    let left = waiting.pop().unwrap();
    left.abort();
    let _ = left.await;
    tokio::task::spawn_blocking(move || gate.wait()).await.unwrap();
    assert!(busy.await.unwrap().is_ok());
    assert!(waiting.pop().unwrap().await.unwrap().is_ok());
}

#[test]
fn a_model_that_does_not_fit_or_is_none_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write(Architecture::Qwen2, &path, GgmlDType::Q4_0, true);
    let refused = |options: LocalModelOptions| LocalModel::load(options).err().unwrap();
    let little = refused(LocalModelOptions { memory_limit: Some(100_000), ..options(path.clone()) });
    assert!(matches!(little, InferenceError::Memory { context: 200, .. }), "{little}");
    assert!(little.to_string().contains("language_model.context"), "{little}");
    let absent = refused(options(folder.path().join("absent.gguf")));
    assert!(matches!(absent, InferenceError::Read { .. }), "{absent}");
    std::fs::write(&path, b"GGUF, it says").unwrap();
    let broken = refused(options(path));
    assert!(matches!(broken, InferenceError::Format { .. }), "{broken}");
}
