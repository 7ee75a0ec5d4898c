use std::fs;
use std::path::Path;

use super::journal::JOURNAL;
use proptest::prelude::*;

use super::*;

/// A taxonomy of two topics whose name is given.
fn named(name: &str) -> SourcedTaxonomy {
    let source = include_str!("../sample.toml").replacen("name = \"sample\"", &format!("name = \"{name}\""), 1);
    assert!(source.contains(&format!("name = \"{name}\"")), "the sample has another name");
    SourcedTaxonomy::parse(source, "sample.toml").unwrap()
}

fn open(folder: &Path) -> Result<Versions, VersionsError> {
    open_keeping(folder, 10)
}

fn open_keeping(folder: &Path, most: usize) -> Result<Versions, VersionsError> {
    Versions::open(folder, most, || Ok(named("configured")))
}

fn publish(versions: &mut Versions, name: &str) -> Publication {
    let expected = versions.current().unwrap().version.clone();
    let note = PublicationNote { by: Some("anna".to_owned()), comment: Some(format!("now {name}")) };
    versions.publish(&named(name), PublicationKind::Published, &expected, note, at()).unwrap()
}

fn at() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn names(versions: &Versions) -> Vec<&str> {
    versions.publications().iter().map(|publication| publication.name.as_str()).collect()
}

#[test]
fn what_is_configured_is_in_force_until_something_is_published_and_is_kept_with_that() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("made/on/the/way");
    let mut versions = open(&folder).unwrap();
    assert!(versions.is_unpublished());
    let configured = versions.current().unwrap().clone();
    assert_eq!((configured.number, configured.kind, configured.at), (0, PublicationKind::Configured, None));
    assert_eq!(versions.load(&configured.version).unwrap().source, named("configured").source);
    assert!(in_force(&folder).unwrap().is_none(), "nothing is written before the first publication");

    let first = publish(&mut versions, "first");
    assert_eq!((first.number, first.parent.as_ref()), (1, Some(&configured.version)));
    assert_eq!(versions.load(&configured.version).unwrap().source, named("configured").source);
    drop(versions);

    let versions: Versions =
        Versions::open(&folder, 10, || -> Result<_, VersionsError> { panic!("the folder knows what is in force") })
            .unwrap();
    assert_eq!(names(&versions), ["configured", "first"]);
    let current = versions.current().unwrap();
    assert_eq!(*current, first);
    assert_eq!(
        (current.by.as_deref(), current.comment.as_deref(), current.at),
        (Some("anna"), Some("now first"), Some(at()))
    );
    assert_eq!(in_force(&folder).unwrap().unwrap().source, named("first").source);
}

#[test]
fn only_who_knows_the_version_in_force_may_publish() {
    let folder = tempfile::tempdir().unwrap();
    let mut versions = open(folder.path()).unwrap();
    let old = versions.current().unwrap().version.clone();
    publish(&mut versions, "first");
    let current = versions.current().unwrap().version.clone();
    let refused =
        versions.publish(&named("second"), PublicationKind::Published, &old, PublicationNote::default(), at());
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, VersionsError::Conflict { expected, current: found } if *expected == old && *found == current)
    );
    assert!(refused.to_string().contains(old.as_str()) && refused.to_string().contains(current.as_str()));
    assert_eq!(names(&versions), ["configured", "first"]);
    assert!(matches!(open(folder.path()), Err(VersionsError::Locked { .. })), "one publishes at a time");
}

#[test]
fn a_kept_version_comes_back_under_its_id_and_an_unknown_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut versions = open(folder.path()).unwrap();
    let old = versions.current().unwrap().version.clone();
    publish(&mut versions, "first");
    let kept = versions.load(&old).unwrap();
    let current = versions.current().unwrap().version.clone();
    let note = PublicationNote::default();
    let back = versions.publish(&kept, PublicationKind::RolledBack, &current, note, at()).unwrap();
    assert_eq!((back.number, &back.version, back.kind), (2, &old, PublicationKind::RolledBack));
    drop(versions);
    let versions = open(folder.path()).unwrap();
    assert_eq!(names(&versions), ["configured", "first", "configured"]);

    let unknown = versions.load(&TaxonomyVersion::new("sha256:00")).unwrap_err().to_string();
    assert!(unknown.contains("sha256:00") && unknown.contains(current.as_str()), "{unknown}");
}

