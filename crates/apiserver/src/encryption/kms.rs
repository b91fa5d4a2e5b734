//! A provider whose key never leaves its holder: a KMS plugin on a socket of this host (version 2).
//!
//! The server makes a seed, has the plugin seal it, and seals values by keys that it derives from the seed, one for each. The
//! sealed seed stands beside the value, so the plugin is asked once for each seed that a value was sealed with, and for a new one
//! when its key changes. A seed that was not confirmed by the plugin for a while seals nothing any more.

mod seed;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use gantry_proto::kms::key_management_service_client::KeyManagementServiceClient;
use gantry_proto::kms::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, EncryptedDekSourceType, EncryptedObject,
    StatusRequest, StatusResponse,
};
use parking_lot::Mutex;
use prost::Message;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

pub(super) use self::seed::Dek;
use crate::metrics::hash;

/// What values of all such providers start with.
pub(super) const KMS: &str = "k8s:enc:kms:v2:";
/// How long a seed may seal without the plugin's word.
const CONFIRMED_FOR: Duration = Duration::from_secs(180);
const MAX_ID_BYTES: usize = 1024;
const MAX_SOURCE_BYTES: usize = 1024;
const MAX_ANNOTATIONS_BYTES: usize = 32 * 1024;
/// Opened seeds that are kept.
const DEKS: usize = 1024;

/// One plugin.
pub(crate) struct Kms {
    name: String,
    prefix: String,
    client: KeyManagementServiceClient<Channel>,
    timeout: Duration,
    state: ArcSwapOption<State>,
    health: Mutex<Result<(), String>>,
    deks: Mutex<Deks>,
    /// Values came that the plugin should have opened, and it gave no answer.
    missed: AtomicBool,
    /// Until when a plugin that did not answer in time opens nothing: a list must not wait for it once for each value.
    silent_until: Mutex<Option<Instant>>,
}

/// What values are sealed with now.
struct State {
    dek: Arc<Dek>,
    sealed: EncryptedObject,
    until: Mutex<Instant>,
}

/// Opened seeds by their sealed form; the first to come is the first to go.
#[derive(Default)]
struct Deks {
    by_source: BTreeMap<Vec<u8>, Arc<Dek>>,
    order: VecDeque<Vec<u8>>,
}

impl Deks {
    fn insert(&mut self, source: Vec<u8>, dek: Arc<Dek>) {
        if self.by_source.insert(source.clone(), dek).is_none() {
            self.order.push_back(source);
        }
        while self.order.len() > DEKS {
            if let Some(oldest) = self.order.pop_front() {
                self.by_source.remove(&oldest);
            }
        }
    }
}

/// The sealed seed alone.
fn source(object: &EncryptedObject) -> Vec<u8> {
    EncryptedObject { encrypted_data: Bytes::new(), ..object.clone() }.encode_to_vec()
}

fn check_id(id: &str) -> Result<(), String> {
    match id.len() {
        0 => Err("keyID is empty".to_owned()),
        bytes if bytes > MAX_ID_BYTES => {
            Err(format!("keyID is {bytes} bytes, which exceeds the max size of {MAX_ID_BYTES}"))
        }
        _ => Ok(()),
    }
}

fn check_object(object: &EncryptedObject) -> Result<(), String> {
    if EncryptedDekSourceType::try_from(object.encrypted_dek_source_type).is_err() {
        return Err(format!("unknown encryptedDEKSourceType: {}", object.encrypted_dek_source_type));
    }
    let source = match object.encrypted_dek_source.len() {
        0 => Some("encrypted DEK source is empty".to_owned()),
        bytes => (bytes > MAX_SOURCE_BYTES).then(|| {
            format!("encrypted DEK source is {bytes} bytes, which exceeds the max size of {MAX_SOURCE_BYTES}")
        }),
    };
    if let Some(why) = source {
        return Err(format!("failed to validate encrypted DEK source: {why}"));
    }
    check_id(&object.key_id).map_err(|why| format!("failed to validate key id: {why}"))?;
    check_annotations(&object.annotations).map_err(|why| format!("failed to validate annotations: {why}"))
}

