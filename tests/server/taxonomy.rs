//! The life of a taxonomy over the wire: published while calls are answered, taken back, kept.

use std::sync::atomic::Ordering;

use otklik::config::Config;
use otklik::server::wire::v1::taxonomy_service_client::TaxonomyServiceClient;
use otklik::server::wire::v1::{self, PublicationKind, batch_classify_result, taxonomy_reference};
use otklik::tagging::Tagger;
use otklik::taxonomy::DEFAULT_SOURCE;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::fakes::FakeTagger;
use crate::{Service, batch, blamed, classify, eventually, feedback};

/// A service whose calls have time enough on a machine that is busy otherwise.
async fn start() -> Service {
    with(|_| {}).await
}

async fn with(adjust: impl FnOnce(&mut Config)) -> Service {
    Service::with(|config| {
        config.server.default_deadline_ms = 120_000;
        adjust(config);
    })
    .await
}

type Client = TaxonomyServiceClient<Channel>;

/// The default taxonomy under another name, which makes it another version.
fn named(name: &str) -> String {
    DEFAULT_SOURCE.replacen("name = \"default\"", &format!("name = \"{name}\""), 1)
}

async fn current(client: &mut Client) -> String {
    let response = client.get_taxonomy(v1::GetTaxonomyRequest::default()).await.unwrap().into_inner();
    let publication = response.publication.unwrap();
    assert!(publication.current);
    publication.version
}

async fn publish(client: &mut Client, source: String, expected: &str) -> Result<v1::PublishTaxonomyResponse, Status> {
    let request = v1::PublishTaxonomyRequest {
        source,
        expected_version: expected.to_owned(),
        published_by: "anna".into(),
        comment: "по просьбе логистики".into(),
        ..Default::default()
    };
    client.publish_taxonomy(request).await.map(tonic::Response::into_inner)
}

async fn tagged_under(service: &Service) -> String {
    let response = service.tagging().await.classify(classify("Где деньги?")).await.unwrap().into_inner();
    response.tags.unwrap().provenance.unwrap().taxonomy_version
}

#[tokio::test]
async fn the_next_text_is_tagged_under_what_was_published() {
    let service = start().await;
    let mut client = service.taxonomies().await;
    let old = current(&mut client).await;
    let published = publish(&mut client, named("second"), &old).await.unwrap();
    let publication = published.publication.unwrap();
    assert!(published.changed && publication.current && publication.version != old);
    assert_eq!((publication.number, publication.kind()), (1, PublicationKind::Published));
    assert_eq!((publication.name.as_str(), publication.parent_version.as_str()), ("second", old.as_str()));
    assert_eq!((publication.published_by.as_str(), publication.comment.as_str()), ("anna", "по просьбе логистики"));
    assert!(publication.published_at.is_some());
    let serving = format!("taxonomy_version=\"{}\"", publication.version);
    assert!(crate::admin::get(&service, "/metrics").await.1.contains(&serving), "the numbers tell what serves");
    assert_eq!(tagged_under(&service).await, publication.version);
    assert_eq!(current(&mut client).await, publication.version);

    let request = v1::ListTaxonomyVersionsRequest::default();
    let listed = client.list_taxonomy_versions(request).await.unwrap().into_inner().publications;
    let listed: Vec<_> = listed.iter().map(|one| (one.number, one.kind(), one.current)).collect();
    assert_eq!(listed, [(1, PublicationKind::Published, true), (0, PublicationKind::Configured, false)]);

    let request = v1::GetTaxonomyRequest { version: old.clone(), include_source: true, ..Default::default() };
    let kept = client.get_taxonomy(request).await.unwrap().into_inner();
    assert_eq!(kept.source, DEFAULT_SOURCE);
    assert!(!kept.publication.unwrap().current);
    let topic = kept.topics.iter().find(|topic| topic.id == "payments_transfers").unwrap();
    assert_eq!((topic.parent_id.as_str(), topic.is_group, topic.team_id.as_str()), ("money", false, "payments"));
    assert_eq!(topic.names["en"], "Payments and transfers");
    assert!(topic.example_count > 0 && kept.triage_team_id == "contact_centre");

    // The metrics name what serves.
    let (_, scrape) = crate::admin::get(&service, "/metrics").await;
    assert!(scrape.contains(&format!("taxonomy_version=\"{}\"", publication.version)), "{scrape}");
}

