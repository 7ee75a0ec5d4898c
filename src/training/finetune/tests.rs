//! The whole room on a small random encoder, and on the real one.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::check::{Differences, noise};
use super::dropout::Dropout;
use super::matrix::Matrix;
use super::network::{Extent, Network};
use super::parameter::Parameter;
use super::trainer::Trainer;
use super::*;
use crate::inference::{EncodeInput, Encoder, EncoderSpec, Kernel, Pooling, Role, Weights};

const HIDDEN: usize = 32;
const WIDE: usize = 64;
const LAYERS: usize = 2;
const VOCABULARY: usize = 40;
const POSITIONS: usize = 24;

/// Writes an encoder of random weights, its matrices stored as `matrices`.
fn small_encoder(folder: &Path, matrices: GgmlDType) -> PathBuf {
    let mut seed = 0;
    let mut tensor = |shape: &[usize], size: f32, middle: f32| {
        seed += 1;
        let values: Vec<f32> = noise(seed, shape.iter().product()).iter().map(|value| value * size + middle).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        let dtype = if shape.len() == 2 { matrices } else { GgmlDType::F32 };
        QTensor::quantize(&tensor, dtype).unwrap()
    };
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), tensor(&[VOCABULARY, HIDDEN], 1.0, 0.0)),
        ("position_embd.weight".to_owned(), tensor(&[POSITIONS, HIDDEN], 0.5, 0.0)),
        ("token_types.weight".to_owned(), tensor(&[2, HIDDEN], 0.5, 0.0)),
        ("token_embd_norm.weight".to_owned(), tensor(&[HIDDEN], 0.3, 1.0)),
        ("token_embd_norm.bias".to_owned(), tensor(&[HIDDEN], 0.3, 0.0)),
    ];
    for layer in 0..LAYERS {
        for (part, outputs, inputs) in [
            ("attn_q", HIDDEN, HIDDEN),
            ("attn_k", HIDDEN, HIDDEN),
            ("attn_v", HIDDEN, HIDDEN),
            ("attn_output", HIDDEN, HIDDEN),
            ("ffn_up", WIDE, HIDDEN),
            ("ffn_down", HIDDEN, WIDE),
        ] {
            tensors.push((format!("blk.{layer}.{part}.weight"), tensor(&[outputs, inputs], 0.4, 0.0)));
            tensors.push((format!("blk.{layer}.{part}.bias"), tensor(&[outputs], 0.2, 0.0)));
        }
        for part in ["attn_output_norm", "layer_output_norm"] {
            tensors.push((format!("blk.{layer}.{part}.weight"), tensor(&[HIDDEN], 0.3, 1.0)));
            tensors.push((format!("blk.{layer}.{part}.bias"), tensor(&[HIDDEN], 0.3, 0.0)));
        }
    }
    let number = |key: &str, value: usize| (format!("bert.{key}"), Value::U32(value as u32));
    let metadata = [
        ("general.architecture".to_owned(), Value::String("bert".to_owned())),
        number("embedding_length", HIDDEN),
        number("block_count", LAYERS),
        number("attention.head_count", 4),
        number("feed_forward_length", WIDE),
        number("context_length", POSITIONS),
        ("bert.attention.layer_norm_epsilon".to_owned(), Value::F32(1e-6)),
    ];
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let path = folder.join("model.gguf");
    gguf_file::write(&mut std::fs::File::create(&path).unwrap(), &metadata, &tensors).unwrap();
    path
}

/// Rows whose class shows in one of their tokens.
fn rows(count: usize, seed: u64) -> Vec<Example> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|index| {
            let label = index as u32 % 3;
            let length = random.random_range(3..12);
            let mut tokens: Vec<u32> = (0..length).map(|_| random.random_range(4..VOCABULARY as u32)).collect();
            tokens[1] = 1 + label;
            Example { tokens, labels: vec![label] }
        })
        .collect()
}

fn options() -> FineTuneOptions {
    FineTuneOptions {
        epochs: 4,
        batch_rows: 8,
        learning_rate: 2e-3,
        head_learning_rate: 2e-2,
        ..FineTuneOptions::full(3)
    }
}

fn extent(ids: &[u32], pooling: Pooling) -> Extent<'_> {
    Extent { ids, longest: POSITIONS, pooling, train_embeddings: true, products: Products::Exact }
}

