//! The pause image: one static binary, made into an image on the spot, so that a node needs no registry to start.

use sha2::{Digest, Sha256};

/// The pause process, built from `crates/pause` by the build script.
const BINARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

/// The name of the image that holds this very binary: another binary gets another name, so an old image is never
/// taken for a new one.
#[must_use]
pub fn image_name() -> String {
    let mut hex = hex(&Sha256::digest(BINARY));
    hex.truncate(16);
    format!("pause:{hex}")
}

/// An archive as `docker save` writes it, for the runtime to load.
///
/// # Errors
/// Never in practice: the archive is written to memory.
pub fn image_archive() -> std::io::Result<Vec<u8>> {
    saved_image(&image_name(), &["/pause"], &[("pause", BINARY, 0o755)])
}

/// An image of one layer.
pub(crate) fn saved_image(name: &str, entrypoint: &[&str], files: &[(&str, &[u8], u32)]) -> std::io::Result<Vec<u8>> {
    let layer = archive(files)?;
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": entrypoint},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&Sha256::digest(&layer)))]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "gantry-kubelet"}],
    })
    .to_string();
    let config_name = format!("{}.json", hex(&Sha256::digest(config.as_bytes())));
    let manifest =
        serde_json::json!([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).to_string();
    archive(&[
        (&config_name, config.as_bytes(), 0o644),
        ("layer.tar", &layer, 0o644),
        ("manifest.json", manifest.as_bytes(), 0o644),
    ])
}

/// A reproducible archive: no times, no owners.
fn archive(files: &[(&str, &[u8], u32)]) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content, mode) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_entry_type(tar::EntryType::Regular);
        builder.append_data(&mut header, path, *content)?;
    }
    builder.into_inner()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_named_after_its_content_and_is_small() {
        assert!(image_name().starts_with("pause:"));
        assert_eq!(image_name().len(), "pause:".len() + 16);
        assert!(BINARY.len() < 16 * 1024, "the pause process grew to {} bytes", BINARY.len());
        assert_eq!(image_archive().unwrap(), image_archive().unwrap(), "the archive is reproducible");
    }

    #[test]
    fn the_archive_names_its_layer_and_configuration() {
        let bytes = image_archive().unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<String> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names.len(), 3);
        assert!(names.contains(&"manifest.json".to_owned()) && names.contains(&"layer.tar".to_owned()));
    }
}
