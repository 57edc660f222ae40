//! `${VAR}` in a task's tables of variables.

use regex::Regex;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A variable that a task takes from the host and that the host does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{key} wants the host's variable {variable}, which is not set; set it, or give a default: ${{{variable}:-…}}"
)]
pub struct MissingVariable {
    /// The entry that wants it.
    pub key: String,
    /// The variable's name.
    pub variable: String,
}

/// Takes a table's values: one that is as a whole `${VAR}` or `${VAR:-default}` from `host_env`, the
/// others as they are.
///
/// # Errors
/// For the first entry whose variable is not set and that has no default.
pub fn resolve_env(
    table: &BTreeMap<String, String>,
    host_env: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, MissingVariable> {
    table
        .iter()
        .map(|(key, value)| {
            let Some((variable, default)) = template(value) else {
                return Ok((key.clone(), value.clone()));
            };
            match host_env(variable).or_else(|| default.map(str::to_owned)) {
                Some(found) => Ok((key.clone(), found)),
                None => Err(MissingVariable { key: key.clone(), variable: variable.to_owned() }),
            }
        })
        .collect()
}

/// The variable's name and the default, when `value` is as a whole a template.
fn template(value: &str) -> Option<(&str, Option<&str>)> {
    static TEMPLATE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\A\$\{([^}:]+)(?::-(.*))?\}\z").ok());
    let found = TEMPLATE.as_ref()?.captures(value)?;
    Some((found.get(1)?.as_str(), found.get(2).map(|default| default.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Option<String> {
        (name == "SET").then(|| "from host".to_owned())
    }

    fn resolve(value: &str) -> Result<String, MissingVariable> {
        let table = BTreeMap::from([("K".to_owned(), value.to_owned())]);
        resolve_env(&table, host).map(|mut resolved| resolved.remove("K").unwrap())
    }

    #[test]
    fn whole_values_are_templates_and_parts_are_not() {
        for (value, expected) in [
            ("${SET}", "from host"),
            ("${SET:-x}", "from host"),
            ("${UNSET:-x}", "x"),
            ("${UNSET:-}", ""),
            ("${UNSET:-a}b}", "a}b"),
            ("pre-${SET}", "pre-${SET}"),
            ("${SET} ", "${SET} "),
            ("$SET", "$SET"),
            ("${}", "${}"),
            ("${SET:?x}", "${SET:?x}"),
            ("", ""),
        ] {
            assert_eq!(resolve(value).unwrap(), expected, "{value}");
        }
    }

    #[test]
    fn a_missing_variable_is_named_with_its_entry() {
        let error = resolve("${UNSET}").unwrap_err();
        assert_eq!((error.key.as_str(), error.variable.as_str()), ("K", "UNSET"));
        assert!(error.to_string().contains("${UNSET:-…}"), "{error}");
    }
}
