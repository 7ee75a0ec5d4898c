//! A folder of one's own, and its changes.

use std::fs;

use super::*;

fn prompt_file(id: &str, title: &str) -> String {
    let front = FRONT.replace("\"try\"", &format!("\"{id}\"")).replace("A try", title);
    file(&front, INPUT, OUTPUT, EXAMPLE, BODY)
}

#[test]
fn a_folder_replaces_and_adds() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("analyse-appeal.en.md"), prompt_file("analyse-appeal", "Mine")).unwrap();
    fs::write(folder.path().join("try.en.md"), prompt_file("try", "New")).unwrap();
    fs::write(folder.path().join("README.md"), "no prompt").unwrap();
    fs::write(folder.path().join("notes.txt"), "no prompt").unwrap();
    let library = PromptLibrary::open(Some(folder.path())).unwrap();
    let set = library.current();
    let title = |id, language| set.get(id, Some(language)).unwrap().title().to_owned();
    assert_eq!(title("analyse-appeal", PromptLanguage::English), "Mine");
    assert_eq!(title("try", PromptLanguage::English), "New");
    assert_ne!(title("analyse-appeal", PromptLanguage::Russian), "Mine");
    assert_eq!(set.len(), PromptSet::built_in().unwrap().len() + 1);
    let missing = set.get("try", Some(PromptLanguage::Russian)).unwrap_err().to_string();
    assert!(missing.ends_with("it is in: en"), "{missing}");
    let origin = set.get("try", None).unwrap().origin().clone();
    assert_eq!(origin, PromptOrigin::File(folder.path().join("try.en.md")));
}

#[test]
fn every_problem_of_every_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.en.md"), prompt_file("b", "x")).unwrap();
    fs::write(folder.path().join("b.en.md"), "nothing").unwrap();
    fs::write(folder.path().join("c.de.md"), prompt_file("c", "x")).unwrap();
    fs::write(folder.path().join("d.en.md"), [0xFF, 0xFE]).unwrap();
    let error = PromptSet::from_folder(folder.path()).unwrap_err();
    let told = error.to_string();
    for part in [
        "a.en.md:2: id: must be \"a\"",
        "b.en.md:1: must begin with front matter",
        "c.de.md: the name of a prompt's file must be <id>.ru.md or <id>.en.md",
        "d.en.md: is not UTF-8 text",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(error.count(), 4, "{told}");
    let nowhere = PromptLibrary::open(Some(&folder.path().join("nowhere"))).unwrap_err().to_string();
    assert!(nowhere.contains("can't be read"), "{nowhere}");
}

#[test]
fn a_change_comes_into_force_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("try.en.md");
    fs::write(&path, prompt_file("try", "First")).unwrap();
    let library = PromptLibrary::open(Some(folder.path())).unwrap();
    assert_eq!(library.reload_if_changed(), Reload::Unchanged);
    let title = || library.current().get("try", None).unwrap().title().to_owned();
    let held = library.current();

    // The size changes too, so that no clock decides.
    fs::write(&path, prompt_file("try", "The second")).unwrap();
    assert_eq!(library.reload_if_changed(), Reload::Replaced);
    assert_eq!(title(), "The second");
    assert_eq!(held.get("try", None).unwrap().title(), "First");

    fs::write(&path, "broken").unwrap();
    fs::write(folder.path().join("new.en.md"), prompt_file("new", "Fine in itself")).unwrap();
    assert_eq!(library.reload_if_changed(), Reload::Refused);
    assert_eq!(title(), "The second");
    assert!(library.current().get("new", None).is_err());
    assert!(library.problem().unwrap().to_string().contains("try.en.md:1: must begin with front matter"));
    assert_eq!(library.reload_if_changed(), Reload::Unchanged);
    assert!(library.problem().is_some(), "the problem lasts as long as it is there");

    fs::write(&path, prompt_file("try", "The third one")).unwrap();
    assert_eq!(library.reload_if_changed(), Reload::Replaced);
    assert_eq!((title(), library.problem()), ("The third one".to_owned(), None));
    assert!(library.current().get("new", None).is_ok());

    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(library.reload_if_changed(), Reload::Refused);
    assert_eq!(title(), "The third one");
    assert_eq!(library.reload_if_changed(), Reload::Unchanged);
}

#[tokio::test]
async fn the_watcher_finds_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let library = Arc::new(PromptLibrary::open(Some(folder.path())).unwrap());
    let watching = tokio::spawn(Arc::clone(&library).watch(std::time::Duration::from_millis(5)));
    fs::write(folder.path().join("try.en.md"), prompt_file("try", "Found")).unwrap();
    let found = async {
        while library.current().get("try", None).is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), found).await.expect("it is found");
    watching.abort();
}
