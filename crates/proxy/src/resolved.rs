//! `litellm_config_trajgen.yaml`: what the proxy of a job ran with, in the shape LiteLLM's users know.

use crate::proxy::{OnDisconnect, ProxyConfig};
use serde_json::{Map, Value, json};
use trajgen_contract::redact::{REDACTED, Secrets};
use trajgen_upstream::UpstreamConfig;

/// The resolved config of a job's proxy as YAML, without keys.
///
/// `base_url` is where it listens ([`crate::Proxy::base_url`]: with port 0 only that tells the port).
///
/// # Errors
/// When it cannot be written as YAML.
pub fn resolved_config_yaml(
    proxy: &ProxyConfig,
    deployments: &[UpstreamConfig],
    base_url: &str,
) -> Result<String, serde_saphyr::ser::Error> {
    let given = |key: &str| if key.is_empty() { Value::Null } else { json!(REDACTED) };
    let models: Vec<Value> = deployments
        .iter()
        .map(|deployment| {
            json!({
                "model_name": proxy.upstream.info().model,
                "litellm_params": without_nulls(json!({
                    "model": deployment.model,
                    "api_base": deployment.shown_url(),
                    "api_key": given(&deployment.api_key),
                    "timeout": deployment.request_timeout.as_secs_f64(),
                    "max_retries": deployment.max_retries,
                    "max_parallel_requests": deployment.max_in_flight,
                    "input_cost_per_token": deployment.prices.input,
                    "output_cost_per_token": deployment.prices.output,
                    "cache_read_input_token_cost": deployment.prices.cached,
                    "additional_drop_params": deployment.drop_params,
                })),
            })
        })
        .collect();
    let mut config = json!({
        "model_list": models,
        "general_settings": without_nulls(json!({"master_key": proxy.master_key.as_deref().map_or(Value::Null, given)})),
        "trajgen": without_nulls(json!({
            "job": proxy.job,
            "base_url": base_url,
            "hosts": proxy.hosts,
            "unix_socket": proxy.unix_socket.as_ref().map(|path| path.display().to_string()),
            "jobs_dir": proxy.jobs_dir.display().to_string(),
            "temperature": proxy.temperature,
            "top_p": proxy.top_p,
            "on_disconnect": match proxy.on_disconnect {
                OnDisconnect::Finish => "finish",
                OnDisconnect::Cancel => "cancel",
            },
            "max_body_bytes": proxy.max_body_bytes,
        })),
    });
    let keys = deployments.iter().map(|deployment| deployment.api_key.clone());
    Secrets::new(keys.chain(proxy.secrets.iter().cloned()).chain(proxy.master_key.clone()))
        .redact_value(&mut config);
    serde_saphyr::to_string(&config)
}

/// What is not set is left out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let given: Map<_, _> = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
            Value::Object(given)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trajgen_upstream::connect;

    #[test]
    fn it_says_all_but_the_keys() {
        let deployment = UpstreamConfig {
            api_base_url: "http://127.0.0.1:1/v1?token=abc&key=abc".to_owned(),
            api_key: "short".to_owned(),
            model: "openai/m".to_owned(),
            ..UpstreamConfig::default()
        };
        let mut proxy = ProxyConfig::new("artifacts/jobs", "the-job", connect(deployment.clone()).unwrap());
        proxy.master_key = Some("the-master-key-0123".to_owned());
        let yaml = resolved_config_yaml(&proxy, &[deployment], "http://127.0.0.1:4001").unwrap();
        for secret in ["short", "the-master-key", "abc"] {
            assert!(!yaml.contains(secret), "{yaml}");
        }
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read["model_list"][0]["model_name"], "m");
        assert_eq!(read["model_list"][0]["litellm_params"]["model"], "openai/m");
        assert_eq!(read["model_list"][0]["litellm_params"]["api_key"], "[REDACTED]");
        assert_eq!(read["general_settings"]["master_key"], "[REDACTED]");
        assert_eq!(read["trajgen"]["base_url"], "http://127.0.0.1:4001");
        assert_eq!(read["trajgen"].get("temperature"), None);
    }
}
