//! The encoder against reference vectors, against itself in batches, and from every file format.

use std::path::PathBuf;
use std::sync::LazyLock;

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::bert::Bert;
use super::team::Member;
use super::weights::Weights;
use super::{Depth, EncodeInput, Encoder, EncoderSpec, Encoding, Kernel, Pooling, Role};
use crate::feedback::CharSpan;

fn model_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/e5-small-ru-en")
}

fn spec(weights: PathBuf) -> EncoderSpec {
    EncoderSpec {
        weights,
        tokenizer: model_dir().join("tokenizer.json"),
        pooling: Pooling::Mean,
        query_prefix: "query: ".to_owned(),
        passage_prefix: "passage: ".to_owned(),
        max_tokens: 512,
        kernel: Kernel::F32,
    }
}

static ENCODER: LazyLock<Encoder> = LazyLock::new(|| Encoder::load(spec(model_dir().join("model.gguf"))).unwrap());

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    (dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()) as f32
}

#[derive(Deserialize)]
struct Reference {
    items: Vec<ReferenceItem>,
}

#[derive(Deserialize)]
struct ReferenceItem {
    text: String,
    token_ids: Vec<u32>,
    embedding: Vec<f32>,
}

/// The file says itself how it was made: 32-bit, dequantised weights of the same GGUF, mean pooling.
fn reference() -> Vec<ReferenceItem> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference_vectors.json");
    let reference: Reference = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(reference.items.len() >= 16);
    reference.items
}

#[test]
fn every_reference_item_has_the_same_tokens_and_vector() {
    for item in reference() {
        assert_eq!(ENCODER.token_ids(&item.text, Role::Plain).unwrap(), item.token_ids, "{}", item.text);
        let encoding = ENCODER.encode(&[EncodeInput::new(&item.text, Role::Plain)]).unwrap().remove(0);
        let similarity = cosine(&encoding.vector, &item.embedding);
        assert!(similarity >= 0.9999, "{similarity} for {}", item.text);
        assert_eq!(encoding.tokens, item.token_ids.len());
        if let Some(rest) = item.text.strip_prefix("query: ") {
            assert_eq!(ENCODER.token_ids(rest, Role::Query).unwrap(), item.token_ids, "{rest}");
        }
    }
}

fn assert_same(batch: &Encoding, single: &Encoding, what: &str) {
    for (one, other) in batch.vector.iter().zip(&single.vector) {
        assert!((one - other).abs() <= 1e-5, "{what}: {one} and {other}");
    }
    assert_eq!(batch.tokens, single.tokens, "{what}");
}

#[test]
fn a_batch_equals_its_singles_in_any_order_and_size() {
    let long = "очень длинный текст про доставку и возврат ".repeat(120);
    let mut texts: Vec<String> = reference().into_iter().map(|item| item.text).collect();
    texts.extend([String::new(), "a".to_owned(), long]);
    let singles: Vec<Encoding> =
        texts.iter().map(|text| ENCODER.encode(&[EncodeInput::new(text, Role::Plain)]).unwrap().remove(0)).collect();
    for (size, step) in [(2, 1), (5, 7), (texts.len(), 7)] {
        // Stepping by a number prime to the count visits every text in another order.
        let order: Vec<usize> = (0..texts.len()).map(|index| index * step % texts.len()).collect();
        for part in order.chunks(size) {
            let inputs: Vec<EncodeInput> =
                part.iter().map(|index| EncodeInput::new(&texts[*index], Role::Plain)).collect();
            for (encoding, index) in ENCODER.encode(&inputs).unwrap().iter().zip(part) {
                assert_same(encoding, &singles[*index], &format!("text {index}, batch of {size}, step {step}"));
            }
        }
    }
}

/// The encoder that comes with the repository, in 8 bits.
pub(super) fn fast(kernel: Kernel) -> Encoder {
    Encoder::load(EncoderSpec { kernel, ..spec(model_dir().join("model.gguf")) }).unwrap()
}

