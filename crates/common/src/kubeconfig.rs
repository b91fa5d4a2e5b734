//! kubeconfig files (client-go clientcmd v1), as far as Gantry's own clients use them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::tls::Identity;

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a kubeconfig.
    #[error("{path} is not a kubeconfig")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why, with line and column.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A name in the file points nowhere.
    #[error("{path} names the {what} {name:?}, but has no such entry")]
    Missing {
        /// The file.
        path: PathBuf,
        /// context, cluster or user.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A `-data` field is not base64.
    #[error("{field} in {path} is not base64")]
    Base64 {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Why.
        #[source]
        source: base64::DecodeError,
    },
    /// The cluster has no CA.
    #[error(
        "the cluster {cluster:?} in {path} has no certificate-authority: Gantry does not talk to servers it cannot verify"
    )]
    NoCa {
        /// The file.
        path: PathBuf,
        /// The cluster.
        cluster: String,
    },
}

/// The file's form.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct File {
    /// `v1`.
    #[serde(rename = "apiVersion", default)]
    pub api_version: String,
    /// `Config`.
    #[serde(default)]
    pub kind: String,
    /// Clusters.
    #[serde(default)]
    pub clusters: Vec<NamedCluster>,
    /// Users.
    #[serde(default)]
    pub users: Vec<NamedUser>,
    /// Contexts.
    #[serde(default)]
    pub contexts: Vec<NamedContext>,
    /// The context in use.
    #[serde(default)]
    pub current_context: String,
}

/// A cluster and its name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NamedCluster {
    /// Name.
    pub name: String,
    /// Cluster.
    pub cluster: Cluster,
}

/// Where the API server is. Several addresses may stand in `server`, separated by commas (a Gantry extension).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cluster {
    /// `https://host:port`.
    pub server: String,
    /// The CA as base64 of PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_data: Option<String>,
    /// The CA as a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<PathBuf>,
    /// The name to verify the server's certificate against, where it is not the host in `server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
}

/// A user and its name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NamedUser {
    /// Name.
    pub name: String,
    /// User.
    #[serde(default)]
    pub user: User,
}

/// Credentials.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct User {
    /// Client certificate as base64 of PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_data: Option<String>,
    /// Client key as base64 of PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key_data: Option<String>,
    /// Client certificate as a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<PathBuf>,
    /// Client key as a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
    /// Bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Bearer token as a file.
    #[serde(rename = "tokenFile", default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Name for HTTP's basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password for HTTP's basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// A context and its name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NamedContext {
    /// Name.
    pub name: String,
    /// Context.
    pub context: ContextRef,
}

/// What a context joins.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ContextRef {
    /// Cluster name.
    pub cluster: String,
    /// User name.
    pub user: String,
    /// Default namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A context with everything read in.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// `https://host:port`, one or more.
    pub servers: Vec<String>,
    /// The CA that the servers' certificates must chain to.
    pub ca_pem: Vec<u8>,
    /// The name in the server's certificate, where it is not the host.
    pub tls_server_name: Option<String>,
    /// Client certificate.
    pub identity: Option<Identity>,
    /// Bearer token.
    pub token: Option<String>,
    /// Namespace for namespaced commands.
    pub namespace: String,
}

impl Cluster {
    /// The CA as PEM, where there is one; relative file names are relative to the folder of the kubeconfig at `path`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ca_pem(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        let data = self.certificate_authority_data.as_deref();
        load(path, "certificate-authority-data", data, self.certificate_authority.as_deref())
    }
}

impl User {
    /// Client certificate and key, where there are both; relative file names as for [`Cluster::ca_pem`].
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn identity(&self, path: &Path) -> Result<Option<Identity>, Error> {
        let certificate = self.client_certificate_data.as_deref();
        let cert = load(path, "client-certificate-data", certificate, self.client_certificate.as_deref())?;
        let key = load(path, "client-key-data", self.client_key_data.as_deref(), self.client_key.as_deref())?;
        Ok(cert.zip(key).map(|(cert_pem, key_pem)| Identity { cert_pem, key_pem }))
    }
}

