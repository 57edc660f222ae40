//! Files in and out as tar streams, packed and unpacked here, as an image may have no `tar`.

mod pack;
mod transfer;
mod tree;

pub use pack::{Packed, Selection, pack};
pub(crate) use transfer::{get, put};
pub use tree::{MAX_DEPTH, remove_tree, tree_size};

/// The name of the only entry when a single file is packed; a folder's stream starts with the folder [`FOLDER`].
pub const FILE: &str = "file";

/// The name of a packed folder's first entry.
pub const FOLDER: &str = "./";