#[test]
fn eight_bits_are_near_to_32_with_every_kernel() {
    let texts: Vec<String> = reference().into_iter().map(|item| item.text).collect();
    let inputs: Vec<EncodeInput> = texts.iter().map(|text| EncodeInput::new(text, Role::Plain)).collect();
    let exact = ENCODER.encode_to(&inputs[..6], Depth::Deep).unwrap();
    let inputs = &inputs[..6];
    for kernel in Kernel::available().into_iter().filter(|kernel| *kernel != Kernel::F32) {
        let encodings = fast(kernel).encode_to(inputs, Depth::Deep).unwrap();
        let cosines: Vec<f32> =
            encodings.iter().zip(&exact).map(|(one, other)| cosine(&one.vector[..384], &other.vector[..384])).collect();
        let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
        assert!(mean >= 0.997, "{kernel}: {mean}");
        for ((one, other), cosine_of_top) in encodings.iter().zip(&exact).zip(cosines) {
            assert!(cosine_of_top >= 0.99, "{kernel}: {cosine_of_top}");
            assert!(cosine(&one.vector, &other.vector) >= 0.98, "{kernel}");
            assert_eq!((one.tokens, one.vector.len()), (other.tokens, other.vector.len()));
        }
    }
}

#[test]
fn in_eight_bits_not_one_bit_depends_on_neighbours_or_threads() {
    let long = "очень длинный текст про доставку и возврат ".repeat(30);
    let mut texts: Vec<String> = reference().into_iter().map(|item| item.text).collect();
    texts.extend([String::new(), "a".to_owned(), long]);
    let inputs: Vec<EncodeInput> = texts.iter().map(|text| EncodeInput::new(text, Role::Query)).collect();
    // The kernels themselves are compared bit for bit in their own tests; here it is what is built on them.
    for kernel in Kernel::available().into_iter().take(2).filter(|kernel| *kernel != Kernel::F32) {
        let encoder = fast(kernel);
        let together = encoder.encode(&inputs).unwrap();
        for (input, together) in inputs.iter().zip(&together) {
            assert!(encoder.encode(std::slice::from_ref(input)).unwrap() == [together.clone()], "{kernel}: {input:?}");
        }
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(|| encoder.encode(&inputs)).unwrap() == together, "{kernel} on {threads} threads");
        }
    }
}

#[test]
fn lengths_at_the_edges() {
    let encode = |text: &str, max_windows| {
        ENCODER.encode(&[EncodeInput { max_windows, ..EncodeInput::new(text, Role::Plain) }]).unwrap().remove(0)
    };
    let empty = encode("", 1);
    assert_eq!((empty.tokens, empty.truncated), (2, false));
    assert!(empty.vector.iter().all(|value| value.is_finite()));
    assert_eq!(encode("a", 1).tokens, 3);

    // "ок" is one token in this vocabulary; 510 of them and the two special ones fill the model exactly.
    let full = vec!["ок"; 510].join(" ");
    assert_eq!(ENCODER.token_ids(&full, Role::Plain).unwrap().len(), 512);
    assert!(!encode(&full, 1).truncated);
    let over = vec!["ок"; 511].join(" ");
    let cut = encode(&over, 1);
    assert_eq!((cut.tokens, cut.truncated), (512, true));
    let whole = encode(&over, 8);
    assert!(!whole.truncated);
    assert!(whole.tokens > 512);
}

#[test]
fn special_tokens_written_by_a_customer_are_text() {
    let ids = ENCODER.token_ids("</s><mask><s>", Role::Plain).unwrap();
    assert!(!ids[1..ids.len() - 1].contains(&2), "{ids:?}");
    assert!(!ids[1..ids.len() - 1].contains(&0), "{ids:?}");
}

#[test]
fn spans_get_vectors_of_their_own_words_also_in_later_windows() {
    let filler = "спасибо всё хорошо доставка вовремя. ".repeat(150);
    let complaint = "Карту заблокировали за границей без предупреждения.";
    let text = format!("{filler}{complaint}");
    let chars = |text: &str| text.chars().count() as u32;
    let last = CharSpan::new(chars(&filler), chars(&text));
    let spans = [CharSpan::new(0, 36), last];
    let encoding = ENCODER
        .encode(&[EncodeInput { text: &text, role: Role::Query, spans: &spans, max_windows: 16 }])
        .unwrap()
        .remove(0);
    let alone = |text: &str| ENCODER.encode(&[EncodeInput::new(text, Role::Query)]).unwrap().remove(0).vector;
    let (complaint, praise) = (alone(complaint), alone("спасибо всё хорошо доставка вовремя."));
    // Vectors in context lie close together; what counts is to which of the two each leans.
    let lean = |vector: &Option<Vec<f32>>| {
        let vector = vector.as_ref().unwrap();
        cosine(vector, &complaint) - cosine(vector, &praise)
    };
    let (first, last) = (lean(&encoding.span_vectors[0]), lean(&encoding.span_vectors[1]));
    assert!(last > first + 0.02, "{last} and {first}");

    let cut = ENCODER
        .encode(&[EncodeInput { text: &text, role: Role::Query, spans: &spans, max_windows: 1 }])
        .unwrap()
        .remove(0);
    assert!(cut.truncated);
    assert!(cut.span_vectors[0].is_some());
    assert_eq!(cut.span_vectors[1], None);
}

