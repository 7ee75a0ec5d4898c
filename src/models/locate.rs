//! Where the models folder is.

use std::env;
use std::path::{Path, PathBuf};

use super::error::ModelError;
use super::registry::Registry;

const FOLDER: &str = "models";

/// The models folder: the configured one, else `models` in the working folder, else `models` beside the executable or in a folder
/// above it.
///
/// A folder that nobody configured counts only if it holds a `registry.toml` or the folder of a known model, so that other things
/// called `models` are passed over.
///
/// # Errors
/// [`ModelError::NoModelsDir`] with every place looked at.
pub fn find_models_dir(configured: Option<&Path>) -> Result<PathBuf, ModelError> {
    let executable = env::current_exe().and_then(|path| path.canonicalize()).ok();
    find_from(configured, Path::new("."), executable.as_deref())
}

fn find_from(configured: Option<&Path>, working_dir: &Path, executable: Option<&Path>) -> Result<PathBuf, ModelError> {
    if let Some(dir) = configured {
        return if dir.is_dir() {
            Ok(dir.to_owned())
        } else {
            Err(ModelError::NoModelsDir { looked: vec![dir.to_owned()] })
        };
    }
    let above = executable.and_then(Path::parent).into_iter().flat_map(Path::ancestors);
    let looked: Vec<PathBuf> = std::iter::once(working_dir).chain(above).map(|dir| dir.join(FOLDER)).collect();
    let known = Registry::builtin()?;
    let holds_models = |dir: &PathBuf| {
        dir.join("registry.toml").is_file() || known.entries().iter().any(|entry| dir.join(&entry.id).is_dir())
    };
    looked.iter().find(|dir| holds_models(dir)).cloned().ok_or(ModelError::NoModelsDir { looked })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_nearest_folder_that_holds_models_is_found() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for dir in ["work/models", "clone/models/rubert-tiny2", "clone/target/release", "elsewhere"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        let executable = at("clone/target/release/otklik");
        let find = |configured: Option<&Path>| find_from(configured, &at("work"), Some(&executable));

        assert_eq!(find(None).unwrap(), at("clone/models"), "an empty folder called models is passed over");
        fs::write(at("work/models/registry.toml"), "").unwrap();
        assert_eq!(find(None).unwrap(), at("work/models"));
        assert_eq!(find(Some(&at("elsewhere"))).unwrap(), at("elsewhere"));

        let missing = find(Some(&at("nowhere"))).unwrap_err().to_string();
        assert!(missing.contains("nowhere") && !missing.contains("clone"), "{missing}");
        let lost = find_from(None, &at("elsewhere"), Some(&at("elsewhere/bin/otklik"))).unwrap_err().to_string();
        assert!(lost.contains("elsewhere/models") && lost.contains("elsewhere/bin/models"), "{lost}");
    }
}
