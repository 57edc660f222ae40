//! One job's folder to one folder of training data, in two passes.
//!
//! The first pass converts trials and writes their records, unscored, to a nameless spool file, counting on the
//! way what scores need to know of the whole data set. The second reads the spool, scores, and writes
//! `im.jsonl` and `lf.json`. So no pass holds more than a batch of trials, and a record's score is the same as
//! that of its line in `im.jsonl` scored again. Outputs are put in place only when all are whole.

use crate::convert::{self, Converter};
use crate::dropped::{Dropped, Reason};
use crate::score::{CallCounts, DatasetFacts, Scored, Scorer, v5::V5};
use crate::select::{self, Selection, Trial};
use crate::stats::Stats;
use crate::template::{BUILT_IN_NAME, ChatTemplate};
use crate::{ConvertError, ConvertOptions, ConvertReport, Progress, ReasoningCheck, Scaffold, ScorerName};
use crate::{calls, im, lf, metadata, parallel, signature, validate};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::Path;
use trajgen_contract::files::{self, FileError, Replacement};
use trajgen_contract::layout::{JobDir, SftDir};

/// Converts a job's trials into training data.
///
/// # Errors
/// When the job cannot be read, no converter fits, a setting is wrong, or an output cannot be written. What is
/// wrong with one trial is no error: the trial is dropped and counted by reason.
pub fn convert(options: &ConvertOptions) -> Result<ConvertReport, ConvertError> {
    check_settings(options)?;
    let template = ChatTemplate::built_in()?;
    let selection = select::select(options)?;
    let out = SftDir::new(&options.out_dir);
    let signature = signature::of(options, &selection);
    if options.skip_unchanged
        && let Some(report) = unchanged(&out, &signature)
    {
        return Ok(report);
    }
    let scorer: &dyn Scorer = match options.scorer {
        ScorerName::V5 => &V5,
    };
    let workers =
        options.parallelism.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut run = Run {
        options,
        scorer,
        template: &template,
        workers,
        tally: Tally { selected: selection.trials.len(), ..Tally::new(&selection) },
        facts: DatasetFacts::default(),
        stats: Stats::default(),
    };
    std::fs::create_dir_all(out.path()).map_err(FileError::at("create the folder", out.path()))?;
    let spool = run.convert_trials(&selection, out.path())?;
    run.write(spool, &out, &signature)
}

/// Finds what is wrong with a conversion before there is anything to convert: settings, the exclude list, and
/// agents (by their names) whose trials no converter reads. The job's folder need not be there.
///
/// # Errors
/// As those of [`convert()`] that have nothing to do with the job's files.
pub fn check(options: &ConvertOptions, agents: &[&str]) -> Result<(), ConvertError> {
    check_settings(options)?;
    select::check(options, agents)
}

fn check_settings(options: &ConvertOptions) -> Result<(), ConvertError> {
    let setting = |key, problem: String| Err(ConvertError::Setting { key, problem });
    if let ReasoningCheck::Adaptive { ratio } = options.reasoning
        && !(0.0..=1.0).contains(&ratio)
    {
        return setting("--reasoning-ratio", format!("{ratio} is not between 0 and 1"));
    }
    if let Some(least) = options.min_reward.filter(|m| !m.is_finite()) {
        return setting("min_reward", format!("{least} is no finite number"));
    }
    if let Some(tokenizer) = &options.tokenizer {
        return setting(
            "tokenizer",
            format!(
                "'{tokenizer}': tokenizers are not supported yet; leave it out for the built-in template"
            ),
        );
    }
    Ok(())
}

/// What was counted on the way.
#[derive(Debug, Default)]
struct Tally {
    scaffold: Option<Scaffold>,
    selected: usize,
    converted: usize,
    im_records: usize,
    bad_lines: usize,
    reasoning_conflicts: usize,
    dropped: BTreeMap<Reason, usize>,
}

impl Tally {
    fn new(selection: &Selection) -> Self {
        Self {
            scaffold: selection.trials.first().map(|t| t.scaffold),
            dropped: selection.left_out.clone(),
            ..Self::default()
        }
    }

    fn drop(&mut self, reason: Reason) {
        *self.dropped.entry(reason).or_default() += 1;
    }

    fn dropped(&self) -> BTreeMap<String, usize> {
        self.dropped.iter().map(|(reason, n)| (reason.as_str().to_owned(), *n)).collect()
    }
}

/// One trial's records, and what they add to the counts.
struct Converted {
    records: Vec<String>,
    facts: DatasetFacts,
    bad_lines: usize,
    conflicts: usize,
}

/// One record, scored and written out.
struct Finished {
    record: Value,
    im_line: String,
    lf_element: Result<String, Dropped>,
    scaffold: &'static str,
    calls: CallCounts,
}

