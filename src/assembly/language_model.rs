//! A language model from the registry, ready to answer.

use std::sync::Arc;
use std::time::Instant;

use super::{AssemblyError, short};
use crate::config::Config;
use crate::inference::LanguageModel;
use crate::inference::decoder::{LocalModel, LocalModelOptions};
use crate::models::{self, Registry, Task};

/// Checks every byte of a language model and loads it.
///
/// # Errors
/// [`AssemblyError::Model`], [`AssemblyError::NotALanguageModel`], [`AssemblyError::Inference`].
pub fn load_language_model(config: &Config, id: &str) -> Result<LocalModel, AssemblyError> {
    let started = Instant::now();
    let models_dir = models::find_models_dir(config.models.dir.as_deref())?;
    let registry = Registry::load(&models_dir)?;
    let entry = registry.get(id)?;
    if entry.task != Task::LanguageModel {
        return Err(AssemblyError::NotALanguageModel { id: entry.id.clone(), task: entry.task.to_string() });
    }
    let verified = models::verify(&models_dir, entry)?;
    let model = LocalModel::load(LocalModelOptions {
        id: entry.id.clone(),
        sha256: verified.weights_sha256.clone(),
        path: verified.weights.clone(),
        threads: config.language_model.threads,
        context: config.language_model.context,
        queue_limit: config.language_model.queue_limit,
        remembered: config.language_model.remembered,
        memory_limit: None,
    })?;
    tracing::info!(
        model = model.id(),
        sha256 = short(model.sha256()),
        context = model.context(),
        kernel = model.kernel(),
        threads = model.threads(),
        milliseconds = started.elapsed().as_millis() as u64,
        "language model checked and loaded"
    );
    Ok(model)
}

/// The configured language model.
///
/// # Errors
/// [`AssemblyError::NoLanguageModel`], which says how to get one, and those of [`load_language_model`].
pub fn open_language_model(config: &Config) -> Result<Arc<dyn LanguageModel>, AssemblyError> {
    let id = config.models.language_model.as_deref().ok_or(AssemblyError::NoLanguageModel)?;
    Ok(Arc::new(load_language_model(config, id)?))
}
