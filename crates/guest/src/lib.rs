//! The static helper inside environments: processes, terminal, forwarder.
