//! Talking to a model: protocol shapes, one client with retries and limits, http and script upstreams.
