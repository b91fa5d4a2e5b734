//! Who the API server is to webhooks: the users of a kubeconfig that the operator names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_api::{Value, decode, value};
use gantry_common::kubeconfig::{self, File};
use gantry_common::tls::{self, Identity};
use http::HeaderValue;

/// What this server knows of a user, a cluster; whoever relies on more must hear of it.
const USER_FIELDS: &[&str] = &[
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "password",
    "token",
    "tokenFile",
    "username",
];
const CLUSTER_FIELDS: &[&str] = &[
    "certificate-authority",
    "certificate-authority-data",
    "disable-compression",
    "extensions",
    "server",
    "tls-server-name",
];

/// Users by the name that a webhook's host is looked up under.
#[derive(Debug, Default)]
pub(crate) struct Users {
    by_name: BTreeMap<String, Arc<Credential>>,
    /// The current context's.
    current: Option<Arc<Credential>>,
}

/// What is shown to a webhook: a certificate, a header, both or neither.
#[derive(Default)]
pub(crate) struct Credential {
    /// What tells it from others: connections are not shared among them.
    pub(super) key: String,
    pub(super) identity: Option<Identity>,
    authorization: Option<HeaderValue>,
    /// Where the bearer token is read again for each request; tokens in files are short-lived.
    token_file: Option<PathBuf>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({})", self.key)
    }
}

impl Credential {
    fn of(path: &Path, name: &str, user: &kubeconfig::User) -> Result<Self, String> {
        let identity = user.identity(path).map_err(|error| gantry_common::error_chain(&error))?;
        if let Some(identity) = &identity {
            let what = format!("the client certificate of {name:?}");
            tls::certified_key(identity, &what).map_err(|error| gantry_common::error_chain(&error))?;
        }
        let key = format!("{} {name}", path.display());
        let mut credential = Self { key, identity, ..Self::default() };
        if let Some(token) = user.token.as_deref().filter(|token| !token.is_empty()) {
            credential.authorization = Some(bearer(token)?);
        } else if let Some(file) = &user.token_file {
            let file = beside(path, file);
            let token =
                std::fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            credential.authorization = Some(bearer(&token)?);
            credential.token_file = Some(file);
        } else if user.username.is_some() || user.password.is_some() {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let pair = format!("{}:{}", text(&user.username), text(&user.password));
            credential.authorization = Some(secret(&format!("Basic {}", STANDARD.encode(pair)))?);
        }
        Ok(credential)
    }

    /// The Authorization header, as of now.
    pub(super) async fn authorization(&self) -> Option<HeaderValue> {
        if let Some(file) = &self.token_file
            && let Ok(token) = tokio::fs::read_to_string(file).await
            && let Ok(header) = bearer(&token)
        {
            return Some(header);
        }
        self.authorization.clone()
    }
}

fn bearer(token: &str) -> Result<HeaderValue, String> {
    secret(&format!("Bearer {}", token.trim()))
}