fn check_annotations(annotations: &BTreeMap<String, Bytes>) -> Result<(), String> {
    for name in annotations.keys() {
        let path = gantry_api::field::Path::new("annotations");
        if !name.contains('.') {
            let why = "should be a domain with at least two segments separated by dots";
            return Err(gantry_api::field::Error::invalid(&path, name.as_str(), why).to_string());
        }
        if let Some(why) = gantry_api::names::dns_subdomain(name).first() {
            return Err(gantry_api::field::Error::invalid(&path, name.as_str(), why).to_string());
        }
    }
    let total: usize = annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
    if total > MAX_ANNOTATIONS_BYTES {
        return Err(format!(
            "total size of annotations is {total}, which exceeds the max size of {MAX_ANNOTATIONS_BYTES}"
        ));
    }
    Ok(())
}

fn decode(stored: &[u8]) -> Result<EncryptedObject, String> {
    let object = EncryptedObject::decode(stored).map_err(|error| error.to_string())?;
    if object.encrypted_data.is_empty() {
        return Err("encrypted data is empty".to_owned());
    }
    check_object(&object)?;
    Ok(object)
}

impl Kms {
    /// A plugin at `endpoint` (`unix:///run/kms.sock`). Connects when it is asked something.
    ///
    /// # Errors
    /// When the endpoint names no socket. Needs a runtime.
    pub(super) fn new(name: &str, endpoint: &str, timeout: Duration) -> Result<Self, String> {
        let channel = Endpoint::from_shared(endpoint.to_owned()).map_err(|error| error.to_string())?.connect_lazy();
        Ok(Self {
            name: name.to_owned(),
            prefix: format!("{KMS}{name}:"),
            client: KeyManagementServiceClient::new(channel),
            timeout,
            state: ArcSwapOption::empty(),
            health: Mutex::new(Err("not asked yet".to_owned())),
            deks: Mutex::default(),
            missed: AtomicBool::new(false),
            silent_until: Mutex::default(),
        })
    }

    /// The name in values and in the configuration.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Why the plugin cannot be used, if it cannot.
    pub(super) fn health(&self) -> Result<(), String> {
        self.health.lock().clone()
    }

    /// Has the plugin open the seed of a stored value, unless that was done before.
    ///
    /// # Errors
    /// In upstream's words.
    pub(super) async fn prepare(&self, stored: &[u8]) -> Result<(), String> {
        let Some(stored) = stored.strip_prefix(self.prefix.as_bytes()) else { return Ok(()) };
        let object = decode(stored)?;
        let source = source(&object);
        if self.deks.lock().by_source.contains_key(&source) {
            return Ok(());
        }
        let seeded = object.encrypted_dek_source_type() == EncryptedDekSourceType::HkdfSha256XnonceAesGcmSeed;
        let request = DecryptRequest {
            ciphertext: object.encrypted_dek_source,
            uid: uuid::Uuid::new_v4().to_string(),
            key_id: object.key_id,
            annotations: object.annotations,
        };
        let answer = self.decrypt(request).await;
        let answer = answer.map_err(|why| format!("failed to decrypt DEK, error: {}", words(&why)))?;
        let dek = Dek::new(&answer.plaintext, seeded)?;
        self.deks.lock().insert(source, Arc::new(dek));
        Ok(())
    }

