//! The proxy before a real inference server with a real, very small model (`tests/llama`). Only in full
//! runs, or when `TRAJGEN_TEST_LLAMA` names the Python that has what `tests/llama/requirements.txt` says.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod server;
