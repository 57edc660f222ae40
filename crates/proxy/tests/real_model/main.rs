//! The proxy before a real inference server with a real, very small model (`tests/llama`).

#[cfg(test)]
mod calls;
#[cfg(test)]
mod server;