fn secret(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text).map_err(|_| "a credential holds what no HTTP header may".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A file that a kubeconfig names.
fn beside(config: &Path, file: &Path) -> PathBuf {
    config.parent().unwrap_or_else(|| Path::new("")).join(file)
}

/// A kubeconfig that holds nothing which this server would not heed.
pub(super) fn read(path: &Path) -> Result<File, String> {
    let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let (value, _) = decode::yaml(&text).map_err(|status| format!("{}: {}", path.display(), status.message))?;
    check(&value, "users", "user", USER_FIELDS)?;
    check(&value, "clusters", "cluster", CLUSTER_FIELDS)?;
    serde_json::from_value(value).map_err(|error| format!("{} is not a kubeconfig: {error}", path.display()))
}

fn check(config: &Value, list: &str, item: &str, known: &[&str]) -> Result<(), String> {
    for entry in value::list_at(config, list) {
        let name = value::str_at(entry, "name").unwrap_or_default();
        let fields = value::map_at(entry, item).into_iter().flatten();
        if let Some((field, _)) = fields.into_iter().find(|(field, _)| !known.contains(&field.as_str())) {
            return Err(format!("{item} {name:?}: this server does not know {field} for webhooks"));
        }
    }
    Ok(())
}

impl Users {
    /// Reads the users of a kubeconfig.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let file = read(path)?;
        let mut by_name = BTreeMap::new();
        for user in &file.users {
            by_name.insert(user.name.clone(), Arc::new(Credential::of(path, &user.name, &user.user)?));
        }
        let context = file.contexts.iter().find(|context| context.name == file.current_context);
        let current = context.and_then(|context| by_name.get(&context.context.user)).cloned();
        Ok(Self { by_name, current })
    }

    /// The user of one kubeconfig entry.
    pub(super) fn named(path: &Path, file: &File, name: &str) -> Result<Option<Arc<Credential>>, String> {
        let user = file.users.iter().find(|user| user.name == name);
        user.map(|user| Credential::of(path, name, &user.user).map(Arc::new)).transpose()
    }

    /// Whom to be to the webhook at `host:port`: the user of that name, of `*.` and an end of it (the longest first), then
    /// for port 443 the same without the port, then `*`, then the current context's.
    pub(super) fn of(&self, host: &str, port: u16) -> Option<Arc<Credential>> {
        let with_port = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let bare = (port == 443).then_some(host);
        let found = std::iter::once(with_port.as_str()).chain(bare).find_map(|target| self.matching(target));
        found.or_else(|| self.by_name.get("*")).or(self.current.as_ref()).cloned()
    }

    fn matching(&self, target: &str) -> Option<&Arc<Credential>> {
        let ends = target.match_indices('.').map(|(at, _)| format!("*{}", &target[at..]));
        std::iter::once(target.to_owned()).chain(ends).find_map(|name| self.by_name.get(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(names: &[&str], current: Option<&str>) -> Users {
        let credential = |name: &str| Arc::new(Credential { key: name.to_owned(), ..Credential::default() });
        Users {
            by_name: names.iter().map(|name| ((*name).to_owned(), credential(name))).collect(),
            current: current.map(credential),
        }
    }

    #[test]
    fn the_host_decides_who_is_shown() {
        let check = |names: &[&str], host: &str, port: u16, expected: Option<&str>| {
            let found = users(names, None).of(host, port);
            assert_eq!(found.as_ref().map(|c| c.key.as_str()), expected, "{names:?} for {host}:{port}");
        };
        check(&["w.a.svc:443", "w.a.svc", "*"], "w.a.svc", 443, Some("w.a.svc:443"));
        check(&["w.a.svc", "*.svc:443", "*"], "w.a.svc", 443, Some("*.svc:443"));
        check(&["w.a.svc", "*.svc"], "w.a.svc", 443, Some("w.a.svc"));
        check(&["w.a.svc", "*.svc"], "w.a.svc", 8443, None);
        check(&["*.svc", "*.a.svc"], "w.a.svc", 443, Some("*.a.svc"));
        check(&["*.a.svc:8443"], "w.a.svc", 8443, Some("*.a.svc:8443"));
        check(&["*.w.a.svc", "*w.a.svc"], "w.a.svc", 443, None);
        check(&["*"], "2001:db8::1", 9443, Some("*"));
        check(&["[2001:db8::1]:9443"], "2001:db8::1", 9443, Some("[2001:db8::1]:9443"));
        check(&["other"], "w.a.svc", 443, None);
        assert_eq!(users(&["*"], Some("me")).of("h", 1).expect("a user").key, "*");
        assert_eq!(users(&["x"], Some("me")).of("h", 1).expect("a user").key, "me");
    }

    #[tokio::test]
    async fn credentials_are_read_and_what_is_unknown_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        let load = |users: &str| {
            let text = format!(
                "kind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: '', user: me}}}}]\nusers:\n{users}"
            );
            std::fs::write(&path, text).expect("written");
            Users::load(&path)
        };
        std::fs::write(folder.path().join("token"), "first\n").expect("written");
        let found = load(
            "- {name: me, user: {tokenFile: token}}\n- {name: '*.svc', user: {token: t, username: u}}\n\
             - {name: h, user: {username: u, password: p}}\n- {name: bare}\n",
        )
        .expect("good");
        let shown = async |host: &str| found.of(host, 443).expect("a user").authorization().await;
        assert_eq!(shown("elsewhere").await.expect("a header"), "Bearer first");
        std::fs::write(folder.path().join("token"), "second").expect("written");
        assert_eq!(shown("elsewhere").await.expect("a header"), "Bearer second");
        std::fs::remove_file(folder.path().join("token")).expect("removed");
        assert_eq!(shown("elsewhere").await.expect("a header"), "Bearer first", "the last that was good at the start");
        assert_eq!(shown("w.a.svc").await.expect("a header"), "Bearer t");
        assert_eq!(shown("h").await.expect("a header"), "Basic dTpw");
        assert_eq!(shown("bare").await, None);
        let check = |users: &str, expected: &str| {
            let error = load(users).expect_err(users);
            assert!(error.contains(expected), "{error}");
        };
        check("- {name: a, user: {exec: {command: x}}}\n", "user \"a\": this server does not know exec for webhooks");
        check("- {name: a, user: {client-certificate: gone, client-key: gone}}\n", "cannot read");
        check("- {name: a, user: {tokenFile: gone}}\n", "cannot read");
        check("- {name: a, user: {token: \"a\\nb\"}}\n", "no HTTP header");
        assert!(Users::load(&folder.path().join("none")).expect_err("no file").contains("cannot read"));
    }
}
