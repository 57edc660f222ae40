//! Grading: tests in, reward out.

use super::reward;
use crate::environment::{Environment, EnvironmentError, Exec, ExecStatus};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trajgen_contract::layout::TrialDir;
use trajgen_contract::outcome::ErrorType;
use trajgen_contract::result::Rewards;

/// What the verifier is told.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The task's `tests/` folder on the host.
    pub tests: PathBuf,
    /// As whom the tests run.
    pub user: Option<String>,
    /// Their variables, resolved.
    pub env: BTreeMap<String, String>,
    /// Their limit.
    pub timeout: Duration,
}

/// Why there is no reward.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct VerifierFailure {
    /// A verifier's error type, or the environment's.
    pub kind: ErrorType,
    /// What happened.
    pub message: String,
}

impl From<EnvironmentError> for VerifierFailure {
    fn from(error: EnvironmentError) -> Self {
        Self { kind: error.kind, message: error.message }
    }
}

/// Runs the tests on what the agent left and reads the reward.
///
/// # Errors
/// Every way of getting no reward is an error type of its own; findings are kept in `findings`.
pub async fn verify(
    environment: &dyn Environment,
    trial: &TrialDir,
    what: &Verification,
    scratch: &Path,
    findings: &mut Vec<String>,
) -> Result<Rewards, VerifierFailure> {
    upload_tests(environment, what).await?;
    if let Some(planted) = planted(environment).await? {
        // Whoever writes there before the tests run wants to be taken for them.
        findings.push(format!("left running by the agent, something wrote to /logs/verifier: {planted}"));
        environment.kill_all().await?;
        upload_tests(environment, what).await?;
    }
    let stdout = trial.verifier().join("test-stdout.txt");
    std::fs::create_dir_all(trial.verifier()).map_err(|e| VerifierFailure {
        kind: ErrorType::EnvironmentLostError,
        message: format!("cannot create {}: {e}", trial.verifier().display()),
    })?;
    if workdir_made_again(environment).await? {
        findings.push(format!("{} was gone when the tests were to run in it", environment.workdir()));
    }
    let mut run = Exec::shell("/tests/test.sh").user(what.user.as_deref()).timeout(Some(what.timeout));
    run.env = what.env.clone();
    run.log_to = Some(stdout);
    run.keep_output = Some(4096);
    // What else runs may write there as it likes.
    run.private = true;
    let ended = environment.exec(run).await?;
    let kept_own_name = ["test-stdout.txt".to_owned()];
    let collected = environment.download_private(&trial.verifier(), &kept_own_name).await;
    findings.extend(changed_tests(environment, &what.tests, scratch).await);
    if ended.status == ExecStatus::TimedOut {
        return Err(VerifierFailure {
            kind: ErrorType::VerifierTimeoutError,
            message: format!("the tests did not end within {} s", what.timeout.as_secs_f64()),
        });
    }
    collected?;
    reward::read_rewards(&trial.verifier()).map_err(|e| VerifierFailure {
        kind: e.kind,
        message: format!("{} (test.sh {})", e.message, said(&ended.status)),
    })
}

/// A shell of ours, in a folder that is there whatever the agent removed.
fn ours(line: &str) -> Exec {
    let exec = Exec::shell(line).user(Some("0")).timeout(Some(Duration::from_secs(60)));
    Exec { cwd: Some("/".into()), ..exec }
}

/// The tests start in the workdir, also when the agent removed it; says whether it did.
async fn workdir_made_again(environment: &dyn Environment) -> Result<bool, VerifierFailure> {
    let mut make = ours(r#"[ -d "$WORKDIR" ] || { rm -f "$WORKDIR"; mkdir -p "$WORKDIR" && echo made; }"#);
    make.env = BTreeMap::from([("WORKDIR".to_owned(), environment.workdir().to_owned())]);
    Ok(environment.exec(make).await?.text().trim() == "made")
}

/// What lies in the verifier's folder though no test has run.
async fn planted(environment: &dyn Environment) -> Result<Option<String>, VerifierFailure> {
    let seen = environment.exec(ours("ls -A /logs/verifier")).await?;
    let names = seen.text().split_whitespace().take(8).collect::<Vec<_>>().join(", ");
    Ok(Some(names).filter(|names| !names.is_empty()))
}

fn said(status: &ExecStatus) -> String {
    match status {
        ExecStatus::Exited(code) => format!("exited with code {code}"),
        ExecStatus::Signalled(signal) => format!("was ended by signal {signal}"),
        ExecStatus::TimedOut => "ran out of time".into(),
    }
}

async fn upload_tests(environment: &dyn Environment, what: &Verification) -> Result<(), VerifierFailure> {
    let failed = |message: String| VerifierFailure { kind: ErrorType::AddTestsDirError, message };
    // Whatever the agent put at these places goes; a link is removed, not followed.
    // Each is moved aside first: what still writes into it must not keep it from being removed.
    let clear = ours(
        r#"for place in /logs/verifier /tests; do
            aside=$(mktemp -d "${place%/*}/.aside.XXXXXX") || exit
            if [ -e $place ] || [ -L $place ]; then mv -T $place "$aside/old" || exit; fi
            rm -rf "$aside" 2> /dev/null
            mkdir -p $place || exit
        done
        chmod 0777 /logs/verifier"#,
    );
    let cleared = environment.exec(clear).await?;
    if !cleared.success() {
        return Err(failed(format!("cannot clear /tests and /logs/verifier: {}", cleared.text().trim())));
    }
    environment.upload(&what.tests, "/tests").await.map_err(|e| match e.kind {
        ErrorType::EnvironmentLostError => VerifierFailure { kind: e.kind, message: e.message },
        _ => failed(format!("cannot upload the tests: {}", e.message)),
    })?;
    let done = environment.exec(ours("chmod +x /tests/test.sh")).await?;
    if done.success() {
        Ok(())
    } else {
        Err(failed(format!("cannot make test.sh executable: {}", done.text().trim())))
    }
}

/// The tests inside against the task's, after the run: a difference is a finding.
async fn changed_tests(environment: &dyn Environment, tests: &Path, scratch: &Path) -> Vec<String> {
    let Ok(copy) = tempfile::Builder::new().prefix("tests-").tempdir_in(scratch) else { return Vec::new() };
    match environment.download("/tests", copy.path(), &[]).await {
        Ok(true) => {}
        Ok(false) => return vec!["/tests was gone after the tests had run".into()],
        Err(_) => return Vec::new(),
    }
    let mut findings = Vec::new();
    compare(tests, copy.path(), Path::new(""), &mut findings);
    findings
}

fn compare(ours: &Path, theirs: &Path, below: &Path, findings: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(ours.join(below)) else { return };
    let mut names: Vec<_> = entries.flatten().collect();
    names.sort_by_key(std::fs::DirEntry::file_name);
    for entry in names {
        let path = below.join(entry.file_name());
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            compare(ours, theirs, &path, findings);
        } else if entry.file_type().is_ok_and(|t| t.is_file())
            && differ(&ours.join(&path), &theirs.join(&path))
        {
            findings.push(format!("tests/{} was not the task's after the tests had run", path.display()));
        }
    }
}

fn differ(ours: &Path, theirs: &Path) -> bool {
    let length = |path: &Path| std::fs::metadata(path).map(|found| found.len()).ok();
    // What lies inside may be of any length: it is read only when it is as long as ours.
    length(ours) != length(theirs) || std::fs::read(ours).ok() != std::fs::read(theirs).ok()
}
