//! A block of small tasks in a folder of its own, and the binary at work on it.

mod leftovers;
mod model;

pub use leftovers::leftovers;
pub use model::{Answer, Model};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use std::cell::RefCell;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes this long; a test that waits longer has found a bug.
const PATIENCE: Duration = Duration::from_secs(120);
/// A reply that ends a trial when it is given twice.
pub const DONE: &str =
    r#"{"analysis": "Nothing is left.", "plan": "End.", "commands": [], "task_complete": true}"#;
/// Tests that give a reward.
pub const REWARDED: &str = "#!/bin/bash\necho 1 > /logs/verifier/reward.txt\n";

/// A block.
pub struct Block {
    root: PathBuf,
    _dir: tempfile::TempDir,
    /// The processes that worked on it, whose leftovers are looked for.
    pids: RefCell<Vec<u32>>,
}

/// A finished process.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ended {
    /// Checks the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }
    /// What stands behind `error: ` and the lines after it.
    pub fn error(&self) -> &str {
        let at = self.stderr.find("error: ").unwrap_or_else(|| panic!("no error in {}", self.stderr));
        self.stderr.get(at..).unwrap_or_default().trim_end()
    }
}

impl Block {
    /// A block whose model is `model`.
    pub fn served(model: &Model, job: &str) -> Self {
        Self::new(&format!("{{api_base_url: '{}', model: openai/served, max_retries: 0}}", model.url), job)
    }

    /// An empty block whose config has `api` as its `llm_api` and the lines of `job` in its `harbor_job`.
    pub fn new(api: &str, job: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let block = Self { root: dir.path().canonicalize().unwrap(), _dir: dir, pids: RefCell::default() };
        block.write("tasks/verifiable_tasks.txt", "");
        block.write("scripts/default.yaml", &script(&[DONE, DONE]));
        let job: String = job.lines().map(|line| format!("      {}\n", line.trim())).collect();
        block.write(
            "config.yaml",
            &format!(
                "# mine\nversion: 1\nmeta_info: {{name:  trajgen}}   # odd spaces\nruntime_info:\n  input:\n    llm_api: {api}\n    \
                 litellm_proxy: {{port: 0}}\n    task_source: {{dataset_name: tasks}}\n    harbor_job:\n      n_concurrent: 2\n{job}    \
                 environment: {{type: sandbox}}\n    agent: {{name: terminus-2, max_turns: 5}}\nenvironment:\n  # none\n  extra: {{}}\n"
            ),
        );
        block
    }

    /// A block whose model plays `scripts/`.
    pub fn scripted(job: &str) -> Self {
        Self::new("{api_base_url: 'script://scripts', model: openai/scripted, max_retries: 0}", job)
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Writes a file of the block.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        let path = self.root.join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Replaces `from`, which must be there, in a file.
    #[track_caller]
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{from} in {text}");
        self.write(path, &text.replace(from, to));
    }

    /// Adds a task to the source and its manifest.
    pub fn task(&self, id: &str, test_sh: &str) {
        self.task_with(id, "", test_sh);
    }

    /// Adds a task with further lines in its `task.toml`.
    pub fn task_with(&self, id: &str, toml: &str, test_sh: &str) {
        self.write(&format!("tasks/{id}/task.toml"), &format!("version = \"1.0\"\n{toml}"));
        self.write(&format!("tasks/{id}/instruction.md"), &format!("Do nothing in {id}.\n"));
        self.write(&format!("tasks/{id}/environment/Dockerfile"), "FROM debian:12\nWORKDIR /app\n");
        self.write(&format!("tasks/{id}/tests/test.sh"), test_sh);
        let manifest = format!("{}{id}\n", self.read("tasks/verifiable_tasks.txt"));
        self.write("tasks/verifiable_tasks.txt", &manifest);
    }

