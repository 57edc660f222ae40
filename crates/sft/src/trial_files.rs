//! Reading files of a trial's folder, which an agent had a hand in.

use crate::dropped::{Dropped, Reason};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use trajgen_contract::layout::TrialDir;

/// The largest document that is read as a whole, bytes.
const LARGEST_DOCUMENT: u64 = 1 << 30;

/// One trial's folder, and the places its files may really lie in.
#[derive(Debug, Clone)]
pub struct TrialFiles {
    dir: TrialDir,
    /// Real paths: of the job's folder and of this trial's, which may be a link to elsewhere.
    allowed: [PathBuf; 2],
}

impl TrialFiles {
    /// The trial's folder `dir` in the job's folder, whose real path is `real_job`.
    ///
    /// # Errors
    /// [`Reason::MissingTrial`] when it is no folder.
    pub fn open(dir: TrialDir, real_job: &Path) -> Result<Self, Dropped> {
        match dir.path().canonicalize() {
            Ok(real) if real.is_dir() => Ok(Self { dir, allowed: [real_job.to_owned(), real] }),
            _ => Err(Dropped::new(Reason::MissingTrial, format!("{} is no folder", dir.path().display()))),
        }
    }

    /// The trial's paths.
    #[must_use]
    pub fn dir(&self) -> &TrialDir {
        &self.dir
    }

    /// Opens a regular file of the trial; none when it is not there.
    ///
    /// # Errors
    /// [`Reason::LinkOutsideJob`] when links lead out of the job, [`Reason::Unreadable`] otherwise.
    pub fn file(&self, path: &Path) -> Result<Option<File>, Dropped> {
        let unreadable =
            |e: std::io::Error| Dropped::new(Reason::Unreadable, format!("{}: {e}", path.display()));
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(unreadable(e)),
        };
        if !self.allowed.iter().any(|place| real.starts_with(place)) {
            return Err(Dropped::new(
                Reason::LinkOutsideJob,
                format!("{} is a link to {}", path.display(), real.display()),
            ));
        }
        // Opening a pipe would wait for its other end.
        if !real.metadata().map_err(unreadable)?.is_file() {
            return Err(Dropped::new(Reason::Unreadable, format!("{} is no regular file", path.display())));
        }
        File::open(&real).map(Some).map_err(unreadable)
    }

    /// Reads a whole file of the trial; none when it is not there.
    ///
    /// # Errors
    /// As [`TrialFiles::file`].
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Dropped> {
        let Some(file) = self.file(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        match file.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() as u64 > LARGEST_DOCUMENT => Err(Dropped::new(
                Reason::Unreadable,
                format!("{} is larger than {LARGEST_DOCUMENT} bytes", path.display()),
            )),
            Ok(_) => Ok(Some(bytes)),
            Err(e) => Err(Dropped::new(Reason::Unreadable, format!("{}: {e}", path.display()))),
        }
    }

    /// Reads a JSON document of the trial; none when it is not there or no JSON.
    ///
    /// # Errors
    /// As [`TrialFiles::file`].
    pub fn json(&self, path: &Path) -> Result<Option<serde_json::Value>, Dropped> {
        Ok(self.read(path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use trajgen_contract::layout::JobDir;

    #[test]
    fn a_linked_trial_is_read_but_a_link_inside_it_is_not_followed_out() {
        let dir = tempfile::tempdir().unwrap();
        let (job, real) = (dir.path().join("job"), dir.path().join("elsewhere/t1"));
        std::fs::create_dir_all(&job).unwrap();
        std::fs::create_dir_all(real.join("agent")).unwrap();
        std::fs::write(dir.path().join("secret"), "{}").unwrap();
        std::fs::write(real.join("config.json"), "{\"a\":1}").unwrap();
        symlink(&real, job.join("t1")).unwrap();
        symlink(dir.path().join("secret"), real.join("agent/trajectory.json")).unwrap();

        let files = TrialFiles::open(JobDir::new(&job).trial("t1"), &job.canonicalize().unwrap()).unwrap();
        assert_eq!(files.json(&files.dir().config()).unwrap().unwrap()["a"], 1);
        assert_eq!(files.file(&files.dir().atif()).unwrap_err().reason, Reason::LinkOutsideJob);
        assert!(files.file(&files.dir().result()).unwrap().is_none());
        std::fs::create_dir(real.join("result.json")).unwrap();
        assert_eq!(files.file(&files.dir().result()).unwrap_err().reason, Reason::Unreadable);
    }

    #[test]
    fn a_missing_trial_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = TrialFiles::open(JobDir::new(dir.path()).trial("gone"), dir.path()).unwrap_err();
        assert_eq!(error.reason, Reason::MissingTrial);
    }
}
