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
            let hide = is_credential_name(name) && !template;
            (name.clone(), if hide { "****".to_owned() } else { value.clone() })
        })
        .collect()
}

/// Harbor's rule: a name that holds one of these words, but `TOKENS` (a count) is none.
fn is_credential_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let words = ["KEY", "SECRET", "PASSWORD", "CREDENTIAL", "AUTH"];
    words.iter().any(|word| name.contains(word))
        || name.match_indices("TOKEN").any(|(at, word)| !name[at + word.len()..].starts_with('S'))
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
}
