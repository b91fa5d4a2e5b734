//! `systemd-analyze verify` over the units, with stand-ins for our binaries so that nothing has to be installed.

use std::{fs, os::unix::fs::PermissionsExt};

use anyhow::{Context, bail};

use crate::sh;

/// Where the units expect the binaries.
const BIN_DIR: &str = "/usr/lib/gantry/";

/// Verifies every unit in `systemd/`; any complaint is an error.
pub(crate) fn verify() -> anyhow::Result<()> {
    let folder = sh::target().join("xtask/units");
    drop(fs::remove_dir_all(&folder));
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    let mut paths = Vec::new();
    for entry in fs::read_dir(sh::root().join("systemd"))? {
        let source = entry?.path();
        let name = source.file_name().context("a unit is a file")?.to_string_lossy().into_owned();
        if !name.ends_with(".service") {
            continue;
        }
        let text = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
        for program in text.split(BIN_DIR).skip(1).filter_map(|rest| rest.split_whitespace().next()) {
            let stand_in = bin.join(program);
            fs::write(&stand_in, "#!/bin/sh\n")?;
            fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755))?;
        }
        let path = folder.join(&name);
        fs::write(&path, text.replace(BIN_DIR, &format!("{}/", bin.display())))?;
        paths.push(path.display().to_string());
    }
    if paths.is_empty() {
        bail!("there are no units in systemd/");
    }
    let mut args = vec!["verify", "--man=no", "--recursive-errors=yes"];
    args.extend(paths.iter().map(String::as_str));
    let mut command = sh::command("systemd-analyze", &args);
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.display()));
    let output = command.output().context("cannot run systemd-analyze")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !said.trim().is_empty() {
        bail!("systemd-analyze verify ({}): {}", output.status, said.trim());
    }
    Ok(())
}
