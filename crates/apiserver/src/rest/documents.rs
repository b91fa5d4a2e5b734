//! The OpenAPI documents that were made, packed: a tenth of their size, and most clients take them as they are.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use gantry_api::kinds::{KindInfo, Kinds};
use gantry_api::openapi::{self, Form, Generator};
use gantry_api::status::Status;
use parking_lot::Mutex;

/// Bytes that are unpacked at once for a client that takes no gzip.
const PIECE_BYTES: usize = 64 * 1024;

/// Which document: version 2, or one of version 3 by its path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    V2,
    V3(String),
}

/// One packed document.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) packed: Bytes,
    pub(crate) hash: String,
}

impl Document {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::default());
        let packed = encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a Vec takes all bytes");
        Self { packed: Bytes::from(packed), hash: openapi::hash(bytes) }
    }

    /// The document in pieces.
    pub(crate) fn unpacked(&self) -> impl Iterator<Item = Bytes> + Send + use<> {
        let mut decoder = GzDecoder::new(std::io::Cursor::new(self.packed.clone()));
        std::iter::from_fn(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let count = decoder.read(&mut piece).expect("what was packed here can be unpacked");
            piece.truncate(count);
            (count > 0).then(|| Bytes::from(piece))
        })
    }
}

/// Documents by what they are. What can be asked for is finite, so this is bounded: the served group versions, twice.
#[derive(Debug)]
pub(crate) struct Documents {
    kinds: Arc<Kinds>,
    made: Mutex<HashMap<(Which, Form), Arc<Document>>>,
    /// Held while documents are made, so that requests that arrive together make them once.
    making: tokio::sync::Mutex<()>,
}

impl Documents {
    /// No documents yet, but those of another set that are the same in this one.
    pub(crate) fn new(kinds: Arc<Kinds>, before: Option<&Self>) -> Self {
        let mut made = HashMap::new();
        if let Some(before) = before {
            let same = |which: &Which| matches!(which, Which::V3(path) if before.lists(path) == kinds_of(&kinds, path));
            made.extend(
                before.made.lock().iter().filter(|((which, _), _)| same(which)).map(|(k, v)| (k.clone(), v.clone())),
            );
        }
        Self { kinds, made: Mutex::new(made), making: tokio::sync::Mutex::new(()) }
    }

    fn lists(&self, path: &str) -> Vec<*const KindInfo> {
        kinds_of(&self.kinds, path)
    }

    /// A document; `None` where there is none of that path.
    ///
    /// # Errors
    /// 500 when making it failed.
    pub(crate) async fn get(&self, which: Which, form: Form) -> Result<Option<Arc<Document>>, Status> {
        let exists = match &which {
            Which::V2 => true,
            Which::V3(path) => openapi::v3_paths(&self.kinds).contains(path),
        };
        if !exists {
            return Ok(None);
        }
        Ok(self.all(vec![(which, form)]).await?.pop().flatten())
    }

    /// The hashes of version 3 by path: those of the JSON form, which stand in links.
    ///
    /// # Errors
    /// 500 when making the documents failed.
    pub(crate) async fn hashes(&self) -> Result<BTreeMap<String, String>, Status> {
        let paths = openapi::v3_paths(&self.kinds);
        let all = self.all(paths.iter().map(|path| (Which::V3(path.clone()), Form::Json)).collect()).await?;
        let hashes = all.into_iter().map(|document| document.map(|d| d.hash.clone()).unwrap_or_default());
        Ok(paths.into_iter().zip(hashes).collect())
    }

    async fn all(&self, keys: Vec<(Which, Form)>) -> Result<Vec<Option<Arc<Document>>>, Status> {
        let is_missing = |made: &HashMap<_, _>| keys.iter().any(|key| !made.contains_key(key));
        if is_missing(&self.made.lock()) {
            let _turn = self.making.lock().await;
            let missing: Vec<_> = {
                let made = self.made.lock();
                keys.iter().filter(|key| !made.contains_key(*key)).cloned().collect()
            };
            // Tens of milliseconds of work: not on a thread that other requests wait for.
            let kinds = self.kinds.clone();
            let fresh = tokio::task::spawn_blocking(move || make(kinds, missing)).await;
            let fresh = fresh.map_err(|error| Status::internal(format!("making OpenAPI documents failed: {error}")))?;
            self.made.lock().extend(fresh);
        }
        let made = self.made.lock();
        Ok(keys.iter().map(|key| made.get(key).cloned()).collect())
    }
}

/// The kinds that the document of a path is about. Kinds that are the same are the same reference.
fn kinds_of(kinds: &Kinds, path: &str) -> Vec<*const KindInfo> {
    let (group, version) = match path.split_once('/') {
        Some(("apis", rest)) => rest.split_once('/').unwrap_or((rest, "")),
        Some((_, version)) => ("", version),
        None => ("", ""),
    };
    kinds.of(group, version).map(std::ptr::from_ref).collect()
}

fn make(kinds: Arc<Kinds>, keys: Vec<(Which, Form)>) -> Vec<((Which, Form), Arc<Document>)> {
    if keys.is_empty() {
        return Vec::new();
    }
    let generator = Generator::new(kinds);
    let one = |key: (Which, Form)| {
        let bytes = match &key.0 {
            Which::V2 => Some(generator.v2(key.1)),
            Which::V3(path) => generator.v3(path, key.1),
        };
        Some((key, Arc::new(Document::new(&bytes?))))
    };
    keys.into_iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn documents_are_made_once_and_come_back_whole() {
        let documents = Documents::new(Arc::default(), None);
        let wanted = || documents.get(Which::V3("apis/apps/v1".to_owned()), Form::Json);
        let (first, second) = tokio::join!(wanted(), wanted());
        let (first, second) = (first.expect("made").expect("served"), second.expect("made").expect("served"));
        assert!(Arc::ptr_eq(&first, &second));
        let whole: Vec<u8> = first.unpacked().flatten().collect();
        assert_eq!(Some(&whole), Generator::new(Arc::default()).v3("apis/apps/v1", Form::Json).as_ref());
        assert_eq!(first.hash, openapi::hash(&whole));
        assert!(first.packed.len() * 5 < whole.len(), "{} of {}", first.packed.len(), whole.len());
    }

    #[tokio::test]
    async fn what_does_not_exist_is_not_kept() {
        let documents = Documents::new(Arc::default(), None);
        let none = documents.get(Which::V3("apis/nope/v1".to_owned()), Form::Protobuf).await;
        assert!(none.expect("no failure").is_none());
        assert!(documents.made.lock().is_empty());
        let hashes = documents.hashes().await.expect("made");
        assert!(hashes.values().all(|hash| hash.len() == 64), "{hashes:?}");
        assert_eq!(documents.made.lock().len(), hashes.len());
    }
}
