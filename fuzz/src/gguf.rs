//! Loading of encoders and language models from GGUF, and a pass through what could be loaded.

use std::path::Path;
use std::sync::LazyLock;

use otklik::inference::decoder::{LocalModel, LocalModelOptions};
use otklik::inference::{
    AnswerForm, ChatMessage, ChatRole, EncodeInput, Encoder, EncoderSpec, Generation, Kernel, LanguageModel,
    LanguageModelKernel, Pooling, Role, Sampling,
};
use tokio::runtime::Runtime;

/// A tokeniser that goes with any encoder of a few tokens.
const TOKENIZER: &[u8] = include_bytes!("../corpus/tokenizer/unigram.json");

/// Most memory that a language model may say it needs here, in bytes.
const MEMORY: usize = 64 << 20;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime for calls of language models")
});

/// Loads the bytes as an encoder and as a language model. True if one of them could be loaded.
pub fn run(bytes: &[u8]) -> bool {
    let path = super::file_of("model.gguf", bytes);
    // A file is of one kind alone, but which one only its header says.
    encoder(&path) || language_model(&path)
}

fn encoder(path: &Path) -> bool {
    let spec = EncoderSpec {
        weights: path.to_owned(),
        tokenizer: super::file_of("known.json", TOKENIZER),
        pooling: Pooling::Mean,
        query_prefix: "query: ".to_owned(),
        passage_prefix: String::new(),
        max_tokens: 64,
        kernel: Kernel::Auto,
    };
    for kernel in [Kernel::Auto, Kernel::F32] {
        let Ok(encoder) = Encoder::load(EncoderSpec { kernel, ..spec.clone() }) else { return false };
        let inputs = super::TEXTS.map(|text| EncodeInput { max_windows: 3, ..EncodeInput::new(text, Role::Query) });
        let Ok(encodings) = encoder.encode(&inputs) else { continue };
        assert_eq!(encodings.len(), inputs.len(), "each text has its vector");
        for encoding in encodings {
            assert_eq!(encoding.vector.len(), encoder.dimension(), "vectors are as long as the encoder says");
        }
    }
    true
}

fn language_model(path: &Path) -> bool {
    for kernel in [LanguageModelKernel::Cpu, LanguageModelKernel::F32] {
        let loaded = LocalModel::load(LocalModelOptions {
            id: "fuzzed".to_owned(),
            sha256: String::new(),
            path: path.to_owned(),
            kernel,
            threads: 1,
            context: 64,
            queue_limit: 1,
            remembered: 1,
            memory_limit: Some(MEMORY),
        });
        let Ok(model) = loaded else { return false };
        assert!(model.context() <= 64, "no more is read than was asked for");
        let generation = Generation {
            messages: vec![ChatMessage::new(ChatRole::User, "a")],
            form: AnswerForm::Free,
            sampling: Sampling::default(),
            max_tokens: 3,
            stops: Vec::new(),
            deadline: None,
        };
        if let Ok(answer) = RUNTIME.block_on(model.answer(generation, None)) {
            assert!(answer.usage.answer_tokens <= 3, "an answer has no more tokens than it may");
        }
    }
    true
}