struct Run<'a> {
    options: &'a ConvertOptions,
    scorer: &'a dyn Scorer,
    template: &'a ChatTemplate,
    workers: usize,
    tally: Tally,
    facts: DatasetFacts,
    stats: Stats,
}

impl Run<'_> {
    /// First pass. Each line of the spool is a scaffold's name, a tab, and a record.
    fn convert_trials(&mut self, selection: &Selection, folder: &Path) -> Result<File, ConvertError> {
        let spool = tempfile::tempfile_in(folder).map_err(FileError::at("create a spool file in", folder))?;
        let mut writer = BufWriter::with_capacity(1 << 16, spool);
        let (scorer, reasoning, total) = (self.scorer, self.options.reasoning, selection.trials.len());
        let mut done = 0;
        parallel::in_order(
            &selection.trials,
            self.workers,
            |trial| (trial, convert_trial(trial, scorer, reasoning)),
            |(trial, outcome)| {
                let name = trial.files.dir().name();
                match outcome {
                    Ok(converted) => {
                        for record in &converted.records {
                            writeln!(writer, "{}\t{record}", trial.scaffold.as_str())
                                .map_err(FileError::at("write a spool file in", folder))?;
                        }
                        self.tally.converted += 1;
                        self.tally.bad_lines += converted.bad_lines;
                        self.tally.reasoning_conflicts += converted.conflicts;
                        self.facts.merge(&converted.facts);
                    }
                    Err(dropped) => {
                        tracing::warn!(trial = %name, reason = dropped.reason.as_str(), detail = %dropped.detail, "trial dropped");
                        self.tally.drop(dropped.reason);
                    }
                }
                done += 1;
                if let Some(progress) = &self.options.progress {
                    progress(&Progress { done, total, trial: name });
                }
                Ok::<(), FileError>(())
            },
        )?;
        writer
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .map_err(FileError::at("write a spool file in", folder))
            .map_err(ConvertError::from)
    }

    /// Second pass: scores and writes everything.
    fn write(
        mut self,
        mut spool: File,
        out: &SftDir,
        signature: &str,
    ) -> Result<ConvertReport, ConvertError> {
        spool.rewind().map_err(FileError::at("read a spool file in", out.path()))?;
        let mut im_file = Replacement::begin(&out.im())?;
        let mut lf_file = Replacement::begin(&out.lf())?;
        let (scorer, template, facts) = (self.scorer, self.template, self.facts.clone());
        let lines = BufReader::with_capacity(1 << 16, spool).lines();
        parallel::in_order(
            lines,
            self.workers,
            |line| line.ok().and_then(|line| finish(&line, scorer, &facts, template)),
            |finished| -> Result<(), FileError> {
                let Some(finished) = finished else {
                    return Err(FileError::at("read back a spool file in", out.path())(
                        std::io::ErrorKind::InvalidData.into(),
                    ));
                };
                im_file.write(finished.im_line.as_bytes())?;
                im_file.write(b"\n")?;
                self.tally.im_records += 1;
                match finished.lf_element {
                    Ok(element) => {
                        lf_file.write(if self.stats.count() == 0 { b"[\n" } else { b",\n" })?;
                        lf_file.write(element.as_bytes())?;
                        self.stats.add(&finished.record, finished.scaffold, finished.calls);
                    }
                    Err(dropped) => {
                        tracing::warn!(reason = dropped.reason.as_str(), detail = %dropped.detail, "record left out of lf.json");
                        self.tally.drop(dropped.reason);
                    }
                }
                Ok(())
            },
        )?;
        lf_file.write(if self.stats.count() == 0 { b"[]\n" } else { b"\n]\n" })?;

        // From here on the old signature would speak of files that are being replaced.
        match std::fs::remove_file(out.signature()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(FileError::at("remove", &out.signature())(e).into());
            }
            _ => {}
        }
        im_file.commit()?;
        lf_file.commit()?;
        let name = JobDir::new(&self.options.job_dir).name();
        files::replace_json(&out.stats(), &self.stats_json(&name))?;
        files::replace_json(&out.dataset_info(), &lf::dataset_info(&name))?;
        let now = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default();
        files::replace_json(&out.signature(), &json!({"sig": signature, "converted_at": now.to_string()}))?;
        Ok(ConvertReport {
            scaffold: self.tally.scaffold.map_or("none", Scaffold::as_str),
            selected: self.tally.selected,
            converted: self.tally.converted,
            im_records: self.tally.im_records,
            lf_records: self.stats.count(),
            dropped: self.tally.dropped(),
            mean_score: self.stats.mean_score(),
            im_path: out.im(),
            lf_path: out.lf(),
            stats_path: out.stats(),
            skipped_unchanged: false,
        })
    }

    fn stats_json(&self, dataset: &str) -> Map<String, Value> {
        let mut map = self.stats.json();
        map.insert("dropped".to_owned(), json!(self.tally.dropped()));
        map.insert("dataset".to_owned(), json!(dataset));
        map.insert("scaffold".to_owned(), json!(self.tally.scaffold.map_or("none", Scaffold::as_str)));
        map.insert("scorer".to_owned(), json!(self.scorer.name()));
        map.insert("template".to_owned(), json!(BUILT_IN_NAME));
        map.insert("selected".to_owned(), json!(self.tally.selected));
        map.insert("converted".to_owned(), json!(self.tally.converted));
        map.insert("im_records".to_owned(), json!(self.tally.im_records));
        map.insert("skipped_lines".to_owned(), json!(self.tally.bad_lines));
        map.insert("reasoning_conflicts".to_owned(), json!(self.tally.reasoning_conflicts));
        map
    }
}