fn start(folder: &Path, options: FineTuneOptions, checkpoint: Option<&Path>) -> Result<FineTune, FineTuneError> {
    let weights = folder.join("model.gguf");
    FineTune::start(&weights, Pooling::Mean, rows(60, 1), rows(30, 2), options, checkpoint)
}

/// The small encoder of a folder, all its tokens in use.
fn network(folder: &Path, pooling: Pooling) -> Network {
    let ids: Vec<u32> = (0..VOCABULARY as u32).collect();
    Network::new(Weights::read(&folder.join("model.gguf")).unwrap(), extent(&ids, pooling)).unwrap()
}

fn encoder_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    small_encoder(folder.path(), GgmlDType::F32);
    folder
}

#[test]
fn gradients_of_all_parameters_are_those_of_differences() {
    let folder = encoder_folder();
    let rows = rows(7, 3);
    let batch: Vec<usize> = (0..7).collect();
    let contrast = Some(Contrast { weight: 0.5, temperature: 0.5, rows_per_class: 2 });
    for (pooling, contrast, memory_tokens) in [
        (Pooling::Mean, None, 4096),
        (Pooling::Cls, contrast, 4096),
        (Pooling::Mean, contrast, 16),
        (Pooling::Mean, None, 16),
    ] {
        let options = FineTuneOptions { contrast, memory_tokens, class_balance: 0.5, ..options() };
        let run = |inputs: Option<&[Vec<f32>]>| {
            let mut trainer = Trainer::new(network(folder.path(), pooling), options.clone(), &rows);
            for (parameter, values) in trainer.parameters_mut().into_iter().zip(inputs.unwrap_or_default()) {
                parameter.value.values_mut().copy_from_slice(values);
            }
            let loss = trainer.gradients(&rows, &batch, 5).unwrap();
            (loss, trainer)
        };
        let (_, trainer) = run(None);
        let inputs: Vec<Vec<f32>> = trainer.parameters().iter().map(|one| one.values().to_vec()).collect();
        let gradients: Vec<Vec<f32>> =
            trainer.parameters().iter().map(|one| one.gradient().unwrap().values().to_vec()).collect();
        assert_eq!(inputs.len(), 4 + LAYERS * 12 + 2);
        Differences { step: 4e-3, tolerance: 2e-2 }.check(&inputs, &gradients, |inputs| run(Some(inputs)).0);
    }
}

#[test]
fn parts_of_a_batch_add_up_to_the_whole() {
    let folder = encoder_folder();
    let rows = rows(9, 3);
    let batch: Vec<usize> = (0..9).collect();
    for contrast in [None, Some(Contrast { weight: 0.5, temperature: 0.2, rows_per_class: 2 })] {
        let run = |memory_tokens| {
            let options = FineTuneOptions { contrast, memory_tokens, dropout: 0.0, ..options() };
            let mut trainer = Trainer::new(network(folder.path(), Pooling::Mean), options, &rows);
            let loss = trainer.gradients(&rows, &batch, 0).unwrap();
            let gradients = trainer.parameters().into_iter().flat_map(|one| one.gradient().unwrap().values().to_vec());
            (loss, gradients.collect::<Vec<f32>>())
        };
        let (whole, parts) = (run(4096), run(20));
        assert!((whole.0 - parts.0).abs() < 1e-5, "{} and {}", whole.0, parts.0);
        for (one, other) in whole.1.iter().zip(&parts.1) {
            assert!((one - other).abs() < 1e-4, "{one} and {other}");
        }
    }
}

#[test]
fn classes_are_learned_and_the_best_epoch_is_kept() {
    let folder = encoder_folder();
    let contrast = Some(Contrast { weight: 1.0, temperature: 0.1, rows_per_class: 2 });
    for options in [options(), FineTuneOptions { contrast, ..options() }] {
        let options = FineTuneOptions { epochs: 12, ..options };
        let tuned = start(folder.path(), options, None).unwrap().run(|_| ControlFlow::Continue(())).unwrap();
        let accuracy = |epoch: &EpochResult| epoch.held_out.unwrap().accuracy;
        let best = tuned.history().iter().map(accuracy).fold(0.0, f32::max);
        assert!(best >= 0.9, "{:?}", tuned.history());
        // 30 rows are held out.
        let chance = (best * (1.0 - best) / 30.0).sqrt();
        let close = |epoch: &&EpochResult| accuracy(epoch) >= best - chance;
        let last_close = tuned.history().iter().rfind(close).unwrap().epoch;
        assert_eq!(tuned.epoch(), last_close, "{:?}", tuned.history());
    }
}

