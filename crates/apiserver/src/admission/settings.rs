//! What plugins are told by the file of `--admission-control-config-file`: an AdmissionConfiguration
//! (apiserver.config.k8s.io/v1), whose entries hold a plugin's configuration or name its file.

use std::collections::BTreeMap;
use std::path::Path;

use gantry_api::pod_security::{self, Policy};
use gantry_api::{Value, decode, field};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::event_limits::{self, Limit};
use super::image_policy::{self, ImagePolicy};
use crate::webhooks::Users;

/// Versions of the file that upstream still reads.
const VERSIONS: &[&str] = &["apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1"];

/// Everything that plugins are told.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(super) pod_security: PodSecurity,
    /// `clusterDefaultNodeSelector`, and what each namespace's pods may select by.
    pub(super) node_selectors: BTreeMap<String, String>,
    pub(super) tolerations: Tolerations,
    pub(super) event_limits: Vec<Limit>,
    pub(super) limited_resources: Vec<LimitedResource>,
    pub(super) image_policy: Option<image_policy::Settings>,
    /// Who the server is to webhooks that change objects.
    pub(super) mutating_users: Users,
    /// Who the server is to webhooks that judge objects.
    pub(super) validating_users: Users,
}

/// What PodSecurity takes where a namespace says nothing, and whom it leaves alone.
#[derive(Debug, Default)]
pub(super) struct PodSecurity {
    pub(super) defaults: Policy,
    pub(super) exempt: Exemptions,
}

/// Whom PodSecurity leaves alone.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Exemptions {
    #[serde(default)]
    pub(super) usernames: Vec<String>,
    #[serde(default)]
    pub(super) namespaces: Vec<String>,
    #[serde(default)]
    pub(super) runtime_classes: Vec<String>,
}

/// What PodTolerationRestriction takes where a namespace says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Tolerations {
    #[serde(default)]
    pub(super) default: Vec<Value>,
    #[serde(default)]
    pub(super) whitelist: Vec<Value>,
}

/// What may only be used where a quota speaks of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LimitedResource {
    #[serde(default)]
    pub(super) api_group: String,
    pub(super) resource: String,
    #[serde(default)]
    pub(super) match_contains: Vec<String>,
    /// ScopedResourceSelectorRequirements: objects in these need a quota that selects the same scope.
    #[serde(default)]
    pub(super) match_scopes: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    plugins: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    path: String,
    configuration: Option<Value>,
}

/// The configuration of one plugin, of the kind that the type says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned<T> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(flatten)]
    content: T,
}