fn convert_trial(
    trial: &Trial,
    scorer: &dyn Scorer,
    reasoning: ReasoningCheck,
) -> Result<Converted, Dropped> {
    let converter: &dyn Converter = convert::for_scaffold(trial.scaffold)
        .ok_or_else(|| Dropped::new(Reason::NoTrajectory, "no converter reads this scaffold"))?;
    let conversations = converter.convert(trial)?;
    let calls = calls::summary(&trial.files)?;
    let metadata = metadata::of_task(trial.task_dir.as_deref());
    let mut converted = Converted {
        records: Vec::new(),
        facts: DatasetFacts::default(),
        bad_lines: calls.bad_lines,
        conflicts: 0,
    };
    for conversation in conversations {
        let agent_type = conversation.agent_type;
        let (record, conflicts) = im::record(trial, conversation, &calls, &metadata);
        let list = |key: &str| record[key].as_array().map(Vec::as_slice).unwrap_or_default();
        if converter.has_tool_calls() {
            validate::check(list("messages"), reasoning)?;
        }
        let scored =
            Scored { messages: list("messages"), tools: list("tools"), agent_type: agent_type.as_str() };
        scorer.observe(scored, &mut converted.facts);
        converted.records.push(record.to_string());
        converted.conflicts += conflicts;
    }
    Ok(converted)
}

/// Scores one line of the spool; none for a line that is not what was written.
fn finish(
    line: &str,
    scorer: &dyn Scorer,
    facts: &DatasetFacts,
    template: &ChatTemplate,
) -> Option<Finished> {
    let (scaffold, text) = line.split_once('\t')?;
    let scaffold: Scaffold = scaffold.parse().ok()?;
    let mut record: Value = serde_json::from_str(text).ok()?;
    let list = |key: &str| record.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let agent_type = im::info(&record, "_agent_type").and_then(Value::as_str).unwrap_or("main");
    let as_converted;
    let messages = if scaffold == Scaffold::Terminus2 {
        as_converted = im::with_think_blocks(list("messages"));
        &as_converted
    } else {
        list("messages")
    };
    let scored = Scored { messages, tools: list("tools"), agent_type };
    let score = scorer.score(scored, facts).map_or(Value::Null, Value::Object);
    let (by_scorer, calls) = (scorer.scaffold(scored), scorer.calls(scored));
    *record.pointer_mut("/meta_info/unique_info/_score")? = score;
    let lf_element = lf::record(&record, scaffold, template).and_then(|record| {
        lf::element(&record)
            .map_err(|e| Dropped::new(Reason::NotRendered, format!("it cannot be written: {e}")))
    });
    Some(Finished { im_line: record.to_string(), record, lf_element, scaffold: by_scorer, calls })
}

/// The report of a conversion that stands already.
fn unchanged(out: &SftDir, signature: &str) -> Option<ConvertReport> {
    let read = |path: &Path| -> Option<Value> { serde_json::from_slice(&std::fs::read(path).ok()?).ok() };
    let stands = read(&out.signature())?["sig"] == signature
        && [out.im(), out.lf(), out.dataset_info()].iter().all(|path| path.is_file());
    let stats = read(&out.stats()).filter(|_| stands)?;
    let number = |key: &str| stats[key].as_u64().and_then(|n| usize::try_from(n).ok());
    Some(ConvertReport {
        scaffold: Scaffold::ALL
            .iter()
            .find(|s| stats["scaffold"] == s.as_str())
            .map_or("none", |s| s.as_str()),
        selected: number("selected")?,
        converted: number("converted")?,
        im_records: number("im_records")?,
        lf_records: number("count")?,
        dropped: serde_json::from_value(stats["dropped"].clone()).ok()?,
        mean_score: stats["scores"]["mean"].as_f64(),
        im_path: out.im(),
        lf_path: out.lf(),
        stats_path: out.stats(),
        skipped_unchanged: true,
    })
}
