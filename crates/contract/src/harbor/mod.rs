//! Harbor's files beside a job and a trial: `config.json` and `lock.json`, in the shapes its 0.24
//! models read and write.
//!
//! Every field is written, null ones too, because Harbor writes them. On reading, missing fields take
//! Harbor's defaults and unknown ones are ignored.

mod job;
mod lock;
mod trial;

pub use job::{DatasetConfig, JobConfig, RetryConfig};
pub use lock::{AgentSkillLock, HarborInfo, JobLock, TaskLock, TrialLock, VerifierLock};
pub use trial::{AgentConfig, EnvironmentConfig, TaskConfig, TrialConfig, VerifierConfig};

use crate::redact::names_secret_variable;
use std::collections::BTreeMap;

/// What stands for our sandbox in `environment.import_path`, as Harbor's list of types is closed.
pub const SANDBOX_IMPORT_PATH: &str = "trajgen:sandbox";

/// Variables as they may be written to disk: the value of a variable whose name tells of a credential
/// becomes `****`, unless it is a `${VAR}` template.
///
/// Harbor redacts the same names when it writes, so these values also survive a round trip there.
#[must_use]
pub fn redact_env(env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    env.iter()
        .map(|(name, value)| {
            let template = value.starts_with("${") && value.ends_with('}');
            let hide = names_secret_variable(name) && !template;
            (name.clone(), if hide { "****".to_owned() } else { value.clone() })
        })
        .collect()
}

/// Variables as they may be written to disk, as [`redact_env`]; those in `written` were taken from the
/// environment, and stand there as config writes them: a `${VAR}` template stays one, anything else is
/// `****`.
#[must_use]
pub fn redact_taken_env(
    env: &BTreeMap<String, String>,
    written: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut shown = redact_env(env);
    for (name, value) in &mut shown {
        if let Some(written) = written.get(name) {
            *value = if is_template(written) { written.clone() } else { "****".to_owned() };
        }
    }
    shown
}

/// Whether a value is nothing but `${VAR}`: Harbor replaces it when it runs.
fn is_template(value: &str) -> bool {
    let name = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_variables_are_hidden_and_counts_are_not() {
        let env = BTreeMap::from(
            [
                ("API_KEY", "sk-secret-value"),
                ("GH_TOKEN", "${GH_TOKEN}"),
                ("auth_token", "abc"),
                ("MAX_TOKENS", "400"),
                ("MODE", "x"),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        let shown: Vec<String> = redact_env(&env).into_values().collect();
        assert_eq!(shown, ["****", "${GH_TOKEN}", "400", "x", "****"]);
    }

    #[test]
    fn what_came_from_the_environment_is_not_written_under_any_name() {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let env = map(&[("A", "x"), ("GH_PAT", "ghp_1"), ("URL", "https://me:ghp_1@h")]);
        let written = map(&[("GH_PAT", "${PAT}"), ("URL", "https://me:${PAT}@h")]);
        let shown = redact_taken_env(&env, &written);
        assert_eq!(shown, map(&[("A", "x"), ("GH_PAT", "${PAT}"), ("URL", "****")]));
        let default = map(&[("GH_PAT", "${PAT:-literal-secret}")]);
        assert_eq!(redact_taken_env(&env, &default)["GH_PAT"], "****");
    }
}
