//! The collections of a store: their names, what is in them, and the alias that says which one is served.
//!
//! A collection holds vectors of one encoder, and its name says of which; its metadata say it in full. The alias with the store's own
//! name points to the collection that is served. Beside them lies a collection of receipts, which has no vectors.

use std::collections::{HashMap, HashSet};

use qdrant_client::qdrant::alias_operations::Action;
use qdrant_client::qdrant::quantization_config::Quantization;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    AliasOperations, ChangeAliases, CollectionExistsRequest, CollectionInfo, CreateAlias, CreateCollection,
    CreateFieldIndexCollection, DeleteAlias, DeleteCollection, Distance, GetCollectionInfoRequest, ListAliasesRequest,
    ListCollectionsRequest, ListFullSnapshotsRequest, ListSnapshotsRequest, Modifier, QuantizationConfig,
    QuantizationType, ScalarQuantization, SparseIndexConfig, SparseVectorConfig, SparseVectorParams, VectorParams,
    VectorParamsMap, VectorsConfig,
};
use serde_json::Value as Json;

use super::calls::{self, CallFault, Calls};
use super::mapping;
use super::options::QdrantOptions;
use crate::cases::CaseStoreError;
use crate::cases::point::{DENSE, Field, WORDS};

/// How cases lie in a collection. It grows with every change of the points or of their indexes.
pub(super) const SCHEMA: u32 = 1;
/// Characters of the encoder's hash that a collection's name holds.
const HASH_IN_NAME: usize = 12;
/// What the metadata of a collection are called.
const SCHEMA_KEY: &str = "otklik_schema";
const ENCODER_KEY: &str = "otklik_encoder_sha256";
/// The command that brings a store to another encoder or schema.
const MIGRATE: &str = "otklik cases migrate";

/// The collection that holds the cases of a store with the options' encoder.
pub(super) fn physical_name(options: &QdrantOptions) -> String {
    let hash: String = options.encoder_sha256.chars().take(HASH_IN_NAME).collect();
    format!("{}_{}_v{SCHEMA}", options.collection, hash.to_ascii_lowercase())
}

/// True if a collection holds cases of the store with this name, of whichever encoder and schema.
pub(super) fn is_of_store(store: &str, collection: &str) -> bool {
    let rest = collection.strip_prefix(store).and_then(|rest| rest.strip_prefix('_'));
    let Some((hash, version)) = rest.and_then(|rest| rest.split_once("_v")) else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_hash = (1..=HASH_IN_NAME).contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash && is_number(version)
}

/// The collection that holds the receipts of a store.
pub(super) fn receipts_name(options: &QdrantOptions) -> String {
    format!("{}_receipts", options.collection)
}

/// What a collection says of itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Description {
    /// `None` for a collection that no store like this made.
    pub schema: Option<u64>,
    pub encoder_sha256: Option<String>,
    pub dimension: Option<u64>,
    /// Fields with an index.
    pub indexed: HashSet<String>,
}

impl Description {
    fn new(info: CollectionInfo) -> Self {
        let indexed = info.payload_schema.into_keys().collect();
        let config = info.config.unwrap_or_default();
        let mut metadata = mapping::fields_of(config.metadata);
        let dimension = match config.params.and_then(|params| params.vectors_config?.config) {
            Some(Config::ParamsMap(named)) => named.map.get(DENSE).map(|params| params.size),
            _ => None,
        };
        let schema = metadata.remove(SCHEMA_KEY).as_ref().and_then(Json::as_u64);
        let encoder_sha256 = metadata.remove(ENCODER_KEY).as_ref().and_then(Json::as_str).map(str::to_owned);
        Self { schema, encoder_sha256, dimension, indexed }
    }

    /// What is wrong with the collection for a store of these options, if anything is.
    fn problem(&self, name: &str, options: &QdrantOptions) -> Option<String> {
        let (Some(schema), Some(encoder)) = (self.schema, self.encoder_sha256.as_deref()) else {
            return Some(format!(
                "the collection {name} does not say of which encoder and schema it is: otklik did not make it, or the server is \
                 older than Qdrant 1.16, which is needed"
            ));
        };
        let same = schema == u64::from(SCHEMA)
            && encoder.eq_ignore_ascii_case(&options.encoder_sha256)
            && self.dimension == Some(options.dimension as u64);
        if same {
            return None;
        }
        let dimension = self.dimension.map_or("an unknown number of".to_owned(), |dimension| dimension.to_string());
        Some(format!(
            "the collection {name} holds vectors of {dimension} numbers of the encoder {encoder} in schema {schema}; wanted are \
             vectors of {} numbers of the encoder {} in schema {SCHEMA}. `{MIGRATE}` makes a collection of them from it, and leaves \
             it as it is until the new one takes its place",
            options.dimension, options.encoder_sha256
        ))
    }
}

/// The collections of one store.
#[derive(Clone)]
pub(super) struct Schema {
    calls: Calls,
    options: QdrantOptions,
}

impl Schema {
    pub(super) fn new(calls: Calls, options: QdrantOptions) -> Self {
        Self { calls, options }
    }

