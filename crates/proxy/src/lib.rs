//! The model proxy: keys, routes, streaming and capture.
