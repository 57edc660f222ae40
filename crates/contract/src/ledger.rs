//! The consumption ledger: which tasks were paid for, and how it ended.
//!
//! At rest `consumption_ledger.yaml` is the truth, and people edit it. During a run every change goes to a
//! synced journal beside it, which is folded in when the run ends, or at the next start.

use crate::files::{self, FileError, LineLog};
use crate::layout::Block;
use crate::outcome::LedgerStatus;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// The version this module writes.
pub const VERSION: u32 = 1;

const DESCRIPTION: &str = "Which tasks were consumed, and how it ended. Tasks that are done, failed or skipped never \
                           run again by themselves; edit a status here between runs to change that.";

/// One (dataset, task, agent, model).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The task's id.
    pub task_id: String,
    /// Its data set; an entry without one matches any.
    #[serde(default)]
    pub dataset: Option<String>,
    /// The agent that ran; an entry without one matches any.
    #[serde(default)]
    pub agent: Option<String>,
    /// Its model without protocol prefix; an entry without one matches any.
    #[serde(default)]
    pub model: Option<String>,
    /// Where it stands.
    pub status: LedgerStatus,
    /// The job that ran it last.
    #[serde(default)]
    pub job: Option<String>,
    /// When its first trial started, ISO 8601.
    #[serde(default)]
    pub submitted_at: Option<String>,
    /// When its last trial ended, ISO 8601.
    #[serde(default)]
    pub completed_at: Option<String>,
    /// The best trial's trajectory, relative to the block.
    #[serde(default)]
    pub trajectory_path: Option<String>,
    /// The best trial's reward.
    #[serde(default)]
    pub reward: Option<f64>,
    /// Free text: why it failed, why it is skipped.
    #[serde(default)]
    pub note: String,
    /// Fields that are none of ours: a person's or another tool's, kept as they are.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// What an entry stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The task's id.
    pub task_id: String,
    /// Its data set.
    pub dataset: String,
    /// The agent's name.
    pub agent: String,
    /// The model, when the agent calls one.
    pub model: Option<String>,
}

impl Entry {
    /// A fresh entry for `key`.
    #[must_use]
    pub fn new(key: &Key, status: LedgerStatus) -> Self {
        Self {
            task_id: key.task_id.clone(),
            dataset: Some(key.dataset.clone()),
            agent: Some(key.agent.clone()),
            model: key.model.clone(),
            status,
            job: None,
            submitted_at: None,
            completed_at: None,
            trajectory_path: None,
            reward: None,
            note: String::new(),
            other: serde_json::Map::new(),
        }
    }

    /// True when this entry speaks of `key`; fields it does not have match anything.
    #[must_use]
    pub fn matches(&self, key: &Key) -> bool {
        let agrees = |mine: &Option<String>, theirs: Option<&str>| {
            mine.as_deref().is_none_or(|mine| theirs.is_none_or(|theirs| mine == theirs))
        };
        self.task_id == key.task_id
            && agrees(&self.dataset, Some(&key.dataset))
            && agrees(&self.agent, Some(&key.agent))
            && agrees(&self.model, key.model.as_deref())
    }

    /// True when both stand for the same thing, field by field.
    fn same_key(&self, other: &Self) -> bool {
        (&self.task_id, &self.dataset, &self.agent, &self.model)
            == (&other.task_id, &other.dataset, &other.agent, &other.model)
    }
}

/// The file.
#[derive(Debug, Clone, Serialize)]
struct LedgerFile {
    version: u32,
    description: String,
    tasks: Vec<Entry>,
}

/// What can be wrong with a ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no ledger.
    #[error("{}: {problem}; mend the file, or restore it from a copy", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found and expected.
        problem: String,
    },
    /// A newer trajgen wrote it.
    #[error("{}: version {found} is newer than the {VERSION} this trajgen reads; use a newer trajgen", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// The ledger of one block.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    journal_path: PathBuf,
    journal: Option<LineLog>,
    entries: Vec<Entry>,
    warnings: Vec<String>,
}

