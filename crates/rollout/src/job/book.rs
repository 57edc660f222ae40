//! What a job means for the ledger: written before anything is paid for, and when it is over.

use super::plan::Planned;
use super::queue::Book;
use crate::clock;
use crate::trial::{TrialSpec, TryEnd};
use std::collections::HashMap;
use trajgen_contract::layout::{Block, TrialDir};
use trajgen_contract::ledger::{Entry, Key, Ledger};
use trajgen_contract::outcome::{ErrorType, LedgerStatus, ledger_status};

/// Keeps the ledger of a job.
pub struct LedgerBook<'a> {
    block: &'a Block,
    ledger: &'a mut Ledger,
    job: String,
    open: HashMap<Key, Account>,
}

/// One task's trials in this job.
#[derive(Debug, Default)]
struct Account {
    n_open: usize,
    submitted_at: Option<String>,
    best: Option<(f64, String)>,
    any_graded: bool,
    last: Option<(LedgerStatus, String)>,
}

/// What a spec's trial is accounted under.
#[must_use]
pub fn key_of(spec: &TrialSpec) -> Key {
    Key {
        task_id: spec.task_id.clone(),
        dataset: spec.dataset.clone(),
        agent: spec.agent.name.clone(),
        model: spec.agent.model.clone(),
    }
}

impl<'a> LedgerBook<'a> {
    /// Opens the book of `job` with what is planned, finished trials included.
    pub fn open(block: &'a Block, ledger: &'a mut Ledger, job: &str, planned: &[Planned]) -> Self {
        let mut book = Self { block, ledger, job: job.to_owned(), open: HashMap::new() };
        for trial in planned {
            let account = book.open.entry(key_of(&trial.spec)).or_default();
            account.n_open += 1;
        }
        for trial in planned {
            if let Some(result) = &trial.finished {
                let error = result.exception_info.as_ref().and_then(|e| e.error_type());
                book.close(&trial.spec, error, result.reward(), "");
            }
        }
        book
    }

    fn close(&mut self, spec: &TrialSpec, error: Option<ErrorType>, reward: Option<f64>, message: &str) {
        let path =
            self.block.relative(&TrialDir::new(&spec.trial_dir).trajectory_log()).display().to_string();
        let Some(account) = self.open.get_mut(&key_of(spec)) else { return };
        account.n_open = account.n_open.saturating_sub(1);
        let status = ledger_status(error, reward.is_some());
        account.any_graded |= status == LedgerStatus::Done;
        if let Some(reward) = reward
            && account.best.as_ref().is_none_or(|(best, _)| reward > *best)
        {
            account.best = Some((reward, path));
        }
        let note = error.map_or_else(String::new, |e| format!("{e}: {message}"));
        account.last = Some((status, note));
    }

    /// What the ledger says of an account now.
    fn entry(&self, key: &Key) -> Option<Entry> {
        let account = self.open.get(key)?;
        let mut entry = Entry::new(key, LedgerStatus::Running);
        entry.job = Some(self.job.clone());
        entry.submitted_at.clone_from(&account.submitted_at);
        if account.n_open == 0 {
            let (status, note) = account.last.clone()?;
            entry.status = if account.any_graded { LedgerStatus::Done } else { status };
            entry.note = if account.any_graded && account.best.is_some() { String::new() } else { note };
            if entry.status != LedgerStatus::Pending {
                entry.completed_at = Some(clock::now());
            }
        }
        if let Some((reward, path)) = &account.best {
            entry.reward = Some(*reward);
            entry.trajectory_path = Some(path.clone()).filter(|p| self.block.root().join(p).exists());
        }
        Some(entry)
    }

    fn write(&mut self, key: &Key) -> Result<(), String> {
        match self.entry(key) {
            Some(entry) => self.ledger.set(entry).map_err(|e| e.to_string()),
            None => Ok(()),
        }
    }

    /// Puts back what never came to an end: the next run may take it.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn close_unfinished(&mut self) -> Result<(), String> {
        let keys: Vec<Key> = self.open.keys().cloned().collect();
        for key in keys {
            let unfinished = self.open.get(&key).is_some_and(|a| a.n_open > 0 && a.submitted_at.is_some());
            if unfinished && let Some(mut entry) = self.entry(&key) {
                entry.status = LedgerStatus::Pending;
                self.ledger.set(entry).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }
}

impl Book for LedgerBook<'_> {
    fn starting(&mut self, spec: &TrialSpec) -> Result<(), String> {
        let key = key_of(spec);
        if let Some(account) = self.open.get_mut(&key) {
            account.submitted_at.get_or_insert_with(clock::now);
        }
        self.write(&key)
    }

    fn ended(&mut self, spec: &TrialSpec, end: &TryEnd) -> Result<(), String> {
        let message = end.error.as_ref().map_or("", |e| e.message.as_str());
        self.close(spec, end.error.as_ref().map(|e| e.kind), end.reward(), message);
        self.write(&key_of(spec))
    }
}
