//! Container images, made on this machine from Debian packages without Docker: packages are unpacked into a layer, layers
//! are shared between images, and the result is pushed to a registry over its HTTP API.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::sh;

mod layer;
mod registry;

/// What goes into a layer.
#[derive(Debug)]
pub(crate) struct LayerRecipe {
    name: &'static str,
    packages: &'static [&'static str],
    /// Files of the repository, and where they go.
    files: &'static [(&'static str, &'static str)],
}

/// An image: layers and how its program is started.
#[derive(Debug)]
struct ImageRecipe {
    name: &'static str,
    layers: &'static [&'static str],
    command: &'static [&'static str],
    port: Option<u16>,
}

const LAYERS: &[LayerRecipe] = &[
    LayerRecipe { name: "base", packages: &["base-files", "netbase", "libc6", "libgcc-s1", "busybox"], files: &[] },
    LayerRecipe {
        name: "nginx",
        packages: &["nginx", "nginx-common", "libpcre2-8-0", "libcrypt1", "libssl3", "zlib1g"],
        files: &[("deploy/images/nginx.conf", "etc/nginx/nginx.conf")],
    },
    LayerRecipe {
        name: "redis",
        packages: &[
            "redis-tools",
            "redis-server",
            "liblzf1",
            "libjemalloc2",
            "libatomic1",
            "libstdc++6",
            "libssl3",
            "libsystemd0",
            "libcap2",
            "libgcrypt20",
            "libgpg-error0",
            "liblz4-1",
            "liblzma5",
            "libzstd1",
        ],
        files: &[],
    },
    LayerRecipe {
        name: "python",
        packages: &[
            "python3-minimal",
            "python3.11-minimal",
            "libpython3.11-minimal",
            "libpython3.11-stdlib",
            "libexpat1",
            "zlib1g",
            "libssl3",
            "liblzma5",
            "libbz2-1.0",
        ],
        files: &[],
    },
    LayerRecipe { name: "web", packages: &[], files: &[("deploy/images/web.py", "app/web.py")] },
];

const IMAGES: &[ImageRecipe] = &[
    ImageRecipe { name: "library/busybox", layers: &["base"], command: &["sh"], port: None },
    ImageRecipe {
        name: "library/nginx",
        layers: &["base", "nginx"],
        command: &["/usr/sbin/nginx", "-g", "daemon off;"],
        port: Some(80),
    },
    ImageRecipe {
        name: "library/redis",
        layers: &["base", "redis"],
        command: &["/usr/bin/redis-server", "--protected-mode", "no", "--save", "", "--dir", "/tmp"],
        port: Some(6379),
    },
    ImageRecipe {
        name: "library/gantry-demo-web",
        layers: &["base", "python", "web"],
        command: &["/usr/bin/python3", "-u", "/app/web.py"],
        port: Some(8080),
    },
];

/// Tags that every image gets: the same content, so that a rollout from one to another has something to do.
const TAGS: &[&str] = &["latest", "1.0", "1.1"];

/// A file that a registry stores under its digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Blob {
    path: PathBuf,
    digest: String,
    bytes: u64,
}

/// A layer as stored, and the digest of its content when unpacked.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Layer {
    blob: Blob,
    diff_id: String,
}

/// An image that is ready to be pushed.
#[derive(Debug)]
pub(crate) struct Image {
    name: &'static str,
    blobs: Vec<Blob>,
    manifest: String,
}

const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Where images are kept between runs.
fn cache() -> PathBuf {
    sh::target().join("images")
}

/// `cargo xtask images`.
pub(crate) fn command(args: &[String]) -> anyhow::Result<()> {
    let images = make()?;
    match args {
        [] => Ok(()),
        [flag, registry] if flag == "--registry" => push(&images, registry),
        other => bail!("unknown arguments {other:?}; only --registry HOST:PORT is known"),
    }
}