impl Ledger {
    /// Reads the ledger with what a dead run's journal adds to it. Nothing is written.
    ///
    /// # Errors
    /// When a file cannot be read, is no ledger, or is of a newer version.
    pub fn load(block: &Block) -> Result<Self, LedgerError> {
        let mut ledger = Self {
            path: block.ledger(),
            journal_path: block.ledger_journal(),
            journal: None,
            entries: Vec::new(),
            warnings: Vec::new(),
        };
        match std::fs::read_to_string(&ledger.path) {
            Ok(text) => ledger.entries = parse(&ledger.path, &text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(FileError::at("read", &ledger.path)(e).into()),
        }
        ledger.replay_journal()?;
        Ok(ledger)
    }

    fn replay_journal(&mut self) -> Result<(), LedgerError> {
        let bytes = match std::fs::read(&self.journal_path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(FileError::at("read", &self.journal_path)(e).into()),
        };
        let lines: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
        let last = lines.len().saturating_sub(1);
        for (number, line) in lines.into_iter().enumerate() {
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice::<JournalLine>(line) {
                Ok(line) if line.v > VERSION => {
                    return Err(LedgerError::Newer { path: self.journal_path.clone(), found: line.v });
                }
                Ok(line) => self.put(line.entry),
                Err(_) if number == last => self
                    .warnings
                    .push(format!("{}: its torn last line was left out", self.journal_path.display())),
                Err(e) => {
                    return Err(LedgerError::Malformed {
                        path: self.journal_path.clone(),
                        problem: format!("line {} is no entry: {e}", number + 1),
                    });
                }
            }
        }
        Ok(())
    }

    /// All entries, in file order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What was mended while reading.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is known of `key`: its own entry, else an older one that matches.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<&Entry> {
        let own = Entry::new(key, LedgerStatus::Pending);
        self.entries
            .iter()
            .find(|e| e.same_key(&own))
            .or_else(|| self.entries.iter().find(|e| e.matches(key)))
    }

    /// Sets an entry, synced to the disk before this returns.
    ///
    /// # Errors
    /// When the journal cannot be written; the ledger in memory is then unchanged.
    pub fn set(&mut self, entry: Entry) -> Result<(), LedgerError> {
        let line = serde_json::to_vec(&JournalLine { v: VERSION, entry: entry.clone() }).map_err(|e| {
            LedgerError::Malformed {
                path: self.journal_path.clone(),
                problem: format!("cannot be written: {e}"),
            }
        })?;
        let journal = match &mut self.journal {
            Some(journal) => journal,
            None => self.journal.insert(LineLog::open(&self.journal_path)?),
        };
        journal.append(&line)?;
        journal.sync()?;
        self.put(entry);
        Ok(())
    }

    fn put(&mut self, mut entry: Entry) {
        match self.entries.iter_mut().find(|e| e.same_key(&entry)) {
            Some(old) => {
                for (name, value) in std::mem::take(&mut old.other) {
                    entry.other.entry(name).or_insert(value);
                }
                *old = entry;
            }
            None => self.entries.push(entry),
        }
    }

