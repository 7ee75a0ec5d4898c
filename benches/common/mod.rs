//! What the benchmarks share.

use std::path::Path;

use otklik::inference::{Encoder, EncoderSpec, Kernel, Pooling};

/// The encoder that comes with the repository.
pub fn encoder(kernel: Kernel) -> Encoder {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/e5-small-ru-en");
    let spec = EncoderSpec {
        weights: folder.join("model.gguf"),
        tokenizer: folder.join("tokenizer.json"),
        pooling: Pooling::Mean,
        query_prefix: "query: ".to_owned(),
        passage_prefix: "passage: ".to_owned(),
        max_tokens: 512,
        kernel,
    };
    Encoder::load(spec).expect("the model comes with the repository")
}
