//! The served form of a stored value. Ours are served as they are; a foreign writer's protobuf is decoded once.

use bytes::Bytes;
use gantry_api::{canon, decode, defaults, kinds};
use gantry_store::cache::Normalise;
use gantry_store::encoded::Encoded;

/// What the cache does with a value that it reads.
pub(crate) struct Stored;

type Error = Box<dyn std::error::Error + Send + Sync>;

impl Normalise for Stored {
    fn normalise(&self, key: &str, value: &Bytes, mod_revision: u64) -> Result<Encoded, Error> {
        if !value.starts_with(&decode::PROTOBUF_MAGIC) {
            return Ok(Encoded::from_json(value, mod_revision)?);
        }
        let mut object = decode::protobuf(value)?;
        if let Some(kind) = kinds::by_storage_key(key) {
            defaults::apply(kind, &mut object);
        }
        Ok(Encoded::from_json(&canon::encode(&object), mod_revision)?)
    }
}