impl File {
    /// A file with one cluster, one user and one context, all named `name`.
    #[must_use]
    pub fn single(name: &str, server: &str, ca_pem: &[u8], identity: &Identity) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: "Config".to_owned(),
            clusters: vec![NamedCluster {
                name: name.to_owned(),
                cluster: Cluster {
                    server: server.to_owned(),
                    certificate_authority_data: Some(STANDARD.encode(ca_pem)),
                    ..Cluster::default()
                },
            }],
            users: vec![NamedUser {
                name: name.to_owned(),
                user: User {
                    client_certificate_data: Some(STANDARD.encode(&identity.cert_pem)),
                    client_key_data: Some(STANDARD.encode(&identity.key_pem)),
                    ..User::default()
                },
            }],
            contexts: vec![NamedContext {
                name: name.to_owned(),
                context: ContextRef { cluster: name.to_owned(), user: name.to_owned(), namespace: None },
            }],
            current_context: name.to_owned(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is no kubeconfig.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        serde_saphyr::from_str(&text).map_err(|source| Error::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// Resolves `context` (or the current one); relative file names are relative to `path`'s folder.
    ///
    /// # Errors
    /// When a name or file is missing.
    pub fn resolve(&self, path: &Path, context: Option<&str>) -> Result<Resolved, Error> {
        let missing = |what, name: &str| Error::Missing { path: path.to_owned(), what, name: name.to_owned() };
        let wanted = context.unwrap_or(&self.current_context);
        let context =
            &self.contexts.iter().find(|c| c.name == wanted).ok_or_else(|| missing("context", wanted))?.context;
        let cluster = &self
            .clusters
            .iter()
            .find(|c| c.name == context.cluster)
            .ok_or_else(|| missing("cluster", &context.cluster))?
            .cluster;
        let user =
            &self.users.iter().find(|u| u.name == context.user).ok_or_else(|| missing("user", &context.user))?.user;
        let ca_pem = cluster
            .ca_pem(path)?
            .ok_or_else(|| Error::NoCa { path: path.to_owned(), cluster: context.cluster.clone() })?;
        let token = match (&user.token, &user.token_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(file)) => Some(String::from_utf8_lossy(&read_beside(path, file)?).trim().to_owned()),
            (None, None) => None,
        };
        Ok(Resolved {
            servers: cluster.server.split(',').map(|s| s.trim().trim_end_matches('/').to_owned()).collect(),
            ca_pem,
            tls_server_name: cluster.tls_server_name.clone(),
            identity: user.identity(path)?,
            token,
            namespace: context.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        })
    }

    /// As YAML text.
    ///
    /// # Errors
    /// Never for the values that this module makes.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        serde_saphyr::to_string(self)
    }
}

fn read_beside(config: &Path, file: &Path) -> Result<Vec<u8>, Error> {
    let full = config.parent().unwrap_or_else(|| Path::new("")).join(file);
    fs::read(&full).map_err(|source| Error::Read { path: full, source })
}

fn load(path: &Path, field: &'static str, data: Option<&str>, file: Option<&Path>) -> Result<Option<Vec<u8>>, Error> {
    match (data, file) {
        (Some(data), _) => STANDARD.decode(data.trim()).map(Some).map_err(|source| Error::Base64 {
            path: path.to_owned(),
            field,
            source,
        }),
        (None, Some(file)) => read_beside(path, file).map(Some),
        (None, None) => Ok(None),
    }
}

/// Reads and resolves a kubeconfig.
///
/// # Errors
/// As [`File::read`] and [`File::resolve`].
pub fn load_file(path: &Path, context: Option<&str>) -> Result<Resolved, Error> {
    File::read(path)?.resolve(path, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> File {
        let id = Identity { cert_pem: b"cert".to_vec(), key_pem: b"key".to_vec() };
        File::single("gantry", "https://127.0.0.1:6443,https://10.0.0.1:6443/", b"ca", &id)
    }

    #[test]
    fn what_is_written_resolves_to_the_same() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("config");
        std::fs::write(&path, sample().to_yaml().expect("it serialises")).expect("it writes");
        let r = load_file(&path, None).expect("it resolves");
        assert_eq!(r.servers, ["https://127.0.0.1:6443", "https://10.0.0.1:6443"]);
        assert_eq!(r.ca_pem, b"ca");
        assert_eq!(r.identity.expect("an identity").key_pem, b"key");
        assert_eq!(r.namespace, "default");
    }

    #[test]
    fn a_name_that_points_nowhere_is_named() {
        let mut file = sample();
        "other".clone_into(&mut file.current_context);
        let error = file.resolve(Path::new("/x/config"), None).expect_err("no such context");
        assert_eq!(error.to_string(), "/x/config names the context \"other\", but has no such entry");
    }
}
