//! Blocks to run the binary in, and ways to look at what it leaves.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What a call of the binary gave.
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended well.
    #[track_caller]
    pub fn well(self) -> Self {
        self.with(0)
    }

    /// It ended with `code`.
    #[track_caller]
    pub fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "--- output\n{}\n--- errors\n{}", self.out, self.err);
        self
    }

    /// Its standard output, which is JSON and nothing else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e} in\n{}\n{}", self.out, self.err))
    }

    #[track_caller]
    pub fn says(&self, part: &str) -> &Self {
        assert!(self.out.contains(part), "'{part}' is not in\n{}\n--- errors\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn complains(&self, part: &str) -> &Self {
        assert!(self.err.contains(part), "'{part}' is not in\n{}", self.err);
        self
    }
}

/// The binary in `dir`, without anything of this process's environment that it would read.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trajgen"));
    command.args(args).current_dir(dir).stdin(Stdio::null());
    for name in ["LLM_API_KEY", "TRAJGEN_MASTER_KEY", "HARBOR_EXCLUDE_TASKS"] {
        command.env_remove(name);
    }
    command
}

/// Runs the binary in `dir` to its end.
pub fn trajgen(dir: &Path, args: &[&str]) -> Ended {
    Ended::of(command(dir, args).output().unwrap())
}

/// A task that is solved when its environment holds the file `/app/done`.
pub fn write_task(source: &Path, id: &str) -> PathBuf {
    let task = source.join(id);
    write(&task.join("task.toml"), "version = \"1.0\"\n[metadata]\nlanguage = \"shell\"\n");
    write(&task.join("instruction.md"), "Make the file /app/done.\n");
    write(&task.join("environment/Dockerfile"), "FROM debian:12\nWORKDIR /app\n");
    let test = "if [ -e /app/done ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt\n";
    write(&task.join("tests/test.sh"), &format!("#!/bin/bash\n{test}"));
    write(&task.join("solution/solve.sh"), "#!/bin/bash\ntouch /app/done\n");
    task
}

/// Writes a file and the folders above it.
pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A model that types `lines` one after the other, each in a turn, and says that the task is complete.
pub fn typing(lines: &[&str]) -> Value {
    let turn = |commands: Vec<Value>, is_over: bool| {
        let reply =
            json!({"analysis": "So far.", "plan": "Go on.", "commands": commands, "task_complete": is_over});
        json!({"text": reply.to_string()})
    };
    let typed = |line: &&str| turn(vec![json!({"keystrokes": format!("{line}\n"), "duration": 0.3})], false);
    let mut turns: Vec<Value> = lines.iter().map(typed).collect();
    turns.extend([turn(vec![], true), turn(vec![], true)]);
    json!({"tracks": [{"name": "agent", "turns": turns}]})
}

