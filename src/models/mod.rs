//! The models that otklik knows, whether they are here and whole, and how to get them.
//!
//! Enters: the registry (built in, and `registry.toml` in the models folder) and files on disk. Leaves: [`VerifiedModel`], a model
//! whose every byte was checked, for `inference` to load. [`pull`] is the only code in the project that fetches weights; nothing
//! else here opens a connection. Never here: what a tensor is, or anything that runs a model.

mod entry;
mod error;
mod locate;
mod lock;
mod parts;
mod pull;
mod record;
mod registry;
mod tuned;
mod verify;

pub use entry::{
    Architecture, HubSource, ModelEntry, ModelFile, PackageSource, Prefixes, RepositorySource, SourceKind, Sources,
    Task, TunedSource, WeightsFormat,
};
pub use error::ModelError;
pub use locate::find_models_dir;
pub use parts::{PackagePart, PackageParts};
pub use pull::{Pip, PullOptions, PullProgress, Pulled, SilentProgress, pull};
pub use registry::Registry;
pub use tuned::register_tuned;
/// What whoever needs a language model is told where none is configured.
pub const NO_LANGUAGE_MODEL: &str = "no language model is configured: models.language_model is not set; get one by `otklik models \
     pull qwen2.5-coder-1.5b-instruct` and set models.language_model = \"qwen2.5-coder-1.5b-instruct\", or set endpoint.url to where \
     one of your own answers";

pub use verify::{ModelState, VerifiedFile, VerifiedModel, state, verify};
