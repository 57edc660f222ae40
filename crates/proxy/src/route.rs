//! Where calls under the master key are written, without ever leaving the jobs directory.

use std::path::{Component, Path, PathBuf};
use trajgen_contract::layout::JobDir;

/// The longest session name that becomes a file name, characters.
const MAX_SESSION: usize = 100;

/// A trial named by a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) job: String,
    pub(crate) trial: String,
    pub(crate) log: PathBuf,
}

/// Reads `<job>/<trial>`, or the absolute path of a trial's log below `jobs_dir`.
///
/// # Errors
/// Why it is neither, for the caller.
pub(crate) fn named(path: &str, jobs_dir: &Path) -> Result<Named, String> {
    let expected = "expected <job>/<trial>, or the absolute path of a trial's agent/litellm-trajectory.jsonl below the jobs directory";
    let refused = || format!("`{}` is no trajectory output path; {expected}", path.escape_default());
    let inside = if Path::new(path).is_absolute() {
        let inside = Path::new(path).strip_prefix(jobs_dir).map_err(|_| refused())?;
        let log = JobDir::new(jobs_dir).trial("t").trajectory_log();
        let tail = log.strip_prefix(jobs_dir.join("t")).map_err(|_| refused())?;
        let n_tail = tail.components().count();
        let parts: Vec<_> = inside.components().collect();
        if parts.len() != 2 + n_tail || !inside.ends_with(tail) {
            return Err(refused());
        }
        parts[..2].iter().collect::<PathBuf>()
    } else {
        PathBuf::from(path)
    };
    let parts: Vec<&str> = inside
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str().filter(|name| is_plain(name)).ok_or_else(refused),
            _ => Err(refused()),
        })
        .collect::<Result<_, _>>()?;
    let [job, trial] = parts[..] else { return Err(refused()) };
    // `a//b` and `a/./b` are no plain components either.
    if !Path::new(path).is_absolute() && path != format!("{job}/{trial}") {
        return Err(refused());
    }
    let log = JobDir::new(jobs_dir.join(job)).trial(trial).trajectory_log();
    stays_inside(&log, jobs_dir).map_err(|()| refused())?;
    Ok(Named { job: job.to_owned(), trial: trial.to_owned(), log })
}

/// The log of calls that name no trial.
pub(crate) fn unrouted(session: &str, job: &JobDir) -> PathBuf {
    let plain: String = session
        .chars()
        .take(MAX_SESSION)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .collect();
    let plain = plain.trim_start_matches('.');
    let name = if plain.is_empty() { trajgen_contract::record::DEFAULT_SESSION } else { plain };
    job.unrouted().join(format!("{name}.jsonl"))
}

/// A name that is a single path component on every system, and no hidden one.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && !name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\'))
}

/// No folder on the way may be a symbolic link that leads out.
fn stays_inside(log: &Path, jobs_dir: &Path) -> Result<(), ()> {
    let Ok(root) = jobs_dir.canonicalize() else { return Ok(()) };
    let existing = log.ancestors().find(|folder| folder.symlink_metadata().is_ok()).ok_or(())?;
    let real = existing.canonicalize().map_err(|_| ())?;
    if real.starts_with(&root) { Ok(()) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_plain_components_are_a_route() {
        let dir = tempfile::tempdir().unwrap();
        let jobs = dir.path();
        let route = named("job/trial__x", jobs).unwrap();
        assert_eq!(route.log, jobs.join("job/trial__x/agent/litellm-trajectory.jsonl"));
        assert_eq!(named(route.log.to_str().unwrap(), jobs), Ok(route));
        let outside = dir.path().parent().unwrap().join("j/t/agent/litellm-trajectory.jsonl");
        let hostile = [
            "",
            "job",
            "job/",
            "/job/trial",
            "../job/trial",
            "job/..",
            "../..",
            "job/../x",
            "job//t",
            "job/./t",
            "job/t/",
            "job/t/x",
            "job\\t/x",
            ".job/t",
            "job/t\n",
            "job/\0",
            "/etc/passwd",
            outside.to_str().unwrap(),
        ];
        for path in hostile {
            named(path, jobs).unwrap_err();
        }
        for tail in [
            "j/t/agent/other.jsonl",
            "j/t/x/../agent/litellm-trajectory.jsonl",
            "j/t",
            "j/../j/t/agent/litellm-trajectory.jsonl",
        ] {
            named(jobs.join(tail).to_str().unwrap(), jobs).unwrap_err();
        }
    }

    #[test]
    fn a_link_that_leads_out_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let jobs = dir.path().join("jobs");
        std::fs::create_dir_all(jobs.join("job")).unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        std::os::unix::fs::symlink("../../out", jobs.join("job/t")).unwrap();
        named("job/t", &jobs).unwrap_err();
        named("job/u", &jobs).unwrap();
    }

    #[test]
    fn a_session_never_leaves_its_folder() {
        let job = JobDir::new("/jobs/j");
        let name =
            |session: &str| unrouted(session, &job).strip_prefix("/jobs/j/unrouted").unwrap().to_owned();
        assert_eq!(name("abc-1.2"), Path::new("abc-1.2.jsonl"));
        assert_eq!(name("../../etc/x"), Path::new("_.._etc_x.jsonl"));
        assert_eq!(name(".."), Path::new("default.jsonl"));
        assert_eq!(name(""), Path::new("default.jsonl"));
        assert_eq!(name(&"é".repeat(500)).as_os_str().len(), 100 + 6);
    }
}
