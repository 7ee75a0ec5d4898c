//! The taxonomy that serves: the newest publication of `taxonomy.dir`, or what is configured as long as nothing was published.

use super::{AssemblyError, load_taxonomy};
use crate::config::Config;
use crate::tags::TaxonomyVersion;
use crate::taxonomy::versions::{self, SourcedTaxonomy, Versions};
use crate::taxonomy::{DEFAULT_SOURCE, Taxonomy, TaxonomyError};

/// The taxonomy in force: what was published last in `taxonomy.dir`; if nothing was, the file of `taxonomy.path`; if that is not
/// set, the default. Takes no lock.
///
/// # Errors
/// [`AssemblyError::Taxonomy`], [`AssemblyError::Versions`].
pub fn taxonomy_in_force(config: &Config) -> Result<Taxonomy, AssemblyError> {
    match versions::in_force(&config.taxonomy.dir)? {
        Some(published) => {
            tell_what_wins(config, published.taxonomy.version());
            Ok(published.taxonomy)
        }
        None => Ok(load_taxonomy(config.taxonomy.path.as_deref())?),
    }
}

/// The versions of `taxonomy.dir`, open for publishing; what is configured is in force as long as nothing was published there.
///
/// # Errors
/// [`AssemblyError::Versions`], also if another process publishes there; [`AssemblyError::Taxonomy`].
pub fn open_versions(config: &Config) -> Result<Versions, AssemblyError> {
    let versions = Versions::open(&config.taxonomy.dir, config.taxonomy.max_versions, || {
        configured(config).map_err(AssemblyError::Taxonomy)
    })?;
    let current = versions.current()?;
    if versions.is_unpublished() {
        let path = config.taxonomy.path.as_deref().map(|path| path.display().to_string());
        tracing::info!(name = current.name, version = %current.version, path, "the configured taxonomy serves");
    } else {
        tell_what_wins(config, &current.version);
    }
    Ok(versions)
}

fn configured(config: &Config) -> Result<SourcedTaxonomy, TaxonomyError> {
    match config.taxonomy.path.as_deref() {
        Some(path) => {
            let (taxonomy, source) = Taxonomy::load_with_source(path)?;
            Ok(SourcedTaxonomy { taxonomy, source })
        }
        None => SourcedTaxonomy::parse(DEFAULT_SOURCE.to_owned(), "default.toml"),
    }
}

/// Says that what was published serves, and warns if a file is configured that says something else.
fn tell_what_wins(config: &Config, published: &TaxonomyVersion) {
    let folder = config.taxonomy.dir.display();
    tracing::info!(version = %published, %folder, "the taxonomy that was published last serves");
    let Some(path) = config.taxonomy.path.as_deref() else { return };
    let shown = path.display();
    match Taxonomy::load(path) {
        Ok(file) if file.version() == published => {}
        Ok(file) => tracing::warn!(
            path = %shown,
            version = %file.version(),
            "the file of taxonomy.path does not serve: what was published in taxonomy.dir wins; publish the file to change that"
        ),
        Err(error) => tracing::warn!(
            path = %shown,
            %error,
            "the file of taxonomy.path does not serve and could not: what was published in taxonomy.dir wins"
        ),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::taxonomy::versions::{PublicationKind, PublicationNote};

    #[test]
    fn a_configured_file_serves_until_something_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.taxonomy.dir = folder.path().join("taxonomy");
        config.taxonomy.path = Some(folder.path().join("mine.toml"));
        let mine = DEFAULT_SOURCE.replacen("name = \"", "name = \"mine ", 1);
        std::fs::write(folder.path().join("mine.toml"), &mine).unwrap();
        let name = |config: &Config| taxonomy_in_force(config).unwrap().name().to_owned();
        assert!(name(&config).starts_with("mine "));

        let mut versions = open_versions(&config).unwrap();
        let expected = versions.current().unwrap().version.clone();
        assert!(versions.current().unwrap().name.starts_with("mine "));
        let other = mine.replacen("mine ", "published ", 1);
        let other = SourcedTaxonomy::parse(other, "published.toml").unwrap();
        let (kind, note) = (PublicationKind::Published, PublicationNote::default());
        versions.publish(&other, kind, &expected, note, Timestamp::UNIX_EPOCH).unwrap();
        assert!(name(&config).starts_with("published "));
        // Not even a file that can't be read any more.
        std::fs::write(folder.path().join("mine.toml"), "nonsense").unwrap();
        assert!(name(&config).starts_with("published "));
        drop(versions);
        assert!(open_versions(&config).unwrap().current().unwrap().name.starts_with("published "));
    }
}