#[test]
fn the_oldest_publications_are_forgotten_with_their_sources() {
    let folder = tempfile::tempdir().unwrap();
    let mut versions = open_keeping(folder.path(), 3).unwrap();
    let configured = versions.current().unwrap().version.clone();
    for name in ["a", "b", "c", "b"] {
        publish(&mut versions, name);
    }
    assert_eq!(names(&versions), ["b", "c", "b"]);
    assert!(matches!(versions.load(&configured), Err(VersionsError::Unknown { .. })));
    // The sources of two versions, the journal and the lock.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    drop(versions);
    assert_eq!(names(&open_keeping(folder.path(), 3).unwrap()), ["b", "c", "b"]);
}

#[test]
fn a_process_killed_between_two_steps_leaves_what_was_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let mut versions = open(folder.path()).unwrap();
    let first = publish(&mut versions, "first");
    drop(versions);
    // The source of the next version is there, half a journal too, and the rename did not happen.
    fs::write(folder.path().join("0123456789abcdef-0123456789ab.toml"), named("second").source).unwrap();
    fs::write(folder.path().join("journal.unfinished"), "{\"format\":1,\"publi").unwrap();
    let mut versions = open(folder.path()).unwrap();
    assert_eq!(*versions.current().unwrap(), first);
    assert!(!folder.path().join("journal.unfinished").exists());
    publish(&mut versions, "second");
    drop(versions);
    assert_eq!(names(&open(folder.path()).unwrap()), ["configured", "first", "second"]);
}

#[test]
fn damage_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut versions = open(folder.path()).unwrap();
    let first = publish(&mut versions, "first");
    publish(&mut versions, "second");
    drop(versions);
    let path = folder.path().join(JOURNAL);
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let table = [
        (String::new(), "line 1"),
        (lines[..3].join("\n"), "tells of 3 publications, at least 1, and 2 follow"),
        (whole.replacen("\"number\":1", "\"number\":7", 1), "line 3: publication 7 does not follow"),
        (whole.replacen("\"format\":1", "\"format\":9", 1), "format 9; this release reads 1"),
        (format!("{whole}nonsense\n"), "line 5"),
    ];
    for (text, part) in table {
        fs::write(&path, text).unwrap();
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(JOURNAL), "{part}: {error}");
    }
    fs::write(&path, &whole).unwrap();

    let versions = open(folder.path()).unwrap();
    let source = super::files::source_path(folder.path(), &first);
    fs::write(&source, named("forged").source).unwrap();
    let error = versions.load(&first.version).unwrap_err().to_string();
    assert!(error.contains("SHA-256") && error.contains(".toml is damaged"), "{error}");
    fs::remove_file(&source).unwrap();
    assert!(versions.load(&first.version).unwrap_err().to_string().contains("missing"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is published and put back, and however often the process begins anew, the folder says the same.
    #[test]
    fn a_folder_remembers_what_happened(
        most in 2_usize..5,
        steps in proptest::collection::vec((0_usize..4, any::<bool>()), 1..12),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut versions = open_keeping(folder.path(), most).unwrap();
        let mut expected = vec!["configured".to_owned()];
        for (name, begins_anew) in steps {
            let name = ["a", "b", "c", "configured"][name];
            publish(&mut versions, name);
            expected.push(name.to_owned());
            let surplus = expected.len().saturating_sub(most);
            expected.drain(..surplus);
            if begins_anew {
                drop(versions);
                versions = open_keeping(folder.path(), most).unwrap();
            }
            prop_assert_eq!(names(&versions), expected.iter().map(String::as_str).collect::<Vec<_>>());
            for publication in versions.publications() {
                let kept = versions.load(&publication.version).unwrap();
                prop_assert_eq!(kept.taxonomy.name(), publication.name.as_str());
            }
        }
    }
}
