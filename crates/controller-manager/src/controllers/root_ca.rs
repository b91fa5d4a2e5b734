//! Publishes the CA of the API server's certificate to each namespace, for pods that talk to it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use gantry_client::{Key, Patch};
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::json;

use super::service_account::{is_active, namespace_of};
use crate::{context::Context, readers::ROOT_CA};

const FILE: &str = "ca.crt";

/// Starts the controller; resolves when it stopped. Without `--root-ca-file` it has nothing to do.
pub(super) async fn run(context: Context) {
    let Some(file) = context.options.root_ca_file.clone() else {
        tracing::warn!("--root-ca-file is not given, so no namespace gets the config map {ROOT_CA}");
        return context.stop.cancelled().await;
    };
    let workers = context.options.concurrent_serviceaccount_token_syncs;
    let runner = Runner::new("root-ca", workers, context.stop.clone())
        .watch_keys(&context.readers.namespaces)
        .watch(&context.readers.root_cas, namespace_of);
    runner.run(Arc::new(Controller { context, file })).await;
}

/// What `--root-ca-file` holds: read each time, so that a rotated bundle spreads without a restart.
///
/// # Errors
/// When the file cannot be read.
pub(super) async fn bundle(file: &Path) -> Result<String, Error> {
    let read = tokio::fs::read_to_string(file).await;
    read.map_err(|error| Error::Refused(format!("cannot read --root-ca-file {}: {error}", file.display())))
}

struct Controller {
    context: Context,
    file: PathBuf,
}

/// Whether the config map says what the file says.
fn is_right(map: &ConfigMap, bundle: &str) -> bool {
    map.data.as_ref().is_some_and(|data| data.len() == 1 && data.get(FILE).is_some_and(|b| b == bundle))
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let readers = &self.context.readers;
        if !readers.namespaces.get(key).is_some_and(|n| is_active(&n)) {
            return Ok(Outcome::Done);
        }
        let bundle = bundle(&self.file).await?;
        let api = self.context.client.namespaced::<ConfigMap>(&key.name);
        let result = match readers.root_cas.get(&Key::new(key.name.clone(), ROOT_CA)) {
            Some(map) if is_right(&map, &bundle) => return Ok(Outcome::Done),
            Some(map) => {
                let others = map.data.iter().flatten().filter(|(name, _)| *name != FILE);
                let mut data: BTreeMap<&str, Option<&str>> = others.map(|(name, _)| (name.as_str(), None)).collect();
                data.insert(FILE, Some(&bundle));
                api.patch(ROOT_CA, &Patch::Merge(json!({ "data": data })), None).await
            }
            None => {
                let what_for = "CA bundle with which pods verify the API server".to_owned();
                let map = ConfigMap {
                    metadata: ObjectMeta {
                        name: Some(ROOT_CA.to_owned()),
                        namespace: Some(key.name.clone()),
                        annotations: Some([("kubernetes.io/description".to_owned(), what_for)].into()),
                        ..ObjectMeta::default()
                    },
                    data: Some([(FILE.to_owned(), bundle)].into()),
                    ..ConfigMap::default()
                };
                api.create(&map).await
            }
        };
        match result {
            Ok(_) => Ok(Outcome::Done),
            Err(error) if error.is_already_exists() || error.is_namespace_terminating() => Ok(Outcome::Done),
            Err(error) => Err(error).doing(|| format!("write config map {}/{ROOT_CA}", key.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tampered_bundle_is_not_right() {
        let check = |pairs: &[(&str, &str)], expected| {
            let data = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(is_right(&ConfigMap { data: Some(data), ..ConfigMap::default() }, "pem"), expected);
        };
        check(&[("ca.crt", "pem")], true);
        check(&[("ca.crt", "other")], false);
        check(&[("ca.crt", "pem"), ("extra", "x")], false);
        check(&[], false);
    }
}
