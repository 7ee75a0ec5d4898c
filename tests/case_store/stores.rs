//! The stores under test.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use otklik::cases::CaseStore;
use otklik::cases::edge::{EdgeOptions, EdgeStore};
use otklik::cases::qdrant::{QdrantOptions, QdrantStore};
use tempfile::TempDir;
use uuid::Uuid;

use crate::sample::DIMENSION;

/// A store of its own, empty at first, that can be closed and opened again.
#[async_trait]
pub trait Place: Send + Sync {
    /// What it is, for messages.
    fn name(&self) -> &'static str;

    /// Opens it; what was stored before is there.
    async fn open(&self) -> Arc<dyn CaseStore>;
}

struct Embedded {
    parent: TempDir,
}

impl Embedded {
    fn folder(&self) -> PathBuf {
        self.parent.path().join("cases")
    }
}

#[async_trait]
impl Place for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn open(&self) -> Arc<dyn CaseStore> {
        Arc::new(EdgeStore::open(&self.folder(), EdgeOptions::new(DIMENSION, "ab".repeat(32))).unwrap())
    }
}

/// A collection of its own on a server; it stays there.
struct OnServer {
    url: String,
    collection: String,
}

#[async_trait]
impl Place for OnServer {
    fn name(&self) -> &'static str {
        "on a server"
    }

    async fn open(&self) -> Arc<dyn CaseStore> {
        let collection = self.collection.clone();
        let options = QdrantOptions { collection, ..QdrantOptions::new(&self.url, DIMENSION, "ab".repeat(32)) };
        Arc::new(QdrantStore::open(options).await.unwrap())
    }
}

/// A new place of each kind that there is.
pub fn places() -> Vec<Box<dyn Place>> {
    let mut places: Vec<Box<dyn Place>> = vec![Box::new(Embedded { parent: tempfile::tempdir().unwrap() })];
    if let Ok(url) = std::env::var("OTKLIK_TEST_QDRANT_URL") {
        places.push(Box::new(OnServer { url, collection: format!("otklik_test_{}", Uuid::now_v7().simple()) }));
    }
    places
}
