//! A layer: Debian packages, unpacked without being installed, and files of the repository, as a tar archive.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{Layer, LayerRecipe, blob, digest};
use crate::sh;

/// What the cache knows about a layer: from what it was made, and the result.
#[derive(Serialize, Deserialize)]
struct Cached {
    recipe: String,
    layer: Layer,
}

/// Changes when layers have to be made in another way.
const FORMAT: u32 = 2;

/// What nobody reads in a container.
const LEFT_OUT: &[&str] = &[
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/i18n",
    "var/lib/dpkg",
];

pub(super) fn make(recipe: &LayerRecipe, cache: &Path) -> anyhow::Result<Layer> {
    let wanted = describe(recipe)?;
    let note = cache.join(format!("{}.layer.json", recipe.name));
    let cached: Option<Cached> = fs::read(&note).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if let Some(cached) = cached.filter(|c| c.recipe == wanted && c.layer.blob.path.exists()) {
        return Ok(cached.layer);
    }
    let timer = sh::Timer::start();
    let tree = cache.join(format!("{}.tree", recipe.name));
    drop(fs::remove_dir_all(&tree));
    fs::create_dir_all(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
    unpack(recipe, cache, &tree)?;
    if recipe.name == "base" {
        finish_base(&tree)?;
    }
    for (from, to) in recipe.files {
        let to = tree.join(to);
        fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        fs::copy(sh::root().join(from), &to).with_context(|| format!("cannot copy {from}"))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o644))?;
    }
    for path in LEFT_OUT {
        drop(fs::remove_dir_all(tree.join(path)));
    }
    let layer = pack(recipe.name, cache, &tree)?;
    drop(fs::remove_dir_all(&tree));
    let text = serde_json::to_vec(&Cached { recipe: wanted, layer: layer.clone() })?;
    fs::write(&note, text).with_context(|| format!("cannot write {}", note.display()))?;
    println!("  ok  layer {}: {} MB ({:.1} s)", recipe.name, layer.blob.bytes >> 20, timer.seconds());
    Ok(layer)
}

/// The recipe with the content of its files, so that a change of either makes the layer anew.
fn describe(recipe: &LayerRecipe) -> anyhow::Result<String> {
    let mut text = format!("{FORMAT} {recipe:?}");
    for (from, _) in recipe.files {
        let path = sh::root().join(from);
        text.push_str(&fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(text)
}

fn unpack(recipe: &LayerRecipe, cache: &Path, tree: &Path) -> anyhow::Result<()> {
    if recipe.packages.is_empty() {
        return Ok(());
    }
    let folder = cache.join("packages").join(recipe.name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let download = || {
        let mut command = sh::command("apt-get", &[&["-q", "download"], recipe.packages].concat());
        command.current_dir(&folder);
        sh::run_quietly(&format!("packages of {}", recipe.name), &mut command)
    };
    if download().is_err() {
        // The package lists are missing, or name versions that are gone.
        sh::run_quietly("apt-get update", &mut sh::as_root("apt-get", &["-q", "update"]))?;
        download()?;
    }
    let mut count = 0;
    for entry in fs::read_dir(&folder)? {
        let package = entry?.path();
        let args = ["--extract", &package.to_string_lossy(), &tree.to_string_lossy()];
        sh::output(&mut sh::command("dpkg-deb", &args))?;
        count += 1;
    }
    if count < recipe.packages.len() {
        bail!("apt-get gave {count} of the {} packages of the layer {}", recipe.packages.len(), recipe.name);
    }
    drop(fs::remove_dir_all(&folder));
    Ok(())
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    www-data:x:33:33:www-data:/var/www:/bin/false\n\
    nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
const GROUP: &str = "root:x:0:\nadm:x:4:\nwww-data:x:33:\nnogroup:x:65534:\n";

/// What installing the packages would have made: users, busybox's names, folders.
fn finish_base(tree: &Path) -> anyhow::Result<()> {
    let write = |name: &str, text: &str| {
        fs::write(tree.join(name), text).with_context(|| format!("cannot write {name} into the layer"))
    };
    write("etc/passwd", PASSWD)?;
    write("etc/group", GROUP)?;
    write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")?;
    fs::create_dir_all(tree.join("bin"))?;
    let busybox = ["bin/busybox", "usr/bin/busybox"].into_iter().find(|p| tree.join(p).exists());
    let busybox = busybox.context("the package busybox has no busybox")?;
    let names = sh::output(&mut sh::command("chroot", &[&tree.to_string_lossy(), &format!("/{busybox}"), "--list"]))?;
    for name in names.lines().filter(|n| *n != "busybox") {
        let link = tree.join("bin").join(name);
        if !link.exists() {
            symlink(format!("/{busybox}"), &link).with_context(|| format!("cannot make {}", link.display()))?;
        }
    }
    for (folder, mode) in [("tmp", 0o1777), ("root", 0o700), ("run", 0o755), ("proc", 0o755), ("sys", 0o755)] {
        fs::create_dir_all(tree.join(folder))?;
        fs::set_permissions(tree.join(folder), fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// The same tree gives the same archive on every machine.
fn pack(name: &str, cache: &Path, tree: &Path) -> anyhow::Result<Layer> {
    let tar = cache.join(format!("{name}.tar"));
    let args = [
        "--create",
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--file",
        &tar.to_string_lossy(),
        "--directory",
        &tree.to_string_lossy(),
        ".",
    ];
    sh::output(&mut sh::command("tar", &args))?;
    let diff_id = digest(&tar)?;
    sh::output(&mut sh::command("gzip", &["--force", "--no-name", "-1", &tar.to_string_lossy()]))?;
    Ok(Layer { blob: blob(cache.join(format!("{name}.tar.gz")))?, diff_id })
}
