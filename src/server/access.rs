//! What each RPC asks of its caller: one table.
//!
//! An RPC that is not in it is refused to everybody; a test compares it with the descriptors.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::callers::Role;

/// The metadata that a key may be sent in, beside `authorization`.
const API_KEY: &str = "x-api-key";

/// What is asked of the caller of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing: probers and balancers have no keys.
    Open,
    /// A key, whatever it may do. Reflection describes what anybody can read in `proto/`; it is still not told to strangers.
    AnyCaller,
    /// A key with a role.
    Role(Role),
    /// It is one of ours and nobody decided who may call it.
    Nobody,
}

/// Every RPC of ours with the role that it takes.
const RPCS: &[(&str, Role)] = &[
    ("otklik.v1.TaggingService/Classify", Role::Tag),
    ("otklik.v1.TaggingService/ClassifyStream", Role::Tag),
    ("otklik.v1.TaggingService/BatchClassify", Role::Tag),
    ("otklik.v1.CaseService/UpsertCases", Role::Tag),
    ("otklik.v1.CaseService/GetCase", Role::Read),
    ("otklik.v1.CaseService/FindSimilar", Role::Read),
    ("otklik.v1.CaseService/ListForReview", Role::Read),
    ("otklik.v1.CaseService/CorrectTags", Role::Correct),
    ("otklik.v1.CaseService/RecordOutcome", Role::Correct),
    ("otklik.v1.CaseService/DeleteCases", Role::Admin),
    ("otklik.v1.AssistService/Suggest", Role::Assist),
    ("otklik.v1.AssistService/Assist", Role::Assist),
    ("otklik.v1.AssistService/ReviewReply", Role::Assist),
    ("otklik.v1.AssistService/Summarize", Role::Assist),
    ("otklik.v1.AssistService/RecordSuggestionUse", Role::Assist),
    ("otklik.v1.PromptService/ListPrompts", Role::Assist),
    ("otklik.v1.PromptService/GetPrompt", Role::Assist),
    ("otklik.v1.PromptService/RenderPrompt", Role::Assist),
    ("otklik.v1.PromptService/RunPrompt", Role::Assist),
    ("otklik.v1.RetagService/PreviewRetag", Role::Retag),
    ("otklik.v1.RetagService/StartRetag", Role::Retag),
    ("otklik.v1.RetagService/GetRetagJob", Role::Retag),
    ("otklik.v1.RetagService/ListRetagJobs", Role::Retag),
    ("otklik.v1.RetagService/WatchRetagJob", Role::Retag),
    ("otklik.v1.RetagService/CancelRetagJob", Role::Retag),
    ("otklik.v1.TaxonomyService/GetTaxonomy", Role::Read),
    ("otklik.v1.TaxonomyService/ListTaxonomyVersions", Role::Read),
    ("otklik.v1.TaxonomyService/ValidateTaxonomy", Role::Read),
    ("otklik.v1.TaxonomyService/DiffTaxonomy", Role::Read),
    ("otklik.v1.TaxonomyService/PublishTaxonomy", Role::Admin),
    ("otklik.v1.TaxonomyService/RollbackTaxonomy", Role::Admin),
];

/// What a method asks, by its path.
pub(super) fn of(path: &str) -> Access {
    if path.starts_with("/grpc.health.v1.Health/") {
        return Access::Open;
    }
    let name = path.strip_prefix('/').unwrap_or(path);
    match RPCS.iter().find(|(rpc, _)| *rpc == name) {
        Some((_, role)) => Access::Role(*role),
        None if path.starts_with(super::guard::OWN_SERVICES) => Access::Nobody,
        None => Access::AnyCaller,
    }
}

/// The key or token that a call shows, taken out of its metadata, so that nothing behind sees it.
///
/// # Errors
/// What is wrong with how it is shown.
pub(super) fn take_credential(headers: &mut HeaderMap) -> Result<Option<String>, &'static str> {
    let mut shown = None;
    for name in [AUTHORIZATION.as_str(), API_KEY] {
        let values: Vec<_> = headers.get_all(name).iter().cloned().collect();
        headers.remove(name);
        for value in values {
            let text = value.to_str().map_err(|_| "it is not ASCII")?.trim();
            let text = match name {
                API_KEY => text,
                _ => match text.split_once(' ') {
                    Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
                    _ => return Err("authorization is not of the form Bearer KEY"),
                },
            };
            if shown.replace(text.to_owned()).is_some() {
                return Err("more than one key is shown");
            }
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::server::wire;

    #[test]
    fn the_table_has_each_rpc_of_the_descriptors_once_and_no_other() {
        let listed: BTreeSet<&str> = RPCS.iter().map(|(rpc, _)| *rpc).collect();
        assert_eq!(listed.len(), RPCS.len(), "an RPC stands in the table twice");
        let described = wire::rpcs();
        let described: BTreeSet<&str> = described.iter().map(String::as_str).collect();
        assert_eq!(listed, described);
    }

    #[test]
    fn what_is_not_in_the_table_is_open_to_nobody_if_it_is_ours() {
        for (path, access) in [
            ("/otklik.v1.TaggingService/Classify", Access::Role(Role::Tag)),
            ("/otklik.v1.CaseService/DeleteCases", Access::Role(Role::Admin)),
            ("/otklik.v1.TaggingService/Unheard", Access::Nobody),
            ("/otklik.v1.TaggingService/Classify/", Access::Nobody),
            ("/grpc.health.v1.Health/Check", Access::Open),
            ("/grpc.health.v1.Healthy/Check", Access::AnyCaller),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Access::AnyCaller),
            ("/", Access::AnyCaller),
        ] {
            assert_eq!(of(path), access, "{path}");
        }
    }

    #[test]
    fn a_key_is_taken_from_either_place_and_leaves_no_trace() {
        for (pairs, expected) in [
            (&[][..], Ok(None)),
            (&[("authorization", "Bearer a")], Ok(Some("a"))),
            (&[("authorization", "bearer  a ")], Ok(Some("a"))),
            (&[("x-api-key", "a")], Ok(Some("a"))),
            (&[("authorization", "Basic a")], Err(())),
            (&[("authorization", "a")], Err(())),
            (&[("authorization", "Bearer a"), ("x-api-key", "a")], Err(())),
            (&[("x-api-key", "a"), ("x-api-key", "b")], Err(())),
            (&[("x-api-key", "ключ")], Err(())),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let taken = take_credential(&mut headers);
            assert_eq!(taken.as_ref().map(Option::as_deref).map_err(|_| ()), expected, "{pairs:?}");
            if taken.is_ok() {
                assert!(headers.is_empty());
            }
        }
    }
}