#[derive(Deserialize)]
struct Levels {
    #[serde(default)]
    defaults: BTreeMap<String, String>,
    #[serde(default)]
    exemptions: Exemptions,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selectors {
    pod_node_selector_plugin_config: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Limits {
    #[serde(default)]
    limits: Vec<Limit>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Images {
    #[serde(default)]
    image_policy: ImagePolicy,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebhookUsers {
    #[serde(default)]
    kube_config_file: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Quota {
    #[serde(default)]
    limited_resources: Vec<LimitedResource>,
}

impl Settings {
    /// Reads the file, and the files that it names.
    ///
    /// # Errors
    /// What is wrong, with the plugin that it is about.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let value = read(path)?;
        let mut settings = Self::default();
        // Before there was an AdmissionConfiguration the file was a plugin's own.
        if value.get("kind").is_none() && value.get("podNodeSelectorPluginConfig").is_some() {
            settings.take("PodNodeSelector", value)?;
            return Ok(settings);
        }
        let file: File = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if file.kind != "AdmissionConfiguration" || !VERSIONS.contains(&file.api_version.as_str()) {
            return Err(format!(
                "no kind {:?} is registered for version {:?}: want AdmissionConfiguration of {}",
                file.kind, file.api_version, VERSIONS[0]
            ));
        }
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        for entry in file.plugins {
            let about = |error: String| format!("plugin {}: {error}", entry.name);
            let configuration = match entry.configuration {
                Some(configuration) => configuration,
                None if entry.path.is_empty() => continue,
                None => read(&folder.join(&entry.path)).map_err(about)?,
            };
            settings.take(&entry.name, configuration).map_err(about)?;
        }
        Ok(settings)
    }

    /// Whether the plugins that are asked for can work with this.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self, enabled: &[String]) -> Result<(), String> {
        let on = |plugin: &str| enabled.iter().any(|name| name == plugin);
        if on("ImagePolicyWebhook") && self.image_policy.is_none() {
            return Err("plugin ImagePolicyWebhook: no config specified".to_owned());
        }
        if !on("EventRateLimit") {
            return Ok(());
        }
        let errors: Vec<String> = event_limits::errors(&self.event_limits).iter().map(ToString::to_string).collect();
        if errors.is_empty() { Ok(()) } else { Err(format!("plugin EventRateLimit: {}", errors.join(", "))) }
    }

    fn take(&mut self, plugin: &str, value: Value) -> Result<(), String> {
        match plugin {
            "PodSecurity" => {
                let group = "pod-security.admission.config.k8s.io";
                let read: Levels = versioned(value, group, "PodSecurityConfiguration")?;
                let (defaults, errors) = pod_security::defaults(&read.defaults);
                if let Some(error) = errors.first() {
                    return Err(error.to_string());
                }
                self.pod_security = PodSecurity { defaults, exempt: read.exemptions };
            }
            "PodNodeSelector" => {
                let read: Selectors = serde_json::from_value(value).map_err(|error| error.to_string())?;
                self.node_selectors = read.pod_node_selector_plugin_config;
            }
            "PodTolerationRestriction" => {
                let group = "podtolerationrestriction.admission.k8s.io";
                self.tolerations = versioned(value, group, "Configuration")?;
            }
            "EventRateLimit" => {
                let read: Limits = versioned(value, "eventratelimit.admission.k8s.io", "Configuration")?;
                self.event_limits = read.limits;
            }
            "ResourceQuota" => {
                let read: Quota = versioned(value, "apiserver.config.k8s.io", "ResourceQuotaConfiguration")?;
                self.limited_resources = read.limited_resources;
            }
            "ImagePolicyWebhook" => {
                let read: Images = serde_json::from_value(value).map_err(|error| error.to_string())?;
                self.image_policy = Some(image_policy::Settings::new(&read.image_policy)?);
            }
            "MutatingAdmissionWebhook" => self.mutating_users = users(value)?,
            "ValidatingAdmissionWebhook" => self.validating_users = users(value)?,
            _ => return Err("this server takes no configuration for it".to_owned()),
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    decode::yaml(&text).map(|(value, _)| value).map_err(|status| status.message)
}

/// The users of the kubeconfig that a WebhookAdmissionConfiguration (WebhookAdmission, as it was called before) names.
fn users(value: Value) -> Result<Users, String> {
    let group = "apiserver.config.k8s.io";
    let before = value.get("kind").is_some_and(|kind| kind == "WebhookAdmission");
    let kind = if before { "WebhookAdmission" } else { "WebhookAdmissionConfiguration" };
    let read: WebhookUsers = versioned(value, group, kind)?;
    let path = Path::new(&read.kube_config_file);
    if !path.is_absolute() {
        let at = field::Path::new("kubeConfigFile");
        return Err(field::Error::invalid(&at, read.kube_config_file, "must be an absolute file path").to_string());
    }
    Users::load(path)
}

/// A configuration of any version of its group.
fn versioned<T: DeserializeOwned>(value: Value, group: &str, kind: &str) -> Result<T, String> {
    let read: Versioned<T> = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let version = read.api_version.strip_prefix(group).and_then(|rest| rest.strip_prefix('/'));
    if read.kind != kind || version.is_none() {
        return Err(format!(
            "no kind {:?} is registered for version {:?}: want {kind} of {group}",
            read.kind, read.api_version
        ));
    }
    Ok(read.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("selectors.yaml"), "podNodeSelectorPluginConfig:\n  n: a=b\n")
            .expect("written");
        let path = folder.path().join("admission.yaml");
        std::fs::write(&path, text).expect("written");
        Settings::load(&path)
    }

    const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n";

    #[test]
    fn plugins_are_told_what_the_file_says() {
        let settings = load(&format!(
            "{HEAD}- name: PodNodeSelector\n  path: selectors.yaml\n- name: PodSecurity\n  configuration:\n    \
             apiVersion: pod-security.admission.config.k8s.io/v1\n    kind: PodSecurityConfiguration\n    defaults:\n      \
             enforce: baseline\n      enforce-version: v1.30\n    exemptions:\n      usernames: [root]\n\
             - name: EventRateLimit\n  configuration:\n    apiVersion: eventratelimit.admission.k8s.io/v1alpha1\n    \
             kind: Configuration\n    limits:\n    - {{type: Server, qps: 5, burst: 10}}\n"
        ))
        .expect("good");
        assert_eq!(settings.node_selectors["n"], "a=b");
        assert_eq!(settings.pod_security.defaults.enforce.to_string(), "baseline:v1.30");
        assert_eq!(settings.pod_security.exempt.usernames, ["root"]);
        assert_eq!(settings.event_limits.len(), 1);
        assert_eq!(load("podNodeSelectorPluginConfig:\n  m: c=d\n").expect("the old form").node_selectors["m"], "c=d");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |text: &str, expected: &str| {
            let found = load(text).expect_err("refused");
            assert!(found.contains(expected), "{found}");
        };
        check("kind: Pod\napiVersion: v1\n", "no kind \"Pod\" is registered for version \"v1\"");
        check(
            &format!("{HEAD}- name: Priority\n  configuration: {{}}\n"),
            "plugin Priority: this server takes no configuration",
        );
        check(
            &format!("{HEAD}- name: ImagePolicyWebhook\n  configuration: {{imagePolicy: {{allowTTL: 1}}}}\n"),
            "plugin ImagePolicyWebhook: valid value is between 1s and 30m0s, got 1s",
        );
        check(
            &format!("{HEAD}- name: ImagePolicyWebhook\n  configuration: {{imagePolicy: {{kubeConfigFile: /none}}}}\n"),
            "plugin ImagePolicyWebhook: cannot read /none",
        );
        let asked = ["ImagePolicyWebhook".to_owned()];
        let silent = Settings::default().check(&asked).expect_err("nothing said");
        assert_eq!(silent, "plugin ImagePolicyWebhook: no config specified");
        let users = "apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration";
        check(
            &format!("{HEAD}- name: ValidatingAdmissionWebhook\n  configuration: {{{users}, kubeConfigFile: rel}}\n"),
            "kubeConfigFile: Invalid value: \"rel\": must be an absolute file path",
        );
        check(
            &format!("{HEAD}- name: MutatingAdmissionWebhook\n  configuration: {{{users}, kubeConfigFile: /none}}\n"),
            "plugin MutatingAdmissionWebhook: cannot read /none",
        );
        check(&format!("{HEAD}- name: PodNodeSelector\n  path: gone.yaml\n"), "plugin PodNodeSelector: cannot read");
        let levels = "apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, defaults: {enforce: high}";
        check(&format!("{HEAD}- name: PodSecurity\n  configuration: {{{levels}}}\n"), "must be one of privileged");
    }
}
