//! `otklik taxonomy versions`, `publish` and `rollback`: the versions of `taxonomy.dir`.

use std::io::Write;
use std::path::Path;

use clap::Args;
use jiff::Timestamp;
use otklik::assembly::{self, AssemblyError};
use otklik::config::Config;
use otklik::tags::TaxonomyVersion;
use otklik::taxonomy::versions::{self, Publication, PublicationKind, PublicationNote, SourcedTaxonomy, Versions};
use otklik::taxonomy::{Taxonomy, diff};

use super::{BOLD, DIM, GOOD, ID, print_diff, print_json};

/// What is said of a publication.
#[derive(Debug, Args)]
pub(super) struct About {
    /// Refuse unless this version is in force
    #[arg(long, value_name = "VERSION")]
    expect: Option<String>,
    /// Who publishes
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// Lists the publications, newest first.
pub(super) fn list(config: &Config, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let published = versions::published(&config.taxonomy.dir)?;
    let newest_first: Vec<&Publication> = published.iter().rev().collect();
    if json {
        return print_json(&newest_first, out);
    }
    let Some(current) = newest_first.first().map(|newest| newest.version.clone()) else {
        let taxonomy = assembly::taxonomy_in_force(config)?;
        let dir = config.taxonomy.dir.display();
        writeln!(out, "Nothing was published in {dir}: what is configured serves.")?;
        writeln!(out, "  {ID}{}{ID:#}  {}", taxonomy.version(), taxonomy.name())?;
        return Ok(());
    };
    for publication in newest_first {
        line(publication, publication.version == current, out)?;
    }
    Ok(())
}

fn line(publication: &Publication, is_current: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let Publication { number, version, name, kind, at, by, comment, .. } = publication;
    let mark = if is_current { "*" } else { " " };
    let at = at.map_or_else(|| "before the first".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    let said = [by.as_deref(), comment.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let kind = kind.as_str().replace('_', " ");
    writeln!(
        out,
        "{GOOD}{mark}{GOOD:#} {number:>4}  {ID}{version}{ID:#}  {at:<23}  {kind:<11}  {BOLD}{name}{BOLD:#}  {DIM}{said}{DIM:#}"
    )?;
    Ok(())
}

/// Puts the taxonomy of a file in force.
pub(super) fn publish(path: &Path, about: About, config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
    let (taxonomy, source) = Taxonomy::load_with_source(path)?;
    let versions = assembly::open_versions(config)?;
    put_in_force(versions, SourcedTaxonomy { taxonomy, source }, PublicationKind::Published, about, config, out)
}

/// Puts a kept version back in force.
pub(super) fn roll_back(version: &str, about: About, config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
    let versions = assembly::open_versions(config)?;
    let kept = versions.load(&TaxonomyVersion::new(version))?;
    put_in_force(versions, kept, PublicationKind::RolledBack, about, config, out)
}

fn put_in_force(
    mut versions: Versions,
    new: SourcedTaxonomy,
    kind: PublicationKind,
    about: About,
    config: &Config,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let About { expect, by, comment } = about;
    let current = versions.current()?.version.clone();
    if current == *new.taxonomy.version() {
        writeln!(out, "{current} is in force already; nothing was changed")?;
        return Ok(());
    }
    // A service could not start with a playbook that names what the taxonomy lacks.
    assembly::load_playbook(config.assist.playbook.as_deref(), &new.taxonomy).map_err(AssemblyError::from)?;
    let old = versions.load(&current)?;
    let expected = expect.map_or_else(|| current.clone(), TaxonomyVersion::new);
    let note = PublicationNote { by, comment };
    let publication = versions.publish(&new, kind, &expected, note, Timestamp::now())?;
    print_diff(&diff(&old.taxonomy, &new.taxonomy).to_string(), out)?;
    writeln!(
        out,
        "{GOOD}published{GOOD:#} {ID}{}{ID:#} as number {}; the next start serves it, and no case was tagged anew",
        publication.version, publication.number
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use otklik::taxonomy::DEFAULT_SOURCE;

    use super::*;

    fn nothing_said() -> About {
        About { expect: None, by: Some("anna".to_owned()), comment: None }
    }

    /// What an action prints, without colour; or its error.
    fn printed(action: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> Result<String, String> {
        let mut out = anstream::StripStream::new(Vec::new());
        action(&mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out.into_inner()).unwrap())
    }

    #[test]
    fn a_file_is_published_listed_and_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.taxonomy.dir = folder.path().join("versions");
        let default = Taxonomy::default_taxonomy().unwrap().version().clone();
        let listed = || printed(|out| list(&config, false, out)).unwrap();
        assert!(listed().contains("Nothing was published") && listed().contains(default.as_str()));

        let path = folder.path().join("mine.toml");
        std::fs::write(&path, DEFAULT_SOURCE.replacen("name = \"", "name = \"mine ", 1)).unwrap();
        let publish = |about| printed(|out| publish(&path, about, &config, out));
        let published = publish(nothing_said()).unwrap();
        assert!(published.contains("~ name:") && published.contains("as number 1"), "{published}");
        assert!(publish(nothing_said()).unwrap().contains("in force already"));
        assert!(listed().starts_with("*    1  ") && listed().contains("anna"), "{}", listed());

        let refused = printed(|out| {
            let about = About { expect: Some("sha256:00".to_owned()), ..nothing_said() };
            roll_back(default.as_str(), about, &config, out)
        });
        let refused = refused.unwrap_err();
        assert!(refused.contains("not sha256:00"), "{refused}");
        printed(|out| roll_back(default.as_str(), nothing_said(), &config, out)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&printed(|out| list(&config, true, out)).unwrap()).unwrap();
        let versions: Vec<&str> = json.as_array().unwrap().iter().map(|one| one["version"].as_str().unwrap()).collect();
        assert_eq!((versions.len(), versions[0], versions[2]), (3, default.as_str(), default.as_str()));

        let unknown = printed(|out| roll_back("sha256:00", nothing_said(), &config, out)).unwrap_err();
        assert!(unknown.contains("sha256:00 is not kept") && unknown.contains(default.as_str()), "{unknown}");
        let service = assembly::open_versions(&config).unwrap();
        let refused = publish(nothing_said()).unwrap_err();
        assert!(refused.contains("is in use"), "{refused}");
        drop(service);
    }
}
