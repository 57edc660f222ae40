//! What dead runs may have left on this host.

use std::path::Path;

/// Processes, control groups and mounts of `pids`, and what lies in the scratch folders of `block`.
pub fn leftovers(block: &Path, pids: &[u32]) -> Vec<String> {
    let mut found = Vec::new();
    let ours: Vec<String> = pids.iter().map(|pid| format!("trajgen-{pid}-")).collect();
    let names_us = |text: &str| ours.iter().any(|name| text.contains(name));
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let of = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid.bytes().all(|b| b.is_ascii_digit()) && names_us(&String::from_utf8_lossy(&of("cgroup"))) {
            found.push(format!(
                "process {pid}: {}",
                String::from_utf8_lossy(&of("cmdline")).replace('\0', " ")
            ));
        }
    }
    groups(Path::new("/sys/fs/cgroup"), 4, &names_us, &mut found);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let artifacts = block.join("artifacts/");
    found.extend(
        mounts.lines().filter(|l| l.contains(&*artifacts.to_string_lossy())).map(|l| format!("mount {l}")),
    );
    for folder in ["scratch", "sockets"] {
        let folder = block.join("artifacts/cache").join(folder);
        found.extend(super::names(&folder).iter().map(|name| format!("{}/{name}", folder.display())));
    }
    let temporary = super::files(&block.join("artifacts"));
    found.extend(
        temporary
            .iter()
            .filter(|p| p.extension().is_some_and(|e| e == "tmp"))
            .map(|p| p.display().to_string()),
    );
    found
}

fn groups(folder: &Path, depth: u32, is_ours: &dyn Fn(&str) -> bool, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if is_ours(&entry.file_name().to_string_lossy()) {
            found.push(format!("control group {}", entry.path().display()));
        } else if depth > 0 {
            groups(&entry.path(), depth - 1, is_ours, found);
        }
    }
}