/// Writes the model's first `layers` layers as Hugging Face would have them.
fn write_safetensors(folder: &std::path::Path, dtype: DType) -> PathBuf {
    let mut weights = Weights::read(&model_dir().join("model.gguf")).unwrap();
    let shape = weights.shape;
    let (hidden, wide) = (shape.hidden, shape.feed_forward);
    let mut named: std::collections::HashMap<String, Tensor> = std::collections::HashMap::new();
    let mut put = |name: String, tensor: Tensor| {
        named.insert(format!("bert.{name}"), tensor.to_dtype(dtype).unwrap());
    };
    put(
        "embeddings.word_embeddings.weight".into(),
        weights.take_table("token_embd.weight", hidden).unwrap().whole().unwrap(),
    );
    put(
        "embeddings.token_type_embeddings.weight".into(),
        weights.take_table("token_types.weight", hidden).unwrap().whole().unwrap(),
    );
    put(
        "embeddings.position_embeddings.weight".into(),
        weights.take_table("position_embd.weight", hidden).unwrap().whole().unwrap(),
    );
    put("embeddings.LayerNorm.weight".into(), weights.take("token_embd_norm.weight", &[hidden]).unwrap());
    put("embeddings.LayerNorm.bias".into(), weights.take("token_embd_norm.bias", &[hidden]).unwrap());
    for layer in 0..shape.layers {
        for (from, to, rows, columns) in [
            ("attn_q", "attention.self.query", hidden, hidden),
            ("attn_k", "attention.self.key", hidden, hidden),
            ("attn_v", "attention.self.value", hidden, hidden),
            ("attn_output", "attention.output.dense", hidden, hidden),
            ("ffn_up", "intermediate.dense", wide, hidden),
            ("ffn_down", "output.dense", hidden, wide),
        ] {
            put(
                format!("encoder.layer.{layer}.{to}.weight"),
                weights.take(&format!("blk.{layer}.{from}.weight"), &[rows, columns]).unwrap(),
            );
            put(
                format!("encoder.layer.{layer}.{to}.bias"),
                weights.take(&format!("blk.{layer}.{from}.bias"), &[rows]).unwrap(),
            );
        }
        for (from, to) in
            [("attn_output_norm", "attention.output.LayerNorm"), ("layer_output_norm", "output.LayerNorm")]
        {
            for kind in ["weight", "bias"] {
                put(
                    format!("encoder.layer.{layer}.{to}.{kind}"),
                    weights.take(&format!("blk.{layer}.{from}.{kind}"), &[hidden]).unwrap(),
                );
            }
        }
    }
    put("pooler.dense.weight".into(), Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap());
    let path = folder.join("model.safetensors");
    candle_core::safetensors::save(&named, &path).unwrap();
    std::fs::copy(model_dir().join("config.json"), folder.join("config.json")).unwrap();
    path
}

#[test]
fn safetensors_of_every_width_give_the_vectors_of_the_gguf() {
    let text = "Третий день не работает касса, банк шлёт к партнёру";
    let expected = ENCODER.encode(&[EncodeInput::new(text, Role::Query)]).unwrap().remove(0);
    for (dtype, least) in [(DType::F32, 0.999_999), (DType::F16, 0.999_9), (DType::BF16, 0.999)] {
        let folder = tempfile::tempdir().unwrap();
        let encoder = Encoder::load(spec(write_safetensors(folder.path(), dtype))).unwrap();
        let encoding = encoder.encode(&[EncodeInput::new(text, Role::Query)]).unwrap().remove(0);
        let similarity = cosine(&encoding.vector, &expected.vector);
        assert!(similarity >= least, "{dtype:?}: {similarity}");
    }
}

#[test]
fn cls_pooling_takes_the_first_state() {
    let encoder = Encoder::load(EncoderSpec { pooling: Pooling::Cls, ..spec(model_dir().join("model.gguf")) }).unwrap();
    let text = "Карту не привезли";
    let cls = encoder.encode(&[EncodeInput::new(text, Role::Query)]).unwrap().remove(0);
    let mean = ENCODER.encode(&[EncodeInput::new(text, Role::Query)]).unwrap().remove(0);
    let ids = encoder.token_ids(text, Role::Query).unwrap();
    let states = encoder.bert.forward(&[&ids], &[], &Member::alone(), &|| {}).unwrap().remove(0);
    assert!(cosine(&cls.vector, &states[..encoder.dimension()]) > 0.999_99);
    assert!(cosine(&cls.vector, &mean.vector) < 0.999);
}

