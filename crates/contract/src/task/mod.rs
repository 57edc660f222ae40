//! Tasks: the folder, its `task.toml`, what makes it valid, its digests.

mod definition;
pub mod digest;
mod env;
mod instruction;
mod network;
mod parse;
mod section;
pub mod tree;

pub use definition::{
    AgentSection, Artifact, Author, CollectHook, Definition, EnvironmentSection, Healthcheck, MAIN_SERVICE,
    McpServer, McpTransport, MinReward, Package, RewardStrategy, StepSection, Tpu, VerifierMode,
    VerifierSection,
};
pub use env::{MissingVariable, resolve_env};
pub use instruction::strip_canary;
pub use network::{NetworkMode, NetworkPolicy};
pub use section::Problem;

use crate::files::FileError;
use crate::harbor::TaskLock;
use std::path::{Path, PathBuf};

/// Something about a task that does not keep it from running.
pub type Warning = Problem;

/// A valid task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    dir: PathBuf,
    id: String,
    definition: Definition,
    instruction: String,
    step_instructions: Vec<String>,
}

/// Why a folder is no valid task: every reason.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Something could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The task must be changed.
    #[error("{}: {}", dir.display(), list(problems))]
    Invalid {
        /// The task's folder.
        dir: PathBuf,
        /// What is wrong, in the order of the file.
        problems: Vec<Problem>,
    },
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The environment of a separate verifier.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifierEnvironment {
    /// What it asks for, the image that holds included.
    pub section: EnvironmentSection,
    /// Where it is built from.
    pub context: PathBuf,
    /// Whether `/tests` is in its image and not uploaded.
    pub bundled_tests: bool,
}

impl Task {
    /// Reads the task in the folder `dir` and checks all of it.
    ///
    /// # Errors
    /// When it cannot be read, or with every reason why it is not valid.
    pub fn load(dir: &Path) -> Result<(Self, Vec<Warning>), TaskError> {
        let invalid = |problems| TaskError::Invalid { dir: dir.to_owned(), problems };
        let config = dir.join("task.toml");
        if !config.is_file() {
            return Err(invalid(vec![problem("task.toml", "is missing; every task has one")]));
        }
        // A link out of the task would be followed by every read below.
        let strays = tree::check(dir)?;
        if !strays.is_empty() {
            return Err(invalid(strays));
        }
        let text = read_text(&config)?;
        let (definition, warnings) = parse::parse(&text).map_err(invalid)?;
        let mut task = Self {
            dir: dir.to_owned(),
            id: folder_name(dir)?,
            definition,
            instruction: String::new(),
            step_instructions: Vec::new(),
        };
        let problems = task.check_files();
        if !problems.is_empty() {
            return Err(invalid(problems));
        }
        if task.definition.steps.is_empty() {
            task.instruction = strip_canary(&read_text(&dir.join("instruction.md"))?);
        }
        for step in &task.definition.steps {
            let path = task.step_dir(step).join("instruction.md");
            task.step_instructions.push(strip_canary(&read_text(&path)?));
        }
        Ok((task, warnings))
    }

    /// The task's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What results call it: `[task].name` when given, else the id.
    #[must_use]
    pub fn name(&self) -> &str {
        self.definition.package.as_ref().map_or(&self.id, |package| &package.name)
    }

    /// Its `task.toml`.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// What the agent is told, without canary; empty for a multi-step task.
    #[must_use]
    pub fn instruction(&self) -> &str {
        &self.instruction
    }

    /// The steps with what the agent is told in each; none for a single-step task.
    pub fn steps(&self) -> impl Iterator<Item = (&StepSection, &str)> {
        self.definition.steps.iter().zip(self.step_instructions.iter().map(String::as_str))
    }

    /// What the environment is built from. With a `docker_image` it need not be there.
    #[must_use]
    pub fn environment_dir(&self) -> PathBuf {
        self.dir.join("environment")
    }

    /// What goes to `/tests`.
    #[must_use]
    pub fn tests_dir(&self) -> PathBuf {
        self.dir.join("tests")
    }

    /// What goes to `/solution`, for the oracle only; it need not be there.
    #[must_use]
    pub fn solution_dir(&self) -> PathBuf {
        self.dir.join("solution")
    }

    /// A step's folder.
    #[must_use]
    pub fn step_dir(&self, step: &StepSection) -> PathBuf {
        self.dir.join("steps").join(&step.name)
    }

    /// Where the verifier runs: the step's word, else the task's, else shared. A verifier environment
    /// without a word means separate.
    #[must_use]
    pub fn verifier_mode(&self, step: Option<&StepSection>) -> VerifierMode {
        let said = |verifier: &VerifierSection| {
            verifier.environment_mode.or(verifier.environment.as_ref().map(|_| VerifierMode::Separate))
        };
        step.and_then(|step| said(&step.verifier))
            .or_else(|| said(&self.definition.verifier))
            .unwrap_or(VerifierMode::Shared)
    }

