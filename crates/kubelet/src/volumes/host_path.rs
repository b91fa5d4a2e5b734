//! `hostPath`: a path of the node, checked against what the pod expects it to be.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
};

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::Error;

/// Makes what may be made, and refuses what does not fit. Docker wants the path to exist, as upstream's runtime does not:
/// without a type a missing path becomes a folder.
pub(super) fn check(source: &HostPathVolumeSource) -> Result<(), Error> {
    let path = Path::new(&source.path);
    let kind = fs::metadata(path).ok().map(|m| m.file_type());
    let expect = |holds: bool, expected: &'static str| {
        if holds { Ok(()) } else { Err(Error::HostPath { path: source.path.clone(), expected }) }
    };
    match source.type_.as_deref().unwrap_or_default() {
        "" if kind.is_some() => Ok(()),
        "" | "DirectoryOrCreate" => {
            if kind.is_none() {
                fs::create_dir_all(path).map_err(Error::files("make the folder", path))?;
                let mode = fs::Permissions::from_mode(0o755);
                fs::set_permissions(path, mode).map_err(Error::files("set the mode of", path))?;
            }
            expect(path.is_dir(), "directory")
        }
        "FileOrCreate" => {
            if kind.is_none() {
                fs::write(path, "").map_err(Error::files("make the file", path))?;
            }
            expect(path.is_file(), "file")
        }
        "Directory" => expect(kind.is_some_and(|k| k.is_dir()), "directory"),
        "File" => expect(kind.is_some_and(|k| k.is_file()), "file"),
        "Socket" => expect(kind.is_some_and(|k| k.is_socket()), "socket"),
        "CharDevice" => expect(kind.is_some_and(|k| k.is_char_device()), "character device"),
        "BlockDevice" => expect(kind.is_some_and(|k| k.is_block_device()), "block device"),
        other => Err(Error::Unsupported(format!("hostPath with the type {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str, kind: &str, expected: Result<(), &str>| {
            let path = dir.path().join(name).display().to_string();
            let source = HostPathVolumeSource { path: path.clone(), type_: Some(kind.to_owned()) };
            let result = super::check(&source).map_err(|e| e.to_string());
            let expected = expected.map_err(|what| format!("hostPath type check failed: {path} is not a {what}"));
            assert_eq!(result, expected, "{name} as {kind:?}");
        };
        check("absent", "Directory", Err("directory"));
        check("absent", "File", Err("file"));
        check("made", "DirectoryOrCreate", Ok(()));
        check("made", "Directory", Ok(()));
        check("made", "File", Err("file"));
        check("made", "Socket", Err("socket"));
        check("file", "FileOrCreate", Ok(()));
        check("file", "File", Ok(()));
        check("file", "DirectoryOrCreate", Err("directory"));
        check("any", "", Ok(()));
    }
}