#[test]
fn several_labels_a_row_are_learned() {
    let folder = encoder_folder();
    let many = |rows: Vec<Example>| -> Vec<Example> {
        rows.into_iter()
            .map(|row| Example {
                labels: [0u32, 1].into_iter().filter(|label| row.tokens[1] > 1 + label).collect(),
                ..row
            })
            .collect()
    };
    let options = FineTuneOptions { objective: Objective::MultiLabel, classes: 2, epochs: 12, ..options() };
    let weights = folder.path().join("model.gguf");
    let run = FineTune::start(&weights, Pooling::Mean, many(rows(60, 1)), many(rows(30, 2)), options, None).unwrap();
    let tuned = run.run(|_| ControlFlow::Continue(())).unwrap();
    let last = tuned.history()[tuned.epoch() - 1].held_out.unwrap();
    assert!(last.accuracy >= 0.9 && last.macro_f1 >= 0.9, "{:?}", tuned.history());
}

fn bits(tuned: &Tuned) -> Vec<u32> {
    tuned.network.parameters().iter().flat_map(|one| one.values()).map(|value| value.to_bits()).collect()
}

#[test]
fn a_run_that_was_stopped_anywhere_comes_out_the_same() {
    let folder = tempfile::tempdir().unwrap();
    small_encoder(folder.path(), GgmlDType::Q4_0);
    for storage in [Storage::EightBit, Storage::AsSource] {
        stop_and_resume(folder.path(), &FineTuneOptions { storage, ..options() });
        stop_and_resume(folder.path(), &FineTuneOptions { storage, average_epochs: 1.5, ..options() });
    }
}

fn stop_and_resume(folder: &Path, options: &FineTuneOptions) {
    let whole = start(folder, options.clone(), None).unwrap().run(|_| ControlFlow::Continue(())).unwrap();
    // 60 rows in batches of 8: an epoch has 8 steps. Stopped within epochs, at their end, and after the best one.
    for stops in [vec![3], vec![8, 9], vec![1, 17, 31]] {
        let checkpoints = tempfile::tempdir().unwrap();
        for stop in &stops {
            let run = start(folder, options.clone(), Some(checkpoints.path())).unwrap();
            let stopped =
                run.run(
                    |progress| {
                        if progress.step == *stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    },
                );
            assert!(matches!(stopped, Err(FineTuneError::Cancelled { step, steps: 32 }) if step == *stop));
        }
        let run = start(folder, options.clone(), Some(checkpoints.path())).unwrap();
        assert_eq!(Some(&run.step()), stops.last());
        let resumed = run.run(|_| ControlFlow::Continue(())).unwrap();
        assert_eq!(bits(&resumed), bits(&whole), "stopped at {stops:?}");
        assert_eq!(resumed.history(), whole.history());
        assert_eq!(resumed.epoch(), whole.epoch());
    }
}

#[test]
fn an_average_is_that_of_the_weights_after_each_step() {
    let folder = encoder_folder();
    let rows = rows(40, 3);
    let options = FineTuneOptions { average_epochs: 0.5, dropout: 0.0, ..options() };
    let mut trainer = Trainer::new(network(folder.path(), Pooling::Mean), options.clone(), &rows);
    let all = |trainer: &Trainer| -> Vec<f32> {
        trainer.parameters().into_iter().flat_map(|one| one.values().to_vec()).collect()
    };
    let mut mean = all(&trainer);
    for (step, batch) in order::batches(&rows, options.batch_rows, 1, 1, 0).iter().enumerate() {
        trainer.step(&rows, batch, step as u64, 5).unwrap();
        // 5 steps an epoch, so the window is 2.5 steps, and shorter at first.
        let window = 2.5f32.min(1.0 + step as f32 / 4.0);
        mean.iter_mut().zip(all(&trainer)).for_each(|(mean, value)| *mean += (value - *mean) / window);
    }
    let last = all(&trainer);
    trainer.exchange_averages();
    let furthest =
        |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    assert!(furthest(&all(&trainer), &mean) < 1e-5);
    assert!(furthest(&last, &mean) > 1e-3);
    trainer.exchange_averages();
    assert_eq!(all(&trainer), last);
}