    /// The separate verifier's environment; none for a shared verifier.
    ///
    /// What it asks for is the step's, else the task's `[verifier.environment]`, else a copy of
    /// `[environment]`. Its image is the first of: the step's own, built from the step's `tests/`, the
    /// task's own, built from `tests/`, the agent's.
    #[must_use]
    pub fn verifier_environment(&self, step: Option<&StepSection>) -> Option<VerifierEnvironment> {
        if self.verifier_mode(step) == VerifierMode::Shared {
            return None;
        }
        let own = step.and_then(|step| step.verifier.environment.as_ref());
        let tasks = self.definition.verifier.environment.as_ref();
        let section = own.or(tasks).unwrap_or(&self.definition.environment).clone();
        let step_tests = step.map(|step| (own, self.step_dir(step).join("tests")));
        for (environment, tests) in step_tests.into_iter().chain([(tasks, self.tests_dir())]) {
            let image = environment.and_then(|environment| environment.docker_image.clone());
            if image.is_some() || is_buildable(&tests) {
                let section = EnvironmentSection { docker_image: image, ..section };
                return Some(VerifierEnvironment { section, context: tests, bundled_tests: true });
            }
        }
        let docker_image = self.definition.environment.docker_image.clone();
        let section = EnvironmentSection { docker_image, ..section };
        Some(VerifierEnvironment { section, context: self.environment_dir(), bundled_tests: false })
    }

    /// Variables that the task takes from the host and that the host does not have; `with_solution`
    /// when the oracle works on it.
    pub fn missing_variables(
        &self,
        host_env: impl Fn(&str) -> Option<String>,
        with_solution: bool,
    ) -> Vec<MissingVariable> {
        let definition = &self.definition;
        let mut tables = vec![&definition.environment.env];
        let steps = definition.steps.iter().map(|step| &step.verifier);
        for verifier in std::iter::once(&definition.verifier).chain(steps) {
            tables.push(&verifier.env);
            tables.extend(verifier.environment.as_ref().map(|environment| &environment.env));
        }
        if with_solution {
            tables.push(&definition.solution_env);
        }
        tables
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| resolve_env(&[(key.clone(), value.clone())].into(), &host_env).err())
            .collect()
    }

    /// The task in a lock file; `path` as the trial's config gives it.
    ///
    /// # Errors
    /// When the task's files cannot be read.
    pub fn lock(&self, path: &str, dataset: Option<&str>) -> Result<TaskLock, FileError> {
        Ok(TaskLock {
            name: self.id.clone(),
            version: self.definition.package.as_ref().and_then(|package| package.version.clone()),
            kind: "local".into(),
            digest: digest::lock_digest(&self.dir)?,
            source: dataset.map(str::to_owned),
            path: Some(path.to_owned()),
            git_url: None,
            git_commit_id: None,
        })
    }

    /// What must be there and is not.
    fn check_files(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let environment = self.environment_dir();
        if self.definition.environment.docker_image.is_none() && !is_buildable(&environment) {
            problems.push(problem(
                "environment",
                "holds neither Dockerfile nor docker-compose.yaml, and [environment] names no docker_image; add one",
            ));
        }
        let shared_test = self.tests_dir().join("test.sh").is_file();
        let bundled = |step| self.verifier_environment(step).is_some_and(|verifier| verifier.bundled_tests);
        if self.definition.steps.is_empty() {
            if !self.dir.join("instruction.md").is_file() {
                problems.push(problem("instruction.md", "is missing; it tells the agent what to do"));
            }
            if !shared_test && !bundled(None) {
                problems.push(problem("tests/test.sh", "is missing; it grades what the agent did"));
            }
        }
        for step in &self.definition.steps {
            let folder = format!("steps/{}", step.name);
            if !self.dir.join(&folder).join("instruction.md").is_file() {
                problems.push(problem(
                    &format!("{folder}/instruction.md"),
                    "is missing; it tells the agent what to do in this step",
                ));
            }
            let own_test = self.dir.join(&folder).join("tests/test.sh").is_file();
            if !own_test && !shared_test && !bundled(Some(step)) {
                problems.push(problem(
                    &format!("{folder}/tests/test.sh"),
                    "is missing, and there is no tests/test.sh for all steps",
                ));
            }
        }
        problems
    }
}

fn problem(file: &str, message: &str) -> Problem {
    Problem { file: file.into(), line: None, key: String::new(), message: message.into() }
}

fn is_buildable(dir: &Path) -> bool {
    dir.join("Dockerfile").is_file() || dir.join("docker-compose.yaml").is_file()
}

fn read_text(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(FileError::at("read", path))
}

/// The folder's own name, also when `dir` is `.` or ends in `..`.
fn folder_name(dir: &Path) -> Result<String, FileError> {
    let named = match dir.file_name() {
        Some(name) => name.to_owned(),
        None => {
            let real = dir.canonicalize().map_err(FileError::at("resolve", dir))?;
            real.file_name().unwrap_or_default().to_owned()
        }
    };
    Ok(named.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
