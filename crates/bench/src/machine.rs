//! Where the figures come from: they mean nothing without it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tokio::time::Instant;

/// One line about the machine and its disk.
pub(crate) fn describe(disk: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let memory = read("/proc/meminfo").split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let build = if cfg!(debug_assertions) { "DEBUG build" } else { "release build" };
    format!(
        "{cpus} CPUs, {} GiB, kernel {}, load {}, {}, {build}",
        memory.unwrap_or_default() >> 20,
        kernel.trim(),
        load.split(' ').next().unwrap_or("?"),
        sync_time(disk).map_or_else(|| "disk unknown".to_owned(), |ms| format!("fdatasync of 8 KiB p50 {ms:.2} ms")),
    )
}

/// The middle of 50 synchronous writes.
fn sync_time(disk: &Path) -> Option<f64> {
    let path = disk.join(format!("gantry-bench-{}", std::process::id()));
    let times = measure(&path);
    // Only our own file, which may not exist.
    drop(fs::remove_file(&path));
    let mut times = times.ok()?;
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

fn measure(path: &Path) -> std::io::Result<Vec<f64>> {
    let mut file = File::create(path)?;
    file.write_all(&[0; 8192 * 50])?;
    file.sync_all()?;
    let one = |number: u64| {
        let started = Instant::now();
        file.write_all_at(&[1; 8192], number * 8192)?;
        file.sync_data()?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    };
    (0..50).map(one).collect()
}
