//! The agent that runs the task's own solution.

use super::{Agent, AgentContext, AgentFailure, AgentReport};
use crate::environment::{Exec, ExecStatus};
use async_trait::async_trait;
use serde_json::Map;
use trajgen_contract::files;
use trajgen_contract::outcome::ErrorType;

/// Where the solution lies inside the environment.
const SOLUTION: &str = "/solution";
/// The script in it that is run.
const SCRIPT: &str = "solve.sh";

/// Uploads `solution/` and runs its `solve.sh`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Oracle;

#[async_trait]
impl Agent for Oracle {
    fn name(&self) -> &str {
        "oracle"
    }

    fn version(&self) -> String {
        "1.0.0".to_owned()
    }

    fn calls_model(&self) -> bool {
        false
    }

    async fn set_up(&self, _context: &AgentContext) -> Result<(), AgentFailure> {
        Ok(())
    }

    async fn run(&self, context: &AgentContext) -> Result<AgentReport, AgentFailure> {
        match context.cancelled.run_until_cancelled(solve(context)).await {
            Some(ended) => ended,
            None => Err(super::cancelled()),
        }
    }

    async fn disarm(&self, _context: &AgentContext) {}
}

async fn solve(context: &AgentContext) -> Result<AgentReport, AgentFailure> {
    let Some((folder, variables)) = &context.solution else {
        return Err(AgentFailure::new(
            ErrorType::AgentSetupError,
            format!(
                "trial {}: the task has no solution/ folder, which the oracle runs; add solution/{SCRIPT} or use another agent",
                context.trial_name
            ),
        ));
    };
    let script = folder.join(SCRIPT);
    if !script.is_file() {
        return Err(AgentFailure::new(
            ErrorType::AgentSetupError,
            format!(
                "trial {}: {} is missing, which the oracle runs; add it or use another agent",
                context.trial_name,
                script.display()
            ),
        ));
    }
    context.environment.upload(folder, SOLUTION).await?;
    // The task's own variables come last: the solution must see what its author declared.
    let mut env =
        std::collections::BTreeMap::from([("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned())]);
    env.extend(context.env.clone());
    env.extend(variables.clone());
    let ended = context
        .environment
        .exec(Exec {
            argv: vec!["bash".into(), format!("{SOLUTION}/{SCRIPT}")],
            user: context.user.clone(),
            env,
            log_to: Some(context.logs_dir.join("oracle.txt")),
            ..Exec::default()
        })
        .await?;
    let code = match ended.status {
        ExecStatus::Exited(code) => code,
        // As a shell reports it.
        ExecStatus::Signalled(signal) => 128 + signal,
        ExecStatus::TimedOut => 124,
    };
    if code != 0 {
        let path = context.logs_dir.join("exit-code.txt");
        files::replace(&path, code.to_string().as_bytes()).map_err(|error| super::file_failure(&error))?;
    }
    let metadata = Map::from_iter([("exit_code".to_owned(), code.into())]);
    Ok(AgentReport { exit_reason: "solution_ran".to_owned(), metadata })
}