    fn refused(&self, fault: &CallFault) -> CaseStoreError {
        CaseStoreError::Unavailable(fault.in_full())
    }

    /// The collection that the alias points to, if there is an alias.
    pub(super) async fn served(&self) -> Result<Option<String>, CallFault> {
        let answer = self.calls.run("list the aliases", ListAliasesRequest {}, |wire, request| async move {
            calls::collections(wire).list_aliases(request).await
        });
        let mut aliases = answer.await?.aliases.into_iter();
        Ok(aliases.find(|alias| alias.alias_name == self.options.collection).map(|alias| alias.collection_name))
    }

    /// What a collection says of itself, if there is one of this name.
    pub(super) async fn describe(&self, collection: &str) -> Result<Option<Description>, CallFault> {
        let request = GetCollectionInfoRequest { collection_name: collection.to_owned() };
        let answer = self.calls.run("describe a collection", request, |wire, request| async move {
            calls::collections(wire).get(request).await
        });
        match answer.await {
            Ok(answer) => Ok(answer.result.map(Description::new)),
            Err(fault) if fault.is_not_found() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Every collection that holds cases of this store.
    pub(super) async fn all(&self) -> Result<Vec<String>, CallFault> {
        let answer = self.calls.run("list the collections", ListCollectionsRequest {}, |wire, request| async move {
            calls::collections(wire).list(request).await
        });
        let names = answer.await?.collections.into_iter().map(|collection| collection.name);
        Ok(names.filter(|name| is_of_store(&self.options.collection, name)).collect())
    }

    /// Makes sure that the alias points to a collection of the options' encoder and schema; makes both where there is no alias.
    ///
    /// # Errors
    /// `Open`: the alias points to another collection; `Unavailable`.
    pub(super) async fn open(&self) -> Result<(), CaseStoreError> {
        let wanted = physical_name(&self.options);
        if self.served().await?.is_none() {
            self.refuse_a_collection_in_the_place_of_the_alias().await?;
            self.make(&wanted).await?;
            self.serve(&wanted, None).await?;
        }
        // Another process may have pointed the alias elsewhere at the same moment.
        match self.served().await? {
            Some(served) if served == wanted => self.make(&wanted).await?,
            Some(served) => {
                let found = self.describe(&served).await?;
                let problem = found.and_then(|found| found.problem(&served, &self.options));
                let problem = problem.unwrap_or_else(|| {
                    format!("it is served from the collection {served}; wanted is {wanted}. `{MIGRATE}` changes that")
                });
                return Err(self.options.open_error(problem));
            }
            None => return Err(self.options.open_error(format!("the alias of {wanted} was removed again"))),
        }
        self.make_receipts().await
    }

    async fn refuse_a_collection_in_the_place_of_the_alias(&self) -> Result<(), CaseStoreError> {
        let request = CollectionExistsRequest { collection_name: self.options.collection.clone() };
        let answer = self.calls.run("look for a collection", request, |wire, request| async move {
            calls::collections(wire).collection_exists(request).await
        });
        if answer.await?.result.is_some_and(|result| result.exists) {
            let name = &self.options.collection;
            let problem = format!("{name} is a collection and not an alias; name the store otherwise or remove it");
            return Err(self.options.open_error(problem));
        }
        Ok(())
    }

    /// Makes sure that there is a collection of the options' encoder and schema, with its indexes.
    pub(super) async fn make(&self, collection: &str) -> Result<(), CaseStoreError> {
        let found = match self.describe(collection).await? {
            Some(found) => Some(found),
            None => {
                let made = self.create(creation(collection, &self.options)).await;
                made.map_err(|fault| self.refused(&fault))?;
                self.describe(collection).await?
            }
        };
        let found = found.ok_or_else(|| self.options.open_error(format!("the collection {collection} vanished")))?;
        if let Some(problem) = found.problem(collection, &self.options) {
            return Err(self.options.open_error(problem));
        }
        for field in Field::ALL.into_iter().filter(|field| !found.indexed.contains(field.key())) {
            self.create_index(collection, field).await.map_err(|fault| self.refused(&fault))?;
        }
        Ok(())
    }

    async fn make_receipts(&self) -> Result<(), CaseStoreError> {
        let name = receipts_name(&self.options);
        if self.describe(&name).await?.is_some() {
            return Ok(());
        }
        let request = CreateCollection {
            collection_name: name,
            replication_factor: Some(self.options.replicas),
            write_consistency_factor: Some(self.options.write_consistency),
            timeout: Some(self.calls.seconds()),
            ..CreateCollection::default()
        };
        self.create(request).await.map_err(|fault| self.refused(&fault))
    }

    /// Makes a collection; one that another process made at the same moment is as good.
    async fn create(&self, request: CreateCollection) -> Result<(), CallFault> {
        let answer = self.calls.run("make a collection", request, |wire, request| async move {
            calls::collections(wire).create(request).await
        });
        match answer.await {
            Ok(answer) if answer.result => Ok(()),
            Ok(_) => Err(CallFault::answer("make a collection", "the server did not make it in time")),
            Err(fault) if fault.is_already_there() => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    async fn create_index(&self, collection: &str, field: Field) -> Result<(), CallFault> {
        let (kind, params) = mapping::index(field.index());
        let request = CreateFieldIndexCollection {
            collection_name: collection.to_owned(),
            wait: Some(true),
            field_name: field.key().to_owned(),
            field_type: Some(kind.into()),
            field_index_params: Some(params),
            timeout: Some(self.calls.seconds()),
            ..CreateFieldIndexCollection::default()
        };
        let answer = self.calls.run("make an index", request, |wire, request| async move {
            calls::points(wire).create_field_index(request).await
        });
        answer.await.map(|_| ())
    }

    /// Points the alias to a collection, in one step away from the one that it points to.
    pub(super) async fn serve(&self, collection: &str, instead_of: Option<&str>) -> Result<(), CaseStoreError> {
        let alias_name = self.options.collection.clone();
        let delete = Action::DeleteAlias(DeleteAlias { alias_name: alias_name.clone() });
        let create = Action::CreateAlias(CreateAlias { collection_name: collection.to_owned(), alias_name });
        let actions = instead_of.map(|_| delete).into_iter().chain([create]);
        let request = ChangeAliases {
            actions: actions.map(|action| AliasOperations { action: Some(action) }).collect(),
            timeout: Some(self.calls.seconds()),
        };
        let answer = self.calls.run("change the alias", request, |wire, request| async move {
            calls::collections(wire).update_aliases(request).await
        });
        match answer.await {
            Ok(answer) if answer.result => Ok(()),
            Ok(_) => Err(CallFault::answer("change the alias", "the server did not change it in time").into()),
            Err(fault) => Err(self.refused(&fault)),
        }
    }

    /// Deletes a collection; one that is not there is as good.
    pub(super) async fn drop_collection(&self, collection: &str) -> Result<(), CaseStoreError> {
        let timeout = Some(self.calls.seconds());
        let request = DeleteCollection { collection_name: collection.to_owned(), timeout };
        let answer = self.calls.run("delete a collection", request, |wire, request| async move {
            calls::collections(wire).delete(request).await
        });
        match answer.await {
            Ok(_) => Ok(()),
            Err(fault) if fault.is_not_found() => Ok(()),
            Err(fault) => Err(self.refused(&fault)),
        }
    }

    /// The snapshots that the server answering keeps of some collections, and of everything.
    pub(super) async fn snapshots(&self, collections: &[String]) -> Result<Vec<String>, CallFault> {
        let mut names = Vec::new();
        for collection in collections {
            let request = ListSnapshotsRequest { collection_name: collection.clone() };
            let answer = self.calls.run("list the snapshots", request, |wire, request| async move {
                calls::snapshots(wire).list(request).await
            });
            let snapshots = answer.await?.snapshot_descriptions;
            names.extend(snapshots.into_iter().map(|snapshot| format!("{collection}/{}", snapshot.name)));
        }
        let answer = self.calls.run("list the snapshots", ListFullSnapshotsRequest {}, |wire, request| async move {
            calls::snapshots(wire).list_full(request).await
        });
        names.extend(answer.await?.snapshot_descriptions.into_iter().map(|snapshot| snapshot.name));
        Ok(names)
    }
}

/// The collection of the options' encoder, as it is made.
// The older fields are what servers of before 1.18 know; newer ones take them as they are.
#[allow(deprecated)]
pub(super) fn creation(collection: &str, options: &QdrantOptions) -> CreateCollection {
    let dense = VectorParams {
        size: options.dimension as u64,
        distance: Distance::Cosine.into(),
        on_disk: Some(true),
        ..VectorParams::default()
    };
    let words = SparseVectorParams {
        index: Some(SparseIndexConfig { on_disk: Some(true), ..SparseIndexConfig::default() }),
        modifier: Some(Modifier::Idf.into()),
    };
    let scalar = ScalarQuantization {
        r#type: QuantizationType::Int8.into(),
        always_ram: Some(true),
        ..ScalarQuantization::default()
    };
    let quantization = QuantizationConfig { quantization: Some(Quantization::Scalar(scalar)) };
    let dense = VectorParamsMap { map: HashMap::from([(DENSE.to_owned(), dense)]) };
    let metadata = [
        (SCHEMA_KEY.to_owned(), mapping::value(SCHEMA.into())),
        (ENCODER_KEY.to_owned(), mapping::value(options.encoder_sha256.as_str().into())),
    ];
    CreateCollection {
        collection_name: collection.to_owned(),
        shard_number: Some(options.shards),
        replication_factor: Some(options.replicas),
        write_consistency_factor: Some(options.write_consistency),
        on_disk_payload: Some(true),
        vectors_config: Some(VectorsConfig { config: Some(Config::ParamsMap(dense)) }),
        sparse_vectors_config: Some(SparseVectorConfig { map: HashMap::from([(WORDS.to_owned(), words)]) }),
        quantization_config: options.quantised.then_some(quantization),
        metadata: metadata.into(),
        ..CreateCollection::default()
    }
}
