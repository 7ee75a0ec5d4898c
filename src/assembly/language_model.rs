//! The language model, ready to answer: one from the registry, or one behind an endpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AssemblyError, short};
use crate::config::Config;
use crate::inference::LanguageModel;
use crate::inference::decoder::{LocalModel, LocalModelOptions};
use crate::inference::endpoint::{EndpointModel, EndpointOptions};
use crate::models::{self, Registry, Task};
use crate::telemetry::MeteredModel;

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
        kernel: config.language_model.kernel,
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

/// True if a language model is configured, here or behind an endpoint.
pub fn has_language_model(config: &Config) -> bool {
    config.models.language_model.is_some() || config.endpoint.url.is_some()
}

/// The configured language model. Of one behind an endpoint, the log is told where texts go.
///
/// # Errors
/// [`AssemblyError::NoLanguageModel`], which says how to get one, [`AssemblyError::TwoLanguageModels`], [`AssemblyError::Endpoint`], and
/// those of [`load_language_model`].
pub fn open_language_model(config: &Config) -> Result<Arc<dyn LanguageModel>, AssemblyError> {
    match (&config.models.language_model, &config.endpoint.url) {
        (Some(_), Some(_)) => Err(AssemblyError::TwoLanguageModels),
        (Some(id), None) => Ok(counted(load_language_model(config, id)?)),
        (None, Some(url)) => Ok(counted(open_endpoint(config, url)?)),
        (None, None) => Err(AssemblyError::NoLanguageModel),
    }
}

fn counted(model: impl LanguageModel) -> Arc<dyn LanguageModel> {
    Arc::new(MeteredModel::new(Arc::new(model)))
}

fn open_endpoint(config: &Config, url: &str) -> Result<EndpointModel, AssemblyError> {
    let endpoint = &config.endpoint;
    let model = EndpointModel::open(EndpointOptions {
        url: url.to_owned(),
        model: endpoint.model.clone().unwrap_or_default(),
        api_key_file: endpoint.api_key_file.clone(),
        ca_file: endpoint.ca_file.clone(),
        timeout: Duration::from_millis(endpoint.timeout_ms),
        context: endpoint.context,
        concurrent: endpoint.concurrent,
    })?;
    tracing::warn!(
        address = model.origin(),
        model = model.id(),
        "a language model behind an endpoint is used: what prompts are given leaves this process and goes to this address"
    );
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_language_model_serves_or_it_is_said_why_none_does() {
        let refused = |language_model: Option<&str>, url: Option<&str>, model: Option<&str>, key: Option<&str>| {
            let mut config = Config::default();
            config.models.language_model = language_model.map(str::to_owned);
            config.endpoint.url = url.map(str::to_owned);
            config.endpoint.model = model.map(str::to_owned);
            config.endpoint.api_key_file = key.map(Into::into);
            assert_eq!(has_language_model(&config), language_model.is_some() || url.is_some());
            open_language_model(&config).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let url = Some("http://127.0.0.1:1/v1");
        assert_eq!(refused(None, url, Some("m"), None), "");
        for (told, parts) in [
            (refused(None, None, None, None), ["models.language_model", "endpoint.url"]),
            (refused(Some("l"), url, Some("m"), None), ["models.language_model", "endpoint.url"]),
            (refused(None, url, None, None), ["endpoint.model", "endpoint.url"]),
            (refused(None, Some("http://me:pw@llm"), Some("m"), None), ["endpoint.url", "endpoint.api_key_file"]),
            (refused(None, url, Some("m"), Some("no/such")), ["endpoint.api_key_file", "no/such"]),
        ] {
            assert!(parts.iter().all(|part| told.contains(part)), "{parts:?} in {told}");
        }
    }
}
