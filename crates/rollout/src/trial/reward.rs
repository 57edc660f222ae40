//! Reading what the verifier left: `reward.json`, else `reward.txt`.

use std::io::Read;
use std::path::Path;
use trajgen_contract::outcome::ErrorType;
use trajgen_contract::result::Rewards;

/// A reward file larger than this is not a reward.
const MAX_BYTES: u64 = 1 << 20;

/// Why there is no reward.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RewardError {
    /// `RewardFileNotFoundError`, `RewardFileEmptyError` or `VerifierOutputParseError`.
    pub kind: ErrorType,
    /// What was found and what was expected.
    pub message: String,
}

/// Reads the rewards from a trial's `verifier/` folder on the host.
///
/// # Errors
/// No file, an empty one, or one that is not a flat object of finite numbers (`reward.json`; booleans count as
/// 0 and 1) or one finite number (`reward.txt`).
pub fn read_rewards(verifier: &Path) -> Result<Rewards, RewardError> {
    for (name, parse) in
        [("reward.json", parse_json as fn(&str) -> Result<Rewards, String>), ("reward.txt", parse_text)]
    {
        let Some(bytes) = read_regular_file(&verifier.join(name)).map_err(|problem| RewardError {
            kind: ErrorType::VerifierOutputParseError,
            message: format!("{name}: {problem}"),
        })?
        else {
            continue;
        };
        if bytes.is_empty() {
            return Err(RewardError {
                kind: ErrorType::RewardFileEmptyError,
                message: format!("the verifier left an empty {name}; expected a reward in it"),
            });
        }
        return std::str::from_utf8(&bytes)
            .map_err(|_| "is not UTF-8 text".to_owned())
            .and_then(parse)
            .map_err(|problem| RewardError {
                kind: ErrorType::VerifierOutputParseError,
                message: format!("{name} {problem}"),
            });
    }
    Err(RewardError {
        kind: ErrorType::RewardFileNotFoundError,
        message: "the verifier left no reward: expected /logs/verifier/reward.txt or reward.json; see \
                  verifier/test-stdout.txt for what the tests printed"
            .into(),
    })
}

fn read_regular_file(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(None) };
    if !metadata.is_file() {
        return Err("is no regular file".into());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("is larger than {MAX_BYTES} bytes; a reward is one number or a small object"));
    }
    Ok(Some(bytes))
}

fn parse_text(text: &str) -> Result<Rewards, String> {
    let text = text.trim();
    let value: f64 = text.parse().map_err(|_| format!("holds {}; expected one number", quote(text)))?;
    Ok(Rewards::from([("reward".into(), finite("reward", value)?)]))
}

fn parse_json(text: &str) -> Result<Rewards, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| format!("is no JSON: {e}"))?;
    let serde_json::Value::Object(fields) = value else {
        return Err(format!("holds {}; expected a flat object of numbers", quote(text.trim())));
    };
    if fields.is_empty() {
        return Err("holds an empty object; expected at least one reward".into());
    }
    fields
        .into_iter()
        .map(|(name, value)| {
            let number = match &value {
                serde_json::Value::Bool(b) => Some(f64::from(u8::from(*b))),
                serde_json::Value::Number(n) => n.as_f64(),
                _ => None,
            };
            let number = number
                .ok_or_else(|| format!("has {} at '{name}'; expected a number", quote(&value.to_string())))?;
            Ok((name.clone(), finite(&name, number)?))
        })
        .collect()
}

fn finite(name: &str, value: f64) -> Result<f64, String> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(format!("has {value} at '{name}'; expected a finite number"))
    }
}

fn quote(text: &str) -> String {
    let cut: String = text.chars().take(60).collect();
    format!("{cut:?}{}", if cut.len() < text.len() { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Rewards, ErrorType> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        read_rewards(dir.path()).map_err(|e| e.kind)
    }

    #[test]
    fn each_kind_of_reward_file_gives_its_reward_or_its_error() {
        let one = |x: f64| Ok(Rewards::from([("reward".into(), x)]));
        assert_eq!(read(&[("reward.txt", "1\n")]), one(1.0));
        assert_eq!(read(&[("reward.txt", " 0.25 ")]), one(0.25));
        assert_eq!(read(&[("reward.txt", "0"), ("reward.json", "{\"reward\": true}")]), one(1.0));
        assert_eq!(
            read(&[("reward.json", "{\"b\": 2, \"a\": 0.5}")]),
            Ok(Rewards::from([("b".into(), 2.0), ("a".into(), 0.5)]))
        );
        assert_eq!(read(&[]), Err(ErrorType::RewardFileNotFoundError));
        assert_eq!(read(&[("reward.txt", "")]), Err(ErrorType::RewardFileEmptyError));
        for bad in ["  \n", "NaN", "inf", "one", "1 2"] {
            assert_eq!(read(&[("reward.txt", bad)]), Err(ErrorType::VerifierOutputParseError), "{bad}");
        }
        for bad in
            ["{}", "[1]", "1", "{\"a\": \"1\"}", "{\"a\": {\"b\": 1}}", "{\"a\": NaN}", "{\"a\": 1e999}", "{"]
        {
            assert_eq!(read(&[("reward.json", bad)]), Err(ErrorType::VerifierOutputParseError), "{bad}");
        }
    }

    #[test]
    fn a_huge_reward_and_a_link_are_no_rewards() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("reward.txt"), "1".repeat(10 << 20)).unwrap();
        assert_eq!(read_rewards(dir.path()).unwrap_err().kind, ErrorType::VerifierOutputParseError);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("elsewhere"), "1").unwrap();
        std::os::unix::fs::symlink("elsewhere", dir.path().join("reward.txt")).unwrap();
        assert_eq!(read_rewards(dir.path()).unwrap_err().kind, ErrorType::VerifierOutputParseError);
    }
}
