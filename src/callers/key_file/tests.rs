use super::*;

fn wanted(tenant: &str, roles: &[Role]) -> NewKey {
    let roles = roles.iter().copied().collect();
    NewKey { name: Some("CRM".into()), tenant: tenant.into(), roles, tokens_per_second: Some(50), burst_tokens: None }
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn keys_are_added_found_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("of/its/own/keys.toml");
    assert_eq!(KeyFile::read(&path).unwrap(), None);
    let (key, record) = KeyFile::add(&path, wanted("bank", &[Role::Tag, Role::Read]), second(1)).unwrap();
    let (other, _) = KeyFile::add(&path, wanted("shop", &[Role::Admin]), second(2)).unwrap();
    let file = KeyFile::read(&path).unwrap().unwrap();
    assert_eq!(file.find(key.id()), Some(&record));
    assert!(record.hashed.is_of(&key) && !record.hashed.is_of(&other));
    let caller = record.caller();
    assert_eq!((caller.tenant.as_str(), caller.may(Role::Tag), caller.may(Role::Admin)), ("bank", true, false));
    assert_eq!(caller.limit, Some(TokenLimit { tokens_per_second: 50, burst_tokens: 500 }));

    assert_eq!(KeyFile::revoke(&path, key.id(), second(3)).unwrap().revoked_at, Some(second(3)));
    assert_eq!(KeyFile::revoke(&path, key.id(), second(9)).unwrap().revoked_at, Some(second(3)));
    let file = KeyFile::read(&path).unwrap().unwrap();
    let revoked: Vec<bool> = file.records().iter().map(|record| record.revoked_at.is_some()).collect();
    assert_eq!(revoked, [true, false]);
    let unknown = KeyFile::revoke(&path, "none", second(3)).unwrap_err().to_string();
    assert!(unknown.contains("\"none\"") && unknown.contains("keys list"), "{unknown}");
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_alone_and_holds_no_secret() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    std::fs::write(beside(&path, "new"), "left by a writer that was killed").unwrap();
    let (key, _) = KeyFile::add(&path, wanted("bank", &[Role::Tag]), second(1)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let secret = key.reveal().rsplit_once(&format!("{}_", key.id())).unwrap().1.to_owned();
    assert!(text.starts_with("# API keys") && text.contains(key.id()) && !text.contains(&secret), "{text}");
}

#[test]
fn what_is_wrong_is_named_by_row_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    for (wanted, part) in [
        (wanted("", &[Role::Tag]), "tenant: \"\" is not a tenant's name"),
        (wanted("bank", &[]), "roles: must name at least one of: tag, read, correct, assist, retag, admin"),
        (NewKey { tokens_per_second: Some(0), ..wanted("bank", &[Role::Tag]) }, "tokens_per_second: must be 1"),
        (NewKey { name: Some(String::new()), ..wanted("bank", &[Role::Tag]) }, "name: must have 1 to 128"),
    ] {
        let error = KeyFile::add(&path, wanted, second(1)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(!path.exists());
    KeyFile::add(&path, wanted("bank", &[Role::Tag]), second(1)).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    let twice = format!("{good}\n{}", good.replace("bank", "shop"));
    for (text, part) in [
        (good.replace("\"tag\"", "\"boss\""), "boss"),
        (good.replace("tenant = \"bank\"", "tenant = \"a b\""), "key 1"),
        (good.replace("hash = \"", "hash = \"0"), "hashed: must be"),
        (good.replace("tenant =", "tennant ="), "tennant"),
        (twice, "key 2"),
    ] {
        let error = KeyFile::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(KeyFile::parse(&[0xff]).is_err());
    assert_eq!(KeyFile::parse(b"").unwrap(), KeyFile::default());
}
