//! Which converter a trial's agent needs.

use crate::Scaffold;

/// The scaffold of an agent's name: a known one, else generic.
pub(crate) fn of_agent(name: &str) -> Scaffold {
    match name.trim().to_ascii_lowercase().as_str() {
        "claude-code" | "custom-claude-code" => Scaffold::ClaudeCode,
        "opencode" | "open-code" | "custom-opencode" => Scaffold::OpenCode,
        "openhands-sdk" | "custom-openhands-sdk" | "openhands" => Scaffold::OpenhandsSdk,
        "terminus-2" | "terminus2" => Scaffold::Terminus2,
        _ => Scaffold::Generic,
    }
}

/// Whether an agent calls no model, and so has nothing to teach.
pub(crate) fn calls_no_model(agent: &str) -> bool {
    matches!(agent.trim().to_ascii_lowercase().as_str(), "nop" | "oracle")
}

/// The scaffold whose agent's name stands in a job's name, if any does.
pub(crate) fn of_job_name(name: &str) -> Option<Scaffold> {
    const KNOWN: [&str; 7] =
        ["claude-code", "opencode", "open-code", "openhands-sdk", "openhands", "terminus-2", "terminus2"];
    let name = name.to_ascii_lowercase().replace('_', "-");
    KNOWN.iter().find(|known| name.contains(*known)).map(|known| of_agent(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_have_their_converters() {
        assert_eq!(of_agent("terminus-2"), Scaffold::Terminus2);
        assert_eq!(of_agent("Claude-Code"), Scaffold::ClaudeCode);
        assert_eq!(of_agent("custom-opencode"), Scaffold::OpenCode);
        assert_eq!(of_agent("openhands"), Scaffold::OpenhandsSdk);
        assert_eq!(of_agent("codex"), Scaffold::Generic);
        assert_eq!(of_job_name("py-cc-terminus-2-0.1-M-20260101000000"), Some(Scaffold::Terminus2));
        assert_eq!(of_job_name("run_claude_code_1"), Some(Scaffold::ClaudeCode));
        assert_eq!(of_job_name("nightly"), None);
    }
}