    /// Writes the ledger at rest and removes the journal.
    ///
    /// # Errors
    /// When the file cannot be written; the journal then stays.
    pub fn fold(&mut self) -> Result<(), LedgerError> {
        if self.journal.is_none() && !self.journal_path.exists() {
            return Ok(());
        }
        let file =
            LedgerFile { version: VERSION, description: DESCRIPTION.into(), tasks: self.entries.clone() };
        let text = serde_saphyr::to_string(&file).map_err(|e| LedgerError::Malformed {
            path: self.path.clone(),
            problem: format!("cannot be written: {e}"),
        })?;
        files::replace(&self.path, text.as_bytes())?;
        self.journal = None;
        match std::fs::remove_file(&self.journal_path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(FileError::at("remove", &self.journal_path)(e).into())
            }
            _ => Ok(()),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct JournalLine {
    v: u32,
    #[serde(flatten)]
    entry: Entry,
}

fn parse(path: &std::path::Path, text: &str) -> Result<Vec<Entry>, LedgerError> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        tasks: Vec<serde_saphyr::Spanned<Entry>>,
    }
    let malformed = |problem: String| LedgerError::Malformed { path: path.to_owned(), problem };
    let head: Head = files::from_yaml(text).map_err(malformed)?;
    if head.version > VERSION {
        return Err(LedgerError::Newer { path: path.to_owned(), found: head.version });
    }
    let body: Body = files::from_yaml(text).map_err(malformed)?;
    for (i, entry) in body.tasks.iter().enumerate() {
        if let Some(earlier) = body.tasks.iter().take(i).find(|earlier| earlier.value.same_key(&entry.value))
        {
            return Err(malformed(format!(
                "lines {} and {}: two entries for task '{}' with the same dataset, agent and model; keep one",
                earlier.referenced.line(),
                entry.referenced.line(),
                entry.value.task_id
            )));
        }
    }
    Ok(body.tasks.into_iter().map(|entry| entry.value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(task: &str) -> Key {
        Key { task_id: task.into(), dataset: "d".into(), agent: "nop".into(), model: Some("m".into()) }
    }

    #[test]
    fn the_journal_survives_a_crash_and_is_folded_in() {
        let dir = tempfile::tempdir().unwrap();
        let block = Block::new(dir.path());
        let mut ledger = Ledger::load(&block).unwrap();
        ledger.set(Entry::new(&key("a"), LedgerStatus::Running)).unwrap();
        ledger.set(Entry { reward: Some(1.0), ..Entry::new(&key("a"), LedgerStatus::Done) }).unwrap();
        drop(ledger);
        assert!(!block.ledger().exists());
        // A crash in the middle of a line.
        let mut bytes = std::fs::read(block.ledger_journal()).unwrap();
        bytes.extend_from_slice(b"{\"v\":1,\"task_id\":\"b");
        std::fs::write(block.ledger_journal(), bytes).unwrap();

        let mut ledger = Ledger::load(&block).unwrap();
        assert_eq!(ledger.warnings().len(), 1);
        assert_eq!(ledger.find(&key("a")).unwrap().status, LedgerStatus::Done);
        ledger.fold().unwrap();
        assert!(!block.ledger_journal().exists());
        let ledger = Ledger::load(&block).unwrap();
        assert_eq!(ledger.entries().len(), 1);
        assert_eq!(ledger.find(&key("a")).unwrap().reward, Some(1.0));
    }

    #[test]
    fn fields_of_others_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let block = Block::new(dir.path());
        let text = "version: 1\ntasks:\n  - {task_id: a, dataset: d, agent: nop, model: m, status: pending, owner: me, priority: 2}\n  \
                    - {task_id: 7, status: skipped, seen: [1, null, {by: you}]}\n";
        files::replace(&block.ledger(), text.as_bytes()).unwrap();
        let mut ledger = Ledger::load(&block).unwrap();
        ledger.set(Entry::new(&key("a"), LedgerStatus::Running)).unwrap();
        // As after a crash: the journal knows nothing of them.
        let mut ledger = Ledger::load(&block).unwrap();
        ledger.set(Entry { reward: Some(1.0), ..Entry::new(&key("a"), LedgerStatus::Done) }).unwrap();
        ledger.fold().unwrap();
        let ledger = Ledger::load(&block).unwrap();
        let other = |i: usize| serde_json::to_value(&ledger.entries()[i].other).unwrap();
        assert_eq!(other(0), serde_json::json!({"owner": "me", "priority": 2}));
        assert_eq!(other(1), serde_json::json!({"seen": [1, null, {"by": "you"}]}));
        assert_eq!((ledger.entries()[0].reward, ledger.entries()[1].task_id.as_str()), (Some(1.0), "7"));
    }

    #[test]
    fn an_older_entry_matches_any_agent_and_model() {
        let dir = tempfile::tempdir().unwrap();
        let block = Block::new(dir.path());
        files::replace(&block.ledger(), b"version: 1\ntasks:\n  - task_id: a\n    status: skipped\n")
            .unwrap();
        let ledger = Ledger::load(&block).unwrap();
        assert_eq!(ledger.find(&key("a")).unwrap().status, LedgerStatus::Skipped);
        assert!(ledger.find(&key("b")).is_none());
    }

    #[test]
    fn doubtful_files_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let block = Block::new(dir.path());
        for (text, says) in [
            ("version: 2\n", "version 2 is newer"),
            ("tasks: []\n", "version"),
            (
                "version: 1\ntasks:\n  - {task_id: a, status: done}\n  - {task_id: a, status: failed}\n",
                "two entries",
            ),
            ("version: 1\ntasks:\n  - {task_id: a, status: finished}\n", "finished"),
        ] {
            files::replace(&block.ledger(), text.as_bytes()).unwrap();
            let error = Ledger::load(&block).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
