//! A sandbox has one network for all of a trial: what phases ask for apart from each other is refused.

use crate::environment::Network;

/// Why these policies cannot be given together, if they cannot. Verification has no key to the model, so that
/// the model's door is a dead one by then.
pub(super) fn refuse(setup: Option<Network>, agent: Network, verifier: Network) -> Option<String> {
    if [setup, Some(agent), Some(verifier)].contains(&Some(Network::Allowlist)) {
        return Some("the sandbox cannot limit the network to named hosts yet: use Docker".to_owned());
    }
    let is_public = |network: Network| network == Network::Public;
    let (phase, other, remedy) = match setup {
        Some(setup) if is_public(setup) != is_public(agent) => {
            ("set-up", setup, "give [agent] and [environment] of its task.toml the same network_mode")
        }
        _ if is_public(verifier) != is_public(agent) => (
            "verification",
            verifier,
            "give both the same (network_mode in its task.toml; for tasks that say nothing environment.network and \
             environment.verifier_network in config.yaml)",
        ),
        _ => return None,
    };
    Some(format!(
        "the agent is to reach {}, and {phase} {}, but the sandbox has one network for all of a trial: {remedy}, or \
         use Docker",
        agent.words(),
        other.words()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Network::{Allowlist, ModelOnly, None as Nothing, Public};

    #[test]
    fn phases_that_differ_are_refused() {
        for (setup, agent, verifier) in [
            (None, ModelOnly, Nothing),
            (None, ModelOnly, ModelOnly),
            (None, Nothing, ModelOnly),
            (None, Public, Public),
            (Some(Nothing), ModelOnly, Nothing),
            (Some(Public), Public, Public),
        ] {
            assert_eq!(refuse(setup, agent, verifier), None, "{setup:?} {agent:?} {verifier:?}");
        }
        for (setup, agent, verifier, says) in [
            (
                None,
                ModelOnly,
                Public,
                "the agent is to reach the model only, and verification everything, but",
            ),
            (
                None,
                Public,
                Nothing,
                "the agent is to reach everything, and verification its own loopback only, but",
            ),
            (
                Some(Public),
                Nothing,
                Nothing,
                "the agent is to reach its own loopback only, and set-up everything, but",
            ),
            (
                Some(Nothing),
                Public,
                Public,
                "the agent is to reach everything, and set-up its own loopback only, but",
            ),
            (None, ModelOnly, Allowlist, "named hosts"),
            (Some(Allowlist), ModelOnly, Nothing, "named hosts"),
        ] {
            let why = refuse(setup, agent, verifier).unwrap();
            assert!(why.contains(says) && why.ends_with("use Docker"), "{why}");
        }
    }
}