#[tokio::test]
async fn a_call_in_work_is_answered_by_one_version_wholly() {
    let service = with(|config| config.server.batch_in_flight = 1).await;
    let mut client = service.taxonomies().await;
    let before = tagged_under(&service).await;
    let texts = ["hold".to_owned(), "второй".to_owned(), "третий".to_owned()];
    let mut tagging = service.tagging().await;
    let racing = tokio::spawn(async move { tagging.batch_classify(batch(texts)).await });
    eventually("the batch is in work", async || FakeTagger::count(&service.tagger.holding) == 1).await;

    let old = current(&mut client).await;
    let new = publish(&mut client, named("second"), &old).await.unwrap().publication.unwrap().version;
    assert_eq!(tagged_under(&service).await, new);
    service.tagger.release.add_permits(1);
    for result in racing.await.unwrap().unwrap().into_inner().results {
        match result.result.unwrap() {
            batch_classify_result::Result::Tags(tags) => {
                assert_eq!(tags.provenance.unwrap().taxonomy_version, before);
            }
            batch_classify_result::Result::Error(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_caller_who_does_not_know_what_is_in_force_is_told_both_versions() {
    let service = start().await;
    let mut client = service.taxonomies().await;
    let old = current(&mut client).await;
    let new = publish(&mut client, named("second"), &old).await.unwrap().publication.unwrap().version;
    let refused = publish(&mut client, named("third"), &old).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("TAXONOMY_VERSION_CONFLICT", "otklik"));
    assert_eq!((&info.metadata["expected_version"], &info.metadata["current_version"]), (&old, &new));
    assert_eq!(tagged_under(&service).await, new);

    // The same call again, because its answer was lost: its work is done.
    let again = publish(&mut client, named("second"), &old).await.unwrap();
    assert!(!again.changed);
    assert_eq!(again.publication.unwrap().version, new);
    let missing = publish(&mut client, named("third"), "").await.unwrap_err();
    assert_eq!(blamed(&missing), ["expected_version"]);
}

#[tokio::test]
async fn one_publication_is_in_work_at_a_time() {
    let service = start().await;
    let mut client = service.taxonomies().await;
    let old = current(&mut client).await;
    let (mut slow, expected) = (service.taxonomies().await, old.clone());
    let first = tokio::spawn(async move { publish(&mut slow, named("hold"), &expected).await });
    eventually("the first is in work", async || FakeTagger::count(&service.tagger.holding) == 1).await;
    let refused = publish(&mut client, named("second"), &old).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "TAXONOMY_PUBLICATION_IN_WORK");
    service.tagger.release.add_permits(1);
    let published = first.await.unwrap().unwrap().publication.unwrap().version;
    assert_eq!(tagged_under(&service).await, published);
}

#[tokio::test]
async fn a_taxonomy_with_problems_changes_nothing_and_tells_them() {
    let service = start().await;
    let mut client = service.taxonomies().await;
    let (old, before) = (current(&mut client).await, tagged_under(&service).await);
    let source = DEFAULT_SOURCE.replacen("triage_team = \"contact_centre\"", "triage_team = \"nobody\"", 1).replacen(
        "parent = \"money\"",
        "parent = \"nowhere\"",
        1,
    );
    let refused = publish(&mut client, source.clone(), &old).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let fields = blamed(&refused);
    assert!(fields.contains(&"source.triage_team".to_owned()), "{fields:?}");
    let details = refused.get_details_bad_request().unwrap();
    assert!(details.field_violations.iter().all(|violation| violation.description.starts_with("line ")));

    let request = v1::ValidateTaxonomyRequest { source, ..Default::default() };
    let checked = client.validate_taxonomy(request).await.unwrap().into_inner();
    assert!(!checked.valid && checked.version.is_empty());
    for key in ["triage_team", "parent"] {
        let problem = checked.problems.iter().find(|problem| problem.key.ends_with(key));
        assert!(problem.is_some_and(|problem| problem.line > 0), "no {key} in {:?}", checked.problems);
    }
    let broken = v1::ValidateTaxonomyRequest { source: "schema = ".into(), ..Default::default() };
    let broken = client.validate_taxonomy(broken).await.unwrap().into_inner();
    assert!(broken.problems[0].column.is_some());
    let sound = v1::ValidateTaxonomyRequest { source: named("sound"), ..Default::default() };
    let sound = client.validate_taxonomy(sound).await.unwrap().into_inner();
    assert!(sound.valid && sound.version.starts_with("sha256:") && sound.problems.is_empty());

    // The company's playbook does not go with this one.
    let unfit = publish(&mut client, named("unfit"), &old).await.unwrap_err();
    assert_eq!(unfit.code(), Code::FailedPrecondition);
    assert_eq!(unfit.get_details_precondition_failure().unwrap().violations[0].subject, "assist.playbook");
    assert_eq!((current(&mut client).await, tagged_under(&service).await), (old, before));
}

#[tokio::test]
async fn a_version_is_put_back_and_a_restart_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("taxonomy");
    let mut service = with(|config| config.taxonomy.dir = dir.clone()).await;
    let mut client = service.taxonomies().await;
    let old = current(&mut client).await;
    let second = publish(&mut client, named("second"), &old).await.unwrap().publication.unwrap().version;
    let third = publish(&mut client, named("third"), &second).await.unwrap().publication.unwrap().version;
    let mut back =
        v1::RollbackTaxonomyRequest { version: second.clone(), expected_version: second.clone(), ..Default::default() };
    let refused = client.rollback_taxonomy(back.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    back.expected_version = third.clone();
    let done = client.rollback_taxonomy(back.clone()).await.unwrap().into_inner();
    let publication = done.publication.unwrap();
    assert_eq!((publication.kind(), publication.number), (PublicationKind::RolledBack, 3));
    assert_eq!((&publication.version, &publication.parent_version), (&second, &third));
    assert_eq!(tagged_under(&service).await, second);
    back.version = "sha256:0000".into();
    assert_eq!(client.rollback_taxonomy(back).await.unwrap_err().code(), Code::NotFound);
    service.stop();
    drop(client);
    service.ended().await;
    // The last connection lets go of it at its own time.
    let lock = || std::fs::File::options().write(true).open(dir.join("LOCK")).unwrap();
    eventually("the folder is free", async || lock().try_lock().is_ok()).await;

    let service = with(|config| config.taxonomy.dir = dir.clone()).await;
    assert_eq!(tagged_under(&service).await, second);
    let request = v1::ListTaxonomyVersionsRequest::default();
    let listed = service.taxonomies().await.list_taxonomy_versions(request).await.unwrap().into_inner().publications;
    let listed: Vec<&str> = listed.iter().map(|one| one.version.as_str()).collect();
    assert_eq!(listed, [&second, &third, &second, &old]);
}

#[tokio::test]
async fn publishing_offers_to_tag_anew_and_does_not() {
    let service = start().await;
    let mut cases = service.cases().await;
    let item =
        |id: &str| v1::UpsertCasesItem { feedback: Some(feedback(id, "Где деньги?")), ..Default::default() };
    let request = v1::UpsertCasesRequest { items: vec![item("1"), item("2")], ..Default::default() };
    cases.upsert_cases(request).await.unwrap();
    let mut client = service.taxonomies().await;
    let old = current(&mut client).await;
    let renamed = publish(&mut client, named("second"), &old).await.unwrap();
    let offer = renamed.retag_offer.unwrap();
    assert_eq!((offer.stored_case_count, offer.affected_case_count, offer.error), (2, 0, None));
    assert!(renamed.affected.unwrap().retag_filter.is_none());

    let second = renamed.publication.unwrap().version;
    let example = "Оплатил один раз, а списали дважды, верните второй платёж";
    let changed = named("second").replacen(example, "Списали дважды за одну покупку", 1);
    let changed = publish(&mut client, changed, &second).await.unwrap();
    let affected = changed.affected.unwrap();
    assert_eq!(affected.changed, ["payments_transfers"]);
    assert_eq!(affected.retag_filter.unwrap().topic_ids, ["payments_transfers"]);
    let offer = changed.retag_offer.unwrap();
    assert_eq!((offer.stored_case_count, offer.affected_case_count, offer.error), (2, 2, None));
    let before = service.tagger.provenance().taxonomy_version.to_string();
    let case = cases.get_case(v1::GetCaseRequest { id: "1".into(), ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(case.tags.unwrap().provenance.unwrap().taxonomy_version, before, "nothing was tagged anew");

    // A store that can't count does not undo a publication.
    service.store.silent.store(true, Ordering::SeqCst);
    let third = publish(&mut client, named("third"), &changed.publication.unwrap().version).await.unwrap();
    assert!(third.changed && third.retag_offer.unwrap().error.is_some());
}

#[tokio::test]
async fn any_two_taxonomies_are_compared() {
    let service = start().await;
    let mut client = service.taxonomies().await;
    let old = current(&mut client).await;
    let source = |source: String| {
        let taxonomy = Some(taxonomy_reference::Taxonomy::Source(source));
        Some(v1::TaxonomyReference { taxonomy })
    };
    let version = |version: &str| {
        let taxonomy = Some(taxonomy_reference::Taxonomy::Version(version.to_owned()));
        Some(v1::TaxonomyReference { taxonomy })
    };
    let sent = named("second").replacen("id = \"payments_transfers\"", "id = \"transfers\"", 1);
    let sent = sent.replace("topic = \"payments_transfers\"", "topic = \"transfers\"");
    let request = v1::DiffTaxonomyRequest { new: source(sent), ..Default::default() };
    let compared = client.diff_taxonomy(request).await.unwrap().into_inner();
    let (diff, affected) = (compared.diff.unwrap(), compared.affected.unwrap());
    assert_eq!(diff.old_version, old);
    assert_eq!((diff.head[0].field.as_str(), diff.head[0].new_json.as_deref()), ("name", Some("\"second\"")));
    let topics = diff.topics.unwrap();
    assert_eq!((topics.added, topics.removed), (vec!["transfers".to_owned()], vec!["payments_transfers".to_owned()]));
    assert_eq!(affected.removed, ["payments_transfers"]);
    assert_eq!(affected.retag_filter.unwrap().topic_ids, ["payments_transfers"]);

    let second = publish(&mut client, named("second"), &old).await.unwrap().publication.unwrap().version;
    let request = v1::DiffTaxonomyRequest { old: version(&old), ..Default::default() };
    let diff = client.diff_taxonomy(request).await.unwrap().into_inner().diff.unwrap();
    assert_eq!((diff.old_version, diff.new_version, diff.head.len()), (old, second, 1));
    let request = v1::DiffTaxonomyRequest { old: version("sha256:00"), ..Default::default() };
    assert_eq!(client.diff_taxonomy(request).await.unwrap_err().code(), Code::NotFound);
    let request = v1::DiffTaxonomyRequest { new: source("schema = 2".into()), ..Default::default() };
    let refused = client.diff_taxonomy(request).await.unwrap_err();
    assert!(blamed(&refused).contains(&"new.source.schema".to_owned()), "{refused:?}");
}

#[tokio::test]
async fn what_a_taxonomy_would_move_is_told_before_it_is_published() {
    let service = start().await;
    let mut cases = service.cases().await;
    let item =
        |id: &str| v1::UpsertCasesItem { feedback: Some(feedback(id, "Где деньги?")), ..Default::default() };
    let request = v1::UpsertCasesRequest { items: vec![item("1"), item("2")], ..Default::default() };
    cases.upsert_cases(request).await.unwrap();
    let mut client = service.taxonomies().await;
    let old = current(&mut client).await;
    let renamed = DEFAULT_SOURCE.replace("\"payments_transfers\"", "\"transfers\"");
    let sent = || v1::TaxonomyReference { taxonomy: Some(taxonomy_reference::Taxonomy::Source(renamed.clone())) };
    let request = |effect| v1::DiffTaxonomyRequest { new: Some(sent()), effect, ..Default::default() };
    assert_eq!(client.diff_taxonomy(request(None)).await.unwrap().into_inner().effect, None);
    let effect = client.diff_taxonomy(request(Some(v1::PreviewRetagRequest::default()))).await.unwrap().into_inner();
    let effect = effect.effect.unwrap();
    assert_eq!((effect.case_count, effect.looked_at_count, effect.changed_count), (2, 2, 2));
    let moved = &effect.topics[0];
    assert_eq!((moved.from.as_str(), moved.to.as_str(), moved.cases), ("payments_transfers", "transfers", 2));
    // Nothing is in force, and nothing written.
    assert_eq!(current(&mut client).await, old);
    let get = v1::GetCaseRequest { id: "1".into(), ..Default::default() };
    let kept = cases.get_case(get).await.unwrap().into_inner().tags.unwrap();
    assert_eq!(kept.topics[0].topic_id, "payments_transfers");
    let nothing =
        v1::PreviewRetagRequest { sample: Some(v1::preview_retag_request::Sample::Cases(0)), ..Default::default() };
    assert_eq!(blamed(&client.diff_taxonomy(request(Some(nothing))).await.unwrap_err()), ["cases"]);
    let offer = publish(&mut client, renamed.clone(), &old).await.unwrap().retag_offer.unwrap();
    assert_eq!((offer.stored_case_count, offer.affected_case_count, offer.older_case_count), (2, 2, 2));
}

#[tokio::test]
async fn a_correction_is_checked_by_the_taxonomy_of_the_moment() {
    let service = start().await;
    let mut cases = service.cases().await;
    let item = v1::UpsertCasesItem { feedback: Some(feedback("1", "Где деньги?")), ..Default::default() };
    let request = v1::UpsertCasesRequest { items: vec![item], ..Default::default() };
    cases.upsert_cases(request).await.unwrap();
    let correction = || v1::CorrectTagsRequest {
        case_id: "1".into(),
        topics: Some(v1::TopicSet { topic_ids: vec!["transfers".into()] }),
        ..Default::default()
    };
    assert_eq!(blamed(&cases.correct_tags(correction()).await.unwrap_err()), ["topics.topic_ids[0]"]);
    let mut client = service.taxonomies().await;
    let old = current(&mut client).await;
    let source = DEFAULT_SOURCE.replace("\"payments_transfers\"", "\"transfers\"");
    publish(&mut client, source, &old).await.unwrap();
    cases.correct_tags(correction()).await.unwrap();
}