#[test]
fn what_is_averaged_is_what_is_stored_with_held_out_rows_and_without() {
    let folder = encoder_folder();
    let weights = folder.path().join("model.gguf");
    let run = |held_out: Vec<Example>, average_epochs| {
        let options = FineTuneOptions { average_epochs, epochs: 1, ..options() };
        let run = FineTune::start(&weights, Pooling::Mean, rows(60, 1), held_out, options, None).unwrap();
        bits(&run.run(|_| ControlFlow::Continue(())).unwrap())
    };
    let averaged = run(rows(30, 2), 1.0);
    assert_eq!(averaged, run(vec![], 1.0));
    assert_ne!(averaged, run(rows(30, 2), 0.0));
}

#[test]
fn the_seed_decides() {
    let folder = encoder_folder();
    let run = |seed| {
        let options = FineTuneOptions { seed, epochs: 1, ..options() };
        bits(&start(folder.path(), options, None).unwrap().run(|_| ControlFlow::Continue(())).unwrap())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_run_without_progress_ends_early() {
    let folder = encoder_folder();
    let options =
        FineTuneOptions { patience: Some(2), epochs: 50, learning_rate: 0.0, head_learning_rate: 0.0, ..options() };
    let tuned = start(folder.path(), options, None).unwrap().run(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!((tuned.history().len(), tuned.epoch()), (3, 3));
}

#[test]
fn a_checkpoint_of_another_run_is_refused_and_so_is_a_damaged_one() {
    let folder = encoder_folder();
    let checkpoints = tempfile::tempdir().unwrap();
    let first = start(folder.path(), options(), Some(checkpoints.path())).unwrap();
    assert!(first.run(|_| ControlFlow::Break(())).is_err());
    let message = |result: Result<FineTune, FineTuneError>| result.err().unwrap().to_string();

    let other = FineTuneOptions { learning_rate: 1e-4, ..options() };
    assert!(message(start(folder.path(), other, Some(checkpoints.path()))).contains("differs in options"));
    let often = FineTuneOptions { checkpoint_seconds: 1, ..options() };
    assert_eq!(start(folder.path(), often, Some(checkpoints.path())).unwrap().step(), 1);

    let weights = folder.path().join("model.gguf");
    let with_rows = |rows: Vec<Example>, pooling| {
        FineTune::start(&weights, pooling, rows, self::rows(30, 2), options(), Some(checkpoints.path()))
    };
    let mut swapped = rows(60, 1);
    swapped.swap(4, 5);
    assert!(message(with_rows(swapped, Pooling::Mean)).contains("differs in rows"));
    assert!(message(with_rows(rows(60, 1), Pooling::Cls)).contains("differs in pooling"));

    let path = checkpoints.path().join("checkpoint.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(message(start(folder.path(), options(), Some(checkpoints.path()))).contains("damaged"));
}

#[test]
fn rows_and_options_out_of_range_are_refused() {
    let folder = encoder_folder();
    let weights = folder.path().join("model.gguf");
    let row = |tokens: Vec<u32>, labels: Vec<u32>| vec![Example { tokens, labels }];
    for (rows, part) in [
        (vec![], "no training rows"),
        (row(vec![], vec![0]), "training row 0: has 0 tokens, allowed: 1 to 24"),
        (row(vec![1; 25], vec![0]), "has 25 tokens"),
        (row(vec![40], vec![0]), "token id 40, allowed: 0 to below 40"),
        (row(vec![1], vec![3]), "label 3, allowed: 0 to below 3"),
        (row(vec![1], vec![0, 1]), "has 2 labels, allowed: exactly 1"),
    ] {
        let error = FineTune::start(&weights, Pooling::Mean, rows, vec![], options(), None).unwrap_err().to_string();
        assert!(error.contains(part), "{error} should contain {part}");
    }
    let contrast = Some(Contrast { weight: 1.0, temperature: 0.0, rows_per_class: 2 });
    for (options, part) in [
        (FineTuneOptions { epochs: 0, ..options() }, "option epochs is 0, allowed: 1 to 1000"),
        (FineTuneOptions { dropout: f64::NAN, ..options() }, "option dropout is NaN"),
        (FineTuneOptions { contrast, ..options() }, "contrast.temperature"),
    ] {
        let error = start(folder.path(), options, None).unwrap_err().to_string();
        assert!(error.contains(part), "{error} should contain {part}");
    }
}

#[test]
fn a_rate_far_too_high_is_an_error() {
    let folder = encoder_folder();
    let options = FineTuneOptions { learning_rate: 1.0, head_learning_rate: 1.0, warm_up: 0.0, ..options() };
    let weights = folder.path().join("model.gguf");
    let mut bytes = std::fs::read(&weights).unwrap();
    let end = bytes.len();
    bytes[end - 4 * HIDDEN..].copy_from_slice(&f32::NAN.to_le_bytes().repeat(HIDDEN));
    std::fs::write(&weights, &bytes).unwrap();
    let error = start(folder.path(), options, None).unwrap().run(|_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, FineTuneError::Diverged { step: 0 }), "{error}");
}

fn real_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/e5-small-ru-en")
}

fn real_encoder(weights: PathBuf) -> Encoder {
    Encoder::load(EncoderSpec {
        weights,
        tokenizer: real_folder().join("tokenizer.json"),
        pooling: Pooling::Mean,
        query_prefix: "query: ".to_owned(),
        passage_prefix: "passage: ".to_owned(),
        max_tokens: 64,
        kernel: Kernel::F32,
    })
    .unwrap()
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

#[test]
fn a_tuned_encoder_is_served_with_the_vectors_that_it_was_tuned_to() {
    let texts = [
        "Карту не привезли, жду третью неделю",
        "my card still has not arrived",
        "Спасибо, всё пришло вовремя",
        "great service, thank you",
        "Не могу войти в приложение",
        "the app does not let me log in",
    ];
    let before = real_encoder(real_folder().join("model.gguf"));
    let rows: Vec<Example> = (0..)
        .zip(texts)
        .map(|(index, text)| Example { tokens: before.token_ids(text, Role::Query).unwrap(), labels: vec![index / 2] })
        .collect();
    let inputs: Vec<EncodeInput> = texts.iter().map(|text| EncodeInput::new(text, Role::Query)).collect();
    let old = before.encode(&inputs).unwrap();
    let tokens: Vec<&[u32]> = rows.iter().map(|row| row.tokens.as_slice()).collect();
    // Three small steps would move few values over the edge between two levels of 4 bits.
    for (storage, learning_rate, least, most_bytes) in [
        (Storage::SixteenBit, 2e-4, 0.999_99, 102_000_000),
        (Storage::EightBit, 2e-4, 0.997, 54_500_000),
        (Storage::AsSource, 1e-3, 0.999_99, 29_200_000),
    ] {
        let options = FineTuneOptions { epochs: 3, batch_rows: 6, storage, learning_rate, ..FineTuneOptions::full(3) };
        let weights = real_folder().join("model.gguf");
        let run = FineTune::start(&weights, Pooling::Mean, rows.clone(), vec![], options, None).unwrap();
        let tuned = run.run(|_| ControlFlow::Continue(())).unwrap();
        let expected = tuned.network.vectors(&tokens, Dropout::NONE).unwrap();
        let moved = (0..texts.len()).map(|row| cosine(expected.row(row), &old[row].vector)).fold(1.0, f32::min);
        assert!(moved < 0.995, "{storage:?}: the vectors did not move: {moved}");

        let folder = tempfile::tempdir().unwrap();
        tuned.save(folder.path()).unwrap();
        let path = folder.path().join("model.gguf");
        let bytes = std::fs::metadata(&path).unwrap().len();
        assert!(bytes <= most_bytes, "{storage:?}: {bytes} bytes");
        for name in ["tokenizer.json", "config.json"] {
            assert!(folder.path().join(name).exists(), "{name}");
        }
        let after = real_encoder(path).encode(&inputs).unwrap();
        for (row, encoding) in after.iter().enumerate() {
            let similarity = cosine(&encoding.vector, expected.row(row));
            assert!(similarity >= least, "{storage:?}, text {row}: {similarity}, moved by {moved}");
        }
    }
}

#[test]
fn an_untrained_pass_gives_the_vectors_of_the_encoder() {
    let encoder = real_encoder(real_folder().join("model.gguf"));
    let texts =
        ["Карту не привезли", "it", "очень длинный текст про доставку и возврат, который никто не дочитал до конца"];
    let tokens: Vec<Vec<u32>> = texts.iter().map(|text| encoder.token_ids(text, Role::Query).unwrap()).collect();
    let mut ids: Vec<u32> = tokens.concat();
    ids.sort_unstable();
    ids.dedup();
    let network = Network::new(
        Weights::read(&real_folder().join("model.gguf")).unwrap(),
        Extent { longest: 64, ..extent(&ids, Pooling::Mean) },
    )
    .unwrap();
    let tokens: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
    let vectors = network.vectors(&tokens, Dropout::NONE).unwrap();
    for (row, text) in texts.iter().enumerate() {
        let encoding = encoder.encode(&[EncodeInput::new(text, Role::Query)]).unwrap().remove(0);
        for (one, other) in vectors.row(row).iter().zip(&encoding.vector) {
            assert!((one - other).abs() < 1e-5, "{one} and {other}");
        }
    }
}

#[test]
fn twins_that_agree_cost_nothing_and_those_that_do_not_do() {
    let folder = encoder_folder();
    let rows = rows(7, 3);
    let batch: Vec<usize> = (0..7).collect();
    let trainer = |consistency, dropout, memory_tokens| {
        let options = FineTuneOptions { consistency, dropout, memory_tokens, ..options() };
        Trainer::new(network(folder.path(), Pooling::Mean), options, &rows)
    };
    let loss = |consistency, dropout, memory_tokens| {
        trainer(consistency, dropout, memory_tokens).gradients(&rows, &batch, 5).unwrap()
    };
    let alone = loss(0.0, 0.0, 4096);
    let agreeing = loss(1.0, 0.0, 4096);
    assert!((agreeing - alone).abs() < 1e-5, "without dropout twins are alike: {agreeing} and {alone}");
    let (weakly, strongly) = (loss(1e-6, 0.3, 4096), loss(100.0, 0.3, 4096));
    assert!(strongly > weakly + 1e-4, "with dropout they are not: {strongly} and {weakly}");
    // Twins are of one part, however small the parts are.
    let in_parts = loss(1.0, 0.0, 16);
    assert!((in_parts - alone).abs() < 1e-5, "{in_parts} and {alone}");
}

#[test]
fn a_pass_against_moved_tokens_has_a_larger_loss_and_leaves_the_table_as_it_was() {
    let folder = encoder_folder();
    let rows = rows(7, 3);
    let batch: Vec<usize> = (0..7).collect();
    let trainer = |adversary| {
        let options = FineTuneOptions { adversary, dropout: 0.0, ..options() };
        Trainer::new(network(folder.path(), Pooling::Mean), options, &rows)
    };
    let mut calm = trainer(0.0);
    let loss = calm.gradients(&rows, &batch, 5).unwrap();
    let mut disturbed = trainer(0.1);
    assert_eq!(disturbed.gradients(&rows, &batch, 5).unwrap(), loss, "the loss is that of the texts as they are");
    for (one, other) in calm.parameters().iter().zip(disturbed.parameters()) {
        assert_eq!(one.values(), other.values(), "{}", one.name);
    }
    let length = |trainer: &Trainer| {
        let gradients = trainer.parameters().into_iter().filter_map(Parameter::gradient);
        gradients.flat_map(Matrix::values).map(|value| value * value).sum::<f32>().sqrt()
    };
    let (once, twice) = (length(&calm), length(&disturbed));
    assert!(twice > 1.5 * once && twice < 4.0 * once, "gradients of two passes: {once} and {twice}");

    let before = calm.network.tokens_mut().disturb(0.1).unwrap();
    let moved = calm.gradients(&rows, &batch, 5).unwrap();
    assert!(moved > loss, "{moved} against the texts, {loss} as they are");
    calm.network.tokens_mut().settle(before);
    assert_eq!(calm.gradients(&rows, &batch, 5).unwrap(), loss);
}