    /// Runs `trajgen ARGS` in the block to its end.
    pub fn trajgen(&self, args: &[&str]) -> Ended {
        self.start(args).wait()
    }

    /// Runs `trajgen ARGS` in the block to its end, in a mount namespace of its own: `before` is what a shell does
    /// there first, `after` last. The exit code is that of `trajgen`, which `after` finds as `$1`.
    pub fn trajgen_in(&self, before: &str, args: &[&str], after: &str) -> Ended {
        let mut command = Command::new("unshare");
        // An ordinary user may mount as well, in a user namespace.
        command.arg(if rustix::process::geteuid().is_root() { "-m" } else { "-rm" });
        let script = format!("{{ {before}; }} || exit 99; \"$@\"; code=$?; {after}\nexit $code");
        command.args(["sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_trajgen")]);
        self.spawn(command, args).wait()
    }

    /// Starts `trajgen ARGS` in the block.
    pub fn start(&self, args: &[&str]) -> Started {
        self.spawn(Command::new(env!("CARGO_BIN_EXE_trajgen")), args)
    }

    fn spawn(&self, mut command: Command, args: &[&str]) -> Started {
        command.args(args).current_dir(&self.root).env_remove("LLM_API_KEY").env_remove("TRAJGEN_MASTER_KEY");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        self.pids.borrow_mut().push(child.id());
        Started { child }
    }

    /// Processes, control groups, mounts and scratch files that runs of this block left.
    pub fn leftovers(&self) -> Vec<String> {
        leftovers(&self.root, &self.pids.borrow())
    }

    /// The names of the jobs that got as far as a plan, oldest first.
    pub fn jobs(&self) -> Vec<String> {
        let mut jobs: Vec<(String, String)> = names(&self.path("artifacts/jobs"))
            .into_iter()
            .filter(|job| self.path(&format!("artifacts/jobs/{job}/plan.json")).exists())
            .map(|job| (self.json(&format!("artifacts/jobs/{job}/plan.json"))["started_at"].to_string(), job))
            .collect();
        jobs.sort();
        jobs.into_iter().map(|(_, job)| job).collect()
    }

    /// The only job's name.
    #[track_caller]
    pub fn job(&self) -> String {
        let mut jobs = self.jobs();
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs.remove(0)
    }

    pub fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.read(path)).unwrap()
    }

    pub fn yaml(&self, path: &str) -> Value {
        serde_saphyr::from_str(&self.read(path)).unwrap()
    }

    /// The job's `result.json`.
    pub fn result(&self, job: &str) -> Value {
        self.json(&format!("artifacts/jobs/{job}/result.json"))
    }

    /// The folder of the task's first trial, in the block.
    #[track_caller]
    pub fn trial(&self, job: &str, task: &str) -> String {
        let plan = self.json(&format!("artifacts/jobs/{job}/plan.json"));
        let trials = plan["trials"].as_array().unwrap();
        let trial = trials.iter().find(|t| t["task_id"] == task).expect("the task is in the plan");
        format!("artifacts/jobs/{job}/{}", trial["trial"].as_str().unwrap())
    }

    /// The trial's `result.json`.
    #[track_caller]
    pub fn trial_result(&self, job: &str, task: &str) -> Value {
        self.json(&format!("{}/result.json", self.trial(job, task)))
    }

    /// The trial's exception type.
    #[track_caller]
    pub fn exception(&self, job: &str, task: &str) -> String {
        let result = self.trial_result(job, task);
        result["exception_info"]["exception_type"].as_str().unwrap_or("none").to_owned()
    }

    /// The ledger's status of each task, as `task status` lines.
    pub fn ledger(&self) -> Vec<String> {
        let ledger = self.yaml("artifacts/consumption_ledger.yaml");
        let mut lines: Vec<String> = ledger["tasks"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|e| format!("{} {}", e["task_id"].as_str().unwrap(), e["status"].as_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    /// The runs of the index, as `id status` lines.
    pub fn runs(&self) -> Vec<String> {
        let index = self.yaml("artifacts/index.yaml");
        let runs = index["runs"].as_array().unwrap();
        runs.iter()
            .map(|r| format!("{} {}", r["id"].as_str().unwrap(), r["status"].as_str().unwrap()))
            .collect()
    }

    /// What the job's `events.jsonl` holds, torn last line left out.
    pub fn events(&self, job: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(&format!("artifacts/jobs/{job}/events.jsonl")));
        text.unwrap_or_default().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until an event of the newest job satisfies `is`.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is: impl Fn(&Value) -> bool) {
        self.wait_until(what, || {
            let job = names(&self.path("artifacts/jobs")).into_iter().max();
            job.is_some_and(|job| self.events(&job).iter().any(&is))
        });
    }

    /// Waits until `holds`.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The user's part of the config: all but the two sections that trajgen writes.
    pub fn config_of_the_user(&self) -> String {
        let (mut kept, mut ours) = (String::new(), None);
        for line in self.read("config.yaml").lines() {
            let depth = line.len() - line.trim_start().len();
            if ours.is_some_and(|below| depth <= below) {
                ours = None;
            }
            match line {
                "status:" => ours = Some(0),
                "  output:" => ours = Some(2),
                _ if ours.is_none() => kept.push_str(&format!("{line}\n")),
                _ => {}
            }
        }
        kept
    }

    /// Every trajectory log below `artifacts/jobs`, each line of which must be JSON.
    pub fn check_logs(&self) -> usize {
        let mut n = 0;
        for path in files(&self.path("artifacts/jobs")) {
            if path.file_name().is_some_and(|name| name == "litellm-trajectory.jsonl") {
                n += 1;
                for line in std::fs::read_to_string(&path).unwrap().lines() {
                    serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                }
            }
        }
        n
    }
}

/// The event `event` of the task.
pub fn of(event: &'static str, task: &'static str) -> impl Fn(&Value) -> bool {
    move |e| {
        e["event"] == event
            && e["trial"].as_str().is_some_and(|trial| trial.starts_with(&format!("{task}__")))
    }
}

/// A script of plain replies.
pub fn script(replies: &[&str]) -> String {
    let turns: String = replies.iter().map(|reply| format!("  - {{raw: '{reply}'}}\n")).collect();
    format!("tracks:\n- turns:\n{turns}")
}

/// Names in a folder, sorted; none when there is no folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}

/// A process at work. Dropped, it is killed.
pub struct Started {
    child: Child,
}

impl Started {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it has ended by itself.
    pub fn is_over(&self) -> bool {
        let flags = rustix::process::WaitIdOptions::EXITED
            | rustix::process::WaitIdOptions::NOWAIT
            | rustix::process::WaitIdOptions::NOHANG;
        let status =
            rustix::process::waitid(rustix::process::WaitId::Pid(Pid::from_child(&self.child)), flags);
        status.unwrap().is_some()
    }

    /// The processes below it, children of children included.
    pub fn descendants(&self) -> Vec<Pid> {
        let children: Vec<(u32, u32)> = names(Path::new("/proc"))
            .iter()
            .filter_map(|name| {
                let stat = std::fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
                // proc(5): pid (name) state ppid …
                let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
                Some((parent, name.parse().ok()?))
            })
            .collect();
        let mut below = vec![self.child.id()];
        let mut at = 0;
        while let Some(parent) = below.get(at).copied() {
            below.extend(children.iter().filter(|(of, _)| *of == parent).map(|(_, child)| *child));
            at += 1;
        }
        below.iter().skip(1).filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)).collect()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        // Both pipes are read at once: a process that fills one of them waits for ever otherwise.
        let mut stderr = self.child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let mut stdout = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        let status = self.child.wait().unwrap();
        Output { status, stdout, stderr: reader.join().unwrap() }.into()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // After `wait` there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