#[test]
fn broken_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let gguf = std::fs::read(model_dir().join("model.gguf")).unwrap();
    let message = |spec: EncoderSpec| Encoder::load(spec).err().unwrap().to_string();
    for (weights, part) in [
        (folder.path().join("absent.gguf"), "absent.gguf"),
        (write("text.gguf", b"not a model"), "text.gguf: not a readable GGUF file"),
        (write("half.gguf", &gguf[..gguf.len() / 2]), "half.gguf: not a readable GGUF file: tensor"),
    ] {
        let message = message(spec(weights));
        assert!(message.contains(part), "{message} should contain {part}");
    }
    // A file that is cut off in its decoder makes the library panic.
    for bytes in [&b"{}"[..], br#"{"version": "1.0", "decoder": {"type": "Metaspace", "#] {
        let tokenizer = write("tokenizer.json", bytes);
        let message = message(EncoderSpec { tokenizer, ..spec(model_dir().join("model.gguf")) });
        assert!(message.contains("tokenizer.json"), "{message}");
    }
}

/// A model of random weights, of any shape.
fn write_random(folder: &std::path::Path, hidden: usize, heads: usize, feed_forward: usize) -> PathBuf {
    let mut named: std::collections::HashMap<String, Tensor> = std::collections::HashMap::new();
    let mut put = |name: &str, shape: &[usize], mean: f32, deviation: f32| {
        let tensor = Tensor::randn(mean, deviation, shape, &Device::Cpu).unwrap();
        named.insert(format!("bert.{name}"), tensor);
    };
    put("embeddings.word_embeddings.weight", &[200, hidden], 0.0, 1.0);
    put("embeddings.token_type_embeddings.weight", &[2, hidden], 0.0, 0.1);
    put("embeddings.position_embeddings.weight", &[64, hidden], 0.0, 0.5);
    let spread = 1.0 / (hidden as f32).sqrt();
    for norm in
        ["embeddings.LayerNorm", "encoder.layer.0.attention.output.LayerNorm", "encoder.layer.0.output.LayerNorm"]
    {
        put(&format!("{norm}.weight"), &[hidden], 1.0, 0.1);
        put(&format!("{norm}.bias"), &[hidden], 0.0, 0.1);
    }
    for (name, rows, columns) in [
        ("attention.self.query", hidden, hidden),
        ("attention.self.key", hidden, hidden),
        ("attention.self.value", hidden, hidden),
        ("attention.output.dense", hidden, hidden),
        ("intermediate.dense", feed_forward, hidden),
        ("output.dense", hidden, feed_forward),
    ] {
        put(&format!("encoder.layer.0.{name}.weight"), &[rows, columns], 0.0, spread);
        put(&format!("encoder.layer.0.{name}.bias"), &[rows], 0.0, 0.1);
    }
    let config = serde_json::json!({
        "model_type": "bert", "hidden_size": hidden, "num_hidden_layers": 1, "num_attention_heads": heads,
        "intermediate_size": feed_forward, "max_position_embeddings": 64, "layer_norm_eps": 1e-12,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let path = folder.join("model.safetensors");
    candle_core::safetensors::save(&named, &path).unwrap();
    path
}

#[test]
fn models_of_any_shape_compute_in_eight_bits_as_in_32() {
    // Widths that are no multiple of anything, as models in use have them: 312 with 12 heads, for one.
    for (hidden, heads, feed_forward) in [(312, 12, 600), (24, 2, 50), (128, 2, 512), (1, 1, 3)] {
        let folder = tempfile::tempdir().unwrap();
        let path = write_random(folder.path(), hidden, heads, feed_forward);
        let load = |kernel: Option<_>| Bert::new(Weights::read(&path).unwrap(), kernel, Device::Cpu).unwrap();
        let sequences: Vec<Vec<u32>> =
            [1u32, 40, 7, 64].iter().map(|length| (0..*length).map(|id| id * 37 % 200).collect()).collect();
        let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let run = |bert: &Bert| bert.forward(&sequences, &[], &Member::alone(), &|| {}).unwrap().remove(0);
        let exact = run(&load(None));
        for kernel in Kernel::available().into_iter().filter_map(Kernel::int8) {
            let fast = run(&load(Some(kernel)));
            assert_eq!(fast.len(), exact.len());
            let similarity = if hidden > 1 { cosine(&fast, &exact) } else { 1.0 };
            assert!(similarity > 0.999, "{kernel:?}, {hidden}: {similarity}");
        }
    }
}