    async fn decrypt(&self, request: DecryptRequest) -> Result<DecryptResponse, Status> {
        let is_silent = self.silent_until.lock().is_some_and(|until| Instant::now() < until);
        let mut client = self.client.clone();
        let answer = if is_silent { Err(late()) } else { self.within(client.decrypt(request)).await };
        match answer.as_ref().map_err(Status::code) {
            Err(Code::DeadlineExceeded) => {
                self.missed.store(true, Ordering::Relaxed);
                if !is_silent {
                    *self.silent_until.lock() = Some(Instant::now() + self.timeout);
                }
            }
            Err(Code::Unavailable | Code::ResourceExhausted | Code::Aborted) => {
                self.missed.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        answer
    }

    /// Whether values came since the last time that the plugin gave no answer for; they may be readable now.
    pub(super) fn missed(&self) -> bool {
        self.missed.swap(false, Ordering::Relaxed)
    }

    /// The plain text of a value whose seed was prepared; and whether another seed's key would seal it now. `None`: the value is
    /// of another provider.
    pub(super) fn open(&self, stored: &[u8], place: &[u8]) -> Option<Result<(Vec<u8>, bool), String>> {
        let stored = stored.strip_prefix(self.prefix.as_bytes())?;
        Some(decode(stored).and_then(|object| {
            let dek = self.deks.lock().by_source.get(&source(&object)).cloned();
            let dek = dek.ok_or_else(|| "failed to decrypt DEK, error: it was not asked for".to_owned())?;
            let plain = dek.open(&object.encrypted_data, place).map_err(|error| error.to_string())?;
            let state = self.state.load();
            let stale = state.as_ref().is_some_and(|now| {
                now.sealed.key_id != object.key_id
                    || now.sealed.encrypted_dek_source_type != object.encrypted_dek_source_type
            });
            Ok((plain, stale))
        }))
    }

    /// The stored form of a value.
    ///
    /// # Errors
    /// When the plugin has not given its word for a seed lately, or there are no random bytes.
    pub(super) fn seal(&self, plain: &[u8], place: &[u8]) -> Result<Vec<u8>, String> {
        let state = self.state.load_full().ok_or_else(|| "got unexpected nil transformer".to_owned())?;
        if Instant::now() > *state.until.lock() {
            return Err(format!("encryptedDEKSource with keyID hash {:?} expired", hash(&state.sealed.key_id)));
        }
        let mut sealed = Vec::with_capacity(plain.len() + 64);
        state.dek.seal(plain, place, &mut sealed).map_err(|error| error.to_string())?;
        let object = EncryptedObject { encrypted_data: sealed.into(), ..state.sealed.clone() };
        let mut out = Vec::with_capacity(self.prefix.len() + object.encoded_len());
        out.extend_from_slice(self.prefix.as_bytes());
        object.encode_raw(&mut out);
        Ok(out)
    }

    /// Asks the plugin how it is, and makes a new seed when its key has changed.
    ///
    /// # Errors
    /// In upstream's words; they are kept for [`Kms::health`] too.
    pub(super) async fn check(&self) -> Result<(), String> {
        let result = self.asked().await;
        *self.health.lock() = result.clone();
        result
    }

    async fn asked(&self) -> Result<(), String> {
        let name = &self.name;
        let mut client = self.client.clone();
        let status = self.within(client.status(StatusRequest {})).await.map_err(|why| {
            let why = words(&why);
            format!("failed to perform status section of the healthz check for KMS Provider {name}, error: {why}")
        })?;
        healthy(&status).map_err(|why| format!("kmsv2 Provider {name} is not healthy, error: {why}"))?;
        let until = Instant::now() + CONFIRMED_FOR;
        if let Some(state) = self.state.load().as_ref().filter(|state| state.sealed.key_id == status.key_id) {
            *state.until.lock() = until;
            return Ok(());
        }
        let (dek, sealed) = self
            .generate()
            .await
            .map_err(|why| format!("failed to rotate DEK, errGen={why}, statusKeyIDHash={:?}", hash(&status.key_id)))?;
        self.deks.lock().insert(source(&sealed), dek.clone());
        tracing::info!(provider = name, key = hash(&sealed.key_id), "values are sealed under another key from now on");
        self.state.store(Some(Arc::new(State { dek, sealed, until: Mutex::new(until) })));
        Ok(())
    }

    /// A new seed and its sealed form.
    async fn generate(&self) -> Result<(Arc<Dek>, EncryptedObject), String> {
        let (seed, dek) = Dek::generate().map_err(|error| error.to_string())?;
        let request =
            EncryptRequest { plaintext: Bytes::copy_from_slice(&seed), uid: uuid::Uuid::new_v4().to_string() };
        let mut client = self.client.clone();
        let answer = self.within(client.encrypt(request)).await;
        let EncryptResponse { ciphertext, key_id, annotations } =
            answer.map_err(|why| format!("failed to encrypt DEK, error: {}", words(&why)))?;
        let sealed = EncryptedObject {
            encrypted_data: Bytes::new(),
            key_id,
            encrypted_dek_source: ciphertext,
            annotations,
            encrypted_dek_source_type: EncryptedDekSourceType::HkdfSha256XnonceAesGcmSeed.into(),
        };
        check_object(&sealed)?;
        Ok((Arc::new(dek), sealed))
    }

    async fn within<T>(&self, call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Status> {
        let answer = tokio::time::timeout(self.timeout, call).await;
        answer.unwrap_or_else(|_| Err(late())).map(tonic::Response::into_inner)
    }
}

fn late() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

fn words(status: &Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

fn healthy(status: &StatusResponse) -> Result<(), String> {
    if status.healthz != "ok" {
        return Err(format!("got unexpected healthz status: {}", status.healthz));
    }
    if !matches!(status.version.as_str(), "v2" | "v2beta1") {
        return Err(format!("expected KMSv2 API version v2, got {}", status.version));
    }
    check_id(&status.key_id).map_err(|why| format!("got invalid KMSv2 KeyID hash {:?}: {why}", hash(&status.key_id)))
}