/// Makes the images whose recipe or files changed.
pub(crate) fn make() -> anyhow::Result<Vec<Image>> {
    let timer = sh::Timer::start();
    fs::create_dir_all(cache()).with_context(|| format!("cannot make {}", cache().display()))?;
    let mut layers = BTreeMap::new();
    for recipe in LAYERS {
        layers.insert(recipe.name, layer::make(recipe, &cache())?);
    }
    let images: Vec<Image> = IMAGES.iter().map(|i| assemble(i, &layers)).collect::<anyhow::Result<_>>()?;
    let total: u64 = layers.values().map(|l| l.blob.bytes).sum();
    println!("  ok  {} images, {} MB of layers ({:.1} s)", images.len(), total >> 20, timer.seconds());
    Ok(images)
}

fn assemble(recipe: &ImageRecipe, layers: &BTreeMap<&str, Layer>) -> anyhow::Result<Image> {
    let layers: Vec<&Layer> = recipe.layers.iter().map(|name| &layers[name]).collect();
    let mut config = json!({
        "Cmd": recipe.command,
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "WorkingDir": "/",
    });
    if let Some(port) = recipe.port {
        config["ExposedPorts"] = json!({ format!("{port}/tcp"): {} });
    }
    let text = json!({
        "architecture": *ARCHITECTURE,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|l| &l.diff_id).collect::<Vec<_>>() },
        "history": layers.iter().map(|_| json!({ "created": "1970-01-01T00:00:00Z" })).collect::<Vec<_>>(),
    });
    let path = cache().join(format!("{}.config.json", recipe.name.replace('/', "-")));
    fs::write(&path, text.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    let config = blob(path)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json", "size": config.bytes, "digest": config.digest,
        },
        "layers": layers.iter().map(|l| json!({
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "size": l.blob.bytes,
            "digest": l.blob.digest,
        })).collect::<Vec<_>>(),
    });
    let mut blobs: Vec<Blob> = layers.iter().map(|l| l.blob.clone()).collect();
    blobs.push(config);
    Ok(Image { name: recipe.name, blobs, manifest: manifest.to_string() })
}

/// The name that image configurations use for this machine's processor.
static ARCHITECTURE: LazyLock<&str> = LazyLock::new(|| match std::env::consts::ARCH {
    "x86_64" => "amd64",
    "aarch64" => "arm64",
    other => other,
});

fn blob(path: PathBuf) -> anyhow::Result<Blob> {
    let bytes = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    Ok(Blob { digest: digest(&path)?, bytes, path })
}

/// The SHA-256 of a file, as registries write it.
fn digest(path: &Path) -> anyhow::Result<String> {
    let output = sh::output(&mut sh::command("sha256sum", &["--binary", &path.to_string_lossy()]))?;
    let hash = output.split_whitespace().next().context("sha256sum said nothing")?;
    Ok(format!("sha256:{}", hash.trim_start_matches('\\')))
}

/// Pushes images; what the registry has already is not sent again.
pub(crate) fn push(images: &[Image], registry: &str) -> anyhow::Result<()> {
    let timer = sh::Timer::start();
    for image in images {
        for blob in &image.blobs {
            registry::push_blob(registry, image.name, &blob.digest, &blob.path)
                .with_context(|| format!("cannot push {} to {registry}", image.name))?;
        }
        for tag in TAGS {
            registry::push_manifest(registry, image.name, tag, MANIFEST_TYPE, &image.manifest)
                .with_context(|| format!("cannot push {}:{tag} to {registry}", image.name))?;
        }
    }
    println!("  ok  pushed to {registry} ({:.1} s)", timer.seconds());
    Ok(())
}

/// The registry of the cluster that a kubeconfig in a state folder belongs to.
pub(crate) fn registry_of(kubeconfig: &str) -> anyhow::Result<String> {
    let folder =
        Path::new(kubeconfig).parent().and_then(Path::parent).context("the kubeconfig is in no state folder")?;
    let path = folder.join("cluster.json");
    let text = sh::output(&mut sh::as_root("cat", &[&path.to_string_lossy()]))?;
    #[derive(Deserialize)]
    struct Ports {
        registry: u16,
    }
    #[derive(Deserialize)]
    struct Cluster {
        subnet: String,
        ports: Ports,
    }
    let cluster: Cluster = serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    let network = cluster.subnet.split('/').next().unwrap_or_default();
    let network: std::net::Ipv4Addr = network.parse().context("the cluster's network is no address")?;
    Ok(format!("{}:{}", std::net::Ipv4Addr::from(u32::from(network) + 1), cluster.ports.registry))
}
