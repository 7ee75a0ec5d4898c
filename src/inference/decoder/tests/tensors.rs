//! The decoder on candle's tensors, on each device that is here: beside the plain forward pass, and beside the 8-bit one.

use candle_core::Device;
use candle_core::quantized::GgmlDType;

use super::tiny::{HIDDEN, LAYERS, cosine, tokens, write};
use super::{local, messages, options};
use crate::inference::decoder::cache::Cache;
use crate::inference::decoder::shape::Architecture;
use crate::inference::decoder::tensor_model::TensorModel;
use crate::inference::decoder::tensors::{Target, Tensors};
use crate::inference::decoder::{LocalModel, LocalModelOptions};
use crate::inference::{LanguageModel, LanguageModelKernel};

/// The processor, with weights in 32 bits and as the file has them, and a GPU where the build and the machine have one.
fn targets() -> Vec<Target> {
    let as_filed = Target { in_32_bits: false, ..Target::reference() };
    [Target::reference(), as_filed].into_iter().chain(Device::new_cuda(0).map(Target::gpu)).collect()
}

/// How near scores are to the plain pass: with weights as they are, what they are multiplied by is rounded to 8 bits.
fn least_cosine(target: &Target) -> f32 {
    if target.in_32_bits { 0.99999 } else { 0.997 }
}

#[test]
fn every_family_gives_what_a_plain_forward_pass_gives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for (at, architecture) in Architecture::ALL.iter().copied().enumerate() {
        for kind in [GgmlDType::Q4_0, GgmlDType::Q8_0] {
            let tiny = write(architecture, &path, kind, at % 2 == 0);
            for target in targets() {
                let model = TensorModel::load(&mut Tensors::open(&path).unwrap(), &target).unwrap();
                assert_eq!(model.vocabulary(), tiny.vocabulary);
                let tokens = tokens(21);
                let states = model.read(&tokens, tokens.len(), &mut model.cache(), &|| true).unwrap().unwrap();
                assert_eq!(states.len(), tokens.len() * HIDDEN);
                let given = model.scores(&states).unwrap();
                for (given, expected) in given.chunks(tiny.vocabulary).zip(tiny.scores(&tokens)) {
                    let cosine = cosine(given, &expected);
                    assert!(cosine > least_cosine(&target), "{architecture} in {kind:?}: {cosine}");
                }
            }
        }
    }
}

#[test]
fn tokens_read_at_once_or_in_parts_or_again_have_the_same_scores() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for architecture in [Architecture::Gemma3, Architecture::Qwen2, Architecture::Llama] {
        write(architecture, &path, GgmlDType::Q8_0, true);
        for target in targets() {
            let model = TensorModel::load(&mut Tensors::open(&path).unwrap(), &target).unwrap();
            // More than a cache holds before it grows.
            let tokens = tokens(560);
            let read = |cache: &mut Cache, tokens: &[u32]| {
                let states = model.read(tokens, 1, cache, &|| true).unwrap().unwrap();
                model.scores(&states).unwrap()
            };
            let mut cache = model.cache();
            let together = read(&mut cache, &tokens);
            for parts in [1, 100, 512] {
                cache.truncate(if parts == 1 { 540 } else { 0 });
                let from = cache.tokens().len();
                let mut last = Vec::new();
                for part in tokens[from..].chunks(parts) {
                    last = read(&mut cache, part);
                }
                let cosine = cosine(&last, &together);
                assert!(cosine > least_cosine(&target), "{architecture}, {parts} at a time: {cosine}");
            }
            let asked = std::cell::Cell::new(0);
            let go_on = || {
                asked.set(asked.get() + 1);
                asked.get() < LAYERS
            };
            assert!(model.read(&tokens[..9], 1, &mut cache, &go_on).unwrap().is_none());
            assert_eq!((asked.get(), cache.tokens().len()), (LAYERS, 560));
        }
    }
}

#[test]
fn a_tree_of_tokens_is_read_as_each_of_its_branches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let (prompt, tree) = (tokens(19), [3u32, 40, 41, 90, 7, 8, 9]);
    let branches: Vec<Vec<usize>> =
        vec![vec![0], vec![0, 1], vec![0, 1, 2], vec![3], vec![0, 4], vec![3, 5], vec![3, 5, 6]];
    for architecture in Architecture::ALL.iter().copied() {
        write(architecture, &path, GgmlDType::Q4_0, true);
        for target in targets() {
            let model = TensorModel::load(&mut Tensors::open(&path).unwrap(), &target).unwrap();
            let mut cache = model.cache();
            model.read(&prompt, 1, &mut cache, &|| true).unwrap();
            let states = model.read_branches(&tree, &branches, &mut cache, &|| true).unwrap().unwrap();
            assert_eq!(cache.tokens(), prompt);
            for (branch, state) in branches.iter().zip(states.chunks(HIDDEN)) {
                let of_branch: Vec<u32> = branch.iter().map(|index| tree[*index]).collect();
                let read = [&prompt[..], &of_branch].concat();
                let expected = model.read(&read, 1, &mut model.cache(), &|| true).unwrap().unwrap();
                let cosine = cosine(state, &expected);
                assert!(cosine > least_cosine(&target), "{architecture}, {branch:?}: {cosine}");
            }
        }
    }
}

#[tokio::test]
async fn a_model_in_32_bits_answers_and_weighs_as_the_one_in_8_does() {
    let folder = tempfile::tempdir().unwrap();
    let in_8 = local(folder.path());
    let with = |kernel| LocalModelOptions { kernel, ..options(folder.path().join("model.gguf")) };
    let in_32 = LocalModel::load(with(LanguageModelKernel::F32)).unwrap();
    assert_eq!(in_32.kernel(), "f32");
    let choices: Vec<String> = ["cards", "the app", "the"].map(str::to_owned).to_vec();
    let weighed = in_32.choose(messages("which"), choices.clone(), None).await.unwrap();
    for (one, other) in weighed.iter().zip(in_8.choose(messages("which"), choices, None).await.unwrap()) {
        assert!((one - other).abs() < 0.1, "{one} and {other}");
    }
    let first = in_32.answer(super::generation("the first"), None).await.unwrap();
    let again = in_32.answer(super::generation("the first"), None).await.unwrap();
    assert_eq!((&again.text, again.usage.cached_tokens), (&first.text, first.usage.prompt_tokens - 1));
    match LocalModel::load(with(LanguageModelKernel::Cuda)) {
        Ok(on_gpu) => assert_eq!(on_gpu.kernel(), "cuda"),
        Err(error) => assert!(error.to_string().contains("language_model.kernel"), "{error}"),
    }
}
