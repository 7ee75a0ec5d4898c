use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::get_current_timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;

fn options() -> JwtOptions {
    JwtOptions {
        issuer: "https://id.example".into(),
        audience: "otklik".into(),
        tenant_claim: "tenant".into(),
        roles_claim: "realm.roles".into(),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "aud": ["otklik", "other"], "sub": "crm", "exp": get_current_timestamp() + 600,
        "tenant": "bank", "realm": {"roles": ["tag", "read", "offline_access"]},
    })
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token of these claims; `sign` makes the signature.
fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// A key of Ed25519 and the JWK of its public part.
fn ed25519(id: &str) -> (Ed25519KeyPair, Value) {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "use": "sig", "x": x});
    (pair, jwk)
}

fn set(keys: &[&Value]) -> JwtKeys {
    JwtKeys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn signed(pair: &Ed25519KeyPair, id: &str, claims: &Value) -> String {
    token(&json!({"alg": "EdDSA", "typ": "JWT", "kid": id}), claims, |message| pair.sign(message).as_ref().to_vec())
}

#[test]
fn a_token_of_a_known_key_stands_for_its_caller() {
    let (pair, jwk) = ed25519("1");
    let caller = caller(&signed(&pair, "1", &claims()), &set(&[&jwk]), &options()).unwrap();
    assert_eq!((caller.id.as_str(), caller.tenant.as_str()), ("sub:crm", "bank"));
    assert_eq!(caller.roles, [Role::Tag, Role::Read].into_iter().collect());
    let words = json!({"realm.roles": "retag admin x"});
    let by_words = of_claims(words.as_object().unwrap(), &options());
    assert!(matches!(by_words, Err(TokenError::Claim(_))));
    assert_eq!(roles_of(&json!("retag x admin")), [Role::Retag, Role::Admin].into_iter().collect());
    assert!(roles_of(&json!(5)).is_empty());
}

#[test]
fn each_claim_is_checked() {
    let (pair, jwk) = ed25519("1");
    let (keys, now) = (set(&[&jwk]), get_current_timestamp());
    for (claim, value) in [
        ("iss", json!("https://other.example")),
        ("iss", Value::Null),
        ("aud", json!("other")),
        ("aud", Value::Null),
        ("exp", json!(now - 120)),
        ("exp", json!((now + 600).to_string())),
        ("exp", Value::Null),
        ("nbf", json!(now + 120)),
        ("nbf", json!("soon")),
        ("sub", Value::Null),
        ("tenant", Value::Null),
        ("tenant", json!("a b")),
        ("tenant", json!(["bank"])),
    ] {
        let mut wrong = claims();
        wrong[claim] = value.clone();
        assert!(caller(&signed(&pair, "1", &wrong), &keys, &options()).is_err(), "{claim} = {value}");
    }
    let mut good = claims();
    good["nbf"] = json!(now);
    assert!(caller(&signed(&pair, "1", &good), &keys, &options()).is_ok());
}

#[test]
fn the_algorithm_is_that_of_the_key_and_never_of_the_token() {
    let (pair, jwk) = ed25519("1");
    let keys = set(&[&jwk]);
    let public = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
    let by_public_key = |message: &[u8]| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public);
        ring::hmac::sign(&key, message).as_ref().to_vec()
    };
    let header = |algorithm: &str| json!({"alg": algorithm, "kid": "1"});
    assert!(caller(&token(&header("HS256"), &claims(), by_public_key), &keys, &options()).is_err());
    for algorithm in ["none", "RS256", "ES256", "HS512", "eddsa"] {
        assert!(caller(&token(&header(algorithm), &claims(), |_| Vec::new()), &keys, &options()).is_err());
    }
    let good = signed(&pair, "1", &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    for wrong in
        [message.to_owned(), format!("{message}."), format!("{good}AA"), format!("x{good}"), format!("{good}.x")]
    {
        assert!(caller(&wrong, &keys, &options()).is_err(), "{wrong}");
    }
    let mut other = claims();
    other["tenant"] = json!("shop");
    let moved = format!("{}.{}.{signature}", encoded(&header("EdDSA")), encoded(&other));
    assert!(caller(&moved, &keys, &options()).is_err());
}

#[test]
fn keys_rotate_by_their_ids() {
    let ((old, old_jwk), (new, new_jwk)) = (ed25519("old"), ed25519("new"));
    let by_old = signed(&old, "old", &claims());
    let by_new = signed(&new, "new", &claims());
    let both = set(&[&old_jwk, &new_jwk]);
    assert!(caller(&by_old, &both, &options()).is_ok() && caller(&by_new, &both, &options()).is_ok());
    let after = set(&[&new_jwk]);
    assert!(matches!(caller(&by_old, &after, &options()), Err(TokenError::UnknownKey)));
    assert!(caller(&signed(&old, "new", &claims()), &both, &options()).is_err(), "the key it names did not sign it");
}

#[test]
fn ecdsa_and_shared_secrets_work_where_the_file_has_them() {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let point = pair.public_key().as_ref();
    let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": coordinate(&point[1..33]), "y": coordinate(&point[33..])});
    let by_ec =
        token(&json!({"alg": "ES256"}), &claims(), |message| pair.sign(&random, message).unwrap().as_ref().to_vec());
    assert!(caller(&by_ec, &set(&[&jwk]), &options()).is_ok());

    // The same key in PEM: SubjectPublicKeyInfo is this prefix and the point.
    let prefix = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let der = [&prefix[..], point].concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(der)
    );
    assert!(caller(&by_ec, &JwtKeys::parse(pem.as_bytes()).unwrap(), &options()).is_ok());

    let secret = [7; 32];
    let jwk = json!({"kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(secret)});
    let by_secret = token(&json!({"alg": "HS256"}), &claims(), |message| {
        ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret), message).as_ref().to_vec()
    });
    assert!(caller(&by_secret, &set(&[&jwk]), &options()).is_ok());
}

#[test]
fn keys_that_should_not_be_trusted_are_refused_with_the_reason() {
    let (_, jwk) = ed25519("1");
    let with = |field: &str, value: Value| {
        let mut changed = jwk.clone();
        changed[field] = value;
        json!({ "keys": [changed] }).to_string()
    };
    let long = URL_SAFE_NO_PAD.encode([1; 32]);
    for (text, part) in [
        ("{}".to_owned(), "no list \"keys\""),
        ("nothing".to_owned(), "must be a JWK set"),
        (json!({ "keys": [] }).to_string(), "has 0 keys"),
        (with("use", json!("enc")), "has 0 keys"),
        (with("alg", json!("RS256")), "key 1: alg: must be one of [EdDSA]"),
        (with("alg", json!("RSA-OAEP")), "alg:"),
        (with("x", json!("AAAA")), "x: must have 32 bytes"),
        (with("crv", json!("P-256")), "crv: must be Ed25519"),
        (json!({ "keys": [jwk, jwk] }).to_string(), "key 2: kid: must stand in one key only"),
        (json!({ "keys": [{"kty": "oct", "k": long}] }).to_string(), "alg: must be given for a shared secret"),
        (json!({ "keys": [{"kty": "oct", "alg": "HS256", "k": "AAAA"}] }).to_string(), "at least 32 bytes"),
        (json!({ "keys": [{"kty": "RSA", "n": long, "e": "AQAB"}] }).to_string(), "at least 2048 bits"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".to_owned(), "is a private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".to_owned(), "must be a PUBLIC KEY"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".to_owned(), "must be RSA, P-256"),
    ] {
        let error = JwtKeys::parse(text.as_bytes()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}