/// A small block with tasks and a scripted model of its own.
pub struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    /// With these tasks. The model solves them all.
    pub fn with(ids: &[&str]) -> Self {
        let small = Self { dir: tempfile::tempdir().unwrap() };
        for id in ids {
            write_task(&small.source(), id);
        }
        write(&small.source().join("verifiable_tasks.txt"), &format!("{}\n", ids.join("\n")));
        small.plays("default", &typing(&["touch done"]));
        small.configured(&[]);
        small
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where its tasks come from.
    pub fn source(&self) -> PathBuf {
        self.path().join("data/mini")
    }

    /// Gives a task (or `default`) this script.
    pub fn plays(&self, task: &str, script: &Value) {
        write(&self.path().join("model").join(format!("{task}.yaml")), &script.to_string());
    }

    /// The model leaves this task unsolved.
    pub fn fails(&self, task: &str) {
        self.plays(task, &typing(&["true"]));
    }

    /// Writes `config.yaml` with settings added, each as `section.key` and YAML.
    pub fn configured(&self, settings: &[(&str, &str)]) {
        let of = |section: &str| -> String {
            let lines = settings.iter().filter_map(|(path, value)| {
                let key = path.strip_prefix(section)?.strip_prefix('.')?;
                Some(format!("      {key}: {value}\n"))
            });
            lines.collect()
        };
        let config = format!(
            "version: 1\nmeta_info: {{name: small}}\nruntime_info:\n  input:\n    llm_api:\n      api_base_url: script://model\n      model: openai/tiny/model\n{}    litellm_proxy:\n      port: 0\n{}    task_source: {{provider: local, dataset_name: data/mini}}\n    harbor_job:\n      n_concurrent_builds: 2\n{}    environment:\n      type: sandbox\n{}    agent:\n      name: terminus-2\n{}    sft_conversion:\n      enabled: true\n{}",
            of("llm_api"),
            of("litellm_proxy"),
            of("harbor_job"),
            of("environment"),
            of("agent"),
            of("sft_conversion"),
        );
        write(&self.path().join("config.yaml"), &config);
    }

    pub fn trajgen(&self, args: &[&str]) -> Ended {
        trajgen(self.path(), args)
    }

    /// The task ids and rewards of a job, by task id.
    pub fn rewards(&self, job: &str) -> Vec<(String, Option<f64>)> {
        let mut rewards: Vec<_> = trials(&self.job(job))
            .iter()
            .map(|trial| {
                let result = read_json(&trial.join("result.json"));
                (task_of(trial), result["verifier_result"]["rewards"]["reward"].as_f64())
            })
            .collect();
        rewards.sort_by(|a, b| a.partial_cmp(b).unwrap());
        rewards
    }

    pub fn job(&self, job: &str) -> PathBuf {
        self.path().join("artifacts/jobs").join(job)
    }

    /// The ids of archived runs.
    pub fn runs(&self) -> Vec<String> {
        names(&self.path().join("artifacts/archives"))
    }

    /// Everything below the block, sorted; of the lock's file only that it is there.
    pub fn tree(&self) -> Vec<String> {
        let cut = |entry: String| if entry.contains("/.lock: ") { "artifacts/.lock".into() } else { entry };
        tree(self.path()).into_iter().map(cut).collect()
    }
}

/// Every path below `folder`, sorted, with what it holds when it is a file.
pub fn tree(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, into: &mut Vec<String>) {
        for name in names(folder) {
            let path = folder.join(name);
            let shown = path.strip_prefix(root).unwrap().display().to_string();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                into.push(format!("{shown}/"));
                walk(root, &path, into);
            } else if kind.is_symlink() {
                into.push(format!("{shown} -> {}", fs::read_link(&path).unwrap().display()));
            } else {
                into.push(format!("{shown}: {}", String::from_utf8_lossy(&fs::read(&path).unwrap())));
            }
        }
    }
    let mut paths = Vec::new();
    walk(folder, folder, &mut paths);
    paths
}

/// The names in a folder, sorted; none when it is not there.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The only entry of a folder.
#[track_caller]
pub fn only(folder: &Path) -> PathBuf {
    let found = names(folder);
    assert_eq!(found.len(), 1, "{}: {found:?}", folder.display());
    folder.join(&found[0])
}

#[track_caller]
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[track_caller]
pub fn read_json(path: &Path) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[track_caller]
pub fn read_yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The lines of a file, each of them JSON.
#[track_caller]
pub fn read_lines(path: &Path) -> Vec<Value> {
    let text = read(path);
    assert!(text.ends_with('\n'), "{} ends within a line", path.display());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The trials' folders of a job, sorted.
pub fn trials(job: &Path) -> Vec<PathBuf> {
    let folders = names(job).into_iter().map(|name| job.join(name));
    folders.filter(|path| path.join("config.json").is_file()).collect()
}

/// A trial's task id, as readers find it.
pub fn task_of(trial: &Path) -> String {
    let config = read_json(&trial.join("config.json"));
    config["task"]["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}
